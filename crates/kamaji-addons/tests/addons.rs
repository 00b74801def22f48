//! The add-ons of a tenant, as they go over the wire.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]

use kamaji_addons::{Interior, Object, coredns, konnectivity, kube_proxy};
use kamaji_api::labels;
use kamaji_api::tenant::{Settings, Tenant, fixtures};
use kamaji_api::v1alpha1::{AddonImage, Driver, KonnectivitySpec, NetworkProfileSpec};
use kamaji_resources::{Endpoint, Storage};
use serde_json::{Value, json};

/// The inside of a tenant with this network, at this address.
fn interior(network: &Value, address: &str) -> Interior {
    let mut tcp = fixtures::tcp();
    let profile: NetworkProfileSpec = serde_json::from_value(network.clone()).unwrap();
    tcp.spec.network_profile = profile;
    let address = address.parse().unwrap();
    Interior {
        tenant: Tenant::resolve(&tcp, &Settings::default()).unwrap(),
        endpoint: Endpoint { address, advertised: address, port: 6443 },
        storage: Storage {
            driver: Driver::Etcd,
            data_store: "default".into(),
            endpoints: vec!["etcd.kamaji-system.svc:2379".into()],
            schema: "teams_blue".into(),
            user: "teams_blue".into(),
        },
        authority: "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n".into(),
    }
}

fn plain() -> Interior {
    interior(&json!({}), "192.0.2.10")
}

fn ipv6() -> Interior {
    let network = json!({ "serviceCidrs": ["fd00:97::/108"], "podCidrs": ["fd00:245::/56"] });
    interior(&network, "2001:db8::10")
}

fn dual_stack() -> Interior {
    let network = json!({
        "serviceCidrs": ["10.97.0.0/16", "fd00:97::/108"],
        "podCidrs": ["10.245.0.0/16", "fd00:245::/56"],
        "dnsServiceIPs": ["10.97.0.53", "fd00:97::53"],
        "clusterDomain": "corp.example",
    });
    interior(&network, "192.0.2.10")
}

fn upstream() -> AddonImage {
    AddonImage::default()
}

fn tunnel(spec: &Value) -> KonnectivitySpec {
    serde_json::from_value(spec.clone()).unwrap()
}

/// What a server is sent, one document after the other.
fn documents(objects: &[Object]) -> Vec<Value> {
    objects.iter().map(|object| serde_json::to_value(&object.desired).unwrap()).collect()
}

/// Every scenario of this file.
fn all() -> Vec<Vec<Object>> {
    let images = AddonImage { image_repository: "mirror.example.com/k8s".into(), image_tag: "v9".into() };
    let deployment =
        tunnel(&json!({ "agent": { "mode": "Deployment", "replicas": 2, "hostNetwork": true } }));
    [plain(), ipv6(), dual_stack()]
        .iter()
        .flat_map(|interior| {
            [
                coredns::objects(interior, &upstream()),
                coredns::objects(interior, &images),
                kube_proxy::objects(interior, &upstream()),
                kube_proxy::objects(interior, &images),
                konnectivity::objects(interior, &tunnel(&json!({}))),
                konnectivity::objects(interior, &deployment),
            ]
        })
        .collect()
}

#[test]
fn coredns_of_a_plain_tenant() {
    insta::assert_yaml_snapshot!(documents(&coredns::objects(&plain(), &upstream())));
}

#[test]
fn coredns_of_two_families_with_addresses_and_a_domain_of_its_own() {
    let objects = coredns::objects(&dual_stack(), &upstream());
    let of_kind = |plural: &str| objects.iter().find(|object| object.identity().plural == plural).unwrap();
    insta::assert_yaml_snapshot!("coredns_dual_stack_service", of_kind("services").desired);
    insta::assert_yaml_snapshot!("coredns_dual_stack_configuration", of_kind("configmaps").desired);
}

#[test]
fn coredns_of_ipv6_only() {
    let objects = coredns::objects(&ipv6(), &upstream());
    let service = objects.iter().find(|object| object.identity().plural == "services").unwrap();
    insta::assert_yaml_snapshot!(service.desired);
}

#[test]
fn kube_proxy_of_a_plain_tenant() {
    insta::assert_yaml_snapshot!(documents(&kube_proxy::objects(&plain(), &upstream())));
}

#[test]
fn kube_proxy_of_other_families() {
    for (name, interior) in [("ipv6", ipv6()), ("dual_stack", dual_stack())] {
        let objects = kube_proxy::objects(&interior, &upstream());
        let config = objects.iter().find(|object| object.identity().plural == "configmaps").unwrap();
        insta::assert_yaml_snapshot!(format!("kube_proxy_configuration_{name}"), config.desired);
    }
}

#[test]
fn agents_on_every_node() {
    insta::assert_yaml_snapshot!(documents(&konnectivity::objects(&plain(), &tunnel(&json!({})))));
}

#[test]
fn a_number_of_agents_in_the_nodes_network() {
    let spec = tunnel(&json!({
        "server": { "port": 9132 },
        "agent": {
            "mode": "Deployment",
            "replicas": 3,
            "hostNetwork": true,
            "image": "mirror.example.com/agent",
            "version": "v0.33.1",
            "tolerations": [{ "operator": "Exists", "key": "", "effect": "" }],
            "extraArgs": ["-v=4", "--health-server-port=9134", "--sync-forever=true"],
        },
    }));
    insta::assert_yaml_snapshot!(documents(&konnectivity::objects(&ipv6(), &spec)));
}

#[test]
fn a_changed_configuration_replaces_the_pods_of_kube_proxy() {
    let checksum = |interior: &Interior| {
        let objects = kube_proxy::objects(interior, &upstream());
        let pods = objects.iter().find(|object| object.identity().plural == "daemonsets").unwrap();
        pods.desired.data["spec"]["template"]["metadata"]["annotations"][labels::CHECKSUM].clone()
    };
    let elsewhere = Interior { endpoint: Endpoint { port: 7443, ..plain().endpoint }, ..plain() };
    assert_ne!(checksum(&plain()), checksum(&elsewhere));
    assert_ne!(checksum(&plain()), checksum(&dual_stack()));
    assert_eq!(checksum(&plain()), checksum(&plain()));
}

#[test]
fn every_object_is_marked_as_ours() {
    for object in all().concat() {
        let marks = object.desired.metadata.labels.clone().unwrap_or_default();
        assert_eq!(
            marks.get(labels::PROJECT).map(String::as_str),
            Some(labels::PROJECT_VALUE),
            "{:?}",
            object.identity()
        );
    }
}

/// What is possible and not wanted is pruned, so what an object is called must follow from the add-on and its mode alone.
#[test]
fn names_follow_from_the_mode_alone() {
    let mut per_scenario =
        all().into_iter().map(|objects| objects.iter().map(Object::identity).collect::<Vec<_>>());
    let first: Vec<_> = per_scenario.by_ref().take(6).collect();
    for (index, identities) in per_scenario.enumerate() {
        assert_eq!(identities, first[index % 6]);
    }
    assert_eq!(first[0], first[1]);
    assert_eq!(first[2], first[3]);
    assert_ne!(first[4], first[5]);
}
