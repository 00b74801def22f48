//! How long a change of a tenant takes that nobody uses.

use std::time::{Duration, Instant};

use anyhow::Result;
use kamaji_e2e::{
    figures::{Line, percentile},
    tenant::Lab,
};
use serde_json::json;
use xtask::programs::Release;

use crate::used::{renew, replicas};

/// The most that an upgrade may take, as a multiple of the bare Deployment.
const AIM_UPGRADE: f64 = 1.3;

/// How long each took.
#[derive(Default)]
struct Times {
    upgrade: Vec<Duration>,
    renewal: Vec<Duration>,
    wake_up: Vec<Duration>,
}

/// Makes a tenant of one replica so often, and changes it.
pub(crate) async fn measure(lab: &Lab, runs: usize, floor: Duration) -> Result<Vec<Line>> {
    let mut times = Times::default();
    for run in 0..runs {
        println!("changing tenant {} of {runs} that nobody uses", run + 1);
        one(lab, &format!("alone-{run}"), &mut times).await?;
    }
    let of_floor = |times: &[Duration]| percentile(times, 50).as_secs_f64() / floor.as_secs_f64();
    let upgrade = of_floor(&times.upgrade);
    let verdict = if upgrade <= AIM_UPGRADE { "met" } else { "missed" };
    Ok(vec![
        Line::new(
            "a bare Deployment of the same containers, to Ready".to_owned(),
            format!("{} ms", floor.as_millis()),
        ),
        Line::of_times("one replica: upgraded from 1.34 to 1.35".to_owned(), &times.upgrade),
        Line::new(
            "the same, as a multiple of the bare Deployment".to_owned(),
            format!("{upgrade:.2} (aim: ≤ {AIM_UPGRADE}: {verdict})"),
        ),
        Line::of_times("one replica: the API server's certificate renewed".to_owned(), &times.renewal),
        Line::of_times("one replica: woken up".to_owned(), &times.wake_up),
        Line::new(
            "the same, as a multiple of the bare Deployment".to_owned(),
            format!("{:.2}", of_floor(&times.wake_up)),
        ),
    ])
}

async fn one(lab: &Lab, name: &str, times: &mut Times) -> Result<()> {
    lab.create(name, Release::V1_34, &json!({})).await?;
    lab.ready(name).await?;
    let begin = Instant::now();
    lab.change(name, &json!({ "kubernetes": { "version": Release::V1_35.version() } })).await?;
    lab.ready(name).await?;
    times.upgrade.push(begin.elapsed());
    let begin = Instant::now();
    renew(lab, name).await?;
    times.renewal.push(begin.elapsed());
    lab.change(name, &replicas(0)).await?;
    lab.when(name, "Ready", "False", "Sleeping").await?;
    lab.no_pods().await?;
    let begin = Instant::now();
    lab.change(name, &replicas(1)).await?;
    lab.ready(name).await?;
    times.wake_up.push(begin.elapsed());
    lab.delete(name).await?;
    lab.no_pods().await
}
