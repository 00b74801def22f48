//! The Deployment that would be made of a spec, made of throw-away keys: it tells what would become of the user's wishes.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::Tenant;
use kamaji_api::v1alpha1::Driver;
use kamaji_pki::Authority;
use kamaji_resources::anchors::{self, ANCHORS};
use kamaji_resources::deployment::{self, Inputs};
use kamaji_resources::storage::Access;
use kamaji_resources::{
    Anchors, Clock, Credentials, Endpoint, HeldSecrets, Memory, Storage, StorageCredentials,
};
use kube::core::ObjectMeta;

/// How long the keys would last if somebody kept them.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);
/// Stands for an address that is not known yet (RFC 5737).
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The Deployment that a tenant would get with a DataStore of this driver; nothing if it cannot be told. No server has seen it,
/// and none of its checksums mean anything. It has no owner, which may not exist yet.
pub(super) fn deployment(tenant: &Tenant, driver: Driver, now: Timestamp) -> Option<Deployment> {
    let address = tenant.network.address.unwrap_or(ADDRESS);
    let advertised = tenant.network.advertise_address.unwrap_or(address);
    let endpoint = Endpoint { address, advertised, port: tenant.network.port };
    let created = |child| Some((child, Arc::new(anchors::create(&tenant.id, child, now).ok()?)));
    let held: HeldSecrets = ANCHORS.into_iter().filter_map(created).collect();
    let clock = Clock { now, renew_before: SignedDuration::ZERO };
    let anchors = Anchors::read(&held, |_| None).ok()?;
    let credentials = Credentials::renew(tenant, &endpoint, &anchors, &held, clock).ok()?;
    let claim = Memory::default().claim_or_new(tenant, driver);
    let storage = Storage {
        driver,
        data_store: claim.data_store,
        endpoints: vec!["datastore:2379".to_owned()],
        schema: claim.schema,
        user: claim.user,
    };
    let storage_credentials = if driver == Driver::Etcd {
        let issuer = Authority::create("rehearsal", now, VALIDITY).ok()?;
        StorageCredentials::renew(tenant, &storage, &issuer, &held, clock)
    } else {
        StorageCredentials::for_kine(tenant, &storage, &Access::default(), &held)
    };
    let built = deployment::build(&Inputs {
        tenant,
        endpoint: &endpoint,
        credentials: &credentials,
        storage: &storage,
        storage_credentials: &storage_credentials.ok()?,
        overrides: &[],
    });
    let metadata = ObjectMeta { owner_references: None, ..built.metadata };
    Some(Deployment { metadata, ..built })
}
