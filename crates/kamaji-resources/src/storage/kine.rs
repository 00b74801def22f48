//! The credentials of a tenant whose API server reaches its store through kine.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::v1alpha1::Driver;
use kamaji_api::{Child, Tenant};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::{OWN_PASSWORD, PASSWORD_BYTES, Storage, StorageCredentials, finished_config, kept_password};
use crate::kine::{self, Place};
use crate::secret::{self, HeldSecrets};
use crate::{Error, checksum};

/// What a DataStore tells of itself, for those who use it through kine.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// PEM certificates of the authorities that may have signed the store's certificate. Without them nothing is verified.
    pub ca_pem: Option<String>,
    /// PEM certificate chain and PEM private key that every client of the store shows.
    pub client_pem: Option<(String, Zeroizing<String>)>,
    /// The DataStore's own user and password. Only a tenant of NATS logs in with them: there it has none of its own.
    pub login: Option<(String, Zeroizing<String>)>,
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Access")
            .field("ca_pem", &self.ca_pem.is_some())
            .field("client_pem", &self.client_pem.is_some())
            .field("login", &self.login.is_some())
            .finish()
    }
}

impl StorageCredentials {
    /// Credentials for a store of any kind but etcd: what the tenant has is kept, and what it lacks is made.
    ///
    /// A password is made once in a tenant's life and kept as long as its Secret holds it; in NATS, where the tenant logs in
    /// as the DataStore does, it waits beside that password. The certificates are the DataStore's; nothing is issued, so
    /// nothing has to be renewed here.
    ///
    /// # Errors
    /// [`Error::KineEndpoint`] if kine cannot be told of the store, [`Error::Randomness`].
    pub fn for_kine(
        tenant: &Tenant,
        storage: &Storage,
        access: &Access,
        held: &HeldSecrets,
    ) -> Result<Self, Error> {
        Ok(Self {
            config: config(tenant, storage, access, held)?,
            certificate: certificate(tenant, access, held),
            reissued: None,
            deadline: Timestamp::MAX,
        })
    }

    /// Where the tenant's kine keeps its data and how it logs in there. Secret.
    pub fn kine_endpoint(&self) -> Option<&str> {
        std::str::from_utf8(secret::value(&self.config, kine::ENDPOINT)?).ok()
    }

    /// What the tenant's kine finds in the file that its endpoint names, if it names one. Secret.
    pub fn kine_context(&self) -> Option<&str> {
        std::str::from_utf8(secret::value(&self.config, kine::CONTEXT)?).ok()
    }

    /// The password of the tenant's user in the store. Secret.
    pub fn password(&self) -> Option<&str> {
        std::str::from_utf8(secret::value(&self.config, "DB_PASSWORD")?).ok()
    }
}

fn config(tenant: &Tenant, storage: &Storage, access: &Access, held: &HeldSecrets) -> Result<Secret, Error> {
    let child = Child::DatastoreConfig;
    let own = own_password(storage.driver, access, held)?;
    // In a database each tenant has a user of its own; NATS knows only those that its administrator has made.
    let login = match storage.driver {
        Driver::Nats => access.login.clone(),
        _ => Some((storage.user.clone(), own.clone())),
    };
    let place = Place {
        driver: storage.driver,
        endpoints: &storage.endpoints,
        schema: &storage.schema,
        login: login.as_ref().map(|(user, password)| (user.as_str(), password.as_str())),
    };
    let told = kine::tell(&place).map_err(|source| Error::KineEndpoint { source })?;
    let (user, password) = place.login.unwrap_or_default();
    let mut data = vec![
        ("DB_CONNECTION_STRING", storage.endpoints.first().map_or("", String::as_str)),
        ("DB_SCHEMA", &storage.schema),
        ("DB_USER", user),
        ("DB_PASSWORD", password),
        (kine::ENDPOINT, &told.endpoint),
    ];
    data.extend((storage.driver == Driver::Nats).then_some((OWN_PASSWORD, own.as_str())));
    data.extend(told.context.as_ref().map(|context| (kine::CONTEXT, context.as_str())));
    Ok(finished_config(secret::build(&tenant.id, child, &data)))
}

/// What the Go operator has left of a tenant of NATS names the DataStore's password as the tenant's.
fn own_password(driver: Driver, access: &Access, held: &HeldSecrets) -> Result<Zeroizing<String>, Error> {
    let lent =
        access.login.as_ref().filter(|_| driver == Driver::Nats).map(|(_, password)| password.as_str());
    let kept = kept_password(held).filter(|kept| lent != Some(*kept));
    kept.map_or_else(new_password, |kept| Ok(kept.to_owned())).map(Zeroizing::new)
}

/// The letters of base64url, none of which any driver or shell reads as anything else.
fn new_password() -> Result<String, Error> {
    let mut bytes = Zeroizing::new([0; PASSWORD_BYTES]);
    SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| Error::Randomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
}

/// What is there of the DataStore's certificates; the Secret is there in any case.
fn certificate(tenant: &Tenant, access: &Access, held: &HeldSecrets) -> Secret {
    let child = Child::DatastoreCertificate;
    let mut data: Vec<(&str, &str)> = Vec::new();
    data.extend(access.ca_pem.iter().map(|pem| ("ca.crt", pem.as_str())));
    if let Some((certificate, key)) = &access.client_pem {
        data.extend([("server.crt", certificate.as_str()), ("server.key", key.as_str())]);
    }
    let mut secret = secret::build(&tenant.id, child, &data);
    if let Some(held) =
        held.get(&child).filter(|held| checksum::of_secret(held) == checksum::of_secret(&secret))
    {
        secret::keep_foreign_checksum(&mut secret, held);
    }
    secret
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let secret = || Zeroizing::new("hidden".to_owned());
        let access = Access {
            ca_pem: Some("shown".into()),
            client_pem: Some(("shown".into(), secret())),
            login: Some(("user".into(), secret())),
        };
        assert!(!format!("{access:?}").contains("hidden"));
    }

    #[test]
    fn a_new_password_is_long_plain_and_never_the_same() {
        let (one, other) = (new_password().unwrap(), new_password().unwrap());
        assert_eq!(URL_SAFE_NO_PAD.decode(&one).unwrap().len(), PASSWORD_BYTES);
        assert_ne!(one, other);
    }
}
