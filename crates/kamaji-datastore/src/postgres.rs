//! A tenant in PostgreSQL: a role that logs in with a password or a certificate, and a database that it owns.
//!
//! Both bear their owner in their comments. A role and its comment are made at once; a database cannot be, and is known
//! by the role that owns it until it has its own comment.

mod confinement;
mod mark;
mod member;
mod moving;
mod observe;
mod plan;
mod quote;
mod refusal;
mod rights;
mod statement;
mod verifier;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio_postgres::types::Type;

use crate::account::Account;
use crate::config::Settings;
use crate::connection::Failure;
use crate::error::{Error, Foreign};
use crate::postgres::mark::Mark;
use crate::postgres::member::{Connection, Plans};
pub(crate) use crate::postgres::moving::Moving;
use crate::postgres::plan::{Door, Holder, Observed, Step};
use crate::step::{Aim, Driver};
use crate::store::{Change, Health, Leftover, Marker, Residue, Usage};

/// The database that every server has, where those are told about that are not in use.
const MAINTENANCE: &str = "postgres";

/// All comments that are marks.
const MARKED: &str = "\
SELECT true AS is_user, r.rolname::text AS name, shobj_description(r.oid, 'pg_authid') AS comment FROM pg_roles r \
 WHERE shobj_description(r.oid, 'pg_authid') LIKE $1 \
UNION ALL SELECT false, d.datname::text, shobj_description(d.oid, 'pg_database') FROM pg_database d \
 WHERE shobj_description(d.oid, 'pg_database') LIKE $1";

/// One PostgreSQL server, or one primary among several.
#[derive(Clone)]
pub struct Postgres {
    connection: Arc<Connection>,
    settings: Arc<Settings>,
}

impl Postgres {
    /// A name as it stands in SQL: in double quotes, those inside it doubled.
    ///
    /// # Errors
    /// [`Error::Name`] if it is empty, longer than 63 bytes, which the server would cut off, or holds a zero byte.
    pub fn quote_identifier(name: &str) -> Result<String, Error> {
        quote::identifier(name)
    }

    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let connection = Arc::new(member::connection(&settings, MAINTENANCE, Plans::Any)?);
        Ok(Self { connection, settings: Arc::new(settings) })
    }

    pub(crate) async fn check(&self) -> Result<Health, Error> {
        rights::prove(&self.connection).await
    }

    /// There is nothing to make ready; whether the server asks who we are is seen on the way.
    pub(crate) async fn initialise(&self) -> Result<bool, Error> {
        self.check().await.map(|_| false)
    }

    pub(crate) async fn pulse(&self) -> Result<(), Error> {
        rights::takes_writes(&self.connection).await
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
        let pattern = format!("{}%", mark::BEGINNING);
        let pattern = pattern.as_str();
        let rows = self.connection.ask("read the marks", |session| async move {
            session.client.query_typed(MARKED, &[(&pattern, Type::TEXT)]).await
        });
        let rows = rows.await.map_err(|failure| failure.error)?;
        let mut markers = BTreeMap::new();
        // The roles' marks come first: they are the ones that no tenant can change.
        for row in &rows {
            let (name, comment): (String, String) = (row.get("name"), row.get("comment"));
            let marker = if row.get("is_user") {
                mark::marker_of_user(&name, &comment)
            } else {
                mark::marker_of_database(&name, &comment)
            };
            markers.entry(marker.schema.clone()).or_insert(marker);
        }
        Ok(markers.into_values().collect())
    }

    pub(crate) async fn residue(&self, account: &Account) -> Result<Residue, Error> {
        let observed = observe::account(&self.connection, account).await?;
        let user = observed.user.map(|_| Leftover::User(account.user.clone()));
        let database = observed.database.map(|_| Leftover::Database(account.schema.clone()));
        Ok(Residue { left: user.into_iter().chain(database).collect() })
    }

    /// The account, as a migration sees it.
    pub(crate) fn moving(&self, account: &Account) -> Result<Moving, Error> {
        Ok(Moving::new(Arc::clone(&self.connection), self.inside(account)?, account.clone()))
    }

    pub(crate) async fn usage(&self, account: &Account) -> Result<Usage, Error> {
        let doing = format!("measure database {}", account.schema);
        let schema = account.schema.as_str();
        let size = self.connection.ask(&doing, |session| async move {
            let size = "SELECT pg_database_size(oid) FROM pg_database WHERE datname = $1";
            session.client.query_typed_opt(size, &[(&schema, Type::TEXT)]).await
        });
        let size = size.await.map_err(|failure| failure.error)?;
        Ok(Usage { bytes: size.and_then(|row| row.get::<_, i64>(0).try_into().ok()), keys: None })
    }

    /// A connection to the account's database, for as long as it is held: only what was made by an operator without marks
    /// is looked into, once.
    fn inside(&self, account: &Account) -> Result<Connection, Error> {
        member::connection(&self.settings, account.schema.as_str(), Plans::ByIndex)
    }
}

impl Driver for Postgres {
    type Observed = Observed;
    type Step = Step;

    fn longest_user(&self) -> usize {
        quote::LONGEST
    }

    fn fits(account: &Account) -> Result<(), Error> {
        quote::fits(account)
    }

    /// Into the database itself we look before it is marked, and not before it is clear that it is the account's.
    async fn observe(&self, account: &Account, aim: Aim) -> Result<Observed, Failure> {
        let mut observed = observe::account(&self.connection, account).await?;
        let is_taken_over = aim == Aim::Ensured
            && plan::ensure(account, &observed).is_ok_and(|steps| steps.contains(&Step::MarkDatabase));
        if is_taken_over
            && let Some(database) = observed.database.as_mut().filter(|database| {
                database.mark == Mark::Absent
                    && database.door == Door::Open
                    && database.holder == Holder::User
            })
        {
            database.table = observe::inside(&self.inside(account)?, account).await?;
        }
        Ok(observed)
    }

    fn footprint(&self, account: &Account) -> Residue {
        Residue {
            left: vec![Leftover::User(account.user.clone()), Leftover::Database(account.schema.clone())],
        }
    }

    fn is_moving(observed: &Observed) -> bool {
        let comment = observed.user.as_ref().and_then(|user| user.comment.as_deref());
        match mark::migration(comment) {
            mark::Migration::None => false,
            mark::Migration::Unreadable => true,
            mark::Migration::Marked(mark) => mark.shuts(),
        }
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
        if *step == Step::OwnTable {
            return statement::make(&self.inside(account)?, account, step).await;
        }
        statement::make(&self.connection, account, step).await
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres").field("endpoints", &self.settings.endpoints).finish_non_exhaustive()
    }
}
