//! A tenant in etcd: a user that logs in by certificate, a role of the schema's name with one range of keys, and
//! those keys.
//!
//! etcd cannot mark users and roles, so their owner is written below `/_kamaji/`, where no tenant's range reaches, and
//! before they are made.

mod confinement;
mod initialise;
mod keys;
mod mark;
mod member;
mod moving;
mod observe;
mod plan;
mod refusal;
mod rights;
mod sameness;
mod statement;

use std::fmt;
use std::sync::Arc;

use etcd_client::GetOptions;

use crate::account::Account;
use crate::config::Settings;
use crate::connection::{Failure, Patience};
use crate::error::{Error, Foreign};
use crate::etcd::mark::Mark;
use crate::etcd::member::Connection;
pub(crate) use crate::etcd::moving::Moving;
use crate::etcd::plan::{Migration, Observed, Step};
use crate::migrate::{self, Proof};
use crate::step::{Aim, Driver};
use crate::store::{Change, Health, Leftover, Marker, Residue, Usage};

/// How many marks are read at once.
const PAGE: i64 = 1_000;

/// One etcd cluster.
#[derive(Clone)]
pub struct Etcd {
    connection: Arc<Connection>,
    settings: Arc<Settings>,
}

impl Etcd {
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let connection = Arc::new(member::connection(&settings)?);
        Ok(Self { connection, settings: Arc::new(settings) })
    }

    pub(crate) async fn check(&self) -> Result<Health, Error> {
        let session = self.connection.session(Patience::Lose).await?;
        rights::authentication_is_on(&self.connection).await?;
        rights::no_alarm_is_raised(&self.connection).await?;
        rights::may_write(&self.connection).await?;
        let status =
            self.connection.ask("read the status", |session| async move { session.client().status().await });
        let status = status.await.map_err(|failure| failure.error)?;
        Ok(Health {
            endpoint: session.endpoint.clone(),
            version: status.version().to_owned(),
            used_bytes: status.db_size().try_into().unwrap_or(0),
            quota_bytes: status.db_size_quota().try_into().ok().filter(|quota| *quota > 0),
        })
    }

    pub(crate) async fn pulse(&self) -> Result<(), Error> {
        rights::may_write(&self.connection).await
    }

    pub(crate) async fn initialise(&self) -> Result<bool, Error> {
        initialise::initialise(&self.connection).await
    }

    pub(crate) async fn prove_confined(
        &self,
        account: &Account,
        certificate: &[u8],
        key: &[u8],
    ) -> Result<(), Error> {
        confinement::prove(&self.settings, account, certificate, key).await
    }

    pub(crate) async fn audit(&self) -> Result<Vec<Marker>, Error> {
        let below = keys::Range::below(keys::OWNERS);
        let mut markers = Vec::new();
        let mut start = below.start;
        loop {
            let page = self.connection.ask("read the marks", |session| {
                let options = GetOptions::new().with_range(below.end.clone()).with_limit(PAGE);
                let start = start.clone();
                async move { session.client().get(start, Some(options)).await }
            });
            let page = page.await.map_err(|failure| failure.error)?;
            markers.extend(page.kvs().iter().map(|kv| mark::marker(kv.key(), kv.value())));
            match page.kvs().last().filter(|_| page.more()) {
                // The next key after this one.
                Some(last) => start = [last.key(), b"\0"].concat(),
                None => return Ok(markers),
            }
        }
    }

    pub(crate) async fn residue(&self, account: &Account) -> Result<Residue, Error> {
        let observed = observe::account(&self.connection, account).await?;
        let count = if observed.has_keys { observe::count(&self.connection, account).await? } else { 0 };
        let marks = [
            (observed.schema_mark, keys::owner_of(&account.schema)),
            (observed.user_mark, keys::owner_of_user(&account.user)),
        ];
        let marks =
            marks.into_iter().filter(|(mark, _)| *mark != Mark::Absent).map(|(_, key)| Leftover::Mark(key));
        let migration = observed.migration.map(|_| Leftover::Mark(keys::migration_of(&account.schema)));
        let user = observed.user.is_some().then(|| Leftover::User(account.user.clone()));
        let role = observed.role.is_some().then(|| Leftover::Role(account.schema.clone()));
        let keys = (count > 0).then(|| Leftover::Keys { schema: account.schema.clone(), count: Some(count) });
        Ok(Residue { left: user.into_iter().chain(role).chain(keys).chain(marks).chain(migration).collect() })
    }

    /// The account, as a migration sees it.
    pub(crate) fn moving(&self, account: &Account, proof: Option<Proof>) -> Moving {
        Moving::new(Arc::clone(&self.connection), Arc::clone(&self.settings), account.clone(), proof)
    }

    pub(crate) async fn is_same_as(&self, other: &Self) -> Result<bool, Error> {
        sameness::is_same(&self.connection, &other.connection).await
    }

    /// etcd counts keys, and tells the size of none of them.
    pub(crate) async fn usage(&self, account: &Account) -> Result<Usage, Error> {
        Ok(Usage { bytes: None, keys: Some(observe::count(&self.connection, account).await?) })
    }
}

impl Driver for Etcd {
    type Observed = Observed;
    type Step = Step;

    fn fits(_: &Account) -> Result<(), Error> {
        Ok(())
    }

    async fn observe(&self, account: &Account, _: Aim) -> Result<Observed, Failure> {
        Ok(observe::account(&self.connection, account).await?)
    }

    fn footprint(&self, account: &Account) -> Residue {
        Residue {
            left: vec![
                Leftover::User(account.user.clone()),
                Leftover::Role(account.schema.clone()),
                Leftover::Keys { schema: account.schema.clone(), count: None },
                Leftover::Mark(keys::owner_of(&account.schema)),
                Leftover::Mark(keys::owner_of_user(&account.user)),
            ],
        }
    }

    fn is_moving(observed: &Observed) -> bool {
        let shuts = |migration: &Migration| migration.mark.as_ref().is_none_or(migrate::mark::Mark::shuts);
        observed.migration.as_ref().is_some_and(shuts)
    }

    fn ensure(account: &Account, observed: &Observed) -> Result<Vec<Step>, Foreign> {
        plan::ensure(account, observed)
    }

    fn remove(account: &Account, observed: &Observed) -> Vec<Step> {
        plan::remove(account, observed)
    }

    fn leaves_something(account: &Account, observed: &Observed) -> bool {
        plan::leaves_something(account, observed)
    }

    async fn make(&self, account: &Account, step: &Step) -> Result<Change, Failure> {
        statement::make(&self.connection, account, step).await
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("endpoints", &self.settings.endpoints).finish_non_exhaustive()
    }
}
