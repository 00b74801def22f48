//! Metrics, under the names that dashboards for the Go operator know.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

mod fleet;
mod process;
mod usage;

pub(crate) use self::usage::TenantUsage;
use self::usage::Usage;
use crate::context::Caches;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandlerLabels {
    handler: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    controller: &'static str,
    result: &'static str,
}

/// What is counted while the operator works. Gauges over the fleet are computed when somebody asks.
pub(crate) struct Metrics {
    stages: Family<HandlerLabels, Histogram>,
    passes: Family<ResultLabels, Counter>,
    failures: Family<ControllerLabels, Counter>,
    durations: Family<ControllerLabels, Histogram>,
    /// Requests to the API servers of tenants.
    pub(crate) tenant_requests: Counter,
    /// What the data of tenants takes.
    pub(crate) usage: Usage,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            stages: Family::new_with_constructor(|| Histogram::new(buckets())),
            passes: Family::default(),
            failures: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(buckets())),
            tenant_requests: Counter::default(),
            usage: Usage::default(),
        }
    }
}

/// Forty buckets, evenly spread over the orders of magnitude from 5 ms to a minute.
fn buckets() -> impl Iterator<Item = f64> {
    let (first, last, count) = (0.005_f64, 60.0_f64, 40_u32);
    let factor = (last / first).powf(1.0 / f64::from(count - 1));
    (0..count).map(move |index| first * factor.powf(f64::from(index)))
}

impl Metrics {
    /// Notes how long a stage of a pass took.
    pub(crate) fn stage_took(&self, stage: &'static str, time: Duration) {
        self.stages.get_or_create(&HandlerLabels { handler: stage }).observe(time.as_secs_f64());
    }

    /// Notes the end of a pass.
    pub(crate) fn reconciled<T, E>(&self, controller: &'static str, time: Duration, ended: &Result<T, E>) {
        let result = if ended.is_ok() { "success" } else { "error" };
        self.passes.get_or_create(&ResultLabels { controller, result }).inc();
        if ended.is_err() {
            self.failures.get_or_create(&ControllerLabels { controller }).inc();
        }
        self.durations.get_or_create(&ControllerLabels { controller }).observe(time.as_secs_f64());
    }

    /// Everything, in the text format of Prometheus.
    pub(crate) fn render(
        &self,
        caches: Option<&Caches>,
        now: jiff::Timestamp,
    ) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::default();
        registry.register(
            "kamaji_handler_time_seconds",
            "Duration of each stage of a pass",
            self.stages.clone(),
        );
        registry.register(
            "kamaji_tenant_requests",
            "Requests to the API servers of tenants",
            self.tenant_requests.clone(),
        );
        registry.register("controller_runtime_reconcile", "Passes by result", self.passes.clone());
        registry.register("controller_runtime_reconcile_errors", "Passes that failed", self.failures.clone());
        registry.register(
            "controller_runtime_reconcile_time_seconds",
            "Duration of passes",
            self.durations.clone(),
        );
        fleet::build(&mut registry);
        if let Some(caches) = caches {
            fleet::register(&mut registry, caches, now);
        }
        self.usage.register(&mut registry);
        process::register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_reach_from_five_milliseconds_to_a_minute() {
        let all: Vec<f64> = buckets().collect();
        assert_eq!(all.len(), 40);
        assert!((all[0] - 0.005).abs() < 1e-9 && (all[39] - 60.0).abs() < 1e-6);
    }
}
