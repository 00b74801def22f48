//! Tenants that are dark, broken or hostile: they are named, their neighbour notices nothing, and they recover.
//!
//! A file of its own, so that nothing else takes memory in the process whose memory is looked at.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]
#![expect(clippy::print_stdout, reason = "figures for who reads the output of a run")]

#[path = "api_session_hostile/bad.rs"]
mod bad;
#[path = "api_session_hostile/memory.rs"]
mod memory;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::SignedDuration;
use kamaji_e2e::{
    etcd,
    operator::{
        Lane, Operator,
        cluster::TenantCluster,
        front::{Impostor, Manners, Mode},
    },
};
use kamaji_pki::Authority;
use kube::{ResourceExt, api::DeleteParams};
use serde_json::json;

use self::{bad::Bad, memory::Memory};

/// How long it may take until a fault of a tenant that was well is named.
const NAMED: Duration = Duration::from_secs(20);
/// How long it may take until it is named when one fault follows another: then the operator looks less often.
const NAMED_AT_LAST: Duration = Duration::from_secs(30);
/// How long it may take until a tenant is kept again after its fault has ended.
const RECOVERED: Duration = Duration::from_secs(30);
/// How long the neighbour's repair may take, whatever happens elsewhere, on a machine that is busy with this test.
const REPAIRED: Duration = Duration::from_secs(8);
/// How much memory all of this may take, in bytes.
const MEMORY: u64 = 32 << 20;

async fn tenant(lane: &Lane, name: &str) -> Bad {
    let mut manifest = lane.manifest(name);
    manifest["spec"]["addons"] = json!({ "coreDNS": {}, "kubeProxy": {}, "konnectivity": {} });
    let (cluster, front) = TenantCluster::start_behind_front(lane, &manifest).await.unwrap();
    cluster.kept(lane).await.unwrap();
    Bad { lane: lane.clone(), cluster, front }
}

