//! Ends one tenant: nothing of it is left, in this cluster or in its datastore.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, TenantId, labels};
use kamaji_datastore::account::Standing;
use kamaji_resources::conditions::{self, Concern, Finding, READY};
use kamaji_resources::{Claim, Memory, overrides};
use kube::ResourceExt;
use kube::runtime::events::EventType;

use crate::claim::{account, standing};
use crate::clock;
use crate::context::Context;
use crate::controllers::datastore::was_asked;
use crate::error::Error;
use crate::migration;
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
    let places = places(cx, tcp, &id);
    stop(cx, &id).await?;
    migration::withdraw(cx, &id).await?;
    // One datastore that fails holds up the cleaning of no other.
    let cleared = futures::future::join_all(places.iter().map(|place| clear(cx, &id, place))).await;
    let failures: Vec<(&Place, Error)> = places
        .iter()
        .zip(cleared)
        .filter_map(|(place, cleared)| cleared.err().map(|error| (place, error)))
        .collect();
    if !failures.is_empty() && !is_abandoned(tcp) {
        report(cx, tcp, &failures).await?;
        return failures.into_iter().next().map_or(Ok(()), |(_, error)| Err(error));
    }
    for (Place { claim, .. }, _) in &failures {
        let residue = residue(cx, &id, claim);
        let note = format!("given up as asked: DataStore {} may still hold {residue}", claim.data_store);
        cx.event(tcp, EventType::Warning, "DataStoreAbandoned", note).await;
    }
    migration::forget(cx, &id).await?;
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

/// A tenant's place in a datastore.
struct Place {
    claim: Claim,
    /// The kinds that are kept there, where they are not all.
    resources: BTreeSet<String>,
    /// Where the tenant's Pods kept single kinds, whoever made that place.
    in_force: BTreeMap<String, BTreeSet<String>>,
    standing: Standing,
}

/// Every place that the status names, the tenant's own first.
fn places(cx: &Context, tcp: &TenantControlPlane, id: &TenantId) -> Vec<Place> {
    let memory = Memory::of(tcp.status.as_ref());
    let in_force =
        World::of(id, &cx.caches).deployment.as_deref().map(overrides::in_force).unwrap_or_default();
    let own = memory.claim.clone().map(|claim| Place {
        claim,
        resources: BTreeSet::new(),
        in_force: BTreeMap::new(),
        standing: standing(&memory),
    });
    let others = memory.overrides.into_iter().map(|place| Place {
        claim: place.claim(),
        resources: place.resources,
        in_force: in_force.clone(),
        standing: Standing::Claimed,
    });
    let passed = memory.retired.into_iter().map(|left| (left.claim, Standing::Recorded));
    let tried = memory.attempt.into_iter().map(|attempt| (attempt.claim, Standing::Claimed));
    let migrated = passed.chain(tried).map(|(claim, standing)| Place {
        claim,
        resources: BTreeSet::new(),
        in_force: BTreeMap::new(),
        standing,
    });
    let mut places: Vec<Place> = Vec::new();
    for place in own.into_iter().chain(others).chain(migrated) {
        // A tenant that comes back is there only once.
        if !places.iter().any(|known| known.claim == place.claim) {
            places.push(place);
        }
    }
    places
}

async fn clear(cx: &Context, id: &TenantId, place: &Place) -> Result<(), Error> {
    let claim = &place.claim;
    let refused = |source| Error::DataStore {
        stage: "deletion",
        data_store: claim.data_store.clone(),
        source: Box::new(source),
    };
    let open = match cx.stores.get(&claim.data_store) {
        Some(Examined::Usable(open)) => open,
        // The server may be fine: what describes it may have gone before the tenant, with the namespace of both.
        Some(Examined::Unusable { reason, last: Some(open), .. }) if !was_asked(reason) => open,
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
    let servers = &open.endpoints;
    let standing = if overrides::is_kept_at(&place.in_force, &place.resources, servers) {
        Standing::Recorded
    } else {
        place.standing
    };
    let account = account(&id.uid, claim, standing).map_err(refused)?;
    let removed = open.store.remove(&account).await;
    removed.map_err(|error| {
        cx.data_store_failed(&claim.data_store, &open, &error);
        refused(error)
    })
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
async fn report(cx: &Context, tcp: &TenantControlPlane, failures: &[(&Place, Error)]) -> Result<(), Error> {
    let uid = tcp.metadata.uid.clone().unwrap_or_default();
    let waits =
        |(place, error): &(&Place, Error)| format!("DataStore {}: {}", place.claim.data_store, error.chain());
    let waits: Vec<String> = failures.iter().map(waits).collect();
    let message = format!(
        "deletion waits for {}; to leave the data behind, annotate with {}={uid}",
        waits.join("; "),
        labels::ABANDON_DATASTORE,
    );
    let reason = failures.first().map_or("Progressing", |(_, error)| error.reason());
    let generation = tcp.metadata.generation.unwrap_or_default();
    let mut status = tcp.status.clone().unwrap_or_default();
    let finding = Finding::fails(reason, message);
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
