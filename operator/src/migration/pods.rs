//! The Pods that a migration waits for: those of the tenant, which must end, and those of the Job, which must not.

use k8s_openapi::api::core::v1::Pod;
use kamaji_api::{TenantId, labels};
use kamaji_resources::migration::{COMPONENT, Trouble};
use kamaji_resources::rollout::Rollout;
use kube::api::ListParams;
use kube::{Api, ResourceExt};

use super::job_of;
use crate::context::Context;
use crate::converge::Pass;
use crate::error::{Error, chain};

impl Pass<'_> {
    /// How many Pods of the tenant may still run. Those that will never run again do not count.
    pub(super) async fn pods(&self) -> Result<usize, Error> {
        let rollout = self.world.deployment.as_deref().map(Rollout::of);
        if let Some(rollout) =
            rollout.filter(|rollout| !rollout.observed || rollout.wanted > 0 || rollout.total > 0)
        {
            return Ok(usize::try_from(rollout.total).unwrap_or_default().max(1));
        }
        let TenantId { namespace, name, .. } = &self.tenant.id;
        living_pods(self.cx, namespace, &format!("{}={name}", labels::NAME)).await
    }

    /// What keeps the Job from its work, if its Pods tell. They need not: what is done is seen in the stores.
    pub(super) async fn trouble(&self) -> Option<Trouble> {
        let (id, namespace) = (&self.tenant.id, &self.cx.settings.migration.namespace);
        let job = job_of(self.cx, id)?.uid();
        // Those of an earlier Job may not be gone yet.
        let is_of_the_job =
            |pod: &Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == job.as_ref());
        match listed(self.cx, namespace, &job_selector(id)).await {
            Ok(pods) => Trouble::of(&pods.into_iter().filter(is_of_the_job).collect::<Vec<_>>()),
            Err(error) => {
                tracing::debug!(error = chain(&error), "nothing is known of the Pods of the Job");
                None
            }
        }
    }
}

/// Pods of these labels that have not ended.
pub(super) async fn living_pods(cx: &Context, namespace: &str, selector: &str) -> Result<usize, Error> {
    let has_ended = |pod: &Pod| {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    Ok(listed(cx, namespace, selector).await?.iter().filter(|pod| !has_ended(pod)).count())
}

async fn listed(cx: &Context, namespace: &str, selector: &str) -> Result<Vec<Pod>, Error> {
    let pods = Api::<Pod>::namespaced(cx.cluster.client().clone(), namespace);
    let found = pods.list(&ListParams::default().labels(selector)).await;
    Ok(found.map_err(|source| Error::Listing { source: Box::new(source) })?.items)
}

/// The labels of the Pods of a tenant's Job.
pub(super) fn job_selector(id: &TenantId) -> String {
    let TenantId { namespace, name, .. } = id;
    format!(
        "{}={COMPONENT},{}={name},{}={namespace}",
        labels::COMPONENT,
        labels::MIGRATION_TENANT_NAME,
        labels::MIGRATION_TENANT_NAMESPACE
    )
}
