//! Clients that use a tenant all the time, and how they were served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::TryStreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use serde_json::json;
use tokio::task::JoinSet;

use crate::figures;

/// From one request to the next of each kind: fifty each second together.
const PAUSE: Duration = Duration::from_millis(40);

/// The ConfigMap that is written, read and watched.
const NAME: &str = "load";

/// Clients that write, read and watch until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Result<Served>>,
}

/// How clients were served.
#[derive(Debug, Default)]
pub struct Served {
    /// Requests that were answered, be it at the second try.
    pub answered: usize,
    /// Requests that were made a second time.
    pub repeated: usize,
    /// Requests that failed twice in a row, with why.
    pub failed: Vec<String>,
    /// How long each request took, both tries together.
    pub times: Vec<Duration>,
    /// Changes that watchers saw.
    pub seen: usize,
    /// The longest time for which a watcher saw no change, although there was one every 40 ms.
    pub longest_gap: Duration,
}

impl Served {
    /// One line that tells it all.
    pub fn told(&self) -> String {
        let Self { answered, repeated, failed, seen, .. } = self;
        format!(
            "{} of {} requests failed ({repeated} were repeated), p99 {} ms, longest {} ms; {seen} changes seen, longest gap {} ms",
            failed.len(),
            answered + failed.len(),
            figures::percentile(&self.times, 99).as_millis(),
            figures::percentile(&self.times, 100).as_millis(),
            self.longest_gap.as_millis(),
        )
    }

    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.repeated += other.repeated;
        self.failed.extend(other.failed);
        self.times.extend(other.times);
        self.seen += other.seen;
        self.longest_gap = self.longest_gap.max(other.longest_gap);
    }
}

impl Load {
    /// Begins: one client reads, one writes, and as many as asked for watch.
    ///
    /// # Errors
    /// When the tenant refuses the first write.
    pub async fn begin(tenant: &Client, watchers: usize) -> Result<Self> {
        let api = Api::<ConfigMap>::namespaced(tenant.clone(), "default");
        write(&api, 0).await.context("write for the first time")?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let written = Arc::new(AtomicUsize::new(0));
        tasks.spawn(repeated(Arc::clone(&stop), {
            let (api, written) = (api.clone(), Arc::clone(&written));
            move || {
                let (api, number) = (api.clone(), written.fetch_add(1, Ordering::Relaxed) + 1);
                async move { write(&api, number).await }
            }
        }));
        tasks.spawn(repeated(Arc::clone(&stop), {
            let api = api.clone();
            move || {
                let api = api.clone();
                async move { api.get(NAME).await.map(drop) }
            }
        }));
        for _ in 0..watchers {
            tasks.spawn(watch(api.clone(), Arc::clone(&stop), Arc::clone(&written)));
        }
        Ok(Self { stop, tasks })
    }

    /// Ends the clients, the watchers once they have seen the last write; returns how all of them were served.
    ///
    /// # Errors
    /// When a watcher saw the past after the present.
    pub async fn end(mut self) -> Result<Served> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Served::default();
        while let Some(served) = self.tasks.join_next().await {
            all.add(served??);
        }
        Ok(all)
    }
}

async fn write(api: &Api<ConfigMap>, number: usize) -> Result<(), kube::Error> {
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": NAME },
        "data": { "number": number.to_string() },
    });
    api.patch(NAME, &PatchParams::apply("load").force(), &Patch::Apply(object)).await.map(drop)
}

/// Makes a request again and again; one that fails is tried once more, as ordinary clients do.
async fn repeated<F>(stop: Arc<AtomicBool>, request: impl Fn() -> F) -> Result<Served>
where
    F: Future<Output = Result<(), kube::Error>>,
{
    let mut served = Served::default();
    let mut pause = tokio::time::interval(PAUSE);
    while !stop.load(Ordering::Relaxed) {
        pause.tick().await;
        let begin = Instant::now();
        let mut result = request().await;
        if result.is_err() {
            served.repeated += 1;
            result = request().await;
        }
        served.times.push(begin.elapsed());
        match result {
            Ok(()) => served.answered += 1,
            Err(error) => served.failed.push(error.to_string()),
        }
    }
    Ok(served)
}

/// Follows the ConfigMap until the last number that was written is seen, and never goes back.
async fn watch(api: Api<ConfigMap>, stop: Arc<AtomicBool>, written: Arc<AtomicUsize>) -> Result<Served> {
    let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let mut changes = Box::pin(watcher(api, config).default_backoff().applied_objects());
    let (mut served, mut newest, mut last) = (Served::default(), 0, 0);
    let mut seen = Instant::now();
    loop {
        let is_over = stop.load(Ordering::Relaxed) && last >= written.load(Ordering::Relaxed);
        if is_over {
            return Ok(served);
        }
        let next = tokio::time::timeout(PAUSE, changes.try_next());
        // A watch that breaks is begun again by the watcher, so its errors are no news.
        let Ok(Ok(Some(object))) = next.await else { continue };
        let version: u64 = object.metadata.resource_version.context("a version")?.parse()?;
        anyhow::ensure!(version >= newest, "a watcher saw {version} after {newest}");
        newest = version;
        served.seen += 1;
        served.longest_gap = served.longest_gap.max(std::mem::replace(&mut seen, Instant::now()).elapsed());
        last = object.data.context("data")?.get("number").context("a number")?.parse()?;
    }
}
