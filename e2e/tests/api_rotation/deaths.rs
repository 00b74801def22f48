//! An operator may die after any write of a rotation, there and back, and the next one goes on.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_e2e::{
    cut::{Moment, Wire},
    operator::{
        Lane, condition,
        kubelet::{self, TenantApiServer},
    },
};
use kube::ResourceExt;

use crate::tenant::{ANCHORS, anchors, ask, give_up_the_others, told};

/// How often the kubelet looks.
const INTERVAL: Duration = Duration::from_millis(100);
/// A life ends after up to so many writes. Before a pass changes a Secret it tells in an Event which it will, so one that always
/// died after a few would never come further.
const SPAN: usize = 31;
/// How much longer each life is than the one before; with no divisor in common with the span, so that they end everywhere.
const STRIDE: usize = 3;
/// More lives than any rotation needs.
const LIVES: usize = 200;

/// Plays the kubelet: the files of the running API server are what the Secrets say, and every Pod is ready soon.
async fn play_kubelet(lane: &Lane, server: &TenantApiServer) {
    loop {
        let deployment = lane.objects::<Deployment>().get("blue").await.unwrap();
        server.refresh(lane, "blue").await.unwrap();
        let observed = deployment.status.as_ref().and_then(|status| status.observed_generation);
        if observed != deployment.metadata.generation {
            kubelet::report_ready(lane, "blue").await.unwrap();
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Operators live and die, each after a few writes, until the condition says this; how many there were.
async fn lives_until(lane: &Lane, state: &str) -> usize {
    for life in 0..LIVES {
        let wire = Wire::new();
        wire.cut_at(life * STRIDE % SPAN, Moment::After);
        let operator = lane.operator_over(wire.clone()).await.unwrap();
        let reached = tokio::select! {
            () = wire.until_cut() => false,
            _ = told(lane, state, "") => true,
        };
        operator.kill().await;
        let tcp = lane.tenants().get("blue").await.unwrap();
        assert_ne!(condition(&tcp, "TrustAnchors"), "False/TrustAnchorReplaced", "in life {life}");
        if reached {
            return life;
        }
    }
    panic!("{state} is not reached in {LIVES} lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_dies_after_every_few_writes_rotates_and_takes_back() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    let tcp = lane.tenant("blue").await.unwrap();
    lane.converged("blue").await.unwrap();
    let server = kubelet::run_api_server(&lane, "blue").await.unwrap();
    kubelet::report_ready(&lane, "blue").await.unwrap();
    let kept = |tcp: &kamaji_api::v1alpha1::TenantControlPlane| condition(tcp, "Addons") == "True/Kept";
    lane.tenant_that("blue", "kept", kept).await.unwrap();
    operator.kill().await;
    let before = anchors(&lane).await;

    let story = async {
        let mut lives = Vec::new();
        ask(&lane, &ANCHORS[..2]).await;
        lives.push(lives_until(&lane, "False/LastWordAwaited").await);
        ask(&lane, &[]).await;
        // It says the same of the way back, but not before it has turned.
        lives.push(lives_until(&lane, "False/TakingBack").await);
        lives.push(lives_until(&lane, "False/LastWordAwaited").await);
        give_up_the_others(&lane).await;
        lives.push(lives_until(&lane, "True/Settled").await);
        assert_eq!(data(&anchors(&lane).await), data(&before), "nothing is left of what was taken back");
        ask(&lane, &ANCHORS[..2]).await;
        lives.push(lives_until(&lane, "False/LastWordAwaited").await);
        give_up_the_others(&lane).await;
        lives.push(lives_until(&lane, "True/Settled").await);
        println!("lives: {lives:?}");
    };
    tokio::select! {
        () = story => {}
        () = play_kubelet(&lane, &server) => {}
    }
    let after = anchors(&lane).await;
    for (index, (before, after)) in data(&before).iter().zip(&data(&after)).enumerate() {
        assert_eq!(before == after, index == 2, "{index}: of what was not asked for nothing changes");
    }
    assert_eq!(lane.tenants().get("blue").await.unwrap().uid(), tcp.uid());
}

fn data(
    secrets: &[k8s_openapi::api::core::v1::Secret],
) -> Vec<Option<std::collections::BTreeMap<String, k8s_openapi::ByteString>>> {
    secrets.iter().map(|secret| secret.data.clone()).collect()
}
