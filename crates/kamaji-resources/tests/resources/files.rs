//! Which file reaches which container, exactly.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, KeyToPath, PodSpec, Volume};
use kamaji_resources::kine;

use crate::scenario::{self, clock, now};

/// Container, file, Secret of the tenant `blue`, key.
const TABLE: &[(&str, &str, &str, &str)] = &[
    ("kube-apiserver", "/etc/kubernetes/pki/apiserver.crt", "blue-api-server-certificate", "apiserver.crt"),
    ("kube-apiserver", "/etc/kubernetes/pki/apiserver.key", "blue-api-server-certificate", "apiserver.key"),
    ("kube-apiserver", "/etc/kubernetes/pki/ca.crt", "blue-ca", "ca.crt"),
    (
        "kube-apiserver",
        "/etc/kubernetes/pki/apiserver-kubelet-client.crt",
        "blue-api-server-kubelet-client-certificate",
        "apiserver-kubelet-client.crt",
    ),
    (
        "kube-apiserver",
        "/etc/kubernetes/pki/apiserver-kubelet-client.key",
        "blue-api-server-kubelet-client-certificate",
        "apiserver-kubelet-client.key",
    ),
    (
        "kube-apiserver",
        "/etc/kubernetes/pki/front-proxy-ca.crt",
        "blue-front-proxy-ca-certificate",
        "front-proxy-ca.crt",
    ),
    (
        "kube-apiserver",
        "/etc/kubernetes/pki/front-proxy-client.crt",
        "blue-front-proxy-client-certificate",
        "front-proxy-client.crt",
    ),
    (
        "kube-apiserver",
        "/etc/kubernetes/pki/front-proxy-client.key",
        "blue-front-proxy-client-certificate",
        "front-proxy-client.key",
    ),
    ("kube-apiserver", "/etc/kubernetes/pki/sa.pub", "blue-sa-certificate", "sa.pub"),
    ("kube-apiserver", "/etc/kubernetes/pki/sa.key", "blue-sa-certificate", "sa.key"),
    ("kube-apiserver", "/etc/kubernetes/pki/etcd/ca.crt", "blue-datastore-certificate", "ca.crt"),
    ("kube-apiserver", "/etc/kubernetes/pki/etcd/server.crt", "blue-datastore-certificate", "server.crt"),
    ("kube-apiserver", "/etc/kubernetes/pki/etcd/server.key", "blue-datastore-certificate", "server.key"),
    (
        "kube-controller-manager",
        "/etc/kubernetes/controller-manager.conf",
        "blue-controller-manager-kubeconfig",
        "controller-manager.conf",
    ),
    ("kube-controller-manager", "/etc/kubernetes/pki/ca.crt", "blue-ca", "ca.crt"),
    ("kube-controller-manager", "/etc/kubernetes/pki/ca.key", "blue-ca", "ca.key"),
    (
        "kube-controller-manager",
        "/etc/kubernetes/pki/front-proxy-ca.crt",
        "blue-front-proxy-ca-certificate",
        "front-proxy-ca.crt",
    ),
    ("kube-controller-manager", "/etc/kubernetes/pki/sa.key", "blue-sa-certificate", "sa.key"),
    ("kube-scheduler", "/etc/kubernetes/scheduler.conf", "blue-scheduler-kubeconfig", "scheduler.conf"),
];

/// The same, with konnectivity.
const TUNNEL: &[(&str, &str, &str, &str)] = &[
    (
        "kube-apiserver",
        "/etc/kubernetes/konnectivity/configurations/egress-selector-configuration.yaml",
        "blue-konnectivity-egress-selector-configuration",
        "egress-selector-configuration.yaml",
    ),
    (
        "konnectivity-server",
        "/etc/kubernetes/konnectivity-server.conf",
        "blue-konnectivity-kubeconfig",
        "konnectivity-server.conf",
    ),
    (
        "konnectivity-server",
        "/etc/kubernetes/pki/apiserver.crt",
        "blue-konnectivity-server-certificate",
        "konnectivity-server.crt",
    ),
    (
        "konnectivity-server",
        "/etc/kubernetes/pki/apiserver.key",
        "blue-konnectivity-server-certificate",
        "konnectivity-server.key",
    ),
];

pub(crate) type Row = (String, String, String, String);

/// The files out of Secrets and configurations of ours that every container of this Pod sees.
pub(crate) fn files(pod: &PodSpec) -> BTreeSet<Row> {
    let mut rows = BTreeSet::new();
    for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
        // kine can be told of its store in no other way that does not show in the list of processes.
        assert!(
            container.env_from.is_none() && (container.env.is_none() || container.name == kine::NAME),
            "{}: no secret travels by environment",
            container.name
        );
        for mount in container.volume_mounts.iter().flatten() {
            let volume = pod.volumes.iter().flatten().find(|volume| volume.name == mount.name).unwrap();
            for (secret, item) in sources(volume) {
                let path = format!("{}/{}", mount.mount_path, item.path);
                assert!(
                    mount.read_only == Some(true) && mount.sub_path.is_none(),
                    "{path} of {}",
                    container.name
                );
                rows.insert((container.name.clone(), path, secret, item.key));
            }
        }
    }
    rows
}

