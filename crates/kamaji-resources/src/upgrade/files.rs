//! Configuration files that the programs are told to read, and whether a later version still reads them.

use k8s_openapi::api::core::v1::{Volume, VolumeMount};
use kamaji_api::Tenant;

use crate::deployment::args;

/// Flags that name a configuration file with an `apiVersion`.
const FLAGS: [(&str, &[&str]); 2] = [
    (
        "kube-apiserver",
        &[
            "admission-control-config-file",
            "audit-policy-file",
            "authentication-config",
            "authorization-config",
            "encryption-provider-config",
            "tracing-config-file",
        ],
    ),
    ("kube-scheduler", &["config"]),
];

/// Versions of configuration files that are not read any more: the last minor version that reads them.
///
/// Source: the removal notes of the Kubernetes releases 1.24, 1.25, 1.28 and 1.29.
const LAST_READ: [(&str, u64); 5] = [
    ("audit.k8s.io/v1alpha1", 23),
    ("audit.k8s.io/v1beta1", 23),
    ("kubescheduler.config.k8s.io/v1beta1", 24),
    ("kubescheduler.config.k8s.io/v1beta2", 27),
    ("kubescheduler.config.k8s.io/v1beta3", 28),
];

/// Where a configuration file comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Program and flag, as users know them.
    pub flag: String,
    /// Object of the management cluster that holds it.
    pub holder: Holder,
    /// Key in that object.
    pub key: String,
}

/// What holds a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A ConfigMap of this name.
    ConfigMap(String),
    /// A Secret of this name.
    Secret(String),
}

/// The files that the user's arguments name, as far as they come from objects of the tenant's namespace.
pub fn named(tenant: &Tenant) -> Vec<Named> {
    let wish = &tenant.deployment;
    let extra = wish.extra_args.as_ref();
    let mounts = wish.additional_volume_mounts.clone().unwrap_or_default();
    let programs = [
        (extra.map(|extra| extra.api_server.as_slice()), mounts.api_server.as_slice()),
        (extra.map(|extra| extra.scheduler.as_slice()), mounts.scheduler.as_slice()),
    ];
    let mut found = Vec::new();
    for ((program, flags), (arguments, mounts)) in FLAGS.iter().zip(programs) {
        for flag in *flags {
            let paths = args::values(arguments.unwrap_or_default(), flag);
            let held = |path: &&str| holder(path, mounts, &wish.additional_volumes);
            found.extend(paths.iter().filter_map(held).map(|(holder, key)| Named {
                flag: format!("{program} --{flag}"),
                holder,
                key,
            }));
        }
    }
    found
}

/// What is mounted at this path.
fn holder(path: &str, mounts: &[VolumeMount], volumes: &[Volume]) -> Option<(Holder, String)> {
    let under = |mount: &&VolumeMount| file_below(path, mount).is_some();
    let mount = mounts.iter().filter(under).max_by_key(|mount| mount.mount_path.len())?;
    let file = file_below(path, mount)?;
    let volume = volumes.iter().find(|volume| volume.name == mount.name)?;
    if let Some(map) = &volume.config_map {
        let items = map.items.iter().flatten();
        let key = items.into_iter().find(|item| item.path == file).map_or(file, |item| &item.key);
        return Some((Holder::ConfigMap(map.name.clone()), key.to_owned()));
    }
    let secret = volume.secret.as_ref()?;
    let items = secret.items.iter().flatten();
    let key = items.into_iter().find(|item| item.path == file).map_or(file, |item| &item.key);
    Some((Holder::Secret(secret.secret_name.clone()?), key.to_owned()))
}

/// The file of the volume that is seen at this path.
fn file_below<'a>(path: &'a str, mount: &'a VolumeMount) -> Option<&'a str> {
    let rest = path.strip_prefix(mount.mount_path.trim_end_matches('/'))?;
    match &mount.sub_path {
        Some(sub_path) => rest.is_empty().then_some(sub_path),
        None => rest.strip_prefix('/'),
    }
}

/// The `apiVersion` of a configuration file; nothing if it says none.
pub fn api_version(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.trim_start_matches('{').trim().strip_prefix("apiVersion:"));
    let json =
        || serde_json::from_str::<serde_json::Value>(text).ok()?["apiVersion"].as_str().map(str::to_owned);
    let bare = line.map(|value| value.split('#').next().unwrap_or_default().trim());
    bare.map(|value| value.trim_matches(['"', '\'']).to_owned()).or_else(json)
}

/// Whether Kubernetes of this minor version reads configuration files of this `apiVersion`.
pub fn is_read(api_version: &str, minor: u64) -> bool {
    LAST_READ.iter().all(|(version, last)| *version != api_version || minor <= *last)
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant::{Settings, fixtures};
    use serde_json::json;

    use super::*;

    fn tenant() -> Tenant {
        let mut tcp = fixtures::tcp();
        tcp.spec.control_plane.deployment = serde_json::from_value(json!({
            "extraArgs": {
                "apiServer": ["--audit-policy-file=/etc/audit/policy.yaml", "--authentication_config", "/auth.yaml"],
                "scheduler": ["--config=/etc/scheduler/it.yaml"],
            },
            "additionalVolumes": [
                { "name": "audit", "configMap": { "name": "audit", "items": [{ "key": "p", "path": "policy.yaml" }] } },
                { "name": "auth", "secret": { "secretName": "auth" } },
                { "name": "host", "emptyDir": {} },
            ],
            "additionalVolumeMounts": {
                "apiServer": [
                    { "name": "audit", "mountPath": "/etc/audit/" },
                    { "name": "auth", "mountPath": "/auth.yaml", "subPath": "authentication" },
                ],
                "scheduler": [{ "name": "host", "mountPath": "/etc/scheduler" }],
            },
        }))
        .unwrap();
        Tenant::resolve(&tcp, &Settings::default()).unwrap()
    }

    #[test]
    fn files_are_found_where_they_are_mounted_from() {
        let expected = [
            ("kube-apiserver --audit-policy-file", Holder::ConfigMap("audit".into()), "p"),
            ("kube-apiserver --authentication-config", Holder::Secret("auth".into()), "authentication"),
        ];
        let expected =
            expected.map(|(flag, holder, key)| Named { flag: flag.into(), holder, key: key.into() });
        assert_eq!(named(&tenant()), expected);
        assert_eq!(named(&fixtures::tenant()), []);
    }

    #[test]
    fn the_version_of_a_file_is_read_in_yaml_and_json() {
        let table = [
            ("kind: A\napiVersion: \"audit.k8s.io/v1\" # new\n", Some("audit.k8s.io/v1")),
            (r#"{"kind":"A","apiVersion":"audit.k8s.io/v1beta1"}"#, Some("audit.k8s.io/v1beta1")),
            ("kind: A\n", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(api_version(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_was_removed_is_not_read_by_later_versions() {
        assert!(is_read("kubescheduler.config.k8s.io/v1beta3", 28));
        assert!(!is_read("kubescheduler.config.k8s.io/v1beta3", 29));
        assert!(is_read("kubescheduler.config.k8s.io/v1", 36));
    }
}
