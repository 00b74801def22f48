//! From what the operator knows of two stores to a migration between them.

use std::sync::Arc;

use kamaji_api::Child;
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::account::{Account, Credential, Standing};
use kamaji_datastore::migrate::{Asked, Home, Migration, Proof, Sight, Token};
use kamaji_resources::migration::Attempt;
use kamaji_resources::{Claim, Storage, StorageCredentials};
use zeroize::Zeroizing;

use super::{STAGE, Site, failed};
use crate::claim::{account, credential};
use crate::converge::Pass;
use crate::error::Error;
use crate::migrate::{KeyPair, Login, Route, Station};
use crate::stores::{Admission, Examined, OpenStore};

/// A migration, as far as both of its stores are known.
pub(super) enum Engine {
    /// Everything can be done.
    Whole { migration: Migration, target: Arc<OpenStore> },
    /// The target cannot be used now: the source can tell how far it is, and the tenant can be let in there again.
    Half { migration: Migration, why: String },
}

impl Engine {
    pub(super) fn of(pass: &Pass<'_>, site: Site<'_>, attempt: &Attempt) -> Result<Self, Error> {
        let to =
            |open: &OpenStore| between(pass, (site.open, site.claim), (open, &attempt.claim), &attempt.token);
        match pass.cx.stores.get(&attempt.claim.data_store) {
            Some(Examined::Usable(target)) => Ok(Self::Whole { migration: to(&target)?, target }),
            other => {
                let (why, last) = match other {
                    Some(Examined::Unusable { message, last, .. }) => (message, last),
                    _ => ("it does not exist, or has not been examined yet".to_owned(), None),
                };
                // Who only asks the source needs no target.
                let target = last.as_ref().unwrap_or(site.open);
                Ok(Self::Half { migration: to(target)?, why })
            }
        }
    }

    pub(super) fn migration(&self) -> &Migration {
        match self {
            Self::Whole { migration, .. } | Self::Half { migration, .. } => migration,
        }
    }

    /// How far it is, as the stores tell it.
    pub(super) async fn sight(&self, attempt: &Attempt) -> Result<Sight, Error> {
        let sight = match self {
            Self::Whole { migration, .. } => Box::pin(migration.sight(Asked::Both)).await,
            Self::Half { migration, .. } => Box::pin(migration.sight(Asked::Source)).await,
        };
        sight.map_err(|source| failed(attempt, source))
    }
}

/// A migration from one place to another. Nothing is sent yet.
pub(super) fn between(
    pass: &Pass<'_>,
    (source, from): (&OpenStore, &Claim),
    (target, to): (&OpenStore, &Claim),
    token: &str,
) -> Result<Migration, Error> {
    let token = Token::parse(token).map_err(|error| refused(to, error))?;
    let from = Home {
        store: source.store.clone(),
        account: place(pass, source, from, Standing::Recorded)?,
        proof: proof(pass, source.driver),
    };
    let home = Home {
        store: target.store.clone(),
        account: place(pass, target, to, Standing::Claimed)?,
        proof: None,
    };
    Migration::new(from, home, token)
        .map_err(|source| Error::Migration { data_store: to.data_store.clone(), source: Box::new(source) })
}

/// The tenant's account in one store.
fn place(pass: &Pass<'_>, open: &OpenStore, claim: &Claim, standing: Standing) -> Result<Account, Error> {
    let account = account(&pass.tenant.id.uid, claim, standing).map_err(|error| refused(claim, error))?;
    let Admission::Kine(access) = &open.admission else { return Ok(account) };
    let storage = Storage {
        driver: open.driver,
        data_store: claim.data_store.clone(),
        endpoints: open.endpoints.clone(),
        schema: claim.schema.clone(),
        user: claim.user.clone(),
    };
    let credentials = StorageCredentials::for_kine(pass.tenant, &storage, access, &pass.world.secrets)
        .map_err(|source| Error::Render { stage: STAGE, source })?;
    let credential = credential(open.driver, &credentials).map_err(|error| refused(claim, error))?;
    Ok(Account { credential, ..account })
}

/// What the tenant shows to an etcd.
fn proof(pass: &Pass<'_>, driver: Driver) -> Option<Proof> {
    let (certificate, key) = shown(pass, driver)?;
    Some(Proof { certificate_pem: certificate.to_vec(), key_pem: key.to_vec().into() })
}

fn shown<'a>(pass: &'a Pass<'_>, driver: Driver) -> Option<(&'a [u8], &'a [u8])> {
    let secret = pass.world.secrets.get(&Child::DatastoreCertificate).filter(|_| driver == Driver::Etcd)?;
    let value = |key: &str| secret.data.as_ref()?.get(key).map(|value| value.0.as_slice());
    Some((value("server.crt")?, value("server.key")?))
}

/// What the Job is told.
pub(super) fn route(
    pass: &Pass<'_>,
    site: Site<'_>,
    (target, attempt): (&OpenStore, &Attempt),
) -> Result<Route, Error> {
    let tenant = shown(pass, site.open.driver).map(|(certificate, key)| pair(certificate, key));
    Ok(Route {
        token: attempt.token.clone(),
        owner: pass.tenant.id.uid.clone(),
        from: Station { tenant, ..station(pass, site.open, site.claim)? },
        to: station(pass, target, &attempt.claim)?,
    })
}

fn station(pass: &Pass<'_>, open: &OpenStore, claim: &Claim) -> Result<Station, Error> {
    let settings = &open.settings;
    let tls = settings.tls.as_ref();
    let login = settings
        .basic_auth
        .as_ref()
        .map(|login| Login { username: login.username.clone(), password: login.password.clone() });
    let account = place(pass, open, claim, Standing::Recorded)?;
    Ok(Station {
        driver: open.driver,
        endpoints: settings.endpoints.iter().map(ToString::to_string).collect(),
        authority: tls.map(|tls| text(&tls.ca_pem)),
        client: tls.and_then(|tls| tls.client.as_ref()).map(|(certificate, key)| pair(certificate, key)),
        login,
        schema: claim.schema.clone(),
        user: claim.user.clone(),
        password: match account.credential {
            Credential::Password(password) => Some(Zeroizing::new(password.reveal().to_owned())),
            Credential::Certificate => None,
        },
        tenant: None,
    })
}

fn pair(certificate: &[u8], key: &[u8]) -> KeyPair {
    KeyPair { certificate: text(certificate), key: Zeroizing::new(text(key)) }
}

/// PEM is text; what is none is refused by whoever reads it.
fn text(pem: &[u8]) -> String {
    String::from_utf8_lossy(pem).into_owned()
}

fn refused(claim: &Claim, source: kamaji_datastore::error::Error) -> Error {
    Error::DataStore { stage: STAGE, data_store: claim.data_store.clone(), source: Box::new(source) }
}
