//! On, off and on again: what is inside is as if the latest spec had been the first.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::v1alpha1::{AddonsStatus, KonnectivityAgentMode, TenantControlPlane};
use kamaji_e2e::operator::{
    Lane,
    cluster::{TenantCluster, kinds},
    kubelet,
};
use kube::api::ApiResource;
use serde_json::{Value, json};

use crate::{
    SILENCE,
    tenant::{all_addons, all_settled, create, kept, make_theirs, owner, versions},
};

type State = BTreeMap<String, Value>;

/// The spec says these add-ons, and the tenant follows.
async fn switched(lane: &Lane, tenant: &TenantCluster, addons: &Value) -> TenantControlPlane {
    let change = json!({ "spec": { "addons": addons } });
    lane.edit::<TenantControlPlane>("blue", &change).await.unwrap();
    let tcp = tenant.kept(lane).await.unwrap();
    // The tunnel is part of the Pod.
    kubelet::report_ready(lane, "blue").await.unwrap();
    tcp
}

fn nothing() -> Value {
    json!({ "coreDNS": null, "kubeProxy": null, "konnectivity": null })
}

/// Which add-ons the status calls enabled: DNS, proxy, agents.
fn enabled(tcp: &TenantControlPlane) -> [bool; 3] {
    let AddonsStatus { core_dns, kube_proxy, konnectivity } =
        tcp.status.as_ref().unwrap().addons.clone().unwrap_or_default();
    let on = |status: Option<kamaji_api::v1alpha1::AddonStatus>| status.is_some_and(|status| status.enabled);
    [on(core_dns), on(kube_proxy), konnectivity.is_some_and(|tunnel| tunnel.agent.is_some())]
}

