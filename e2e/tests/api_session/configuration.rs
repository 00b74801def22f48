//! What cannot be carried out is named, and changes nothing until it is right.

use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::operator::{cluster::kinds, condition, message};
use serde_json::json;

use crate::{
    SILENCE,
    tenant::{all_addons, kept, until},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_that_cannot_be_applied_is_named_and_changes_nothing() {
    let (lane, operator, tenant) = kept(&all_addons()).await;
    let kinds = kinds(&tenant.desired(&lane).await.unwrap());
    let before = tenant.everything(&kinds).await.unwrap();
    let patches = |path: &str| {
        let patches = json!([
            { "op": "add", "path": "/maxPods", "value": 42 },
            { "op": "replace", "path": path, "value": true },
        ]);
        // Together with something that would be removed, and something that would be added.
        json!({ "spec": {
            "addons": { "coreDNS": null, "konnectivity": { "agent": { "mode": "Deployment" } } },
            "kubernetes": { "kubelet": { "configurationJSONPatches": patches } },
        } })
    };
    lane.edit::<TenantControlPlane>("blue", &patches("/no/such/place")).await.unwrap();
    let invalid = |tcp: &TenantControlPlane| condition(tcp, "Addons") == "False/ConfigurationInvalid";
    let tcp = lane.tenant_that("blue", "invalid", invalid).await.unwrap();
    let said = message(&tcp, "Addons");
    println!("{said}");
    assert!(said.contains("configurationJSONPatches[1]"), "{said}");
    assert_eq!(condition(&tcp, "TenantReachable"), "True/Answers");
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(tenant.everything(&kinds).await.unwrap(), before);

    lane.edit::<TenantControlPlane>("blue", &patches("/rotateCertificates")).await.unwrap();
    tenant.kept(&lane).await.unwrap();
    let desired = tenant.desired(&lane).await.unwrap();
    crate::tenant::all_settled(&tenant, &desired, "being right").await;
    let names: Vec<String> = tenant.everything(&kinds).await.unwrap().into_keys().collect();
    assert!(!names.iter().any(|id| id == "Deployment kube-system/coredns"), "{names:?}");
}

/// A tenant whose configuration is wrong is still seen to go.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_goes_is_missed_also_while_its_configuration_is_wrong() {
    let (lane, _operator, tenant) = kept(&json!({})).await;
    let wrong = json!([{ "op": "remove", "path": "/no/such/place" }]);
    let wrong = json!({ "spec": { "kubernetes": { "kubelet": { "configurationJSONPatches": wrong } } } });
    lane.edit::<TenantControlPlane>("blue", &wrong).await.unwrap();
    let invalid = |tcp: &TenantControlPlane| condition(tcp, "Addons") == "False/ConfigurationInvalid";
    lane.tenant_that("blue", "invalid", invalid).await.unwrap();
    drop(tenant);
    let missed = |tcp: &TenantControlPlane| condition(tcp, "TenantReachable") == "False/TenantUnreachable";
    let tcp = lane.tenant_that("blue", "missed", missed).await.unwrap();
    println!("{}", message(&tcp, "TenantReachable"));
    until("it is said of the Ready condition, too", async || {
        condition(&lane.tenants().get("blue").await.unwrap(), "Ready") == "False/TenantUnreachable"
    })
    .await;
}
