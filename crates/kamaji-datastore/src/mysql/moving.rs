//! A tenant's data in MariaDB or MySQL, as kine keeps it and as a migration sees it.
//!
//! The fence locks the user, takes all its rights and ends its sessions. That it is up is proved by the tenant's own
//! log-in, which must be refused. The mark is a row of `_kamaji.migrations`; a change of it is one statement that finds
//! the row as it was, and so is every change of the copy.
//!
//! kine's table does not tell upper from lower case in names, and keeps ASCII only: keys that it would take for one, or
//! could not keep, are refused.

mod columns;
mod names;
mod sql;

use std::collections::BTreeSet;
use std::sync::Arc;

use mysql_async::{Params, Value};

use crate::account::Account;
use crate::config::Settings;
use crate::connection::{Effect, Failure, Patience};
use crate::error::{Cause, Error};
use crate::migrate::mark::Mark;
use crate::migrate::place::{Batch, Edits, Kind, Look, Place, Trouble, Version};
use crate::migrate::plan::{Data, Door, Found, Presence};
use crate::migrate::record::{After, Record, Shape};
use crate::mysql::confinement;
use crate::mysql::mark::{self as own, Migration};
use crate::mysql::member::{self, Connection};
use crate::mysql::plan::{self, Database, FoundUser, Observed, Sessions, Step};
use crate::mysql::quote::{bound, identifier};
use crate::mysql::statement::{self, Transport};
use crate::mysql::{observe, plan::Door as UsersDoor};
use crate::refusal::Refusal;
use crate::step::Aim;

use self::columns::{Columns, row};
use self::names::{all, names, twin};

/// Below it lie all keys of an API server that uses kine.
const PREFIX: &str = "/registry/";

/// One account in one server.
pub(crate) struct Moving {
    connection: Arc<Connection>,
    settings: Arc<Settings>,
    transport: Transport,
    account: Account,
    /// The database's name, quoted.
    database: String,
}

/// What there is inside a database, by the server's own catalogs.
#[derive(Debug, Default)]
struct Inside {
    has_anything: bool,
    has_table: bool,
    odd: Option<String>,
}

impl Moving {
    pub(crate) fn new(
        connection: Arc<Connection>,
        settings: Arc<Settings>,
        transport: Transport,
        account: Account,
    ) -> Result<Self, Error> {
        let database = identifier(account.schema.as_str())?;
        Ok(Self { connection, settings, transport, account, database })
    }

    async fn observe(&self) -> Result<Observed, Trouble> {
        let observed =
            observe::account(&self.connection, self.transport, &self.account, Aim::Ensured).await?;
        plan::ensure(&self.account, &observed).map_err(|what| Error::Foreign { what })?;
        Ok(observed)
    }

    async fn make(&self, step: &Step) -> Result<(), Trouble> {
        statement::make(&self.connection, self.transport, &self.account, step).await?;
        Ok(())
    }

    fn text(&self, statement: &str) -> String {
        statement.replace("{database}", &self.database)
    }

    /// How many rows a statement changed.
    async fn run(&self, doing: &str, statement: &str, values: Vec<Value>) -> Result<u64, Failure> {
        let text = self.text(statement);
        let text = text.as_str();
        self.connection
            .tell(doing, Effect::None, |session| {
                let values = parameters(values.clone());
                async move { session.run(text, values).await }
            })
            .await
    }

