//! An upgrade that is tried out, then taken back or completed, may die at any write of each of these steps.

use futures::{StreamExt, stream};
use kamaji_api::{labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::{
    cut::{Moment, Wire},
    digest::digest,
    operator::{
        Lane, condition,
        node::{Node, Pods},
    },
};
use serde_json::{Value, json};

use crate::crash::{AT_ONCE, cuts, difference};

const OLD: &str = "v1.34.4";
const NEW: &str = "v1.35.4";

/// A version, and the one whose behaviour is kept.
type Versions = (&'static str, Option<&'static str>);

/// What is asked for, after what.
const STEPS: [(&[Versions], Versions); 3] = [(&[], TRIAL), (&[TRIAL], (OLD, None)), (&[TRIAL], (NEW, None))];
const TRIAL: Versions = (NEW, Some(OLD));

/// A tenant of the old version whose Pods are counted and serve nobody, so its administrator says that nothing is in the way.
async fn tenant() -> (Lane, Node) {
    let lane = Lane::new().await.unwrap();
    let node = Node::start(&lane, "blue", Pods::Count, "");
    let mut manifest = lane.manifest("blue");
    manifest["metadata"]["annotations"] = json!({ labels::SKIP_PREFLIGHT: NEW });
    manifest["spec"]["kubernetes"]["version"] = json!(OLD);
    lane.create(&manifest).await.unwrap();
    (lane, node)
}

async fn ask(lane: &Lane, (version, emulated): Versions) {
    let wish = json!({ "spec": { "kubernetes": { "version": version, "emulatedVersion": emulated } } });
    lane.edit::<TenantControlPlane>("blue", &wish).await.unwrap();
}

/// Until the status says that these run, for the newest spec.
async fn runs(lane: &Lane, versions: Versions) {
    let holds = |tcp: &TenantControlPlane| {
        let status = serde_json::to_value(&tcp.status).unwrap();
        let told = &status["kubernetesResources"]["version"];
        let is_newest = |condition: &Value| {
            condition["type"] != "ControlPlane"
                || condition["observedGeneration"] == json!(tcp.metadata.generation)
        };
        told["version"] == json!(versions.0)
            && told["emulated"] == json!(versions.1)
            && condition(tcp, "ControlPlane") == "True/RolledOut"
            && status["conditions"].as_array().unwrap().iter().all(is_newest)
    };
    lane.tenant_that("blue", &format!("running {versions:?}"), holds).await.unwrap();
}

/// What the tenant is like once it has been noticed that nobody serves.
async fn digest_at_last(lane: &Lane) -> String {
    let noticed = |tcp: &TenantControlPlane| condition(tcp, "Ready") == "False/TenantUnreachable";
    lane.tenant_that("blue", "unreachable", noticed).await.unwrap();
    digest(lane, "blue").await.unwrap()
}

/// The tenant once it has become all this, and nobody looks after it.
async fn after(steps: &[Versions]) -> (Lane, Node) {
    let (lane, node) = tenant().await;
    let operator = lane.operator().await.unwrap();
    runs(&lane, (OLD, None)).await;
    for versions in steps {
        ask(&lane, *versions).await;
        runs(&lane, *versions).await;
    }
    operator.silence(crate::MOMENT).await.unwrap();
    operator.kill().await;
    (lane, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_dies_at_any_write_ends_as_an_undisturbed_one() {
    let mut crashes = Vec::new();
    for (before, versions) in STEPS {
        let (lane, _node) = after(before).await;
        let wire = Wire::new();
        let operator = lane.operator_over(wire.clone()).await.unwrap();
        operator.silence(crate::SILENCE).await.unwrap();
        wire.clear();
        ask(&lane, versions).await;
        runs(&lane, versions).await;
        operator.silence(crate::SILENCE).await.unwrap();
        let writes = wire.writes();
        println!("{versions:?}: {writes:?}");
        assert!(!writes.is_empty());
        let undisturbed = digest_at_last(&lane).await;
        operator.kill().await;
        // What is lost before a write is lost after the one before it.
        let cuts = cuts(writes.len()).filter(|cut| cut.1 == Moment::After || cut.0 == 0);
        crashes.extend(cuts.map(|cut| ((before, versions), cut, undisturbed.clone())));
    }
    let count = crashes.len();
    let sweep = stream::iter(crashes).for_each_concurrent(AT_ONCE, |(step, cut, undisturbed)| {
        Box::pin(async move {
            let reached = with_a_crash(step, cut).await;
            assert!(
                reached == undisturbed,
                "{:?}, cut {cut:?}: {}",
                step.1,
                difference(&undisturbed, &reached)
            );
        })
    });
    sweep.await;
    println!("{count} crashes");
}

async fn with_a_crash(
    (before, versions): (&[Versions], Versions),
    (number, moment): (usize, Moment),
) -> String {
    let (lane, _node) = after(before).await;
    let wire = Wire::new();
    let operator = lane.operator_over(wire.clone()).await.unwrap();
    operator.silence(crate::MOMENT).await.unwrap();
    wire.clear();
    wire.cut_at(number, moment);
    ask(&lane, versions).await;
    tokio::select! {
        () = wire.until_cut() => {}
        () = runs(&lane, versions) => {}
    }
    operator.kill().await;
    let operator = lane.operator().await.unwrap();
    runs(&lane, versions).await;
    operator.silence(crate::MOMENT).await.unwrap();
    let reached = digest_at_last(&lane).await;
    operator.kill().await;
    reached
}
