//! On, off and on again: each time one change of the Pods, and nothing is left of what was.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{Child, labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::operator::{Lane, Operator, condition, wait_gone};
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::{
    MOMENT, SILENCE,
    state::{self, State, TUNNEL, alike, enabled, manifest, report_pods, tunnel_of},
};

/// Asks for it, or no longer, and waits until the status says so and nobody writes any more.
async fn switched(lane: &Lane, operator: &Operator, wish: Value) -> (TenantControlPlane, Vec<String>) {
    operator.wire.clear();
    let on = !wish.is_null();
    let asked: TenantControlPlane =
        lane.edit("blue", &json!({ "spec": { "addons": { "konnectivity": wish } } })).await.unwrap();
    let done = |tcp: &TenantControlPlane| {
        let observed = tcp.status.iter().flat_map(|status| &status.conditions).any(|condition| {
            condition.type_ == "ControlPlane" && condition.observed_generation == asked.metadata.generation
        });
        observed && enabled(tcp) == Some(on)
    };
    let tcp = lane.tenant_that("blue", "switched", done).await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    (tcp, written(operator))
}

fn written(operator: &Operator) -> Vec<String> {
    let writes = operator.wire.writes();
    let last = |path: &str| {
        path.split('/').skip_while(|part| *part != "namespaces").skip(2).collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<String> =
        writes.iter().map(|write| format!("{} {}", write.method, last(&write.path))).collect();
    lines.retain(|line| !line.contains("events") && !line.contains("tenantcontrolplanes"));
    lines.sort();
    lines
}

async fn generation(lane: &Lane) -> Option<i64> {
    lane.objects::<Deployment>().get("blue").await.unwrap().metadata.generation
}

async fn is_quiet(operator: &Operator) {
    operator.silence(MOMENT).await.unwrap();
    operator.wire.clear();
    operator.silence(SILENCE).await.unwrap();
    assert_eq!(operator.wire.writes(), []);
}

async fn assert_on(lane: &Lane, tcp: &TenantControlPlane) -> State {
    let state = state::of(lane, "blue").await;
    assert_eq!(tunnel_of(&state), TUNNEL);
    for (name, object) in &state {
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], json!(tcp.metadata.uid), "{name}");
    }
    let ports = &state["Service blue"]["spec"]["ports"];
    assert_eq!((&ports[1]["name"], &ports[1]["port"]), (&json!("konnectivity-server"), &json!(8132)));
    let status = tcp.status.as_ref().unwrap().addons.clone().unwrap().konnectivity.unwrap();
    assert_eq!(status.certificate.unwrap().secret_name.as_deref(), Some("blue-konnectivity-certificate"));
    assert_eq!(status.kubeconfig.unwrap().secret_name.as_deref(), Some("blue-konnectivity-kubeconfig"));
    assert_eq!(
        status.config_map.unwrap().name.as_deref(),
        Some("blue-konnectivity-egress-selector-configuration")
    );
    assert_eq!(status.service.unwrap().port, 8132);
    state
}