/// Repairs the neighbour's objects again and again until it is told that all is over; the slowest repair of all.
async fn neighbour(lane: &Lane, neighbour: &TenantCluster, over: &tokio::sync::Notify) -> (usize, Duration) {
    let desired = neighbour.desired(lane).await.unwrap();
    // Each of them seldom enough that nobody takes it for a quarrel.
    let mut objects = desired.iter().cycle();
    let (mut count, mut slowest) = (0, Duration::ZERO);
    loop {
        let object = objects.next().unwrap();
        let identity = object.identity();
        let api = neighbour.api(&object.resource, &identity);
        let before = neighbour.live(object).await.unwrap().unwrap();
        let begin = Instant::now();
        api.delete(&identity.name, &DeleteParams::background()).await.unwrap();
        while neighbour.live(object).await.unwrap().is_none_or(|live| live.uid() == before.uid()) {
            assert!(begin.elapsed() < REPAIRED, "{identity:?} is not repaired although its tenant is well");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slowest = slowest.max(begin.elapsed());
        count += 1;
        tokio::select! {
            () = over.notified() => return (count, slowest),
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bad_tenants_are_named_cost_their_neighbour_nothing_and_recover() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    let mut manifest = lane.manifest("good");
    manifest["spec"]["addons"] = json!({ "coreDNS": {}, "kubeProxy": {}, "konnectivity": {} });
    let good = TenantCluster::start(&lane, &manifest).await.unwrap();
    good.kept(&lane).await.unwrap();
    let (one, two, three) = tokio::join!(tenant(&lane, "one"), tenant(&lane, "two"), tenant(&lane, "three"));
    operator.silence(Duration::from_secs(1)).await.unwrap();

    let over = tokio::sync::Notify::new();
    let mut memory = Memory::watched();
    let faults = async {
        tokio::join!(dark(&one), rude(&two, &operator), endless(&three));
        over.notify_one();
    };
    let ((), (count, slowest)) = tokio::join!(faults, neighbour(&lane, &good, &over));
    let grown = memory.growth();
    println!("{count} repairs next door, the slowest took {slowest:?}; {} KiB more memory", grown >> 10);
    assert!(grown < MEMORY, "{} MiB more memory", grown >> 20);
    good.kept(&lane).await.unwrap();
}

/// Those who say nothing.
async fn dark(bad: &Bad) {
    let stop = async |signal: &str| {
        let id = bad.cluster.server.process_id().to_string();
        let done = tokio::process::Command::new("kill").args([signal, &id]).status().await;
        assert!(done.unwrap().success());
    };
    stop("-STOP").await;
    bad.named("stopped", "TenantReachable", "False/TenantUnreachable", "").await;
    stop("-CONT").await;
    bad.recovers("stopped").await;

    bad.front.set(Mode::Silent);
    bad.named("silent", "TenantReachable", "False/TenantUnreachable", "no connection within").await;
    bad.front.set(Mode::Pass);
    bad.recovers("silent").await;

    bad.front.set(Mode::Dark);
    bad.named("dark", "TenantReachable", "False/TenantUnreachable", "").await;
    bad.front.set(Mode::Pass);
    bad.recovers("dark").await;
}

/// Those who answer, and not as they should.
async fn rude(bad: &Bad, operator: &Operator) {
    bad.impostor(Manners::Unavailable).await;
    let written = operator.wire.writes().len();
    bad.named("unavailable", "TenantReachable", "False/TenantUnreachable", "503").await;
    // It says something else each time, which must not hasten the next try.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (asked, written) = (bad.front.requests(), operator.wire.writes().len() - written);
    println!("unavailable: {asked} requests and {written} writes to the management cluster");
    assert!(asked <= 10, "{asked} requests");

    let stranger = Authority::create("stranger", etcd::now(), SignedDuration::from_hours(1)).unwrap();
    let impostor = Impostor::new(&stranger, &bad.host(), Manners::Flood).unwrap();
    let asked = bad.front.requests();
    bad.front.set(Mode::Impostor(Arc::new(impostor)));
    bad.named_at_last("another authority", "TenantReachable", "False/TenantUnreachable", "certificate").await;
    assert_eq!(bad.front.requests(), asked, "nothing is said to a stranger");

    let elsewhere = bad::Trap::set().await;
    bad.impostor(Manners::Redirects(elsewhere.address)).await;
    bad.named_at_last("redirects", "TenantReachable", "False/TenantUnreachable", "302").await;
    assert!(bad.front.requests() > asked);
    assert_eq!(elsewhere.visitors(), 0, "nobody follows");

    bad.impostor(Manners::Drips).await;
    bad.named_at_last("drips", "TenantReachable", "False/TenantUnreachable", "within 10s").await;
    bad.front.set(Mode::Pass);
    bad.recovers("rude").await;
}

/// Those who never come to an end.
async fn endless(bad: &Bad) {
    for (manners, words) in [
        (Manners::EndlessLists, "answer is larger than"),
        (Manners::EndlessEvents, "could not watch"),
        (Manners::Garbage, "expected"),
        (Manners::BriefWatches, "after it had begun"),
        (Manners::DripsLists, "within 10s"),
    ] {
        bad.impostor(manners).await;
        bad.named_at_last(&format!("{manners:?}"), "Addons", "False/Interrupted", words).await;
        println!("{manners:?}: {} requests", bad.front.requests());
    }
    for manners in [Manners::Flood, Manners::Bookmarks] {
        let (asked, connected) = (bad.front.requests(), bad.front.connections());
        bad.impostor(manners).await;
        bad.visited(connected).await;
        // Nothing is wrong with many objects and news, but that they cost too much.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let asked = bad.front.requests() - asked;
        println!("{manners:?}: {asked} requests");
        assert!(asked < 200, "{manners:?}: {asked} requests");
    }
    bad.front.set(Mode::Pass);
    bad.recovers("endless").await;
}
