//! How much room tenants take in a datastore.

use kamaji_api::TenantId;
use kamaji_datastore::store::{Health, Store};
use kamaji_resources::Memory;
use kube::ResourceExt;

use crate::claim::{account, standing};
use crate::context::Context;
use crate::metrics::TenantUsage;

/// The metrics tell what this datastore, and now and then what each of its tenants, takes.
pub(super) async fn measure(name: &str, store: &Store, health: &Health, cx: &Context) {
    if !cx.metrics.usage.measured(name, health) {
        return;
    }
    let mut tenants = Vec::new();
    for tcp in cx.caches.tenants.all() {
        let memory = Memory::of(tcp.status.as_ref());
        let Some(claim) = memory.claim.as_ref().filter(|claim| claim.data_store == name) else { continue };
        let Ok(account) = account(&TenantId::of(&tcp).uid, claim, standing(&memory)) else { continue };
        match store.usage(&account).await {
            Ok(usage) => tenants.push(TenantUsage {
                namespace: tcp.namespace().unwrap_or_default(),
                name: tcp.name_any(),
                usage,
            }),
            Err(error) => {
                let error = crate::error::chain(&error);
                tracing::debug!(datastore = name, error, "could not measure the tenants");
                return;
            }
        }
    }
    cx.metrics.usage.tenants_measured(name, tenants);
}
