//! A tenant's claim on its place in a datastore: written down before anything is made there.

use std::sync::Arc;

use kamaji_api::labels;
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::account::{Account, Credential, Owner, Password, Schema, Seal, Standing, User};
use kamaji_pki::Authority;
use kamaji_resources::overrides::OverrideClaim;
use kamaji_resources::status::{self, Facts};
use kamaji_resources::{Claim, Memory, StorageCredentials};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::converge::Pass;
use crate::error::Error;
use crate::stores::OpenStore;

impl Pass<'_> {
    /// The user name that the tenant is about to claim is nobody else's where it would open the same doors: in every DataStore
    /// whose certificates are signed by the same authority. In its own DataStore the store itself knows better.
    pub(crate) fn take_name(&self, claim: &Claim) -> Result<(), Error> {
        let open = self.cx.stores.get(&claim.data_store).and_then(|examined| examined.last().cloned());
        let authority = open.as_ref().and_then(|open| open.authority());
        let Some(authority) = authority else { return Ok(()) };
        let collides = |other: &str| other != claim.data_store && self.may_sign(authority, other);
        let other = self.cx.tenants.take_name(&self.tenant.id, claim, collides).or_else(|| {
            let tenants = self.cx.caches.tenants.all();
            let others = tenants.iter().filter(|tcp| tcp.uid().as_ref() != Some(&self.tenant.id.uid));
            let mut claims = others.flat_map(|tcp| {
                let memory = Memory::of(tcp.status.as_ref());
                memory.claim.into_iter().chain(memory.attempt.map(|attempt| attempt.claim))
            });
            claims
                .find(|other| other.user == claim.user && collides(&other.data_store))
                .map(|other| other.data_store)
        });
        let Some(other) = other else { return Ok(()) };
        let (user, data_store) = (claim.user.clone(), claim.data_store.clone());
        Err(Error::UserNameTaken { user, data_store, other })
    }

    /// Whether the tenants of this DataStore have certificates of this authority, as far as is known.
    fn may_sign(&self, authority: &Authority, data_store: &str) -> bool {
        let open = self.cx.stores.get(data_store).and_then(|examined| examined.last().cloned());
        let has_same = |open: Arc<OpenStore>| {
            open.authority().is_some_and(|own| own.key().pem() == authority.key().pem())
        };
        // One that has not been reached yet may turn out to have the same.
        let may_have = || {
            let object = self.cx.caches.data_stores.get(&ObjectRef::new(data_store));
            object.is_some_and(|object| object.spec.driver == Driver::Etcd)
        };
        open.map_or_else(may_have, has_same)
    }

    /// Finalizer and names are written down before anything is made in the datastore.
    pub(crate) async fn claim(&self, claim: &Claim, overrides: &[OverrideClaim]) -> Result<(), Error> {
        let hold = self.cx.hold("claim", self.tcp, labels::DATASTORE_FINALIZER);
        let name = async {
            if self.memory.claim.is_some() && self.memory.overrides == overrides {
                return Ok(());
            }
            let overrides = Some(overrides.to_vec());
            let facts = Facts { claim: Some(claim.clone()), overrides, ..Facts::default() };
            let known = self.tcp.status.as_ref();
            let status = if self.memory.claim.is_some() {
                status::claimed(self.tenant, known, &facts, self.clock.now)
            } else {
                status::compute(self.tenant, known, &facts, self.clock.now)
            };
            self.cx.write_status(self.tcp, status).await
        };
        tokio::try_join!(hold, name).map(|_| ())
    }
}

/// What a tenant may take for its own in the datastore.
pub(crate) fn standing(memory: &Memory) -> Standing {
    if memory.storage_is_set_up { Standing::Recorded } else { Standing::Claimed }
}

/// A claim as the datastore knows it.
pub(crate) fn account(
    uid: &str,
    claim: &Claim,
    standing: Standing,
) -> Result<Account, kamaji_datastore::error::Error> {
    Ok(Account {
        schema: Schema::parse(&claim.schema)?,
        user: User::parse(&claim.user)?,
        owner: Owner::parse(uid)?,
        standing,
        seal: Seal::Open,
        credential: Credential::Certificate,
    })
}

/// How the tenant proves to its datastore who it is.
pub(crate) fn credential(
    driver: Driver,
    credentials: &StorageCredentials,
) -> Result<Credential, kamaji_datastore::error::Error> {
    match driver {
        Driver::Etcd | Driver::Nats => Ok(Credential::Certificate),
        Driver::MySql | Driver::PostgreSql => {
            let password = credentials.password().unwrap_or_default().to_owned();
            Password::parse(password).map(Credential::Password)
        }
    }
}
