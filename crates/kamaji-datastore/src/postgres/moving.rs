//! A tenant's data in PostgreSQL, as kine keeps it and as a migration sees it.
//!
//! The fence takes the log-in from the role, ends its sessions, and takes the rights to change the table from it, which
//! holds for a session too that nobody sees yet.
//!
//! What the tenant has made in its database must not run as us. Nothing but the server's own catalogs is read before
//! nobody but us can change it any more; then the table must be as kine makes it, without anything that would be
//! called when it is read. A target is always a database that nobody else has ever been in.

mod sql;

use std::sync::Arc;

use futures::TryStreamExt;
use tokio_postgres::Row as Answer;
use tokio_postgres::types::{ToSql, Type};

use crate::account::Account;
use crate::connection::{Effect, Failure};
use crate::error::{Cause, Error};
use crate::migrate::mark::{Mark, Stage};
use crate::migrate::place::{Batch, Edits, Kind, Look, Place, Trouble, Version};
use crate::migrate::plan::{Data, Door, Found, Presence};
use crate::migrate::record::{After, Record, Row, Shape};
use crate::postgres::mark::{self, Migration};
use crate::postgres::member::Connection;
use crate::postgres::plan::{self, Acting, FoundUser, Login, Observed, Sessions, Step};
use crate::postgres::{observe, statement};
use crate::refusal::Refusal;

/// Below it lie all keys of an API server that uses kine.
const PREFIX: &str = "/registry/";

/// One account in one PostgreSQL.
pub(crate) struct Moving {
    outside: Arc<Connection>,
    inside: Connection,
    account: Account,
}

/// What there is inside a database, by the server's own catalogs.
#[derive(Debug, Default)]
struct Inside {
    has_anything: bool,
    has_table: bool,
    odd: Option<String>,
    has_rights: bool,
    sequence: i64,
}

impl Moving {
    pub(crate) fn new(outside: Arc<Connection>, inside: Connection, account: Account) -> Self {
        Self { outside, inside, account }
    }

    async fn observe(&self) -> Result<Observed, Trouble> {
        let observed = observe::account(&self.outside, &self.account).await?;
        plan::ensure(&self.account, &observed).map_err(|what| Error::Foreign { what })?;
        Ok(observed)
    }

    async fn make(&self, step: &Step) -> Result<(), Trouble> {
        statement::make(&self.outside, &self.account, step).await?;
        Ok(())
    }

    async fn look_inside(&self) -> Result<Inside, Failure> {
        let doing = format!("look into database {}", self.account.schema);
        let user = self.account.user.as_str();
        let row = self.inside.ask(&doing, |session| async move {
            session.client.query_typed_one(sql::LOOK_INSIDE, &[(&user, Type::TEXT)]).await
        });
        let row = row.await?;
        Ok(Inside {
            has_anything: row.get("has_anything"),
            has_table: row.get("has_table"),
            odd: row.get("odd"),
            has_rights: row.get("has_rights"),
            sequence: row.get("sequence"),
        })
    }

    /// Several statements inside the database, all or none of them.
    async fn inside(&self, doing: &str, text: &str) -> Result<(), Failure> {
        self.inside
            .tell(doing, Effect::None, |session| async move { session.client.batch_execute(text).await })
            .await
    }

    /// The newest revision. The table is asked only when nobody but us can change it.
    async fn revision(&self, inside: &Inside, mark: Option<&Mark>) -> Result<i64, Failure> {
        if mark.is_none_or(|mark| mark.stage == Stage::Aborted) {
            return Ok(inside.sequence);
        }
        if !inside.has_table || inside.odd.is_some() {
            return Ok(0);
        }
        let doing = format!("read the newest revision in database {}", self.account.schema);
        let row = self.inside.ask(&doing, |session| async move {
            session.client.query_typed_one("SELECT coalesce(max(id), 0)::int8 FROM public.kine", &[]).await
        });
        Ok(row.await?.get(0))
    }

    fn name(&self) -> Result<(String, String), Error> {
        let user = self.account.user.as_str();
        Ok((super::quote::identifier(user)?, super::quote::literal(user)?))
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
        columns: &[(&(dyn ToSql + Sync), Type)],
        version: &Version,
    ) -> Result<u64, Trouble> {
        let doing = format!("write rows in database {}", self.account.schema);
        let (user, comment) = (self.account.user.as_str(), version.text());
        let marked: [(&(dyn ToSql + Sync), Type); 2] = [(&user, Type::TEXT), (&comment, Type::TEXT)];
        let parameters: Vec<_> = marked.into_iter().chain(columns.iter().cloned()).collect();
        let parameters = parameters.as_slice();
        let changed = self
            .inside
            .ask(&doing, |session| async move { session.client.execute_typed(statement, parameters).await });
        Ok(changed.await?)
    }

