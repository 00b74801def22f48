//! What the Job of a migration is told: how both datastores are reached, and what the tenant's account is in each.

use std::fmt;

use anyhow::Context as _;
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::account::{Account, Credential, Owner, Password, Schema, Seal, Standing, User};
use kamaji_datastore::config::{BasicAuth, Endpoint, Settings, Tls};
use kamaji_datastore::migrate::{Home, Migration, Proof, Token};
use kamaji_datastore::store::Store;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// What the Job of a migration is told, as JSON in a Secret.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Names this try.
    pub token: String,
    /// UID of the tenant.
    pub owner: String,
    /// Where the data is.
    pub from: Station,
    /// Where it goes to.
    pub to: Station,
}

/// One datastore, and the tenant's account in it. Its `Debug` shows no secret.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Station {
    /// Kind of store.
    pub driver: Driver,
    /// Its members, `host:port`.
    pub endpoints: Vec<String>,
    /// Authorities that may have signed the server's certificate, in PEM; without any the connection is in clear text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
    /// What the operator shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<KeyPair>,
    /// What the operator logs in with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// Database, prefix or bucket.
    pub schema: String,
    /// The tenant's user.
    pub user: String,
    /// The tenant's password, for stores that ask for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Zeroizing<String>>,
    /// What the tenant shows, to try as the tenant whether it is really shut out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<KeyPair>,
}

/// A certificate and its key. Its `Debug` shows no secret.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// PEM certificate chain.
    pub certificate: String,
    /// PEM private key.
    pub key: Zeroizing<String>,
}

/// A name and a password. Its `Debug` shows no secret.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
}

impl Route {
    /// Reads what [`text`](Self::text) wrote.
    pub fn parse(text: &[u8]) -> anyhow::Result<Self> {
        // Not the parser's own words: they quote what they stumble over.
        serde_json::from_slice(text).map_err(|error| {
            anyhow::anyhow!("line {}, column {} is not as expected", error.line(), error.column())
        })
    }

    /// As JSON.
    pub fn text(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    /// The migration. Nothing is sent yet.
    pub fn migration(&self) -> anyhow::Result<Migration> {
        let from = self.from.home(&self.owner, Standing::Recorded).context("the source")?;
        let to = self.to.home(&self.owner, Standing::Claimed).context("the target")?;
        Ok(Migration::new(from, to, Token::parse(&self.token)?)?)
    }

    /// Nothing that bears the tenant's mark is left in the target.
    pub async fn clean_target(&self) -> anyhow::Result<()> {
        let home = self.to.home(&self.owner, Standing::Claimed).context("the target")?;
        Ok(home.store.remove(&home.account).await?)
    }
}

impl Station {
    fn home(&self, owner: &str, standing: Standing) -> anyhow::Result<Home> {
        let settings = self.settings()?;
        let store = match self.driver {
            Driver::Etcd => Store::etcd(settings)?,
            Driver::MySql => Store::mysql(settings)?,
            Driver::Nats => Store::nats(settings)?,
            Driver::PostgreSql => Store::postgres(settings)?,
        };
        let password = self.password.as_ref().map(|password| Password::parse(password.to_string()));
        let account = Account {
            schema: Schema::parse(&self.schema)?,
            user: User::parse(&self.user)?,
            owner: Owner::parse(owner)?,
            standing,
            seal: Seal::Open,
            credential: password.transpose()?.map_or(Credential::Certificate, Credential::Password),
        };
        let proof = self.tenant.as_ref().map(|pair| Proof {
            certificate_pem: pair.certificate.clone().into_bytes(),
            key_pem: pair.key.as_bytes().to_vec().into(),
        });
        Ok(Home { store, account, proof })
    }

    fn settings(&self) -> anyhow::Result<Settings> {
        let endpoints: Result<_, _> = self.endpoints.iter().map(|text| Endpoint::parse(text)).collect();
        let client = self.client.as_ref();
        Ok(Settings {
            endpoints: endpoints?,
            tls: self.authority.as_ref().map(|authority| Tls {
                ca_pem: authority.clone().into_bytes(),
                client: client
                    .map(|pair| (pair.certificate.clone().into_bytes(), pair.key.as_bytes().to_vec().into())),
            }),
            basic_auth: self.login.as_ref().map(|login| BasicAuth {
                username: login.username.clone(),
                password: login.password.clone(),
            }),
            ..Settings::default()
        })
    }
}

impl fmt::Debug for Station {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut station = f.debug_struct("Station");
        station.field("driver", &self.driver).field("endpoints", &self.endpoints);
        station.field("schema", &self.schema).field("user", &self.user).finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").finish_non_exhaustive()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route() -> Route {
        let pair = || KeyPair { certificate: "certificate".into(), key: Zeroizing::new("hidden-key".into()) };
        let login = Login { username: "kamaji".into(), password: Zeroizing::new("hidden-login".into()) };
        let station = Station {
            driver: Driver::PostgreSql,
            endpoints: vec!["store:5432".into()],
            authority: None,
            client: Some(pair()),
            login: Some(login),
            schema: "blue".into(),
            user: "blue".into(),
            password: Some(Zeroizing::new("hidden-password".into())),
            tenant: Some(pair()),
        };
        let to = Station { endpoints: vec!["other:5432".into()], ..station.clone() };
        Route { token: "try-1".into(), owner: "uid".into(), from: station, to }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = route().text().unwrap();
        assert_eq!(Route::parse(&text).unwrap(), route());
        assert!(route().migration().is_ok());
    }

    #[test]
    fn no_secret_is_shown() {
        assert!(!format!("{:?}", route()).contains("hidden"), "{:?}", route());
        let mut text = String::from_utf8(route().text().unwrap()).unwrap();
        text = text.replace("\"owner\":\"uid\"", "\"owner\":\"hidden\" oops");
        let error = format!("{:#}", Route::parse(text.as_bytes()).unwrap_err());
        assert!(error.contains("line 1") && !error.contains("hidden"), "{error}");
    }
}
