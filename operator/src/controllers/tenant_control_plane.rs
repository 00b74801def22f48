//! Reconciles tenant control planes: reads, converges or dismantles, and reports once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kamaji_api::v1alpha1::{TenantControlPlane, TenantControlPlaneStatus};
use kamaji_api::{Complaints, Pause, Tenant, TenantId};
use kamaji_resources::conditions::{Concern, Finding, READY};
use kamaji_resources::status::{self, Facts};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;

use crate::clock;
use crate::context::Context;
use crate::converge::{Outcome, Pass, name};
use crate::dismantle::dismantle;
use crate::error::Error;

/// Name of this controller in metrics.
pub(crate) const CONTROLLER: &str = "tenantcontrolplane";

/// What was due before the pass and is due after it cannot be renewed, for its authority ends too. It is looked at no more
/// often than this.
const OVERDUE: Duration = Duration::from_mins(10);
/// A renewal that is due is never waited for more briefly than this.
const SHORTEST_RENEWAL: Duration = Duration::from_secs(1);

/// One pass over one tenant control plane.
pub(crate) async fn reconcile(seen: Arc<TenantControlPlane>, cx: Arc<Context>) -> Result<Action, Error> {
    cx.caches.ready().await;
    let start = Instant::now();
    let tcp = newest(&cx, &seen).unwrap_or(seen);
    let result = Box::pin(pass(&tcp, &cx)).await;
    cx.metrics.reconciled(CONTROLLER, start.elapsed(), &result);
    if result.is_ok() {
        cx.backoff.succeeded(&name(&tcp));
    }
    result
}

/// When to try again after a failure.
#[expect(clippy::needless_pass_by_value, reason = "the controller passes shares")]
pub(crate) fn on_error(tcp: Arc<TenantControlPlane>, error: &Error, cx: Arc<Context>) -> Action {
    let pause = cx.backoff.failed(&name(&tcp));
    tracing::error!(tenant = name(&tcp), error = error.chain(), ?pause, "the pass failed");
    Action::requeue(pause)
}

async fn pass(tcp: &TenantControlPlane, cx: &Context) -> Result<Action, Error> {
    if tcp.metadata.deletion_timestamp.is_some() {
        return limited(cx, Box::pin(dismantle(cx, tcp))).await.map(|()| Action::await_change());
    }
    let now = clock::now();
    if let Some(pause) = Pause::of(tcp.annotations(), now) {
        tracing::info!(tenant = name(tcp), reason = pause.reason, until = ?pause.until, "left alone");
        cx.tenants.leave(&TenantId::of(tcp));
        return Ok(after(pause, now));
    }
    let tenant = match Tenant::resolve(tcp, &cx.settings.tenant) {
        Ok(tenant) => tenant,
        Err(complaints) => return reject(tcp, &complaints, cx).await,
    };
    let mut facts = Facts::default();
    let pass = Pass::new(cx, tcp, &tenant);
    let outcome = limited(cx, Box::pin(pass.run(&mut facts))).await;
    match outcome {
        Ok(Outcome::Unexamined | Outcome::Written) => return Ok(Action::await_change()),
        // The namespace goes, and everything in it: there is nothing left to do.
        Err(Error::Kubernetes { source, .. }) if source.is_forbidden_namespace_terminating() => {
            return Ok(Action::await_change());
        }
        _ => {}
    }
    if let Err(error) = &outcome {
        facts.problem = Some(Finding::fails(error.reason(), error.chain()));
    }
    report(tcp, &tenant, &facts, cx).await?;
    Ok(match outcome? {
        Outcome::Settled { until } => Action::requeue(renewal(until, clock::now(), cx.settings.resync)),
        Outcome::Again { after } => Action::requeue(after.min(cx.settings.resync)),
        Outcome::Waiting | Outcome::Unexamined | Outcome::Written => Action::requeue(cx.settings.resync),
    })
}

/// An object that is left alone is looked at again when that ends.
pub(crate) fn after(pause: Pause<'_>, now: Timestamp) -> Action {
    let left = pause.until.and_then(|until| Duration::try_from(now.duration_until(until)).ok());
    left.map_or_else(Action::await_change, Action::requeue)
}

