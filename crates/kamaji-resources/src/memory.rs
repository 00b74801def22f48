//! The few fields of the status that are remembered rather than computed.

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::v1alpha1::{CertificatesStatus, ChecksummedSecret, Driver, TenantControlPlaneStatus};
use kamaji_api::{Child, Tenant};

use crate::checksum;
use crate::migration::{Attempt, Retired};
use crate::overrides::OverrideClaim;
use crate::rotation::Record;

/// A tenant's claim on its place in a datastore. It is written down before anything is made there, and never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name of the DataStore.
    pub data_store: String,
    /// Kind of store.
    pub driver: Driver,
    /// Database, prefix or bucket.
    pub schema: String,
    /// User.
    pub user: String,
}

/// What the status remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Kubernetes version that ran last.
    pub installed: Option<String>,
    /// Version whose behaviour it kept.
    pub emulated: Option<String>,
    /// Place in the datastore, as far as it has been claimed.
    pub claim: Option<Claim>,
    /// Places in other stores, where single kinds of objects are kept.
    pub overrides: Vec<OverrideClaim>,
    /// True once the place was set up completely.
    pub storage_is_set_up: bool,
    /// The last try to move the data elsewhere, unless it ended well.
    pub attempt: Option<Attempt>,
    /// Places that the tenant has left.
    pub retired: Vec<Retired>,
    /// Trust anchors that are being replaced, or were.
    pub rotations: Vec<Record>,
    certificates: CertificatesStatus,
}

impl Memory {
    /// Reads it out of a status.
    pub fn of(status: Option<&TenantControlPlaneStatus>) -> Self {
        let Some(status) = status else {
            return Self::default();
        };
        let storage = status.storage.clone().unwrap_or_default();
        let setup = storage.setup.unwrap_or_default();
        let claim = match (storage.data_store_name, storage.driver, setup.schema, setup.user) {
            (Some(data_store), Some(driver), Some(schema), Some(user)) => {
                Some(Claim { data_store, driver, schema, user })
            }
            _ => None,
        };
        let version = status.kubernetes_resources.as_ref().and_then(|resources| resources.version.as_ref());
        Self {
            installed: version
                .and_then(|version| version.version.clone())
                .filter(|version| !version.is_empty()),
            emulated: version.and_then(|version| version.emulated.clone()),
            claim,
            overrides: storage.overrides.iter().filter_map(OverrideClaim::of).collect(),
            attempt: storage.migration.as_ref().and_then(Attempt::of),
            retired: storage.left.iter().filter_map(Retired::of).collect(),
            storage_is_set_up: setup.checksum.is_some_and(|sum| !sum.is_empty()),
            rotations: status
                .certificates
                .iter()
                .flat_map(|certificates| &certificates.rotations)
                .filter_map(Record::of)
                .collect(),
            certificates: status.certificates.clone().unwrap_or_default(),
        }
    }

    /// The checksum that is remembered of an anchor, if it was ever there.
    pub fn anchor(&self, child: Child) -> Option<&str> {
        let secret: Option<&ChecksummedSecret> = match child {
            Child::Ca => self.certificates.ca.as_ref(),
            Child::FrontProxyCa => self.certificates.front_proxy_ca.as_ref(),
            Child::ServiceAccountKey => self.certificates.sa.as_ref(),
            _ => None,
        };
        secret?.checksum.as_deref().filter(|sum| !sum.is_empty())
    }

    /// The checksum that this Secret of an anchor must have: the one that is remembered, or the one that it was announced to have.
    pub fn anchor_of(&self, child: Child, secret: &Secret) -> Option<&str> {
        let sum = checksum::of_secret(secret);
        let announced = self.rotation(child).map(|record| record.announced.as_str());
        announced.filter(|announced| *announced == sum).or_else(|| self.anchor(child))
    }

    /// What is remembered of the replacement of an anchor.
    pub fn rotation(&self, child: Child) -> Option<&Record> {
        self.rotations.iter().find(|record| record.child == child)
    }

    /// The claim as it stands, or the one to make: what the user chose, else the UID.
    ///
    /// MySQL takes no more than 32 characters for a user, which a UID has without its dashes.
    pub fn claim_or_new(&self, tenant: &Tenant, driver: Driver) -> Claim {
        let uid = &tenant.id.uid;
        let user = || if driver == Driver::MySql { uid.replace('-', "") } else { uid.clone() };
        self.claim.clone().unwrap_or_else(|| Claim {
            data_store: tenant.data_store.clone(),
            driver,
            schema: tenant.schema.clone().unwrap_or_else(|| uid.clone()),
            user: tenant.user.clone().unwrap_or_else(user),
        })
    }
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant::fixtures;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_outlives_the_uid_it_was_made_under() {
        let status = serde_json::from_value(json!({
            "storage": {
                "dataStoreName": "default",
                "driver": "etcd",
                "setup": { "schema": "old-uid", "user": "old-uid", "checksum": "c" },
            },
        }))
        .unwrap();
        let memory = Memory::of(Some(&status));
        assert!(memory.storage_is_set_up);
        assert_eq!(memory.claim_or_new(&fixtures::tenant(), Driver::Etcd).schema, "old-uid");
    }

    #[test]
    fn a_new_claim_is_what_the_user_chose_or_the_uid() {
        let tenant = Tenant { user: Some("blue".into()), ..fixtures::tenant() };
        let claim = Memory::default().claim_or_new(&tenant, Driver::Etcd);
        assert_eq!((claim.schema.as_str(), claim.user.as_str()), (tenant.id.uid.as_str(), "blue"));
    }

    #[test]
    fn a_new_user_of_mysql_fits_its_limit_and_an_old_one_stays() {
        let tenant = fixtures::tenant();
        let new = Memory::default().claim_or_new(&tenant, Driver::MySql);
        assert_eq!((new.user.len(), new.schema.as_str()), (32, tenant.id.uid.as_str()));
        let old = Claim { user: tenant.id.uid.clone(), ..new };
        let memory = Memory { claim: Some(old.clone()), ..Memory::default() };
        assert_eq!(memory.claim_or_new(&tenant, Driver::MySql), old);
    }
}
