//! How a DataStore and its Secret tell of a server.

use anyhow::Result;
use k8s_openapi::ByteString;
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::config::{Endpoint, Settings};
use serde_json::{Value, json};

use super::Lane;
use crate::database::Database;

/// What the operator needs for this server, by key of the Secret.
pub fn credentials_for(database: &impl Database) -> Value {
    let Settings { tls, basic_auth, .. } = database.settings();
    let mut keys = json!({});
    let text = |bytes: &[u8]| json!(String::from_utf8_lossy(bytes));
    if let Some(tls) = tls {
        keys["ca.crt"] = text(&tls.ca_pem);
        if let Some((certificate, key)) = tls.client {
            keys["ca.key"] = json!(database.authority().key().pem());
            keys["tls.crt"] = text(&certificate);
            keys["tls.key"] = text(&key);
        }
    }
    if let Some(login) = basic_auth {
        keys["username"] = json!(login.username);
        keys["password"] = json!(login.password.as_str());
    }
    keys
}

/// A DataStore for this server, at this address, whose Secret has the keys of [`credentials_for`].
pub fn spec_for<D: Database>(lane: &Lane, database: &D, endpoint: &Endpoint) -> Value {
    let keys = credentials_for(database);
    described(D::DRIVER, &endpoint.to_string(), &keys, |key| lane.reference(key))
}

/// A DataStore of this kind at this address, with these `keys`, each told by `tell`.
pub(super) fn described(driver: Driver, endpoint: &str, keys: &Value, tell: impl Fn(&str) -> Value) -> Value {
    let mut spec = json!({ "driver": driver.as_str(), "endpoints": [endpoint] });
    for (field, key) in [
        ("/basicAuth/username", "username"),
        ("/basicAuth/password", "password"),
        ("/tlsConfig/certificateAuthority/certificate", "ca.crt"),
        ("/tlsConfig/certificateAuthority/privateKey", "ca.key"),
        ("/tlsConfig/clientCertificate/certificate", "tls.crt"),
        ("/tlsConfig/clientCertificate/privateKey", "tls.key"),
    ] {
        if keys.get(key).is_some() {
            let steps = field.split('/').skip(1);
            *steps.fold(&mut spec, |place, step| &mut place[step]) = tell(key);
        }
    }
    spec
}

/// What a DataStore says that has everything in itself.
pub(super) fn in_itself(keys: &Value) -> impl Fn(&str) -> Value {
    |key| json!({ "content": ByteString(keys[key].as_str().unwrap_or_default().as_bytes().to_vec()) })
}

impl Lane {
    /// A lane whose DataStore is this server.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub async fn on_database(database: &impl Database) -> Result<Self> {
        let lane = Self::without_data_store().await?;
        lane.put_credentials(&credentials_for(database)).await?;
        lane.put_spec(&spec_for(&lane, database, database.endpoint())).await?;
        Ok(lane)
    }

    /// A further DataStore of this name is this server, at this address; it needs no Secret.
    ///
    /// # Errors
    /// When the API server does not take it.
    pub async fn put_database<D: Database>(
        &self,
        name: &str,
        database: &D,
        endpoint: &Endpoint,
    ) -> Result<()> {
        let keys = credentials_for(database);
        self.put(name, &described(D::DRIVER, &endpoint.to_string(), &keys, in_itself(&keys))).await
    }
}
