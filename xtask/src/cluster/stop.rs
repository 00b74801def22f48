//! Ending the cluster and leaving nothing of it.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{
    DAEMONS,
    layout::Layout,
    machine,
    process::{self, Ending},
    state::State,
    worker,
};
use crate::{cache::Cache, progress::Progress, wait};

/// Ends every process of the cluster and undoes what `up` did to the machine; built programs and images stay cached.
pub fn down(cache: &Cache, progress: &Progress) -> Result<()> {
    super::require_root("down")?;
    let _lock = cache.lock("cluster")?;
    let layout = Layout::of(cache);
    layout.require_ours()?;
    if !layout.state.exists() && !layout.run.exists() {
        progress.line("there is no local cluster");
        return Ok(());
    }
    let state = State::read(&layout)?;
    progress.step("ending the workers", || worker::remove_all(cache, &layout))?;
    progress.step("ending the programs", || end_programs(&state))?;
    progress.step("ending the Pods", || end_pods(&layout, &state))?;
    progress.step("restoring the machine", || {
        machine::unmount_below(&[&layout.state, &layout.run])?;
        if state.machine_seen {
            machine::restore(&state)?;
        }
        machine::remove(&layout.run)?;
        machine::remove(&layout.state)
    })
}

/// The other way round than they were started, so that nothing restarts what we end.
fn end_programs(state: &State) -> Result<()> {
    DAEMONS.iter().rev().filter_map(|name| Some((name, state.processes.get(*name)?))).try_for_each(
        |(name, record)| {
            process::end(&record.identity, Ending::AtOnce).with_context(|| format!("ending {name}"))
        },
    )
}

/// Ends the containers and the shims that hold them.
fn end_pods(layout: &Layout, state: &State) -> Result<()> {
    // The groups are kubelet's: without a kubelet of ours they are another cluster's.
    let groups = if state.processes.contains_key("kubelet") { machine::pod_groups()? } else { Vec::new() };
    let socket = layout.containerd_socket().display().to_string();
    wait::until("the Pods' processes to end", Duration::from_secs(30), || {
        let shims = process::find(|line| line.contains("containerd-shim") && line.contains(&socket));
        let members = groups.iter().flat_map(|group| machine::members(group)).filter_map(process::identity);
        let left: Vec<_> = shims.into_iter().chain(members).collect();
        left.iter().try_for_each(|process| process::end(process, Ending::AtOnce))?;
        Ok(left.is_empty().then_some(()))
    })?;
    // The kernel lets go of a group a moment after its last process.
    wait::until("the Pods' control groups to be empty", Duration::from_secs(30), || {
        let left = groups.iter().filter(|group| group.exists());
        Ok(left.map(|group| machine::remove_group(group)).all(|result| result.is_ok()).then_some(()))
    })
}
