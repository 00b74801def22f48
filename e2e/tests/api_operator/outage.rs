//! The management cluster's API server does not answer for a while, and comes back. The operator has the client here that it
//! has when it runs as a program.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::Child;
use kamaji_client::{Bounds, connect};
use kamaji_e2e::{
    api_server::ApiServer,
    cut::Wire,
    operator::{Lane, Operator, options, wait_for},
};
use kamaji_operator::Options;
use kube::{ResourceExt, api::DeleteParams};
use rustix::process::Signal;
use xtask::wait::http_ok;

/// Longer than the Lease lasts.
const OUTAGE: Duration = Duration::from_secs(20);
/// From the return of the API server to the first useful write.
const BACK: Duration = Duration::from_secs(20);
/// From one look at the operator's health to the next.
const INTERVAL: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_stopped_is_served_again_within_20_s() {
    let (lane, operator) = leader().await;
    lane.api.signal(Signal::STOP).unwrap();
    operator.lives_through_it().await;
    let back = Instant::now();
    lane.api.signal(Signal::CONT).unwrap();
    useful_again(&lane, back).await;
    operator.is_ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_killed_is_served_again_within_20_s() {
    let (lane, operator) = leader().await;
    lane.api.signal(Signal::KILL).unwrap();
    operator.lives_through_it().await;
    let _again = lane.api.start_again().unwrap();
    // It has returned when it answers, which takes it some seconds.
    while lane.client.apiserver_version().await.is_err() {
        tokio::time::sleep(INTERVAL).await;
    }
    useful_again(&lane, Instant::now()).await;
    operator.is_ready().await;
}

/// An operator that has the Lease, and whose health can be asked for.
struct Leader {
    health: SocketAddr,
    _operator: Operator,
}

impl Leader {
    /// It is alive all the time, and not ready in the end.
    async fn lives_through_it(&self) {
        let begin = Instant::now();
        while begin.elapsed() < OUTAGE {
            assert!(self.says("/healthz").await, "not alive after {:?}", begin.elapsed());
            tokio::time::sleep(INTERVAL).await;
        }
        assert!(!self.says("/readyz").await, "it is called ready while it can do nothing");
    }

    async fn is_ready(&self) {
        assert!(self.says("/healthz").await && self.says("/readyz").await);
    }

    async fn says(&self, path: &'static str) -> bool {
        let health = self.health;
        tokio::task::spawn_blocking(move || http_ok(health, path)).await.unwrap()
    }
}

/// A tenant that is as it should be, on an API server that nobody else needs.
async fn leader() -> (Lane, Leader) {
    // It lives as long as this process does, and its processes no longer.
    let api: &'static ApiServer = Box::leak(Box::new(ApiServer::start().await.unwrap()));
    let lane = Lane::alone_on(api).await.unwrap();
    let health = free_address();
    let options =
        Options { lease_namespace: Some(lane.namespace.clone()), health: Some(health), ..options() };
    let client = connect(&api.config().await.unwrap(), Bounds::default()).unwrap();
    let operator = Operator::start(Wire::new(), client, options);
    lane.tenant("blue").await.unwrap();
    lane.converged("blue").await.unwrap();
    (lane, Leader { health, _operator: operator })
}

/// What is deleted as soon as that is possible is made again in time.
async fn useful_again(lane: &Lane, back: Instant) {
    let name = Child::SchedulerKubeconfig.name("blue");
    let secrets = lane.objects::<Secret>();
    let old = secrets.get(&name).await.unwrap().uid();
    secrets.delete(&name, &DeleteParams::default()).await.unwrap();
    let is_new = |secret: &Secret| secret.uid() != old;
    let made = tokio::time::timeout(BACK, wait_for(&secrets, &name, "made again", is_new)).await;
    let took = back.elapsed();
    made.expect("made again in time").unwrap();
    println!("useful {:.1} s after the API server was back", took.as_secs_f64());
    assert!(took < BACK, "{took:?}");
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