    async fn rows<T: mysql_async::prelude::FromRow + Send + 'static>(
        &self,
        doing: &str,
        statement: &str,
        values: Vec<Value>,
    ) -> Result<Vec<T>, Failure> {
        let text = self.text(statement);
        let text = text.as_str();
        self.connection
            .ask(doing, |session| {
                let values = parameters(values.clone());
                async move { session.rows(text, values).await }
            })
            .await
    }

    /// The answer to one question without values, in one message.
    async fn told<T: mysql_async::prelude::FromRow>(
        &self,
        doing: &str,
        question: &str,
    ) -> Result<Vec<T>, Failure> {
        let question = [question.to_owned()];
        let question = &question;
        let answers = self.connection.ask(doing, |session| async move {
            let mut answers = session.answers(question).await?;
            answers.take::<T>()
        });
        answers.await
    }

    async fn look_inside(&self) -> Result<Inside, Failure> {
        let doing = format!("look into database {}", self.account.schema);
        let schema = self.account.schema.as_str();
        let found = self.told(&doing, &bound(sql::LOOK_INSIDE, &[schema; 6])).await?;
        let found: Option<(bool, bool, bool, Option<String>)> = found.into_iter().next();
        let Some((has_anything, has_table, is_ordinary, columns)) = found else {
            return Ok(Inside::default());
        };
        let odd = if !has_table {
            None
        } else if !is_ordinary {
            Some("it is not an ordinary table".to_owned())
        } else if !has_columns_of_kine(&columns.unwrap_or_default()) {
            Some("its columns are not those of kine".to_owned())
        } else {
            None
        };
        Ok(Inside { has_anything, has_table, odd })
    }

    async fn revision(&self, inside: &Inside) -> Result<i64, Failure> {
        if !inside.has_table || inside.odd.is_some() {
            return Ok(0);
        }
        let doing = format!("read the newest revision in database {}", self.account.schema);
        let newest = self.told::<i64>(&doing, &self.text(sql::REVISION)).await?;
        Ok(newest.first().copied().unwrap_or(0))
    }

    fn raced(doing: &str) -> Trouble {
        let source = Cause("it was changed meanwhile".to_owned());
        let error = Error::Refused { doing: doing.to_owned(), source };
        Failure { refusal: Refusal::Raced, error }.into()
    }

    /// How many rows a statement on the table changed. It changes none if the mark is not as it was.
    async fn change(
        &self,
        statement: &str,
        mut values: Vec<Value>,
        version: &Version,
    ) -> Result<u64, Trouble> {
        let doing = format!("write rows in database {}", self.account.schema);
        values.push(self.account.schema.as_str().into());
        values.push(version.text().into());
        Ok(self.run(&doing, statement, values).await?)
    }

    async fn put_rows(&self, version: &Version, puts: &[Record]) -> Result<u64, Trouble> {
        let names = names(puts.iter().map(|put| put.key.clone()))?;
        let ids = puts.iter().map(|put| put.id.into()).collect();
        self.change(&sql::delete_rows(puts.len()), ids, version).await?;
        self.tell_apart(&names).await?;
        let mut values = Vec::with_capacity(puts.len() * 9);
        for (put, name) in puts.iter().zip(names) {
            let row = put.row.clone().unwrap_or_default();
            values.extend([put.id.into(), name.into()]);
            values
                .extend([row.created, row.deleted, row.create_revision, row.prev_revision].map(Value::from));
            values.extend([put.ttl.into(), put.value.clone().into(), row.old_value.into()]);
        }
        self.change(&sql::put_rows(puts.len()), values, version).await
    }

    async fn put_live(&self, version: &Version, puts: &[Record]) -> Result<u64, Trouble> {
        let names = names(puts.iter().map(|put| whole(&put.key)))?;
        self.delete_live(version, &names).await?;
        self.tell_apart(&names).await?;
        let mut values = Vec::with_capacity(puts.len() * 3);
        for (put, name) in puts.iter().zip(names) {
            let value = put.value.clone().unwrap_or_default();
            values.extend([name.into(), put.ttl.unwrap_or(0).into(), value.into()]);
        }
        self.change(&sql::put_live(puts.len()), values, version).await
    }

    /// There is no name that the server takes for one of these and that is another one.
    async fn tell_apart(&self, names: &[Vec<u8>]) -> Result<(), Trouble> {
        let doing = format!("look for names in database {}", self.account.schema);
        let values = [all(names), all(names)].concat();
        let twins = self.rows::<Vec<u8>>(&doing, &sql::twins(names.len()), values).await?;
        twins.into_iter().next().map_or(Ok(()), |key| Err(twin(key)))
    }

    async fn delete_live(&self, version: &Version, names: &[Vec<u8>]) -> Result<(), Trouble> {
        let values = [all(names), all(names)].concat();
        self.change(&sql::delete_live(names.len()), values, version).await.map(drop)
    }

    async fn delete(&self, shape: Shape, version: &Version, deletes: &[After]) -> Result<(), Trouble> {
        if deletes.is_empty() {
            return Ok(());
        }
        if shape == Shape::Rows {
            let ids = deletes.iter().map(|gone| gone.id.into()).collect();
            return self.change(&sql::delete_rows(deletes.len()), ids, version).await.map(drop);
        }
        self.delete_live(version, &names(deletes.iter().map(|gone| whole(&gone.key)))?).await
    }

    /// Keys that are no API server's would be left behind.
    async fn has_strangers(&self) -> Result<bool, Failure> {
        let doing = format!("look for keys outside {PREFIX} in database {}", self.account.schema);
        let found = self.rows::<bool>(&doing, sql::STRANGERS, Vec::new()).await?;
        Ok(found.first().copied().unwrap_or(false))
    }
}