fn assert_same(one: &State, other: &State, what: &str) {
    let differing = one.iter().filter(|(id, object)| other.get(*id) != Some(object)).map(|(id, _)| id);
    let added = other.keys().filter(|id| !one.contains_key(*id));
    let differing: Vec<&String> = differing.chain(added).collect();
    assert!(
        differing.is_empty(),
        "{what}: {differing:?}, as {:?} and {:?}",
        one.get(differing[0]),
        other.get(differing[0])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_leaves_nothing_and_ends_as_a_fresh_tenant() {
    let (lane, operator, tenant) = kept(&json!({})).await;
    let possible = kamaji_addons::possible(&tenant.interior(&lane).await.unwrap());
    let kinds: Vec<ApiResource> = kinds(&possible);
    let theirs = make_theirs(&tenant, &possible).await;
    let (never, untouched) = (tenant.state(&kinds).await.unwrap(), versions(&tenant, &theirs).await);

    let tcp = switched(&lane, &tenant, &all_addons()).await;
    assert_eq!(enabled(&tcp), [true; 3]);
    let fresh = tenant.state(&kinds).await.unwrap();
    let added: Vec<&String> = fresh.keys().filter(|id| !never.contains_key(*id)).collect();
    println!("{} objects: {added:?}", added.len());
    let desired = tenant.desired(&lane).await.unwrap();
    all_settled(&tenant, &desired, "the beginning").await;

    // One after the other, and all at once.
    for (off, left) in [
        ("coreDNS", [false, true, true]),
        ("kubeProxy", [true, false, true]),
        ("konnectivity", [true, true, false]),
    ] {
        let tcp = switched(&lane, &tenant, &json!({ (off): null })).await;
        assert_eq!(enabled(&tcp), left, "{off}");
        let now = tenant.state(&kinds).await.unwrap();
        assert!(now.len() < fresh.len() && now.len() > never.len(), "{off}");
        let tcp = switched(&lane, &tenant, &json!({ (off): {} })).await;
        assert_eq!(enabled(&tcp), [true; 3], "{off}");
        assert_same(&fresh, &tenant.state(&kinds).await.unwrap(), off);
    }
    let tcp = switched(&lane, &tenant, &nothing()).await;
    assert_eq!(enabled(&tcp), [false; 3]);
    assert_same(&never, &tenant.state(&kinds).await.unwrap(), "nothing is left");
    switched(&lane, &tenant, &all_addons()).await;
    assert_same(&fresh, &tenant.state(&kinds).await.unwrap(), "as fresh");
    assert_eq!(versions(&tenant, &theirs).await, untouched);
    operator.silence(SILENCE).await.unwrap();
}

/// What somebody who wrote with POST has left under our names goes with the first look, when it is not wanted.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_go_operator_has_left_goes_and_what_is_wanted_is_taken_over() {
    let (lane, operator, tenant) = kept(&json!({})).await;
    let possible = kamaji_addons::possible(&tenant.interior(&lane).await.unwrap());
    let kinds = kinds(&possible);
    let theirs = make_theirs(&tenant, &possible).await;
    let (never, untouched) = (tenant.state(&kinds).await.unwrap(), versions(&tenant, &theirs).await);
    operator.kill().await;
    leave(&tenant, &possible).await;
    let operator = lane.operator().await.unwrap();
    crate::tenant::until("what is left goes", async || {
        tenant.state(&kinds).await.unwrap().len() == never.len()
    })
    .await;
    assert_same(&never, &tenant.state(&kinds).await.unwrap(), "what the Go operator left");
    assert_eq!(versions(&tenant, &theirs).await, untouched);

    operator.kill().await;
    leave(&tenant, &possible).await;
    lane.edit::<TenantControlPlane>("blue", &json!({ "spec": { "addons": all_addons() } })).await.unwrap();
    let _operator = lane.operator().await.unwrap();
    let desired = tenant.desired(&lane).await.unwrap();
    all_settled(&tenant, &desired, "being taken over").await;
    tenant.kept(&lane).await.unwrap();
    let agents =
        |state: &State| state.keys().filter(|id| id.ends_with("/konnectivity-agent")).cloned().collect();
    let agents: Vec<String> = agents(&tenant.state(&kinds).await.unwrap());
    assert_eq!(
        agents,
        ["DaemonSet kube-system/konnectivity-agent", "ServiceAccount kube-system/konnectivity-agent"]
    );
    assert_eq!(versions(&tenant, &theirs).await, untouched);
}

/// Everything that add-ons could have made, as the Go operator would have made it.
async fn leave(tenant: &TenantCluster, possible: &[kamaji_addons::Object]) {
    let mut made = Vec::new();
    for object in possible {
        // Its limits it kept elsewhere.
        let is_limit = object.identity().group == "admissionregistration.k8s.io";
        if is_limit || made.contains(&object.identity()) {
            continue;
        }
        let binding =
            if object.identity().name.contains("dns") { "system:coredns" } else { "kubeadm:node-proxier" };
        let mut left = object.desired.clone();
        left.metadata = ObjectMeta { owner_references: Some(vec![owner(binding)]), ..left.metadata };
        create(tenant, object, &left, "kamaji").await;
        made.push(object.identity());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_of_one_kind_however_often_it_changes() {
    let (lane, _operator, tenant) = kept(&json!({ "konnectivity": {} })).await;
    let kinds = kinds(&kamaji_addons::possible(&tenant.interior(&lane).await.unwrap()));
    let mut seen: BTreeMap<&str, State> = BTreeMap::new();
    for round in 0..20 {
        let mode = if round % 2 == 0 { "Deployment" } else { "DaemonSet" };
        let tcp = switched(&lane, &tenant, &json!({ "konnectivity": { "agent": { "mode": mode } } })).await;
        let reported = tcp.status.unwrap().addons.unwrap().konnectivity.unwrap().agent.unwrap().mode;
        let expected =
            if round % 2 == 0 { KonnectivityAgentMode::Deployment } else { KonnectivityAgentMode::DaemonSet };
        assert_eq!(reported, Some(expected));
        let state = tenant.state(&kinds).await.unwrap();
        let workloads: Vec<&String> = state
            .keys()
            .filter(|id| id.starts_with('D') && id.ends_with("kube-system/konnectivity-agent"))
            .collect();
        assert_eq!(workloads, [&format!("{mode} kube-system/konnectivity-agent")], "round {round}");
        match seen.get(mode) {
            Some(first) => assert_same(first, &state, mode),
            None => drop(seen.insert(mode, state)),
        }
    }
}
