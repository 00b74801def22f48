//! What tenants take through the operator, which runs in this process, on a real kube-apiserver where nobody runs Pods.

use std::time::{Duration, Instant};

use anyhow::Result;
use kamaji_e2e::{
    database::Database,
    etcd::proxy::{Mode, Proxy},
    figures::{Line, percentile},
    operator::{Lane, condition, described::spec_for, wait_gone},
    postgres::Postgres,
};
use serde_json::json;

/// How many tenants have the datastore that dies.
const STUCK: usize = 6;
/// How often it dies, so that a machine that becomes slower or faster hits both alike.
const ROUNDS: usize = 3;

/// From the making of a tenant to the moment that everything is there but Pods that run.
pub(crate) async fn measure(database: &impl Database, count: usize) -> Result<Vec<Duration>> {
    let lane = Lane::on_database(database).await?;
    let operator = lane.operator().await?;
    lane.store_examined().await?;
    let times = made(&lane, "bench", count).await?;
    operator.stop().await?;
    Ok(times)
}

/// So many tenants with such names, which must be new: nobody collects what a deleted one leaves.
async fn made(lane: &Lane, names: &str, count: usize) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for number in 0..count {
        let name = format!("{names}-{number}");
        let start = Instant::now();
        lane.tenant(&name).await?;
        lane.converged(&name).await?;
        times.push(start.elapsed());
        lane.delete(&name).await?;
        wait_gone(&lane.tenants(), &name).await?;
    }
    Ok(times)
}

/// The same on a sound datastore, while another that has tenants is well and while it is dead.
pub(crate) async fn beside_a_dead_datastore(count: usize) -> Result<Line> {
    println!("measuring beside a dead datastore");
    let postgres = Postgres::start().await?;
    let proxy = Proxy::start(postgres.endpoint()).await?;
    let lane = Lane::on_database(&postgres).await?;
    let sick = format!("sick-{}", lane.namespace);
    lane.put(&sick, &spec_for(&lane, &postgres, proxy.endpoint())).await?;
    let _operator = lane.operator().await?;
    lane.store_examined().await?;
    for number in 0..STUCK {
        let mut manifest = lane.manifest(&format!("stuck-{number}"));
        manifest["spec"]["dataStore"] = json!(sick);
        lane.create(&manifest).await?;
    }
    let (mut well, mut dead) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        proxy.set(Mode::Pass);
        all_say(&lane, "True/").await?;
        well.extend(made(&lane, &format!("well-{round}"), count).await?);
        proxy.set(Mode::Swallow);
        all_say(&lane, "False/").await?;
        dead.extend(made(&lane, &format!("dead-{round}"), count).await?);
    }
    let (well, dead) = (percentile(&well, 50), percentile(&dead, 50));
    let ratio = dead.as_secs_f64() / well.as_secs_f64();
    Ok(Line::new(
        format!("a tenant made beside {STUCK} on a dead datastore / beside the same {STUCK} on a sound one"),
        format!("{} ms / {} ms = {ratio:.2} (aim: ≤ 1.10)", dead.as_millis(), well.as_millis()),
    ))
}

/// All tenants on the datastore that dies have a condition that begins like this.
async fn all_say(lane: &Lane, wanted: &str) -> Result<()> {
    for number in 0..STUCK {
        let says = |tcp: &_| condition(tcp, "DataStoreReachable").starts_with(wanted);
        lane.tenant_that(&format!("stuck-{number}"), wanted, says).await?;
    }
    Ok(())
}
