//! Where nothing happens nothing is asked, and who never gives in is answered more and more seldom.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use kamaji_e2e::operator::{
    cluster::{TenantCluster, kinds},
    kubelet::Audited,
};
use kube::{ResourceExt, api::Patch};
use serde_json::json;

use crate::{
    SILENCE,
    tenant::{all_addons, create, delete, kept, patch, settled, until},
};

/// How long nothing may happen.
const QUIET: Duration = Duration::from_secs(10);
/// How long somebody fights, and from one blow to the next.
const FIGHT: Duration = Duration::from_secs(12);
const BLOW: Duration = Duration::from_millis(50);
/// Answers to the first blows, and then one each 5 s; and one for the border of an interval.
const ANSWERS: usize = 6 + 12 / 5 + 1;
/// How many objects of others there are, and how many of them are made at the same time.
const CROWD: usize = 600;
const AT_ONCE: usize = 20;

fn writes(audited: &[Audited]) -> Vec<&Audited> {
    audited.iter().filter(|request| request.is_write()).collect()
}

async fn versions(tenant: &TenantCluster, kinds: &[kube::api::ApiResource]) -> Vec<(String, Option<String>)> {
    let everything = tenant.everything(kinds).await.unwrap();
    everything.into_iter().map(|(id, object)| (id, object.resource_version())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_is_kept_is_left_in_peace_also_by_a_new_operator() {
    let (lane, operator, tenant) = kept(&all_addons()).await;
    operator.silence(SILENCE).await.unwrap();
    let kinds = kinds(&tenant.desired(&lane).await.unwrap());
    let before = versions(&tenant, &kinds).await;
    let (heard, asked) = (tenant.server.audited().unwrap(), operator.wire.requests());
    operator.wire.clear();
    println!("{} requests to set up a tenant, {} of them writes", heard.len(), writes(&heard).len());
    // Nothing is waited for here but the time itself.
    tokio::time::sleep(QUIET).await;
    assert_eq!(tenant.server.audited().unwrap()[heard.len()..], [], "in {QUIET:?}");
    assert_eq!((operator.wire.requests(), operator.wire.writes()), (0, vec![]), "after {asked}");
    operator.stop().await.unwrap();

    let heard = tenant.server.audited().unwrap();
    for round in 0..3 {
        let operator = lane.operator().await.unwrap();
        let from = tenant.server.audited().unwrap().len();
        let begun = |request: &Audited| request.verb == "watch" && request.stage == "ResponseStarted";
        until("the new operator watches", async || {
            let now = tenant.server.audited().unwrap();
            now[from..].iter().filter(|request| begun(request)).count() >= kinds.len()
        })
        .await;
        operator.silence(SILENCE).await.unwrap();
        assert_eq!(operator.wire.writes(), [], "restart {round}");
        operator.kill().await;
    }
    assert_eq!(writes(&tenant.server.audited().unwrap()[heard.len()..]), [] as [&Audited; 0]);
    assert_eq!(versions(&tenant, &kinds).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_undoes_every_repair_is_answered_seldom_and_loses_in_the_end() {
    let (lane, operator, tenant) = kept(&all_addons()).await;
    operator.silence(SILENCE).await.unwrap();
    let desired = tenant.desired(&lane).await.unwrap();
    let object = desired.iter().find(|object| object.resource.plural == "deployments").unwrap();
    let neighbour = desired.iter().find(|object| object.identity().name == "kube-dns").unwrap();
    let heard = tenant.server.audited().unwrap().len();
    operator.wire.clear();
    let begin = Instant::now();
    let mut blows = tokio::time::interval(BLOW);
    let mut count = 0;
    while begin.elapsed() < FIGHT {
        blows.tick().await;
        let image = json!([{ "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": format!("x:{count}") }]);
        patch(&tenant, object, &Patch::Json(serde_json::from_value(image).unwrap())).await;
        count += 1;
        if count == 40 {
            // The rest of the tenant does not wait for the end of the fight.
            patch(
                &tenant,
                neighbour,
                &Patch::Merge(json!({ "spec": { "selector": { "k8s-app": "theirs" } } })),
            )
            .await;
        }
    }
    assert!(tenant.is_settled(neighbour).await.unwrap(), "the neighbour was repaired meanwhile");
    let audited = tenant.server.audited().unwrap();
    let path = format!("/deployments/{}", object.identity().name);
    let answers = writes(&audited[heard..]).into_iter().filter(|request| request.uri.contains(&path)).count();
    println!(
        "{answers} answers to {count} blows, {} writes to the management cluster",
        operator.wire.writes().len()
    );
    assert!(answers > 0 && answers <= ANSWERS, "{answers} answers to {count} blows");
    assert!(operator.wire.writes().len() <= 2, "{:?}", operator.wire.writes());
    settled(&tenant, object, "the fight").await;
    tenant.kept(&lane).await.unwrap();
}

/// Somebody runs Kamaji inside a tenant, or only likes our label.
#[tokio::test(flavor = "multi_thread")]
async fn many_objects_of_others_with_our_label_hinder_no_repair() {
    let (lane, operator, tenant) = kept(&all_addons()).await;
    let desired = tenant.desired(&lane).await.unwrap();
    let model = desired.iter().find(|object| object.identity().name == "kubeadm-config").unwrap();
    let others = stream::iter(0..CROWD).for_each_concurrent(AT_ONCE, |number| {
        let mut other = model.clone();
        // Some come before ours in a list, and some after.
        let first = if number % 2 == 0 { 'a' } else { 'z' };
        other.desired.metadata.name = Some(format!("{first}-{number}"));
        let tenant = &tenant;
        async move { create(tenant, &other, &other.desired, "somebody").await }
    });
    let repaired = async {
        delete(&tenant, model).await;
        settled(&tenant, model, "a deletion in a crowd").await;
    };
    tokio::join!(others, repaired);
    operator.kill().await;
    let objects = desired.iter().filter(|object| object.resource.plural == "configmaps");
    for object in objects.clone() {
        delete(&tenant, object).await;
    }
    let heard = tenant.server.audited().unwrap().len();
    let operator = lane.operator().await.unwrap();
    for object in objects.clone() {
        settled(&tenant, object, "an absence").await;
    }
    tenant.kept(&lane).await.unwrap();
    operator.silence(SILENCE).await.unwrap();
    let audited = tenant.server.audited().unwrap();
    let pages = audited[heard..].iter().filter(|request| request.uri.contains("continue=")).count();
    println!("{pages} more pages for {CROWD} objects of others");
    assert!(pages + 1 >= CROWD / 20, "{pages} pages");
    assert_eq!(writes(&audited[heard..]).len(), objects.count(), "ours, and nobody else's");
}
