//! An object that was applied once is never applied again, and its Pods are such as the API server lets in.

use k8s_openapi::api::core::v1::Pod;
use kamaji_addons::{Interior, Object, coredns, konnectivity, kube_proxy};
use kamaji_api::v1alpha1::{AddonImage, KonnectivitySpec};
use kamaji_apply::{Applied, Cluster, dynamic_difference};
use kamaji_e2e::api_server::ApiServer;
use kube::{
    Api,
    api::PostParams,
    core::{DynamicObject, ObjectMeta},
};
use serde_json::json;
use xtask::programs::Release;

use crate::{MANAGER, interior};

/// Every mode of the agents, in an order in which each changes much of what the one before said.
fn tunnels() -> Vec<KonnectivitySpec> {
    let tolerations = json!([
        { "operator": "Exists" },
        { "key": "dedicated", "operator": "Equal", "value": "", "effect": "NoExecute", "tolerationSeconds": 30 },
        { "key": "", "operator": "Exists", "effect": "" },
    ]);
    let arguments = json!(["-v=4", "--health-server-port", "9134", "--agent-id=a b\nc", ""]);
    [
        json!({}),
        json!({ "agent": { "hostNetwork": true, "tolerations": tolerations, "extraArgs": arguments } }),
        json!({ "agent": { "tolerations": [] } }),
        json!({ "agent": { "mode": "Deployment" } }),
        json!({ "agent": { "mode": "Deployment", "hostNetwork": true, "replicas": 3, "extraArgs": arguments } }),
        json!({ "agent": { "mode": "Deployment", "replicas": 1, "version": "v0.33.1" } }),
    ]
    .map(|spec| serde_json::from_value(spec).unwrap())
    .into()
}

/// Every set of objects of all three add-ons.
fn scenarios(interior: &Interior) -> Vec<Vec<Object>> {
    let mirrored = AddonImage { image_repository: "mirror.example.com/k8s".into(), image_tag: "v9".into() };
    let mut sets = Vec::new();
    for image in [AddonImage::default(), mirrored] {
        sets.push(coredns::objects(interior, &image));
        sets.push(kube_proxy::objects(interior, &image));
    }
    sets.extend(tunnels().iter().map(|tunnel| konnectivity::objects(interior, tunnel)));
    sets
}

async fn apply(cluster: &Cluster, object: &Object) -> DynamicObject {
    match cluster.settle_dynamic(&object.resource, &object.desired, None).await {
        Ok(made) => made.object().clone(),
        Err(error) => panic!("{:?}: {error:?}", object.identity()),
    }
}

/// Nothing is left to do for what the server returned, neither in our eyes nor in the server's.
async fn assert_settled(cluster: &Cluster, object: &Object) {
    let made = apply(cluster, object).await;
    let difference = dynamic_difference(&object.resource, &object.desired, &made, MANAGER);
    assert!(difference.is_none(), "{:?}: {}", object.identity(), difference.unwrap());
    let again = apply(cluster, object).await;
    assert_eq!(made.metadata.resource_version, again.metadata.resource_version, "{:?}", object.identity());
    let settled = cluster.settle_dynamic(&object.resource, &object.desired, Some(&again)).await.unwrap();
    assert!(matches!(settled, Applied::Unchanged(_)), "{:?}", object.identity());
}

/// The Pods of a workload are let in; a workload with Pods that are not is accepted all the same.
async fn assert_pods_are_let_in(cluster: &Cluster, object: &Object) {
    let template = &object.desired.data["spec"]["template"];
    if template.is_null() {
        return;
    }
    let mut pod: Pod = serde_json::from_value(template.clone()).unwrap();
    let metadata = pod.metadata.clone();
    pod.metadata =
        ObjectMeta { name: Some("trial".into()), namespace: Some("kube-system".into()), ..metadata };
    let pods = Api::<Pod>::namespaced(cluster.client().clone(), "kube-system");
    let trial = pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await;
    assert!(trial.is_ok(), "{:?}: {:?}", object.identity(), trial.unwrap_err());
}

async fn assert_all_settle(release: Release, ranges: &str, interior: &Interior) {
    let api = ApiServer::start_with(release, ranges).await.unwrap();
    let cluster = Cluster::new(api.client().await.unwrap(), MANAGER);
    for object in scenarios(interior).concat() {
        assert_settled(&cluster, &object).await;
        assert_pods_are_let_in(&cluster, &object).await;
    }
}

#[tokio::test]
async fn every_object_settles_on_ipv4() {
    let interior = interior("v1.34.4", &json!({}), "192.0.2.10");
    assert_all_settle(Release::V1_34, "10.96.0.0/16", &interior).await;
}

#[tokio::test]
async fn every_object_settles_on_ipv6_alone() {
    let network = json!({ "serviceCidrs": ["fd00:97::/108"], "podCidrs": ["fd00:245::/56"] });
    let interior = interior("v1.35.4", &network, "2001:db8::10");
    assert_all_settle(Release::V1_35, "fd00:97::/108", &interior).await;
}

#[tokio::test]
async fn every_object_settles_on_two_families() {
    let network = json!({
        "serviceCidrs": ["10.97.0.0/16", "fd00:97::/108"],
        "podCidrs": ["10.245.0.0/16", "fd00:245::/56"],
        // Addresses of one's own, more than a Service can have, and not in the order of the ranges.
        "dnsServiceIPs": ["10.97.0.53", "10.97.0.54", "fd00:97::53"],
        "clusterDomain": "corp.example",
    });
    let interior = interior("v1.35.4", &network, "192.0.2.10");
    assert_all_settle(Release::V1_35, "10.97.0.0/16,fd00:97::/108", &interior).await;
}
