//! Every request fails once, in every way.

use futures::future::join_all;
use kamaji_e2e::{
    cut::{Fault, Wire},
    digest::digest,
    operator::Lane,
};

use crate::{MOMENT, SILENCE, crash::difference};

const fn refusal(code: u16, reason: &'static str, retry_after: Option<u32>) -> Fault {
    Fault::Refusal { code, reason, retry_after }
}

const FAULTS: [Fault; 5] = [
    refusal(500, "InternalError", None),
    refusal(503, "ServiceUnavailable", None),
    refusal(429, "TooManyRequests", Some(1)),
    refusal(409, "Conflict", None),
    Fault::Reset,
];

#[tokio::test(flavor = "multi_thread")]
async fn a_provisioning_whose_every_request_fails_once_ends_as_an_undisturbed_one() {
    let (undisturbed, healthy) = provision(None).await;
    let disturbed = join_all(FAULTS.map(|fault| Box::pin(provision(Some(fault))))).await;
    for (fault, (reached, requests)) in FAULTS.iter().zip(disturbed) {
        println!("{fault:?}: {requests} requests, {healthy} without faults");
        assert!(reached == undisturbed, "{fault:?}: {}", difference(&undisturbed, &reached));
        assert!(requests <= 6 * healthy, "{fault:?}: {requests} requests instead of {healthy}");
    }
}

/// The digest, and how many requests it took from nothing to silence.
async fn provision(fault: Option<Fault>) -> (String, usize) {
    let lane = Lane::new().await.unwrap();
    let wire = Wire::new();
    if let Some(fault) = fault {
        wire.fail_each_once(fault);
    }
    let operator = lane.operator_over(wire.clone()).await.unwrap();
    lane.tenant("blue").await.unwrap();
    let started = std::time::Instant::now();
    lane.converged("blue").await.unwrap_or_else(|error| panic!("{fault:?}: {error:#}"));
    println!("{fault:?}: converged after {:?}", started.elapsed());
    // Calls that are made later, for Events and the DataStore's status, fail too.
    operator.silence(if fault.is_some() { SILENCE } else { MOMENT }).await.unwrap();
    let requests = wire.requests();
    operator.kill().await;
    (digest(&lane, "blue").await.unwrap(), requests)
}
