//! What the running operator uses, by its own metrics.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{
    install,
    kubectl::{self, Kubectl},
    wait,
};

/// Tells the operator's Pods from others in the namespace of the chart.
const SELECTOR: &str =
    "--selector=app.kubernetes.io/name=kamaji,app.kubernetes.io/component=controller-manager";

/// Where the chart lets it serve metrics.
const METRICS_PORT: u16 = 8080;

/// How long an operator at rest uses next to no time.
const REST: Duration = Duration::from_secs(2);

/// The one Pod of the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pod: String,
    address: IpAddr,
}

/// What it has used since it was started, and uses now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    /// Processor time.
    pub(super) processor: Duration,
    /// Resident memory.
    pub(super) resident_bytes: u64,
    /// Passes over tenants that ended well.
    pub(super) passes: usize,
    /// Requests to the API servers of tenants.
    pub(super) tenant_requests: usize,
}

/// Requests to tenants in a time in which nobody did anything.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct IdleRequests {
    /// How many.
    pub(super) made: usize,
    /// In how long a time.
    pub(super) time: Duration,
}

impl Operator {
    /// The only Pod of the operator that is Ready.
    pub(super) fn find(kubectl: &Kubectl) -> Result<Self> {
        let pods = kubectl.get(&["pods", "--namespace", install::NAMESPACE, SELECTOR])?;
        let none = Vec::new();
        let ready: Vec<&Value> = pods["items"]
            .as_array()
            .unwrap_or(&none)
            .iter()
            .filter(|pod| {
                kubectl::has_condition(pod, "Ready") && pod["metadata"]["deletionTimestamp"].is_null()
            })
            .collect();
        ensure!(
            ready.len() == 1,
            "{} operator Pods are ready in {}, and one is needed: `cargo xtask quickstart` installs it",
            ready.len(),
            install::NAMESPACE
        );
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let address = text(&ready[0]["status"]["podIP"]).parse().context("reading the Pod's address")?;
        Ok(Self { pod: text(&ready[0]["metadata"]["name"]), address })
    }

    /// Ends it, as an eviction would; the Deployment makes another one.
    pub(super) fn delete(&self, kubectl: &Kubectl) -> Result<()> {
        kubectl.run(&["delete", "pod", "--namespace", install::NAMESPACE, &self.pod]).map(drop)
    }

    /// What it uses now.
    pub(super) fn usage(&self) -> Result<Usage> {
        let text = http_get(SocketAddr::new(self.address, METRICS_PORT), "/metrics")
            .with_context(|| format!("asking the operator {} for its metrics", self.pod))?;
        usage_in(&text)
    }

    /// How many requests it makes to tenants within so long a time, in which nobody does anything.
    pub(super) fn requests_of_idle_tenants(&self, time: Duration) -> Result<IdleRequests> {
        let before = self.usage()?.tenant_requests;
        // How many are made in a while cannot be known before the while is over.
        thread::sleep(time);
        Ok(IdleRequests { made: self.usage()?.tenant_requests - before, time })
    }

    /// What it had used when it came to rest.
    pub(super) fn usage_at_rest(&self) -> Result<Usage> {
        let mut last = self.usage()?;
        wait::until("the operator to be at rest", Duration::from_mins(2), || {
            // How much is used in a while cannot be known before the while is over.
            thread::sleep(REST);
            let now = self.usage()?;
            let is_at_rest =
                now.passes == last.passes && now.processor.saturating_sub(last.processor) * 50 <= REST;
            last = now;
            Ok(is_at_rest.then_some(now))
        })
    }
}

fn http_get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let limit = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn usage_in(metrics: &str) -> Result<Usage> {
    let sum = |name: &str, wanted: &[&str]| -> Result<f64> {
        let values = metrics
            .lines()
            .filter(|line| line.starts_with(name) && wanted.iter().all(|label| line.contains(label)))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        let values: Vec<f64> = values.collect();
        ensure!(!values.is_empty(), "the operator's metrics have no {name} with {wanted:?}");
        Ok(values.iter().sum())
    };
    let whole = |value: f64| format!("{value:.0}").parse().context("reading a count in the metrics");
    let passes = sum(
        "controller_runtime_reconcile_total",
        &["controller=\"tenantcontrolplane\"", "result=\"success\""],
    )
    .unwrap_or_default();
    Ok(Usage {
        processor: Duration::from_secs_f64(sum("process_cpu_seconds_total", &[])?),
        resident_bytes: whole(sum("process_resident_memory_bytes", &[])?)?,
        passes: usize::try_from(whole(passes)?)?,
        tenant_requests: usize::try_from(whole(sum("kamaji_tenant_requests_total", &[])?)?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_from_metrics() {
        let metrics = "# TYPE process_cpu_seconds counter\n\
                       process_cpu_seconds_total 1.25\n\
                       process_resident_memory_bytes 1048576\n\
                       kamaji_tenant_requests_total 42\n\
                       controller_runtime_reconcile_total{controller=\"datastore\",result=\"success\"} 9\n\
                       controller_runtime_reconcile_total{controller=\"tenantcontrolplane\",result=\"success\"} 7\n\
                       controller_runtime_reconcile_total{controller=\"tenantcontrolplane\",result=\"error\"} 2\n";
        let expected = Usage {
            processor: Duration::from_millis(1250),
            resident_bytes: 1 << 20,
            passes: 7,
            tenant_requests: 42,
        };
        assert_eq!(usage_in(metrics).unwrap(), expected);
        assert!(usage_in("nothing 1").unwrap_err().to_string().contains("process_cpu_seconds_total"));
    }
}
