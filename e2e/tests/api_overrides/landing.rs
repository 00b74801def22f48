//! Objects lie where the spec has their kinds.

use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy,
    core::v1::{ConfigMap, Event},
};
use kamaji_e2e::operator::cluster::TenantCluster;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::{
    SILENCE,
    ground::{argument, found, keys, lane, manifest, named, places, second, third, told, until, used_by},
};

#[tokio::test(flavor = "multi_thread")]
async fn kinds_land_in_their_stores_and_nowhere_else() {
    let lane = lane().await;
    let operator = lane.operator().await.unwrap();
    let kinds = [("/events", "second"), ("/configmaps", "third"), ("coordination.k8s.io/leases", "second")];
    let tenant = TenantCluster::start(&lane, &manifest(&lane, "blue", &kinds)).await.unwrap();
    let tcp = tenant.kept(&lane).await.unwrap();
    let (own, second, third) = (lane.etcd, second().await, third().await);
    assert_eq!(
        argument(&lane, "blue").await,
        told(&[("/configmaps", third), ("/events", second), ("coordination.k8s.io/leases", second)])
    );

    let config_maps = Api::<ConfigMap>::namespaced(tenant.client.clone(), "default");
    let events = Api::<Event>::namespaced(tenant.client.clone(), "default");
    for number in 0..100 {
        let name = format!("mine-{number}");
        let config_map = json!({ "metadata": { "name": name }, "data": { "number": number.to_string() } });
        let event = json!({
            "metadata": { "name": name }, "reason": "Test", "involvedObject": { "namespace": "default" },
        });
        let params = PostParams::default();
        config_maps.create(&params, &serde_json::from_value(config_map).unwrap()).await.unwrap();
        events.create(&params, &serde_json::from_value(event).unwrap()).await.unwrap();
    }
    let read = config_maps.list(&ListParams::default()).await.unwrap();
    assert_eq!(read.items.iter().filter(|found| found.data.is_some()).count(), 100);

    let count = |keys: &[String], kind: &str| keys.iter().filter(|key| key.starts_with(kind)).count();
    let (in_own, in_second, in_third) =
        (keys(own, &tcp).await, keys(second, &tcp).await, keys(third, &tcp).await);
    println!(
        "{} keys in its own store, {} in the second, {} in the third",
        in_own.len(),
        in_second.len(),
        in_third.len()
    );
    let elsewhere = ["events/", "configmaps/", "leases/"];
    assert!(elsewhere.iter().all(|kind| count(&in_own, kind) == 0), "{in_own:?}");
    assert!(!in_own.is_empty());
    assert_eq!(count(&in_second, "events/") + count(&in_second, "leases/"), in_second.len(), "{in_second:?}");
    assert_eq!(count(&in_third, "configmaps/"), in_third.len(), "{in_third:?}");
    assert!(count(&in_second, "events/") >= 100 && in_third.len() >= 100);

    let all = [lane.data_store.clone(), named(&lane, "second"), named(&lane, "third")];
    for store in &all {
        used_by(&lane, store, &["blue"]).await;
    }
    let remembered: Vec<String> = places(&tcp).into_iter().map(|place| place.data_store_name).collect();
    assert_eq!(remembered, all[1..]);
    operator.silence(SILENCE).await.unwrap();
}

/// What limits a tenant's writes is out of its reach wherever its kind is kept.
#[tokio::test(flavor = "multi_thread")]
async fn limits_on_writes_are_sealed_in_the_store_where_they_lie() {
    let lane = lane().await;
    let _operator = lane.operator().await.unwrap();
    let policies = "admissionregistration.k8s.io/validatingadmissionpolicies";
    let mut manifest = manifest(&lane, "blue", &[(policies, "second")]);
    manifest["spec"]["writePermissions"] = json!({ "blockDeletion": true });
    let tenant = TenantCluster::start(&lane, &manifest).await.unwrap();
    let tcp = tenant.kept(&lane).await.unwrap();
    let (own, second) = (lane.etcd, second().await);
    let in_second = keys(second, &tcp).await;
    assert!(!in_second.is_empty(), "the policy lies there");
    assert!(in_second.iter().all(|key| key.starts_with("validatingadmissionpolicies/")), "{in_second:?}");
    // 0 is READ.
    for etcd in [own, second] {
        until("sealed", async || found(etcd, &tcp).await.contains("type 0")).await;
    }
    let api = Api::<ValidatingAdmissionPolicy>::all(tenant.client.clone());
    for policy in api.list(&ListParams::default()).await.unwrap() {
        let name = policy.metadata.name.unwrap();
        assert!(api.delete(&name, &DeleteParams::default()).await.is_err(), "{name} can be deleted");
    }
    assert_eq!(keys(second, &tcp).await, in_second);
}
