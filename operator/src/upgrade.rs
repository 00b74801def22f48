//! Upgrades: a version that the spec asks for replaces what runs once nothing stands in its way.

mod examination;
pub(crate) mod plan;

use std::time::Duration;

use kamaji_api::tenant::KubeVersion;
use kamaji_api::{Tenant, labels};
use kamaji_resources::conditions::{Concern, Finding};
use kamaji_resources::status::Facts;
use kamaji_resources::upgrade::{self, Report, Running, Step, step};
use kube::ResourceExt;

pub(crate) use self::examination::Examinations;
use self::examination::{Asked, Question};
use crate::converge::Pass;

/// How soon a tenant whose upgrade may not begin is examined again.
pub(crate) const AGAIN: Duration = Duration::from_secs(15);

/// An upgrade that may not begin.
pub(crate) struct Held {
    /// The tenant as it goes on: with the version that runs.
    pub(crate) tenant: Tenant,
    /// Why.
    pub(crate) finding: Finding,
}

impl Pass<'_> {
    /// What keeps the version that the spec asks for from running, if anything does. Notes how the upgrade goes.
    pub(crate) fn hold_back(&self, facts: &mut Facts) -> Option<Held> {
        let running = Running::of(self.tenant, &self.memory, self.world.deployment.as_deref())?;
        let finding = match step(Some(&running), self.tenant) {
            Step::Free => None,
            Step::Refused(refusal) => Some(Finding::fails(refusal.reason, refusal.message)),
            Step::Up | Step::Trial if self.is_wanted_anyway() => None,
            Step::Up | Step::Trial => self.examine(&running),
        };
        let mut known = self.tcp.status.iter().flat_map(|status| &status.conditions);
        let known = known.find(|known| known.type_ == Concern::Upgrade.as_str());
        let told = finding.clone().or_else(|| upgrade::progress(&self.memory, self.tenant, known));
        if let Some(told) = told {
            facts.find(Concern::Upgrade, told);
        }
        finding.map(|finding| Held { tenant: self.tenant.at(running.version, running.emulated), finding })
    }

    /// Somebody knows better than the examination, for this version.
    fn is_wanted_anyway(&self) -> bool {
        let version = self.tcp.annotations().get(labels::SKIP_PREFLIGHT);
        version.is_some_and(|version| *version == self.tenant.version.to_string())
    }

    fn examine(&self, running: &Running) -> Option<Finding> {
        let question = Question { running: running.clone(), wanted: Running::wanted(self.tenant) };
        let ready = self.world.deployment.as_ref().and_then(|found| found.status.as_ref()?.ready_replicas);
        let asked = Asked { tenant: self.tenant, question, ready_pods: ready.unwrap_or_default() };
        match self.cx.examinations.answer(self.cx, asked) {
            None => Some(Finding::fails(
                "UpgradeExamined",
                format!("whether anything stands in the way of {} is being looked at", self.tenant.version),
            )),
            Some(report) if report.is_clear() => None,
            Some(report) => Some(obstructed(&report, running, &self.tenant.version)),
        }
    }
}

/// What is in the way, and the way round it.
fn obstructed(report: &Report, running: &Running, wanted: &KubeVersion) -> Finding {
    let skip = labels::SKIP_PREFLIGHT;
    Finding::fails(
        "UpgradeObstructed",
        format!(
            "{} goes on running: {}; to upgrade nevertheless, annotate the TenantControlPlane with {skip}={wanted}",
            running.version,
            report.obstacles.join("; ")
        ),
    )
}