    async fn put_rows(&self, version: &Version, puts: &[Record]) -> Result<u64, Trouble> {
        let names = names(puts.iter().map(|put| put.key.as_slice()))?;
        let row = |column: fn(&Row) -> Option<i64>| -> Vec<Option<i64>> {
            puts.iter().map(|put| put.row.as_ref().and_then(column)).collect()
        };
        let ids: Vec<i64> = puts.iter().map(|put| put.id).collect();
        let [created, deleted] = [row(|row| row.created), row(|row| row.deleted)];
        let [create, prev] = [row(|row| row.create_revision), row(|row| row.prev_revision)];
        let leases: Vec<Option<i64>> = puts.iter().map(|put| put.ttl).collect();
        let values: Vec<Option<&[u8]>> = puts.iter().map(|put| put.value.as_deref()).collect();
        let rows = puts.iter().map(|put| put.row.as_ref());
        let old_values: Vec<Option<&[u8]>> = rows.map(|row| row?.old_value.as_deref()).collect();
        let numbers = Type::INT8_ARRAY;
        let columns: [(&(dyn ToSql + Sync), Type); 9] = [
            (&ids, numbers.clone()),
            (&names, Type::TEXT_ARRAY),
            (&created, numbers.clone()),
            (&deleted, numbers.clone()),
            (&create, numbers.clone()),
            (&prev, numbers.clone()),
            (&leases, numbers),
            (&values, Type::BYTEA_ARRAY),
            (&old_values, Type::BYTEA_ARRAY),
        ];
        self.change(sql::PUT_ROWS, &columns, version).await
    }

    async fn put_live(&self, version: &Version, puts: &[Record]) -> Result<u64, Trouble> {
        let names = full_names(puts.iter().map(|put| put.key.as_slice()))?;
        let leases: Vec<i64> = puts.iter().map(|put| put.ttl.unwrap_or(0)).collect();
        let values: Vec<&[u8]> = puts.iter().map(|put| put.value.as_deref().unwrap_or_default()).collect();
        self.change(sql::DELETE_LIVE, &[(&names, Type::TEXT_ARRAY)], version).await?;
        let columns: [(&(dyn ToSql + Sync), Type); 3] =
            [(&names, Type::TEXT_ARRAY), (&leases, Type::INT8_ARRAY), (&values, Type::BYTEA_ARRAY)];
        self.change(sql::PUT_LIVE, &columns, version).await
    }

    async fn delete(&self, shape: Shape, version: &Version, deletes: &[After]) -> Result<(), Trouble> {
        if deletes.is_empty() {
            return Ok(());
        }
        if shape == Shape::Rows {
            let ids: Vec<i64> = deletes.iter().map(|gone| gone.id).collect();
            self.change(sql::DELETE_ROWS, &[(&ids, Type::INT8_ARRAY)], version).await?;
        } else {
            let names = full_names(deletes.iter().map(|gone| gone.key.as_slice()))?;
            self.change(sql::DELETE_LIVE, &[(&names, Type::TEXT_ARRAY)], version).await?;
        }
        Ok(())
    }

    /// Keys that are no API server's would be left behind.
    async fn has_strangers(&self) -> Result<bool, Failure> {
        let doing = format!("look for keys outside {PREFIX} in database {}", self.account.schema);
        let row = self
            .inside
            .ask(&doing, |session| async move { session.client.query_typed_one(sql::STRANGERS, &[]).await });
        Ok(row.await?.get(0))
    }
}

impl Place for Moving {
    const KIND: Kind = Kind::Rows;
    const BATCH: Batch = Batch { records: 500, bytes: 1024 * 1024 };

