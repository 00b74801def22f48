//! How many of a tenant's Pods may be taken away at once.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_resources::disruption;
use kamaji_resources::object::{Ownership, ownership};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::Pass;
use crate::error::Error;

const STAGE: &str = "disruption-budget";

impl Pass<'_> {
    /// There is a budget of ours if the tenant has enough Pods for one, and nobody else has made one that is about them.
    pub(super) async fn spare(&self, deployment: &Deployment) -> Result<(), Error> {
        let budgets = self.cx.caches.budgets.all();
        let near =
            budgets.iter().filter(|budget| budget.namespace().as_ref() == Some(&self.tenant.id.namespace));
        let (ours, others): (Vec<_>, Vec<_>) =
            near.partition(|budget| ownership(&self.tenant.id, &budget.metadata) == Ownership::Ours);
        let pod = deployment
            .spec
            .template
            .metadata
            .as_ref()
            .and_then(|meta| meta.labels.clone())
            .unwrap_or_default();
        let is_spared = others.iter().any(|budget| disruption::selects(budget, &pod));
        match disruption::build(self.tenant).filter(|_| !is_spared) {
            Some(desired) => {
                self.cx.place_or_replace(self.reach(STAGE), &self.cx.caches.budgets, &desired).await.map(drop)
            }
            None => futures::future::try_join_all(ours.into_iter().map(|budget| self.remove(budget, STAGE)))
                .await
                .map(drop),
        }
    }
}

/// The tenants that a change of this budget concerns: all beside it, for it may be about the Pods of each.
pub(crate) fn concerned(
    budget: &PodDisruptionBudget,
    tenants: &[Arc<TenantControlPlane>],
) -> Vec<ObjectRef<TenantControlPlane>> {
    let namespace = budget.namespace();
    let near = tenants.iter().filter(|tenant| tenant.namespace() == namespace);
    near.map(|tenant| ObjectRef::from_obj(tenant.as_ref())).collect()
}
