//! What a watch has shown, and when.

use std::{
    collections::BTreeMap,
    io::BufReader,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde_json::{Deserializer, Value};

use super::report::Burst;
use crate::kubectl::Kubectl;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Kind {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: Kind,
    object: Value,
}

struct Sighting {
    at: Instant,
    event: Event,
}

impl Sighting {
    fn name(&self) -> &str {
        self.event.object["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// A `kubectl get --watch` that runs as long as this lives.
pub(super) struct Sightings {
    resource: &'static str,
    kubectl: Child,
    seen: Receiver<Sighting>,
}

impl Sightings {
    /// Watches the objects of a kind in a namespace.
    pub(super) fn of(kubectl: &Kubectl, namespace: &str, resource: &'static str) -> Result<Self> {
        let mut kubectl = kubectl
            .command()
            .args(["get", resource, "--namespace", namespace])
            .args(["--watch", "--output-watch-events", "--output=json"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("watching {resource}"))?;
        let output = kubectl.stdout.take().context("kubectl's standard output is piped")?;
        let (send, seen) = channel();
        // It ends with kubectl, which ends with us.
        thread::spawn(move || {
            let events = Deserializer::from_reader(BufReader::new(output)).into_iter::<Event>();
            for event in events.map_while(Result::ok) {
                if send.send(Sighting { at: Instant::now(), event }).is_err() {
                    return;
                }
            }
        });
        Ok(Self { resource, kubectl, seen })
    }

    /// Waits until each of these objects is ready, and returns when: counted from the first sighting of the first.
    pub(super) fn until_ready(
        &mut self,
        names: &[String],
        is_ready: impl Fn(&Value) -> bool,
        limit: Duration,
    ) -> Result<Burst> {
        let deadline = Instant::now() + limit;
        let mut first = None;
        let mut ready = BTreeMap::new();
        while ready.len() < names.len() {
            let sighting = self.next(deadline, || {
                let missing: Vec<&String> = names.iter().filter(|name| !ready.contains_key(*name)).collect();
                format!("{missing:?} to be ready")
            })?;
            let Some(name) = names.iter().find(|name| *name == sighting.name()) else { continue };
            let first = *first.get_or_insert(sighting.at);
            if is_ready(&sighting.event.object) {
                ready.entry(name.clone()).or_insert_with(|| sighting.at.saturating_duration_since(first));
            }
        }
        Ok(Burst::of(ready.into_values()))
    }

    /// Waits until none of these objects is left.
    pub(super) fn until_gone(&mut self, names: &[String], limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        let mut left = names.to_vec();
        while !left.is_empty() {
            let sighting = self.next(deadline, || format!("{left:?} to be gone"))?;
            if sighting.event.kind == Kind::Deleted {
                left.retain(|name| name != sighting.name());
            }
        }
        Ok(())
    }

    /// Waits until this happens to the object of this name, and returns when it did.
    pub(super) fn until(&mut self, name: &str, kind: Kind, limit: Duration) -> Result<Instant> {
        let deadline = Instant::now() + limit;
        loop {
            let sighting = self.next(deadline, || format!("{name} to be {kind:?}"))?;
            if sighting.event.kind == kind && sighting.name() == name {
                return Ok(sighting.at);
            }
        }
    }

    /// What was seen so far is of no interest.
    pub(super) fn forget(&mut self) {
        self.seen.try_iter().for_each(drop);
    }

    fn next(&mut self, deadline: Instant, what: impl FnOnce() -> String) -> Result<Sighting> {
        let left = deadline.saturating_duration_since(Instant::now());
        match self.seen.recv_timeout(left) {
            Ok(sighting) if sighting.event.kind == Kind::Error => {
                bail!("the watch of {} failed: {}", self.resource, sighting.event.object)
            }
            Ok(sighting) => Ok(sighting),
            Err(RecvTimeoutError::Timeout) => bail!("waited in vain for {}", what()),
            Err(RecvTimeoutError::Disconnected) => {
                Err(anyhow!("the watch of {} ended while we waited for {}", self.resource, what()))
            }
        }
    }
}

impl Drop for Sightings {
    fn drop(&mut self) {
        // One that has ended already is what we want.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
