//! A tenant's claim on its place in a datastore: written down before anything is made there.

use kamaji_api::labels;
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::account::{Account, Credential, Owner, Password, Schema, Seal, Standing, User};
use kamaji_resources::overrides::OverrideClaim;
use kamaji_resources::status::{self, Facts};
use kamaji_resources::{Claim, Memory, StorageCredentials};

use crate::converge::Pass;
use crate::error::Error;

impl Pass<'_> {
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