#[tokio::test(flavor = "multi_thread")]
async fn switching_it_changes_the_pods_once_and_leaves_nothing() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.tenant("blue").await.unwrap();
    lane.converged("blue").await.unwrap();
    report_pods(&lane, "blue", 1).await;
    is_quiet(&operator).await;
    let never = state::of(&lane, "blue").await;
    assert_eq!((tunnel_of(&never), generation(&lane).await), (vec![], Some(1)));

    let (tcp, writes) = switched(&lane, &operator, json!({})).await;
    println!("on: {writes:#?}");
    assert_eq!(
        writes,
        [
            "PATCH configmaps blue-konnectivity-egress-selector-configuration",
            "PATCH deployments blue",
            "PATCH secrets blue-konnectivity-certificate",
            "PATCH secrets blue-konnectivity-kubeconfig",
            "PATCH secrets blue-konnectivity-server-certificate",
            "PATCH services blue",
        ]
    );
    let first = assert_on(&lane, &tcp).await;
    assert_eq!(generation(&lane).await, Some(2));
    report_pods(&lane, "blue", 1).await;
    is_quiet(&operator).await;

    // While Pods of the earlier template are there, what they read stays.
    let (_, writes) = switched(&lane, &operator, Value::Null).await;
    assert_eq!(writes, ["PATCH deployments blue", "PATCH services blue"]);
    assert_eq!(generation(&lane).await, Some(3));
    assert_eq!(tunnel_of(&state::of(&lane, "blue").await), TUNNEL);
    report_pods(&lane, "blue", 0).await;
    is_quiet(&operator).await;
    assert_eq!(tunnel_of(&state::of(&lane, "blue").await), TUNNEL);
    report_pods(&lane, "blue", 1).await;
    wait_gone(&lane.objects::<ConfigMap>(), &Child::EgressSelector.name("blue")).await.unwrap();
    for child in [Child::KonnectivityCertificate, Child::KonnectivityKubeconfig, Child::KonnectivityServer] {
        wait_gone(&lane.objects::<Secret>(), &child.name("blue")).await.unwrap();
    }
    is_quiet(&operator).await;
    assert_eq!(state::of(&lane, "blue").await, never, "as if it had never been");
    assert_nothing_is_owned(&lane).await;
    assert_eq!(generation(&lane).await, Some(3));

    let (tcp, _) = switched(&lane, &operator, json!({})).await;
    let second = assert_on(&lane, &tcp).await;
    assert_eq!(generation(&lane).await, Some(4));
    is_quiet(&operator).await;
    assert_eq!(alike(&second, &tcp), alike(&first, &tcp));
    assert_ne!(second[TUNNEL[1]], first[TUNNEL[1]], "a new certificate");

    let green = lane.create(&manifest(&lane, "green")).await.unwrap();
    lane.converged("green").await.unwrap();
    is_quiet(&operator).await;
    assert_eq!(alike(&second, &tcp), alike(&state::of(&lane, "green").await, &green), "as fresh");
    let fresh = lane.objects::<Deployment>().get("green").await.unwrap();
    assert_eq!(fresh.metadata.generation, Some(1), "one Deployment, written once");
}

/// Not even the list of what we own mentions it.
async fn assert_nothing_is_owned(lane: &Lane) {
    let service = lane.objects::<Service>().get("blue").await.unwrap();
    let deployment = lane.objects::<Deployment>().get("blue").await.unwrap();
    for text in [serde_json::to_string(&service).unwrap(), serde_json::to_string(&deployment).unwrap()] {
        assert!(!text.contains("konnectivity") && !text.contains("8132"), "{text}");
    }
}

/// Where nobody runs Pods, nobody reads what goes.
#[tokio::test(flavor = "multi_thread")]
async fn without_pods_everything_goes_at_once_and_what_is_not_ours_stays() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue")).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    let (_, writes) = switched(&lane, &operator, Value::Null).await;
    assert_eq!(writes.iter().filter(|line| line.starts_with("DELETE")).count(), 4, "{writes:?}");
    assert_eq!(tunnel_of(&state::of(&lane, "blue").await), [""; 0]);

    // Somebody's own ConfigMap of that name, with our labels.
    let name = Child::EgressSelector.name("blue");
    let theirs: ConfigMap = serde_json::from_value(json!({
        "metadata": { "name": name, "labels": labels::of_child("blue", Child::EgressSelector) },
        "data": { "theirs": "1" },
    }))
    .unwrap();
    lane.objects().create(&PostParams::default(), &theirs).await.unwrap();
    is_quiet(&operator).await;
    let asked = json!({ "spec": { "addons": { "konnectivity": {} } } });
    lane.edit::<TenantControlPlane>("blue", &asked).await.unwrap();
    let conflict = |tcp: &TenantControlPlane| condition(tcp, "Ready") == "False/NameConflict";
    let tcp = lane.tenant_that("blue", "a conflict", conflict).await.unwrap();
    assert_eq!(enabled(&tcp), Some(false), "the Pods are as before");
    assert_eq!(generation(&lane).await, Some(2));
    lane.edit::<TenantControlPlane>("blue", &json!({ "spec": { "addons": { "konnectivity": null } } }))
        .await
        .unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    let kept = lane.objects::<ConfigMap>().get(&name).await.unwrap();
    assert_eq!(kept.data, theirs.data);
    assert_eq!(tunnel_of(&state::of(&lane, "blue").await).len(), 1, "the Secrets have gone again");
}
