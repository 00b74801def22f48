//! A tenant's children as they are now, read once at the start of a pass.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kamaji_api::{Child, TenantId};
use kamaji_resources::HeldSecrets;
use kamaji_resources::object::{Ownership, ownership};
use kube::runtime::reflector::{Lookup, ObjectRef};

use crate::context::Caches;

/// A tenant's children as they are now.
pub(crate) struct World {
    pub(crate) secrets: HeldSecrets,
    /// Whatever bears its name: whose it is decides whether it may be removed.
    pub(crate) egress_selector: Option<Arc<ConfigMap>>,
    /// Only if it is the tenant's: whether it is there decides what else may be made, and it is what a deletion stops.
    pub(crate) deployment: Option<Arc<Deployment>>,
}

impl World {
    /// Reads the children of a tenant.
    pub(crate) fn of(tenant: &TenantId, caches: &Caches) -> Self {
        let secret = |child: Child| Some((child, caches.secrets.get(&key::<Secret>(tenant, child))?));
        Self {
            secrets: Child::ALL.into_iter().filter_map(secret).collect(),
            egress_selector: caches.config_maps.get(&key(tenant, Child::EgressSelector)),
            deployment: caches
                .deployments
                .get(&key(tenant, Child::Deployment))
                .filter(|found| ownership(tenant, &found.metadata) != Ownership::Foreign),
        }
    }
}

fn key<K: Lookup<DynamicType = ()>>(tenant: &TenantId, child: Child) -> ObjectRef<K> {
    ObjectRef::new(&child.name(&tenant.name)).within(&tenant.namespace)
}
