//! What can go wrong on the way: the tenant stays where it was and can write, or arrives.

use std::time::Duration;

use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job, core::v1::Pod};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    etcd::Etcd,
    operator::{Lane, condition, message, wait_for, wait_gone},
    postgres::Postgres,
};
use kube::{
    ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::ground::{
    arrived, ground, in_etcd, in_postgres, job, no_errand_is_left, put, rows, send, settled, told,
};

/// Long enough to see that a pass is over.
const MOMENT: Duration = Duration::from_millis(500);

/// A Pod of the tenant's that never ends.
pub(crate) async fn lingering_pod(lane: &Lane) {
    let pod = json!({
        "metadata": { "name": "lingers", "labels": { "kamaji.clastix.io/name": "blue" } },
        "spec": { "containers": [{ "name": "a", "image": "a" }], "automountServiceAccountToken": false },
    });
    let pod: Pod = serde_json::from_value(pod).unwrap();
    lane.objects::<Pod>().create(&PostParams::default(), &pod).await.unwrap();
}

/// The tenant's Pods are wanted again.
async fn wakes(lane: &Lane) {
    let is_awake = |live: &Deployment| live.spec.replicas.is_some_and(|replicas| replicas > 0);
    wait_for(&lane.objects(), "blue", "awake", is_awake).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_deleted_is_sent_again() {
    let (lane, other) = ground().await;
    let _operator = lane.operator().await.unwrap();
    let (tcp, node) = settled(&lane).await;
    node.fill();
    send(&lane, &other).await;
    let first = job(&lane, &tcp).await;
    let jobs = lane.objects::<Job>();
    jobs.delete(&first.name_any(), &DeleteParams::background()).await.unwrap();
    let another = |job: &Job| job.uid() != first.uid();
    wait_for(&jobs, &first.name_any(), "another", another).await.unwrap();
    node.make_room();
    arrived(&lane, &node, &other).await;
    assert_eq!(rows(&tcp).await, ["/registry/configmaps/default/one"]);
    no_errand_is_left(&lane, &tcp).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_finds_no_room_is_given_up_and_the_tenant_stays() {
    let (lane, other) = ground().await;
    let _operator = lane.operator().await.unwrap();
    let (tcp, node) = settled(&lane).await;
    node.fill();
    let annotate = json!({ "metadata": { "annotations": { "kamaji.clastix.io/migration-timeout": "3s" } } });
    lane.edit::<TenantControlPlane>("blue", &annotate).await.unwrap();
    send(&lane, &other).await;
    let failed = told(&lane, &node, "False/MigrationFailed").await;
    assert!(
        message(&failed, "Migration").contains("not done within 3s"),
        "{}",
        message(&failed, "Migration")
    );
    no_errand_is_left(&lane, &tcp).await;
    put(&lane, &tcp, "two").await.unwrap();
    assert_eq!(in_postgres(&tcp).await, [""; 0]);
    // Back and there again is another try.
    node.make_room();
    let annotate = json!({ "metadata": { "annotations": { "kamaji.clastix.io/migration-timeout": "2m" } } });
    lane.edit::<TenantControlPlane>("blue", &annotate).await.unwrap();
    send(&lane, &lane.data_store).await;
    told(&lane, &node, "True/Settled").await;
    send(&lane, &other).await;
    arrived(&lane, &node, &other).await;
    assert_eq!(rows(&tcp).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_pods_linger_is_not_switched_and_turns_back_when_the_spec_does() {
    let (lane, other) = ground().await;
    let _operator = lane.operator().await.unwrap();
    let (tcp, node) = settled(&lane).await;
    lingering_pod(&lane).await;
    send(&lane, &other).await;
    let waits = told(&lane, &node, "False/MigrationSwitching").await;
    assert_eq!(condition_of_phase(&waits), "Migrating");
    put(&lane, &tcp, "late").await.expect_err("it is fenced");
    send(&lane, &lane.data_store).await;
    told(&lane, &node, "True/Settled").await;
    put(&lane, &tcp, "two").await.unwrap();
    wakes(&lane).await;
    no_errand_is_left(&lane, &tcp).await;
    assert_eq!(in_postgres(&tcp).await, [""; 0]);
}

fn condition_of_phase(tcp: &TenantControlPlane) -> String {
    let resources = tcp.status.as_ref().and_then(|status| status.kubernetes_resources.as_ref());
    let version = resources.and_then(|resources| resources.version.as_ref());
    version.map(|version| format!("{:?}", version.status)).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_somebody_elses_is_refused_and_left_alone() {
    let (lane, other) = ground().await;
    let _operator = lane.operator().await.unwrap();
    let (tcp, node) = settled(&lane).await;
    let uid = tcp.uid().unwrap();
    let root = Postgres::shared().await.unwrap().superuser("postgres").await.unwrap();
    root.batch_execute(&format!("CREATE DATABASE \"{uid}\"")).await.unwrap();
    send(&lane, &other).await;
    told(&lane, &node, "False/MigrationFailed").await;
    put(&lane, &tcp, "two").await.unwrap();
    assert_eq!(in_postgres(&tcp).await, [format!("database {uid}")]);
    no_errand_is_left(&lane, &tcp).await;
    root.batch_execute(&format!("DROP DATABASE \"{uid}\"")).await.unwrap();
}

/// `owner` has the name in a datastore of the authority that the lane's own has, `blue` in one of another.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_in_whose_realm_another_has_the_user_name_is_refused_before_the_fence() {
    let lane = Lane::new().await.unwrap();
    let twin = Etcd::start_under(lane.etcd.authority(), &[]).await.unwrap();
    let apart = Etcd::start().await.unwrap();
    let user = format!("{}u", lane.namespace);
    for (tenant, name, etcd) in [("owner", "twin", &twin), ("blue", "apart", &apart)] {
        let endpoint = etcd.endpoint().to_string();
        let data_store = lane.put_further_data_store(name, etcd, &endpoint).await.unwrap();
        let mut manifest = lane.manifest(tenant);
        manifest["spec"]["dataStore"] = json!(data_store);
        manifest["spec"]["dataStoreUsername"] = json!(user);
        lane.create(&manifest).await.unwrap();
    }
    let operator = lane.operator().await.unwrap();
    lane.converged("owner").await.unwrap();
    let tcp = lane.converged("blue").await.unwrap();
    send(&lane, &lane.data_store).await;
    let refused = |tcp: &TenantControlPlane| condition(tcp, "Migration") == "False/MigrationRefused";
    let refused = lane.tenant_that("blue", "refused", refused).await.unwrap();
    let why = message(&refused, "Migration");
    assert!(why.contains(&format!("user name {user} belongs to another tenant")), "{why}");
    operator.silence(MOMENT).await.unwrap();
    no_errand_is_left(&lane, &tcp).await;
    let refused = lane.tenants().get("blue").await.unwrap();
    assert_eq!(refused.status.unwrap().storage.unwrap().migration, None);
    let key = format!("/{}/configmaps/default/two", tcp.uid().unwrap());
    apart.client(&user).await.unwrap().put(key, "two", None).await.unwrap();
    let users = lane.etcd.root().await.unwrap().user_list().await.unwrap();
    assert!(!users.users().contains(&user), "{:?}", users.users());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_deleted_on_its_way_leaves_nothing() {
    let (lane, other) = ground().await;
    let _operator = lane.operator().await.unwrap();
    let (tcp, node) = settled(&lane).await;
    lingering_pod(&lane).await;
    send(&lane, &other).await;
    told(&lane, &node, "False/MigrationSwitching").await;
    lane.delete("blue").await.unwrap();
    wait_gone(&lane.tenants(), "blue").await.unwrap();
    assert_eq!(in_etcd(&lane, &tcp).await, "");
    assert_eq!(in_postgres(&tcp).await, [""; 0]);
    no_errand_is_left(&lane, &tcp).await;
}
