use k8s_openapi::api::core::v1::{HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kamaji_api::v1alpha1::{ControlPlaneProbes, ProbeSet, ProbeSpec};

pub(super) const HTTPS: &str = "HTTPS";

/// Where a component tells how it is.
pub(super) struct Health {
    /// `HTTPS` or `HTTP`.
    pub(super) scheme: &'static str,
    /// Port of the component.
    pub(super) port: i32,
    /// Path of the liveness probe.
    pub(super) live: &'static str,
    /// Path of the readiness and startup probes.
    pub(super) ready: &'static str,
}

/// The probes of one component.
pub(super) struct Probes {
    pub(super) liveness: Probe,
    pub(super) readiness: Probe,
    pub(super) startup: Probe,
}

/// A busy machine must not be mistaken for a dead component: a minute passes before a restart.
const LIVENESS: ProbeSpec = timing(10, 15, 8);
const READINESS: ProbeSpec = timing(5, 15, 3);
/// Every second, so that readiness is noticed within one. The kubelet asks the readiness probe at once when this one
/// has succeeded. Ten minutes are allowed for a start.
const STARTUP: ProbeSpec = timing(1, 5, 600);

const fn timing(period: i32, timeout: i32, failures: i32) -> ProbeSpec {
    ProbeSpec {
        initial_delay_seconds: Some(0),
        timeout_seconds: Some(timeout),
        period_seconds: Some(period),
        success_threshold: Some(1),
        failure_threshold: Some(failures),
    }
}

/// Built-in timings, then the user's for all components, then the user's for this one.
pub(super) fn build(health: &Health, wish: Option<&ControlPlaneProbes>, own: Option<&ProbeSet>) -> Probes {
    let probe = |built_in, path, all: Option<ProbeSpec>, own: Option<ProbeSpec>| {
        let timing = [all, own].into_iter().flatten().fold(built_in, overlaid);
        rendered(timing, path, health)
    };
    Probes {
        liveness: probe(
            LIVENESS,
            health.live,
            wish.and_then(|all| all.liveness),
            own.and_then(|own| own.liveness),
        ),
        readiness: probe(
            READINESS,
            health.ready,
            wish.and_then(|all| all.readiness),
            own.and_then(|own| own.readiness),
        ),
        startup: probe(
            STARTUP,
            health.ready,
            wish.and_then(|all| all.startup),
            own.and_then(|own| own.startup),
        ),
    }
}

fn overlaid(below: ProbeSpec, above: ProbeSpec) -> ProbeSpec {
    ProbeSpec {
        initial_delay_seconds: above.initial_delay_seconds.or(below.initial_delay_seconds),
        timeout_seconds: above.timeout_seconds.or(below.timeout_seconds),
        period_seconds: above.period_seconds.or(below.period_seconds),
        success_threshold: above.success_threshold.or(below.success_threshold),
        failure_threshold: above.failure_threshold.or(below.failure_threshold),
    }
}

/// A delay of 0 is left out: the API server does so too.
fn rendered(timing: ProbeSpec, path: &str, health: &Health) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(health.port),
            scheme: Some(health.scheme.into()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: timing.initial_delay_seconds.filter(|delay| *delay != 0),
        timeout_seconds: timing.timeout_seconds,
        period_seconds: timing.period_seconds,
        success_threshold: timing.success_threshold,
        failure_threshold: timing.failure_threshold,
        ..Probe::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_wish_wins_field_by_field() {
        let wish: ControlPlaneProbes = serde_json::from_value(serde_json::json!({
            "startup": { "failureThreshold": 7, "periodSeconds": 3 },
            "apiServer": { "startup": { "periodSeconds": 4 } },
        }))
        .unwrap();
        let health = Health { scheme: HTTPS, port: 6443, live: "/livez", ready: "/readyz" };
        let startup = build(&health, Some(&wish), wish.api_server.as_ref()).startup;
        assert_eq!(
            (startup.failure_threshold, startup.period_seconds, startup.timeout_seconds),
            (Some(7), Some(4), Some(5))
        );
    }
}