impl Place for Moving {
    const KIND: Kind = Kind::Rows;
    /// The client keeps several copies of what it sends.
    const BATCH: Batch = Batch { records: 200, bytes: 512 * 1024 };

    async fn look(&self) -> Result<Look, Trouble> {
        let observed = self.observe().await?;
        let (mark, text) = match &observed.migration {
            Migration::None => (None, None),
            Migration::Marked { mark, text } => (Some(mark.clone()), Some(text.clone())),
            Migration::Unreadable => {
                return Err(Error::Moving { schema: self.account.schema.clone() }.into());
            }
        };
        let inside = match observed.database {
            Database::Present => self.look_inside().await?,
            Database::Absent => Inside::default(),
        };
        let is_held = observed.schema_mark != own::Mark::Absent;
        let found = Found {
            presence: if is_held { Presence::Present } else { Presence::Absent },
            mark,
            door: door(&self.account, &observed),
            data: if inside.has_anything { Data::Some } else { Data::None },
            revision: self.revision(&inside).await?,
            odd: inside.odd,
        };
        Ok(Look { found, version: Version::Text(text) })
    }

    async fn found(&self) -> Result<bool, Trouble> {
        let observed = self.observe().await?;
        let steps = plan::ensure(&self.account, &observed).map_err(|what| Error::Foreign { what })?;
        match steps.iter().find(|step| matches!(step, Step::AddLedger | Step::Claim)) {
            Some(step) => self.make(step).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// The log-in is changed by what follows: [`shut`](Place::shut), or the account being ensured.
    async fn mark(&self, version: &Version, mark: Option<&Mark>) -> Result<Version, Trouble> {
        let doing = format!("mark the migration of database {}", self.account.schema);
        let Account { schema, user, owner, .. } = &self.account;
        let new = mark.map(|mark| mark.to_json().to_string());
        let (statement, values): (_, Vec<Value>) = match (version.text(), &new) {
            (None, None) => return Ok(Version::Text(None)),
            (None, Some(new)) => {
                self.run(&doing, own::MIGRATIONS, Vec::new()).await?;
                let row = [new.as_str(), schema.as_str(), user.as_str(), owner.as_str()];
                (own::ADD_MIGRATION, row.map(Value::from).into())
            }
            (Some(old), Some(new)) => {
                (own::CHANGE_MIGRATION, [new.as_str(), schema.as_str(), old].map(Value::from).into())
            }
            (Some(old), None) => (own::END_MIGRATION, [schema.as_str(), old].map(Value::from).into()),
        };
        match self.run(&doing, statement, values).await? {
            0 => Err(Self::raced(&doing)),
            _ => Ok(Version::Text(new)),
        }
    }

    async fn shut(&self) -> Result<(), Trouble> {
        match next_to_shut(&self.observe().await?) {
            Some(step) => self.make(&step).await,
            None => Ok(()),
        }
    }

    /// It is unlocked and gets its rights with the account.
    async fn unshut(&self) -> Result<(), Trouble> {
        std::future::ready(Ok(())).await
    }

    async fn refuses_writes(&self) -> Result<bool, Trouble> {
        if next_to_shut(&self.observe().await?).is_some() {
            return Ok(false);
        }
        let settings = confinement::settings_of_tenant(&self.settings, &self.account, &[], &[])?;
        match member::connection(&settings)?.session(Patience::Lose).await {
            Ok(_) => Ok(false),
            Err(Error::Unauthenticated { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    async fn prepare(&self) -> Result<(), Trouble> {
        let mut observed = self.observe().await?;
        while let Some(step) = next_to_shut(&observed) {
            self.make(&step).await?;
            observed = self.observe().await?;
        }
        if observed.database == Database::Present {
            self.make(&Step::DropDatabase).await?;
        }
        self.make(&Step::AddDatabase).await?;
        let doing = format!("make the table kine in database {}", self.account.schema);
        self.run(&doing, sql::TABLE, Vec::new()).await?;
        Ok(())
    }

    /// kine fills every gap between its newest row and the next one with a row of its own, one by one: the row that is
    /// put here leaves none. Its name is that of such a row, so that it is nobody's, and goes with the next compaction.
    async fn raise(&self, to: i64) -> Result<(), Trouble> {
        let doing = format!("raise the revision in database {}", self.account.schema);
        self.run(&doing, sql::CLEAR_GAPS, Vec::new()).await?;
        self.run(&doing, sql::RAISE, vec![to.into(), format!("gap-{to}").into()]).await?;
        Ok(())
    }

    async fn page(&self, shape: Shape, after: &After) -> Result<Vec<Record>, Trouble> {
        let doing = format!("read the table kine in database {}", self.account.schema);
        if shape == Shape::Rows {
            let rows: Vec<Columns> = self.rows(&doing, sql::PAGE_OF_ROWS, vec![after.id.into()]).await?;
            return Ok(rows.into_iter().map(row).collect());
        }
        if after.key.is_empty() && self.has_strangers().await? {
            return Err(Trouble::Odd(format!("it holds keys outside {PREFIX}")));
        }
        let after = [PREFIX.as_bytes(), &after.key].concat();
        let rows = self.rows(&doing, sql::PAGE_OF_LIVE, vec![after.into()]).await?;
        let live = |(id, name, lease, value): (i64, Vec<u8>, Option<i64>, Option<Vec<u8>>)| Record {
            id,
            key: name.strip_prefix(PREFIX.as_bytes()).unwrap_or(&name).into(),
            value,
            ttl: lease.filter(|left| *left > 0),
            row: None,
        };
        Ok(rows.into_iter().map(live).collect())
    }

    async fn write(&self, shape: Shape, version: &Version, edits: &Edits) -> Result<(), Trouble> {
        self.delete(shape, version, &edits.deletes).await?;
        if edits.puts.is_empty() {
            return Ok(());
        }
        let put = match shape {
            Shape::Rows => self.put_rows(version, &edits.puts).await?,
            Shape::Live => self.put_live(version, &edits.puts).await?,
        };
        if usize::try_from(put) == Ok(edits.puts.len()) {
            return Ok(());
        }
        Err(Self::raced(&format!("write rows in database {}", self.account.schema)))
    }

    async fn settle(&self, shape: Shape, source: i64) -> Result<(), Trouble> {
        let doing = format!("set the revisions in database {}", self.account.schema);
        if shape == Shape::Live {
            self.run(&doing, sql::CLEAR_COMPACTION, Vec::new()).await?;
            // Here its own number would else leave a gap after those that a batch was given and did not use.
            self.run(&doing, sql::SETTLE, Vec::new()).await?;
            self.run(&doing, sql::COMPACT, vec![source.into()]).await?;
        }
        self.run(&doing, sql::SETTLE, Vec::new()).await?;
        Ok(())
    }
}

/// The server's own order of names depends on its version.
fn has_columns_of_kine(columns: &str) -> bool {
    columns.split(',').collect::<BTreeSet<_>>() == BTreeSet::from(sql::COLUMNS)
}

/// The next statement that takes a way to write from the tenant; nothing if it has none.
fn next_to_shut(observed: &Observed) -> Option<Step> {
    let user = observed.user.as_ref()?;
    let role = |grant: &plan::Grant| match grant {
        plan::Grant::Role { name, host } => Some(Step::RevokeRole { name: name.clone(), host: host.clone() }),
        plan::Grant::Databases { .. } | plan::Grant::Beyond(_) => None,
    };
    if user.door == UsersDoor::Open {
        Some(Step::Lock)
    } else if let Some(revoke) = user.grants.iter().find_map(role) {
        Some(revoke)
    } else if !user.grants.is_empty() {
        Some(Step::Curb)
    } else {
        (user.sessions == Sessions::Some).then_some(Step::EndSessions)
    }
}

fn door(account: &Account, observed: &Observed) -> Door {
    let is_in = |user: &FoundUser| user.door == UsersDoor::Open;
    if next_to_shut(observed).is_none() {
        Door::Shut
    } else if observed.user.as_ref().is_some_and(is_in)
        && plan::ensure(account, observed).is_ok_and(|steps| steps.is_empty())
    {
        Door::Open
    } else {
        Door::Ajar
    }
}

fn whole(key: &[u8]) -> Vec<u8> {
    [PREFIX.as_bytes(), key].concat()
}

fn parameters(values: Vec<Value>) -> Params {
    if values.is_empty() { Params::Empty } else { Params::Positional(values) }
}
