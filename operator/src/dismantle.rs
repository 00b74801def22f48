//! Ends one tenant: nothing of it is left, in this cluster or in its datastore.

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, TenantId, labels};
use kamaji_datastore::account::Standing;
use kamaji_resources::conditions::{self, Concern, Finding, READY};
use kamaji_resources::{Claim, Memory};
use kube::ResourceExt;
use kube::runtime::events::EventType;

use crate::claim::{account, standing};
use crate::clock;
use crate::context::Context;
use crate::error::Error;
use crate::stores::Examined;
use crate::world::World;

/// The tenant's data is gone, then its finalizers; the garbage collector removes what it owns.
///
/// Only the claim in the status is needed for it, never a Secret: those may be gone already.
pub(crate) async fn dismantle(cx: &Context, tcp: &TenantControlPlane) -> Result<(), Error> {
    let id = TenantId::of(tcp);
    if !is_ours_to_end(tcp) {
        return Ok(());
    }
    cx.tenants.leave(&id);
    stop(cx, &id).await?;
    if let Some(claim) = Memory::of(tcp.status.as_ref()).claim
        && let Err(error) = clear(cx, tcp, &id, &claim).await
    {
        if !is_abandoned(tcp) {
            report(cx, tcp, &claim, &error).await?;
            return Err(error);
        }
        let residue = residue(cx, &id, &claim);
        let note = format!("given up as asked: DataStore {} may still hold {residue}", claim.data_store);
        cx.event(tcp, EventType::Warning, "DataStoreAbandoned", note).await;
    }
    release_secret(cx, &id).await?;
    let finalizers = [labels::DATASTORE_FINALIZER, labels::SOOT_FINALIZER];
    cx.cluster.remove_finalizers(tcp, &finalizers).await.map_err(failed)?;
    cx.tenants.forget(&id);
    Ok(())
}

fn is_ours_to_end(tcp: &TenantControlPlane) -> bool {
    let ours = [labels::DATASTORE_FINALIZER, labels::SOOT_FINALIZER];
    tcp.finalizers().iter().any(|name| ours.contains(&name.as_str()))
}

/// The UID must be spelled out, so that the wish dies with the object that it was meant for.
fn is_abandoned(tcp: &TenantControlPlane) -> bool {
    tcp.annotations().get(labels::ABANDON_DATASTORE).is_some_and(|uid| Some(uid) == tcp.metadata.uid.as_ref())
}

/// Nothing writes to the datastore any more.
async fn stop(cx: &Context, id: &TenantId) -> Result<(), Error> {
    if let Some(deployment) = World::of(id, &cx.caches).deployment
        && deployment.metadata.deletion_timestamp.is_none()
    {
        cx.cluster.delete(deployment.as_ref()).await.map_err(failed)?;
    }
    Ok(())
}

async fn clear(cx: &Context, tcp: &TenantControlPlane, id: &TenantId, claim: &Claim) -> Result<(), Error> {
    let refused = |source| Error::DataStore {
        stage: "deletion",
        data_store: claim.data_store.clone(),
        source: Box::new(source),
    };
    let open = match cx.stores.get(&claim.data_store) {
        Some(Examined::Usable(open)) => open,
        Some(Examined::Unusable { reason, message, .. }) => {
            return Err(Error::DataStoreUnusable { data_store: claim.data_store.clone(), reason, message });
        }
        None => {
            return Err(Error::DataStoreUnusable {
                data_store: claim.data_store.clone(),
                reason: "DataStoreMissing",
                message: format!("DataStore {} does not exist", claim.data_store),
            });
        }
    };
    let standing = standing(&Memory::of(tcp.status.as_ref()));
    let account = account(&id.uid, claim, standing).map_err(refused)?;
    open.store.remove(&account).await.map_err(refused)
}

/// What was not removed, as far as it can be told without the datastore.
fn residue(cx: &Context, id: &TenantId, claim: &Claim) -> String {
    let open = cx.stores.get(&claim.data_store).and_then(|examined| examined.last().cloned());
    match (open, account(&id.uid, claim, Standing::Recorded)) {
        (Some(open), Ok(account)) => open.store.footprint(&account).to_string(),
        _ => format!("user {}, role and data of schema {}", claim.user, claim.schema),
    }
}

/// The condition says what the deletion waits for, and how to do without.
async fn report(cx: &Context, tcp: &TenantControlPlane, claim: &Claim, error: &Error) -> Result<(), Error> {
    let uid = tcp.metadata.uid.clone().unwrap_or_default();
    let message = format!(
        "deletion waits for DataStore {}: {}; to leave the data behind, annotate with {}={uid}",
        claim.data_store,
        error.chain(),
        labels::ABANDON_DATASTORE,
    );
    let generation = tcp.metadata.generation.unwrap_or_default();
    let mut status = tcp.status.clone().unwrap_or_default();
    let finding = Finding::fails(error.reason(), message);
    let findings = [(Concern::DataStoreReachable.as_str(), finding.clone()), (READY, finding)];
    status.conditions = conditions::merged(&status.conditions, &findings, generation, clock::now());
    cx.write_status(tcp, status).await
}

async fn release_secret(cx: &Context, id: &TenantId) -> Result<(), Error> {
    let name = Child::DatastoreConfig.name(&id.name);
    let read = cx.cluster.get_opt::<Secret>(Some(&id.namespace), &name).await.map_err(failed)?;
    let Some(secret) = read else { return Ok(()) };
    cx.cluster.remove_finalizers(&secret, &[labels::DATASTORE_SECRET_FINALIZER]).await.map_err(failed)
}

fn failed(source: kamaji_apply::Error) -> Error {
    Error::kubernetes("deletion", source)
}