    async fn look(&self) -> Result<Look, Trouble> {
        let observed = self.observe().await?;
        let comment = observed.user.as_ref().and_then(|user| user.comment.clone());
        let mark = match mark::migration(comment.as_deref()) {
            Migration::None => None,
            Migration::Marked(mark) => Some(mark),
            Migration::Unreadable => {
                return Err(Error::Moving { schema: self.account.schema.clone() }.into());
            }
        };
        let can_be_entered = plan::can_be_entered(&observed);
        // What is to be wiped is not looked into.
        let is_wiped = mark.as_ref().is_some_and(|mark| mark.stage == Stage::Claimed);
        let inside = if can_be_entered && !is_wiped { self.look_inside().await? } else { Inside::default() };
        let present = observed.user.is_some() && observed.database.is_some();
        let found = Found {
            presence: if present { Presence::Present } else { Presence::Absent },
            door: door(&self.account, &observed, &inside, mark.as_ref()),
            data: if inside.has_anything { Data::Some } else { Data::None },
            revision: self.revision(&inside, mark.as_ref()).await?,
            odd: inside.odd,
            mark,
        };
        Ok(Look { found, version: Version::Text(comment) })
    }

    async fn found(&self) -> Result<bool, Trouble> {
        let observed = self.observe().await?;
        let steps = plan::ensure(&self.account, &observed).map_err(|what| Error::Foreign { what })?;
        let wanted = |step: &&Step| matches!(step, Step::AddUser | Step::MarkUser | Step::Join);
        match steps.iter().find(wanted) {
            Some(step) => self.make(step).await.map(|()| true),
            None => Ok(false),
        }
    }

    async fn mark(&self, version: &Version, mark: Option<&Mark>) -> Result<Version, Trouble> {
        let doing = format!("mark the migration of role {}", self.account.user);
        let Some(old) = version.text() else { return Err(Self::raced(&doing)) };
        let Some(new) = mark::with_migration(old, mark) else { return Err(Self::raced(&doing)) };
        let (user, name) = self.name()?;
        let text = sql::mark(&user, &name, (old, &new), mark)?;
        let text = text.as_str();
        self.outside
            .tell(&doing, Effect::Accounts, |session| async move { session.client.batch_execute(text).await })
            .await?;
        Ok(Version::Text(Some(new)))
    }

    async fn shut(&self) -> Result<(), Trouble> {
        let observed = self.observe().await?;
        let Some(user) = &observed.user else { return Ok(()) };
        if user.login == Login::Allowed {
            return self.make(&Step::Lock).await;
        }
        if user.acting == Acting::Denied {
            return self.make(&Step::Join).await;
        }
        if user.sessions == Sessions::Some {
            return self.make(&Step::EndSessions).await;
        }
        if plan::can_be_entered(&observed) && self.look_inside().await?.has_table {
            let (user, _) = self.name()?;
            let revoke = format!("REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON TABLE public.kine FROM {user}");
            let doing = format!("take the rights to change its table from role {}", self.account.user);
            self.inside(&doing, &revoke).await?;
        }
        Ok(())
    }

    async fn unshut(&self) -> Result<(), Trouble> {
        let observed = self.observe().await?;
        if plan::can_be_entered(&observed) && self.look_inside().await?.has_table {
            let (user, _) = self.name()?;
            let grant = format!("GRANT INSERT, UPDATE, DELETE, TRUNCATE ON TABLE public.kine TO {user}");
            let doing = format!("give role {} its table back", self.account.user);
            self.inside(&doing, &grant).await?;
        }
        Ok(())
    }

