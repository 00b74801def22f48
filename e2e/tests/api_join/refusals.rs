//! Who asks in vain is told why and what to do, and no token is made.

use std::time::Duration;

use k8s_openapi::api::{
    core::v1::{ConfigMap, Secret},
    rbac::v1::ClusterRoleBinding,
};
use kamaji_addons::kubeadm::rbac::CLUSTER_ADMINS;
use kamaji_api::{Child, v1alpha1::TenantControlPlane};
use kamaji_e2e::operator::PATIENCE;
use kamaji_operator::{JoinError, JoinRequest, NotJoinable, join_command};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::Joinable;

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_what_is_not_there_is_told_which_part() {
    let mut tenant = Joinable::start().await;
    assert!(matches!(tenant.refused("green").await, JoinError::NoTenant { name, .. } if name == "green"));
    let elsewhere = JoinRequest { namespace: "nowhere".into(), ..tenant.request("blue") };
    let error = join_command(&tenant.lane.client, &elsewhere).await.unwrap_err();
    assert!(matches!(&error, JoinError::NoNamespace(name) if name == "nowhere"), "{error}");
    // The tenant's own API server knows nothing of tenants.
    let error = join_command(&tenant.administrator, &tenant.request("blue")).await.unwrap_err();
    assert!(matches!(error, JoinError::NoManagementCluster), "{error}");

    tenant.stop_operator().await;
    let asleep = json!({ "spec": { "controlPlane": { "deployment": { "replicas": 0 } } } });
    tenant.lane.edit::<TenantControlPlane>("blue", &asleep).await.unwrap();
    let error = tenant.refused("blue").await;
    assert!(matches!(error, JoinError::NotJoinable { why: NotJoinable::Asleep { .. }, .. }), "{error}");
    assert_eq!(tokens(&tenant).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_not_ready_says_why() {
    let tenant = Joinable::start().await;
    tenant.lane.tenant("green").await.unwrap();
    tenant.lane.converged("green").await.unwrap();
    let error = tenant.refused("green").await;
    assert!(
        matches!(&error, JoinError::NotJoinable { why: NotJoinable::NotReady { reason, .. }, .. } if reason == "RollingOut"),
        "{error}"
    );
    assert!(error.to_string().contains("wait --for=condition=Ready tcp/green"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_wrong_is_handed_on_or_shown() {
    let mut tenant = Joinable::start().await;
    tenant.stop_operator().await;
    let name = Child::AdminKubeconfig.name("blue");
    let key = "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk";
    for garbage in [format!("users: [{key}"), format!("{{ clusters: 7, users: {key} }}"), String::new()] {
        tenant.lane.edit::<Secret>(&name, &json!({ "stringData": { "admin.conf": garbage } })).await.unwrap();
        let error = tenant.refused("blue").await;
        assert!(matches!(error, JoinError::CredentialsUnusable(_)), "{error}");
        assert!(!format!("{error:?} {error}").contains(key));
    }
    tenant.lane.objects::<Secret>().delete(&name, &DeleteParams::default()).await.unwrap();
    assert!(matches!(tenant.refused("blue").await, JoinError::CredentialsMissing(_)));
    assert_eq!(tokens(&tenant).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_a_tenant_made_up_is_not_pasted_anywhere() {
    let mut tenant = Joinable::start().await;
    tenant.stop_operator().await;
    let public = Api::<ConfigMap>::namespaced(tenant.administrator.clone(), "kube-public");
    let info = public.get("cluster-info").await.unwrap();
    let told = info.data.unwrap().remove("kubeconfig").unwrap();
    let (_, rest) = told.split_once("https://").unwrap();
    let (address, _) = rest.split_once('\n').unwrap();
    let evil = told.replace(address, "$(reboot):6443");
    assert_ne!(evil, told);
    let edit = Patch::Merge(json!({ "data": { "kubeconfig": evil } }));
    public.patch("cluster-info", &PatchParams::default(), &edit).await.unwrap();
    let error = tenant.refused("blue").await;
    assert!(matches!(error, JoinError::ClusterInfoUnusable(_)), "{error}");
    assert!(!error.to_string().contains("reboot"), "{error}");

    public.delete("cluster-info", &DeleteParams::default()).await.unwrap();
    assert!(matches!(tenant.refused("blue").await, JoinError::ClusterInfoMissing));
    assert_eq!(tokens(&tenant).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_refuses_and_one_that_is_silent_are_told_apart() {
    let mut tenant = Joinable::start().await;
    tenant.stop_operator().await;
    let bindings = Api::<ClusterRoleBinding>::all(tenant.administrator.clone());
    bindings.delete(CLUSTER_ADMINS, &DeleteParams::default()).await.unwrap();
    // The API server takes a moment to hear of it.
    let forbidden = async {
        while tenant.may_list_secrets().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, forbidden).await.unwrap();
    let error = tenant.refused("blue").await;
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert!(matches!(error, JoinError::Refused { .. }), "{error}");
    assert!(said.contains("forbidden") && !said.contains("ApiError"), "{said}");

    tenant.stop_server();
    let error = tenant.refused("blue").await;
    assert!(matches!(error, JoinError::Unreachable { .. }), "{error}");
}

/// How many tokens there are in the tenant.
async fn tokens(tenant: &Joinable) -> usize {
    let secrets = Api::<Secret>::namespaced(tenant.administrator.clone(), "kube-system");
    let all = ListParams::default().fields("type=bootstrap.kubernetes.io/token");
    secrets.list(&all).await.unwrap().items.len()
}
