//! A tenant in MariaDB or MySQL: a user that logs in with a password, and a database in which it may do what kine does.
//!
//! Neither can bear its owner itself, so that is written in the table `_kamaji.owners`, which no tenant reaches, and before
//! they are made.

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

use std::fmt;
use std::sync::Arc;

use crate::account::Account;
use crate::config::Settings;
use crate::connection::Failure;
use crate::error::{Error, Foreign};
use crate::mysql::mark::{Mark, Row, SCHEMA};
use crate::mysql::member::Connection;
use crate::mysql::plan::{Database, Observed, Step};
use crate::mysql::statement::Transport;
use crate::step::{Aim, Driver};
use crate::store::{Change, Health, Leftover, Marker, Residue, Usage};

pub(crate) use crate::mysql::moving::Moving;

/// How much room a database takes, if there is one. MySQL keeps what it once counted unless it is told not to.
const SIZE: &str = "\
SELECT CAST(COALESCE(SUM(t.DATA_LENGTH + t.INDEX_LENGTH), 0) AS UNSIGNED) FROM information_schema.schemata s \
LEFT JOIN information_schema.tables t ON t.TABLE_SCHEMA = s.SCHEMA_NAME WHERE s.SCHEMA_NAME = ? GROUP BY s.SCHEMA_NAME";

/// One MariaDB or MySQL server, or one primary among several.
#[derive(Clone)]
pub struct MySql {
    connection: Arc<Connection>,
    settings: Arc<Settings>,
}

impl MySql {
    /// The longest user name that every MySQL takes, in characters. MariaDB takes 80.
    pub const LONGEST_USER: usize = quote::LONGEST_USER;

    /// A name as it stands in SQL: in backticks, those inside it doubled.
    ///
    /// # Errors
    /// [`Error::Name`] if it is empty, longer than 64 characters, ends in a space, or holds what no server keeps in a name:
    /// a zero byte, or a character beyond the first 65,536.
    pub fn quote_identifier(name: &str) -> Result<String, Error> {
        quote::identifier(name)
    }

    /// A database's name as it stands in `GRANT`, where `_` and `%` would else match other names too.
    ///
    /// # Errors
    /// As of [`quote_identifier`](Self::quote_identifier).
    pub fn quote_pattern(name: &str) -> Result<String, Error> {
        quote::pattern(name)
    }

    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let connection = Arc::new(member::connection(&settings)?);
        Ok(Self { connection, settings: Arc::new(settings) })
    }

    pub(crate) async fn check(&self) -> Result<Health, Error> {
        rights::prove(&self.connection).await
    }

    pub(crate) async fn pulse(&self) -> Result<(), Error> {
        rights::takes_writes(&self.connection).await
    }

    /// There is nothing to make ready; whether the server asks who we are is seen on the way.
    pub(crate) async fn initialise(&self) -> Result<bool, Error> {
        self.check().await.map(|_| false)
    }

    pub(crate) async fn prove_confined(
        &self,
        account: &Account,
        certificate: &[u8],
        key: &[u8],
    ) -> Result<(), Error> {
        confinement::prove(&self.connection, &self.settings, account, certificate, key).await
    }

    pub(crate) async fn audit(&self) -> Result<Vec<Marker>, Error> {
        let rows = self
            .connection
            .ask("read the marks", |session| async move { observe::rows(&session, observe::ROWS, ()).await });
        Ok(rows.await?.unwrap_or_default().into_iter().map(Row::marker).collect())
    }

    pub(crate) async fn residue(&self, account: &Account) -> Result<Residue, Error> {
        let observed = observe::account(&self.connection, self.transport(), account, Aim::Removed).await?;
        let user = observed.user.map(|_| Leftover::User(account.user.clone()));
        let database =
            (observed.database == Database::Present).then(|| Leftover::Database(account.schema.clone()));
        let mut rows: Vec<Row> = Vec::new();
        for mark in [observed.schema_mark, observed.user_mark] {
            if let Mark::Held(row) = mark
                && !rows.contains(&row)
            {
                rows.push(row);
            }
        }
        let marks = rows.iter().map(|row| leftover_mark(&row.schema));
        Ok(Residue { left: user.into_iter().chain(database).chain(marks).collect() })
    }

    pub(crate) async fn usage(&self, account: &Account) -> Result<Usage, Error> {
        let doing = format!("measure database {}", account.schema);
        let schema = account.schema.as_str();
        let size =
            self.connection.ask(&doing, |session| async move { session.rows::<u64>(SIZE, (schema,)).await });
        Ok(Usage { bytes: size.await?.first().copied(), keys: None })
    }

    /// The account, as a migration sees it.
    pub(crate) fn moving(&self, account: &Account) -> Result<Moving, Error> {
        let (connection, settings) = (Arc::clone(&self.connection), Arc::clone(&self.settings));
        Moving::new(connection, settings, self.transport(), account.clone())
    }

    fn transport(&self) -> Transport {
        if self.settings.tls.is_some() { Transport::Tls } else { Transport::Any }
    }
}

impl Driver for MySql {
    type Observed = Observed;
    type Step = Step;

    /// What every MySQL takes, so that an account can be moved from a MariaDB to one.
    fn longest_user(&self) -> usize {
        Self::LONGEST_USER
    }

    fn fits(account: &Account) -> Result<(), Error> {
        quote::fits(account)
    }

    async fn observe(&self, account: &Account, aim: Aim) -> Result<Observed, Failure> {
        observe::account(&self.connection, self.transport(), account, aim).await
    }

    fn footprint(&self, account: &Account) -> Residue {
        Residue {
            left: vec![
                Leftover::User(account.user.clone()),
                Leftover::Database(account.schema.clone()),
                leftover_mark(account.schema.as_str()),
            ],
        }
    }

    fn is_moving(observed: &Observed) -> bool {
        observed.migration.shuts()
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
        statement::make(&self.connection, self.transport(), account, step).await
    }
}

fn leftover_mark(schema: &str) -> Leftover {
    Leftover::Mark(format!("{schema} in {SCHEMA}.owners"))
}

impl fmt::Debug for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySql").field("endpoints", &self.settings.endpoints).finish_non_exhaustive()
    }
}
