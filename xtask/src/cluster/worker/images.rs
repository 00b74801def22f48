//! The images in a worker's own containerd: it has nowhere to pull from.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Worker;
use crate::{
    cache::Cache,
    cluster::runtime,
    images::{self, Archive},
    programs::Release,
    wait,
};

/// How long containerd may take to start on a slow machine.
const LIMIT: Duration = Duration::from_mins(1);

/// The archives of the images that a worker of this release runs.
pub(super) fn archives(cache: &Cache, release: Release) -> Result<Vec<Archive>> {
    let _lock = cache.lock("images")?;
    let images = images::worker(cache, release)?;
    images.iter().map(|image| images::ensure_archive(cache, image)).collect()
}

/// Waits for the worker's containerd, and hands it the images that it lacks.
pub(super) fn ensure(worker: &Worker, archives: &[Archive]) -> Result<()> {
    let socket = worker.socket();
    let what = format!("containerd on the worker {}", worker.name);
    wait::until(&what, LIMIT, || {
        if !worker.is_running() {
            bail!("it has ended");
        }
        Ok((socket.exists() && runtime::answers(&socket)).then_some(()))
    })
    .with_context(|| format!("the worker {} does not run; {}", worker.name, worker.last_words()))?;
    runtime::import_missing(&socket, archives).map(drop)
}
