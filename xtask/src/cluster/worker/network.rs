//! The bridge that workers are on, and what may leave it.

use std::{fs, net::Ipv4Addr, path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{
    cluster::layout::{POD_RANGE, SERVICE_RANGE},
    command, packages,
};

/// The bridge, and with its address the workers' way to everything else.
const BRIDGE: &str = "kamaji-workers";
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 1, 1);
const PREFIX: u8 = 24;

/// The node, what load balancers would have, and workers.
const LOCAL_RANGE: &str = "10.99.0.0/16";

/// What workers may send to. Addresses of Services become Pods' or the node's on this machine.
pub(super) const REACHED: [&str; 2] = [LOCAL_RANGE, SERVICE_RANGE];

/// The routes of what comes from workers are in a table of their own, which the rule with this number leads to.
const TABLE: &str = "9910";

/// kube-proxy sets this at each start. A worker, whose network is not the machine's first, cannot, and its kube-proxy
/// would end unless it finds what it wants: this much for each processor, and not less than the second.
const CONNECTIONS: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const CONNECTIONS_PER_PROCESSOR: usize = 32 * 1024;
const FEWEST_CONNECTIONS: usize = 128 * 1024;

/// The address of the worker with this number.
pub(super) fn address_of(number: u8) -> Ipv4Addr {
    let [first, second, third, _] = GATEWAY.octets();
    Ipv4Addr::new(first, second, third, number)
}

/// The worker's address as `ip` wants it.
pub(super) fn address_with_prefix(number: u8) -> String {
    format!("{}/{PREFIX}", address_of(number))
}

/// What all workers need is there.
///
/// A worker sends everything that it does not know itself here, and only what is for this machine, its Pods and the
/// Services of the local cluster goes on. What a worker sends to a Service of its tenant before its kube-proxy knows that
/// Service must not leave the machine.
pub(super) fn prepare() -> Result<()> {
    if !exists(BRIDGE) {
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    }
    ip(&["address", "replace", &format!("{GATEWAY}/{PREFIX}"), "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    for range in [LOCAL_RANGE, POD_RANGE] {
        ip(&["route", "replace", "throw", range, "table", TABLE])?;
    }
    ip(&["route", "replace", "unreachable", "default", "table", TABLE])?;
    if !has_rule()? {
        ip(&["rule", "add", "iif", BRIDGE, "lookup", TABLE, "priority", TABLE])?;
    }
    prepare_connections()
}

/// Removes what [`prepare`] has made.
pub(super) fn remove() -> Result<()> {
    if has_rule()? {
        ip(&["rule", "delete", "priority", TABLE])?;
    }
    command::succeeds(ip_command().args(["route", "flush", "table", TABLE]));
    if exists(BRIDGE) {
        ip(&["link", "delete", BRIDGE])?;
    }
    Ok(())
}

/// Connects the network of the process with this number with the bridge, by an interface that is called `eth0` there.
pub(super) fn attach(number: u8, process: i32) -> Result<()> {
    let name = interface_of(address_of(number));
    let process = process.to_string();
    ip(&["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &process])?;
    ip(&["link", "set", &name, "master", BRIDGE, "up"])
}

/// The worker of this address is no longer connected.
pub(super) fn detach(address: Ipv4Addr) -> Result<()> {
    let name = interface_of(address);
    // It vanishes with the worker's network, but only after a while.
    if exists(&name) && ip(&["link", "delete", &name]).is_err() && exists(&name) {
        anyhow::bail!("the interface {name} cannot be deleted");
    }
    Ok(())
}

fn interface_of(address: Ipv4Addr) -> String {
    format!("kamaji-w{}", address.octets()[3])
}

fn has_rule() -> Result<bool> {
    let rules = command::output(ip_command().args(["rule", "list", "priority", TABLE]))?;
    Ok(!rules.trim().is_empty())
}

fn prepare_connections() -> Result<()> {
    let processors = std::thread::available_parallelism().context("counting the processors")?.get();
    let wanted = (processors * CONNECTIONS_PER_PROCESSOR).max(FEWEST_CONNECTIONS).to_string();
    let current = fs::read_to_string(CONNECTIONS).with_context(|| format!("reading {CONNECTIONS}"))?;
    if current.trim() == wanted {
        return Ok(());
    }
    fs::write(CONNECTIONS, &wanted).with_context(|| format!("setting {CONNECTIONS} to {wanted}"))
}

fn exists(interface: &str) -> bool {
    Path::new("/sys/class/net").join(interface).exists()
}

fn ip(arguments: &[&str]) -> Result<()> {
    command::output(ip_command().args(arguments)).map(drop)
}

fn ip_command() -> Command {
    Command::new(packages::program("ip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_has_an_address_beside_the_bridges() {
        assert_eq!(address_of(2), Ipv4Addr::new(10, 99, 1, 2));
        assert_eq!(address_with_prefix(250), "10.99.1.250/24");
        assert_eq!(interface_of(address_of(250)), "kamaji-w250");
    }
}