/// Secrets and keys of a volume. One that takes a whole Secret would hide what it brings.
fn sources(volume: &Volume) -> Vec<(String, KeyToPath)> {
    let one_by_one = |items: &Option<Vec<KeyToPath>>| items.clone().expect("no volume takes a whole Secret");
    let mut found = Vec::new();
    if let Some(source) = &volume.secret {
        assert_eq!(source.default_mode, Some(0o400), "{}", volume.name);
        let name = source.secret_name.clone().unwrap();
        found.extend(one_by_one(&source.items).into_iter().map(|item| (name.clone(), item)));
    }
    if let Some(source) = &volume.config_map
        && let Some(items) = &source.items
    {
        assert_eq!(source.default_mode, Some(0o400), "{}", volume.name);
        found.extend(items.iter().map(|item| (source.name.clone(), item.clone())));
    }
    if let Some(projected) = &volume.projected {
        assert_eq!(projected.default_mode, Some(0o400), "{}", volume.name);
        for secret in projected.sources.iter().flatten().filter_map(|source| source.secret.as_ref()) {
            let items = one_by_one(&secret.items);
            found.extend(items.into_iter().map(|item| (secret.name.clone(), item)));
        }
    }
    assert!(found.iter().all(|(_, item)| item.mode.is_none()), "{}", volume.name);
    found
}

#[test]
fn every_file_reaches_the_containers_that_need_it_and_no_other() {
    for scenario in scenario::all() {
        let ground = scenario.ground();
        let tunnel = ground.tenant.addons.konnectivity.iter().flat_map(|_| TUNNEL);
        let expected: BTreeSet<Row> = TABLE
            .iter()
            .chain(tunnel)
            .map(|(container, path, source, key)| {
                ((*container).into(), (*path).into(), (*source).into(), (*key).into())
            })
            .collect();
        let deployment = ground.build(clock(now())).deployment;
        assert_eq!(files(&deployment.spec.template.spec.unwrap()), expected, "{}", scenario.name);
    }
}

#[test]
fn keys_of_authorities_stay_with_the_one_that_signs() {
    let holders = |key: &str| -> Vec<&str> {
        TABLE
            .iter()
            .chain(TUNNEL)
            .filter(|(.., found)| *found == key)
            .map(|(container, ..)| *container)
            .collect()
    };
    assert_eq!(holders("ca.key"), ["kube-controller-manager"]);
    assert_eq!(holders("tls.key"), [""; 0]);
    assert_eq!(holders("front-proxy-ca.key"), [""; 0]);
    assert_eq!(holders("sa.key"), ["kube-apiserver", "kube-controller-manager"]);
}

#[test]
fn every_file_that_an_argument_names_is_there() {
    let deployment = scenario::named("konnectivity").ground().build(clock(now())).deployment;
    let pod = deployment.spec.template.spec.unwrap();
    let files = files(&pod);
    for container in &pod.containers {
        let arguments = container.args.iter().flatten();
        for path in arguments.filter_map(|argument| argument.split_once('=')).map(|(_, value)| value) {
            if path.starts_with('/') && !path.starts_with("/4746b6dc") {
                assert!(
                    files.iter().any(|(name, found, ..)| *name == container.name && found == path)
                        || scratch(&pod, container).iter().any(|folder| path.starts_with(folder)),
                    "{path} of {}",
                    container.name
                );
            }
        }
    }
}

/// Folders that are empty at first, and that the container may write to.
pub(crate) fn scratch(pod: &PodSpec, container: &Container) -> Vec<String> {
    let volumes = pod.volumes.iter().flatten().filter(|volume| volume.empty_dir.is_some());
    let names: Vec<&str> = volumes.map(|volume| volume.name.as_str()).collect();
    let mounts = container.volume_mounts.iter().flatten();
    mounts
        .filter(|mount| names.contains(&mount.name.as_str()) && mount.read_only != Some(true))
        .map(|mount| format!("{}/", mount.mount_path))
        .collect()
}

#[test]
fn the_tunnel_and_the_api_server_share_a_folder_and_nobody_else_sees_it() {
    let deployment = scenario::named("konnectivity").ground().build(clock(now())).deployment;
    let pod = deployment.spec.template.spec.unwrap();
    let sharing: Vec<&str> = pod
        .containers
        .iter()
        .filter(|container| !scratch(&pod, container).is_empty())
        .map(|container| container.name.as_str())
        .collect();
    assert_eq!(sharing, ["kube-apiserver", "konnectivity-server"]);
}
