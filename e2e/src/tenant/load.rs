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
    /// Requests that failed twice in a row, with why.
    pub failed: Vec<String>,
    /// Changes that watchers saw.
    pub seen: usize,
    /// The longest that a request took, both tries together.
    pub slowest: Duration,
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
            let served = served??;
            all.answered += served.answered;
            all.failed.extend(served.failed);
            all.seen += served.seen;
            all.slowest = all.slowest.max(served.slowest);
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
        let result = match request().await {
            Ok(()) => Ok(()),
            Err(_) => request().await,
        };
        served.slowest = served.slowest.max(begin.elapsed());
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
        last = object.data.context("data")?.get("number").context("a number")?.parse()?;
    }
}