/// A spec that cannot be carried out stays so until somebody changes it.
async fn reject(tcp: &TenantControlPlane, complaints: &Complaints, cx: &Context) -> Result<Action, Error> {
    let finding = Finding::fails("InvalidSpec", complaints.to_string());
    let generation = tcp.metadata.generation.unwrap_or_default();
    let status = status::rejected(tcp.status.as_ref(), &finding, generation, clock::now());
    publish(tcp, status, cx).await?;
    Ok(Action::await_change())
}

async fn report(tcp: &TenantControlPlane, tenant: &Tenant, facts: &Facts, cx: &Context) -> Result<(), Error> {
    // The pass may have written to the status itself.
    let newest = newest(cx, tcp);
    let tcp = newest.as_deref().unwrap_or(tcp);
    let status = status::compute(tenant, tcp.status.as_ref(), facts, clock::now());
    publish(tcp, status, cx).await
}

/// Writes the status, and tells of every change of `Ready`, and of how a migration or an upgrade goes.
async fn publish(
    tcp: &TenantControlPlane,
    status: TenantControlPlaneStatus,
    cx: &Context,
) -> Result<(), Error> {
    let told = [READY, Concern::Migration.as_str(), Concern::Upgrade.as_str(), Concern::Rotation.as_str()];
    let news = told.map(|name| transition(name, tcp.status.as_ref(), &status));
    Box::pin(cx.write_status(tcp, status)).await?;
    for (severity, reason, message) in news.into_iter().flatten() {
        cx.event(tcp, severity, &reason, message).await;
    }
    Ok(())
}

/// What is new about this condition. A change of the reason while it stays false is news; a change of the words is none.
fn transition(
    name: &str,
    known: Option<&TenantControlPlaneStatus>,
    now: &TenantControlPlaneStatus,
) -> Option<(EventType, String, String)> {
    let of = |status: &TenantControlPlaneStatus| {
        status.conditions.iter().find(|condition| condition.type_ == name).cloned()
    };
    let after = of(now)?;
    let before = known.and_then(of);
    let same = before.is_some_and(|before| before.status == after.status && before.reason == after.reason);
    let expected = [
        "Ready",
        "Progressing",
        "RollingOut",
        "Sleeping",
        "LoadBalancerPending",
        "ClusterIPPending",
        "Migrating",
        "MigrationPreparing",
        "MigrationCopying",
        "MigrationSwitching",
        "Settled",
        "Upgrading",
        "UpgradeExamined",
        "TriedOut",
        "TrustingBoth",
        "Reissuing",
        "TakingBack",
        "LastWordAwaited",
        "Dropping",
    ];
    let severity =
        if expected.contains(&after.reason.as_str()) { EventType::Normal } else { EventType::Warning };
    (!same).then_some((severity, after.reason, after.message))
}

/// The newest state of the same object; an object of the same name with another UID is another one.
fn newest(cx: &Context, tcp: &TenantControlPlane) -> Option<Arc<TenantControlPlane>> {
    let newest = cx.caches.tenants.get(&ObjectRef::from_obj(tcp))?;
    (newest.metadata.uid == tcp.metadata.uid).then_some(newest)
}

async fn limited<T>(cx: &Context, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let limit = cx.settings.pass_timeout;
    tokio::time::timeout(limit, work).await.unwrap_or(Err(Error::TimedOut(limit)))
}

/// How long to wait for the renewal that is due at `until`.
fn renewal(until: Timestamp, now: Timestamp, resync: Duration) -> Duration {
    match Duration::try_from(now.duration_until(until)) {
        Ok(left) if !left.is_zero() => left.clamp(SHORTEST_RENEWAL, resync.max(SHORTEST_RENEWAL)),
        _ => OVERDUE.min(resync),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_waited_for_exactly_and_one_that_cannot_be_had_does_not_spin() {
        let now = Timestamp::constant(1_800_000_000, 0);
        let at = |seconds: i64| Timestamp::from_second(now.as_second() + seconds).unwrap();
        let resync = Duration::from_hours(10);
        for (until, expected) in [
            (at(61), Duration::from_secs(61)),
            (at(3600), Duration::from_hours(1)),
            (at(36_000_000), resync),
            (now, OVERDUE),
            (at(-1), OVERDUE),
            (Timestamp::MIN, OVERDUE),
            (Timestamp::MAX, resync),
        ] {
            assert_eq!(renewal(until, now, resync), expected, "{until}");
        }
    }
}
