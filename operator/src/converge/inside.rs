//! What the tenant's session keeps, and what it has seen.

use kamaji_addons::{Interior, guard};
use kamaji_api::tenant::KubeVersion;
use kamaji_api::{Tenant, TenantId, labels};
use kamaji_datastore::account::Seal;
use kamaji_resources::Anchors;
use kamaji_resources::conditions::{Concern, Finding};
use kamaji_resources::deployment::Inputs;
use kamaji_resources::rollout::Rollout;
use kamaji_resources::status::Facts;

use super::Pass;
use crate::session::{Access, Inside, Plan, Sight};

/// Reason of a tenant whose API server does not answer.
const UNREACHABLE: &str = "TenantUnreachable";

impl Pass<'_> {
    /// What limits the tenant's writes is out of its reach from when it stands until it is to change.
    pub(super) fn seal(&self) -> Seal {
        let writes = &self.tenant.writes;
        if writes.is_unlimited() {
            return Seal::Open;
        }
        let keys = guard::sealed_keys().into();
        match self.cx.tenants.seen(&self.tenant.id) {
            Some(Sight { reached: Ok(()), inside: Inside::Kept, plan })
                if plan.interior.tenant.writes == *writes =>
            {
                Seal::Closed(keys)
            }
            Some(Sight { reached: Ok(()), inside: Inside::Failing { .. }, .. }) => Seal::Open,
            Some(Sight { reached: Ok(()), plan, .. }) if plan.interior.tenant.writes != *writes => Seal::Open,
            _ => Seal::AsFound(keys),
        }
    }

    /// The session knows what to keep; what it has seen is noted.
    pub(super) fn look_inside(
        &self,
        inputs: &Inputs<'_>,
        anchors: &Anchors,
        rollout: &Rollout,
        facts: &mut Facts,
    ) {
        if self.tenant.is_asleep() {
            self.cx.tenants.leave(&self.tenant.id);
            return;
        }
        let Some(access) = facts
            .service
            .as_ref()
            .and_then(|service| Access::of(self.tcp, self.tenant, service, inputs.credentials))
        else {
            return;
        };
        let interior = Interior {
            // How many Pods there are, and which generation of the spec it was, changes nothing inside.
            tenant: Tenant {
                version: self.version_inside(rollout),
                emulated: None,
                generation: 0,
                replicas: 0,
                ..self.tenant.clone()
            },
            endpoint: inputs.endpoint.clone(),
            storage: inputs.storage.clone(),
            authority: anchors.trusted().to_owned(),
        };
        let plan = Plan { access, interior };
        let sight = self.cx.tenants.sight(self.cx, &self.tenant.id, plan, rollout.ready);
        match sight {
            Some(sight) => note(sight, &self.tenant.id, facts),
            None => self.recall(facts),
        }
    }

    /// Until the session has seen anything, what was known of the tenant stays known.
    fn recall(&self, facts: &mut Facts) {
        let known = self.tcp.status.iter().flat_map(|status| &status.conditions);
        let Some(known) = known.into_iter().find(|known| known.type_ == Concern::TenantReachable.as_str())
        else {
            return;
        };
        facts.find(
            Concern::TenantReachable,
            if known.status == "True" {
                answers()
            } else {
                Finding::fails(UNREACHABLE, known.message.clone())
            },
        );
    }

    /// What runs on the nodes must not be newer than any of the API servers.
    fn version_inside(&self, rollout: &Rollout) -> KubeVersion {
        let installed = self.memory.emulated.as_deref().or(self.memory.installed.as_deref());
        let installed = installed.and_then(|text| KubeVersion::parse(text).ok());
        match installed {
            Some(installed) if !rollout.is_complete() => installed.min(self.tenant.offered().clone()),
            _ => self.tenant.offered().clone(),
        }
    }
}

fn note(sight: Sight, tenant: &TenantId, facts: &mut Facts) {
    if let Err(why) = sight.reached {
        facts.find(Concern::TenantReachable, silent(&why, tenant));
        return;
    }
    facts.find(Concern::TenantReachable, answers());
    match sight.inside {
        Inside::Unknown => {}
        Inside::Kept => {
            facts.inside_is_kept = true;
            facts.find(
                Concern::Addons,
                Finding::holds("Kept", "everything inside the tenant is as it should be"),
            );
        }
        Inside::Failing { reason, message } => facts.find(Concern::Addons, Finding::fails(reason, message)),
    }
}

fn answers() -> Finding {
    Finding::holds("Answers", "the API server answers")
}

fn silent(why: &str, tenant: &TenantId) -> Finding {
    let TenantId { namespace, name, .. } = tenant;
    let look = format!(
        "kubectl --namespace {namespace} logs --selector {}={name} --container kube-apiserver",
        labels::NAME
    );
    Finding::fails(UNREACHABLE, format!("{why}; it is tried again and again; to find out more: {look}"))
}
