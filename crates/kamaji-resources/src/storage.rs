//! A tenant's place in its datastore, as its control plane sees it.

mod kine;
mod trust;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::v1alpha1::Driver;
use kamaji_api::{Child, Tenant, labels};
use kamaji_pki::verdict::{self, Reissue, Wanted};
use kamaji_pki::{Authority, Certificate};
use ring::rand::{SecureRandom, SystemRandom};

use crate::credentials::{Clock, client};
use crate::secret::{self, HeldSecrets};
use crate::{Error, checksum};

pub use kine::Access;
pub use trust::Extent;

/// Bytes of randomness in a password.
const PASSWORD_BYTES: usize = 32;
/// Under this key of the Secret the tenant's own password waits while it logs in with another's.
const OWN_PASSWORD: &str = "OWN_PASSWORD";

/// A tenant's place in its datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Kind of store.
    pub driver: Driver,
    /// Name of the DataStore.
    pub data_store: String,
    /// Addresses of the store, as `host:port`.
    pub endpoints: Vec<String>,
    /// The tenant's prefix, database or bucket.
    pub schema: String,
    /// The tenant's user.
    pub user: String,
}

/// How the control plane proves itself to the datastore.
#[derive(Clone, Debug)]
pub struct StorageCredentials {
    /// The Secret with user, schema and password.
    pub config: Secret,
    /// The Secret with the certificates.
    pub certificate: Secret,
    /// Why the certificate was issued anew, if it was.
    pub reissued: Option<Reissue>,
    /// When the certificate must be renewed.
    pub deadline: Timestamp,
}

impl StorageCredentials {
    /// Credentials for etcd: keeps what may stay and makes what may not.
    ///
    /// `issuer` is the authority that signed the store's certificate and signs its clients'.
    pub fn renew(
        tenant: &Tenant,
        storage: &Storage,
        issuer: &Authority,
        held: &HeldSecrets,
        clock: Clock,
    ) -> Result<Self, Error> {
        let child = Child::DatastoreCertificate;
        let leaf = client(&storage.user, &[]);
        let found = held.get(&child).map(|secret| secret::held(secret, "server.crt", "server.key"));
        let wanted = Wanted {
            leaf: &leaf,
            authority: issuer.certificate(),
            renew_before: clock.renew_before,
            names: secret::policy(held.get(&child)),
        };
        let renewal = verdict::renew(found.as_ref(), &wanted, issuer, clock.now)
            .map_err(|source| Error::Issue { child, source })?;
        let certificate: &Certificate = renewal.pair.certificate();
        let data = [
            ("ca.crt", issuer.certificate().pem()),
            ("server.crt", certificate.pem()),
            ("server.key", renewal.pair.key().pem()),
        ];
        Ok(Self {
            config: config_secret(tenant, storage, held)?,
            deadline: verdict::deadline(certificate, clock.renew_before),
            certificate: secret::renewed(
                secret::build(&tenant.id, child, &data),
                held.get(&child).map(Arc::as_ref),
                clock.now,
            ),
            reissued: renewal.reason,
        })
    }

    /// The certificate that the control plane shows to the datastore, and its key, in PEM.
    pub fn client_pem(&self) -> (&[u8], &[u8]) {
        let value = |key| secret::value(&self.certificate, key).unwrap_or_default();
        (value("server.crt"), value("server.key"))
    }

    /// The checksum of user, schema and password.
    pub fn config_checksum(&self) -> String {
        checksum::of_secret(&self.config)
    }

    /// The checksum of the certificates.
    pub fn certificate_checksum(&self) -> String {
        checksum::of_secret(&self.certificate)
    }
}

/// etcd knows its clients by their certificates: the connection string is empty and the password unused.
fn config_secret(tenant: &Tenant, storage: &Storage, held: &HeldSecrets) -> Result<Secret, Error> {
    let child = Child::DatastoreConfig;
    let password = kept_password(held).map_or_else(new_password, |password| Ok(password.to_owned()))?;
    let data = [
        ("DB_CONNECTION_STRING", ""),
        ("DB_SCHEMA", storage.schema.as_str()),
        ("DB_USER", storage.user.as_str()),
        ("DB_PASSWORD", password.as_str()),
    ];
    Ok(finished_config(secret::build(&tenant.id, child, &data)))
}

/// The Secret as it outlives the data, with the checksum that the Go operator would write: where that does not fit, it makes
/// another password.
fn finished_config(mut secret: Secret) -> Secret {
    secret.metadata.finalizers = Some(vec![labels::DATASTORE_SECRET_FINALIZER.into()]);
    let sum = checksum::of_go(secret.data.as_ref().unwrap_or(&std::collections::BTreeMap::new()));
    secret.metadata.annotations.get_or_insert_default().insert(labels::CHECKSUM.into(), sum);
    secret
}

/// The password that is the tenant's own, whatever else its Secret says: what it uses in NATS is the DataStore's.
fn kept_password(held: &HeldSecrets) -> Option<&str> {
    let secret = held.get(&Child::DatastoreConfig)?;
    let is_lent = secret::value(secret, crate::kine::ENDPOINT).is_some_and(crate::kine::is_of_nats);
    let password = secret::value(secret, if is_lent { OWN_PASSWORD } else { "DB_PASSWORD" })?;
    std::str::from_utf8(password).ok().filter(|password| !password.is_empty())
}

/// Hexadecimal, so that no place that takes a password needs to quote it.
fn new_password() -> Result<String, Error> {
    let mut bytes = [0; PASSWORD_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Randomness)?;
    Ok(checksum::hexadecimal(&bytes))
}