    async fn refuses_writes(&self) -> Result<bool, Trouble> {
        let observed = self.observe().await?;
        let user = observed.user.as_ref();
        if user.is_some_and(|user| user.login == Login::Allowed || user.sessions == Sessions::Some) {
            return Ok(false);
        }
        let inside =
            if plan::can_be_entered(&observed) { self.look_inside().await? } else { Inside::default() };
        if let Some(why) = inside.odd {
            return Err(Trouble::Odd(why));
        }
        if !inside.has_table {
            return Ok(true);
        }
        let (user, _) = self.name()?;
        let write = format!("SET LOCAL ROLE {user}; UPDATE public.kine SET lease = lease WHERE false");
        match self.inside(&format!("write as role {}", self.account.user), &write).await {
            Ok(()) => Ok(false),
            Err(failure) if failure.refusal == Refusal::Forbidden => Ok(true),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn prepare(&self) -> Result<(), Trouble> {
        let observed = self.observe().await?;
        if observed.user.as_ref().is_some_and(|user| user.sessions == Sessions::Some) {
            self.make(&Step::EndSessions).await?;
        }
        if observed.database.is_some() {
            self.make(&Step::DropDatabase).await?;
        }
        for step in [Step::AddDatabase, Step::Confine, Step::MarkDatabase, Step::Open] {
            self.make(&step).await?;
        }
        let (user, _) = self.name()?;
        let doing = format!("make the table kine in database {}", self.account.schema);
        self.inside(&doing, &sql::table(&user)).await?;
        Ok(())
    }

    /// kine fills every gap between its newest row and the next one with a row of its own, one by one: the row that is
    /// put here leaves none. Its name is that of such a row, so that it is nobody's, and goes with the next compaction.
    async fn raise(&self, to: i64) -> Result<(), Trouble> {
        let doing = format!("raise the revision in database {}", self.account.schema);
        Ok(self.inside(&doing, &sql::raise(to)).await?)
    }

    async fn page(&self, shape: Shape, after: &After) -> Result<Vec<Record>, Trouble> {
        let doing = format!("read the table kine in database {}", self.account.schema);
        if shape == Shape::Rows {
            let rows = self.inside.ask(&doing, |session| async move {
                let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&after.id, Type::INT8)];
                let answers = session.client.query_typed_raw(sql::PAGE_OF_ROWS, parameters).await?;
                answers.map_ok(|answer| row(&answer)).try_collect::<Vec<_>>().await
            });
            return Ok(rows.await?);
        }
        if after.key.is_empty() && self.has_strangers().await? {
            return Err(Trouble::Odd(format!("it holds keys outside {PREFIX}")));
        }
        let name = format!("{PREFIX}{}", String::from_utf8_lossy(&after.key));
        let name = name.as_str();
        let rows = self.inside.ask(&doing, |session| async move {
            let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&name, Type::TEXT)];
            let answers = session.client.query_typed_raw(sql::PAGE_OF_LIVE, parameters).await?;
            answers.map_ok(|answer| live(&answer)).try_collect::<Vec<_>>().await
        });
        Ok(rows.await?)
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
        Ok(self.inside(&doing, &sql::settle(shape, source)).await?)
    }
}

/// Whether the tenant can write. At a target the rights to the table do not count: nobody but us has ever logged in.
fn door(account: &Account, observed: &Observed, inside: &Inside, mark: Option<&Mark>) -> Door {
    let can_enter = |user: &FoundUser| user.login == Login::Allowed || user.sessions == Sessions::Some;
    let is_source = mark.is_some_and(|mark| matches!(mark.stage, Stage::Fenced | Stage::Left));
    let may_write = is_source && inside.has_table && inside.has_rights;
    if !observed.user.as_ref().is_some_and(can_enter) && !may_write {
        return Door::Shut;
    }
    let is_complete = plan::ensure(account, observed).is_ok_and(|steps| steps.is_empty());
    if is_complete && (inside.has_rights || !inside.has_table) { Door::Open } else { Door::Ajar }
}

fn row(row: &Answer) -> Record {
    Record {
        id: row.get("id"),
        key: row.get::<_, &str>("name").into(),
        value: row.get("value"),
        ttl: row.get("lease"),
        row: Some(Row {
            created: row.get("created"),
            deleted: row.get("deleted"),
            create_revision: row.get("create_revision"),
            prev_revision: row.get("prev_revision"),
            old_value: row.get("old_value"),
        }),
    }
}

fn live(row: &Answer) -> Record {
    let name: &str = row.get("name");
    let lease: Option<i64> = row.get("lease");
    Record {
        id: row.get("id"),
        key: name.strip_prefix(PREFIX).unwrap_or(name).into(),
        value: row.get("value"),
        ttl: lease.filter(|left| *left > 0),
        row: None,
    }
}

fn names<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<String>, Trouble> {
    let unfit = |key: &[u8]| Trouble::Unfit {
        key: key.to_vec(),
        why: "a name in PostgreSQL is UTF-8 without a zero byte",
    };
    let name = |key: &'a [u8]| match std::str::from_utf8(key) {
        Ok(name) if !name.contains('\0') => Ok(name.to_owned()),
        _ => Err(unfit(key)),
    };
    keys.map(name).collect()
}

fn full_names<'a>(keys: impl Iterator<Item = &'a [u8]>) -> Result<Vec<String>, Trouble> {
    Ok(names(keys)?.into_iter().map(|name| format!("{PREFIX}{name}")).collect())
}
