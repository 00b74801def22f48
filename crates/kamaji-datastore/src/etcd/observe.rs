//! Reads what there is under the names of one account.

use std::collections::BTreeSet;

use etcd_client::{GetOptions, KeyValue, Permission, PermissionType, Txn, TxnOp, TxnOpResponse};

use crate::account::Account;
use crate::connection::Failure;
use crate::error::{Cause, Error};
use crate::etcd::keys::{self, Range};
use crate::etcd::mark::Mark;
use crate::etcd::member::Connection;
use crate::etcd::plan::{Access, Grant, Migration, Observed};
use crate::etcd::rights;
use crate::migrate;
use crate::refusal::Refusal;

/// What there is, as of a moment during this call.
///
/// User and role are read before the marks: as marks are made first and removed last, what is seen of an account that
/// others are making at this moment is never taken for unmarked.
pub(crate) async fn account(connection: &Connection, account: &Account) -> Result<Observed, Error> {
    rights::authentication_is_on(connection).await?;
    let (user, role) = tokio::try_join!(user(connection, account), role(connection, account))?;
    let marks = marks(connection, account).await?;
    Ok(Observed { user, role, ..marks })
}

/// How many keys the account's schema has.
pub(crate) async fn count(connection: &Connection, account: &Account) -> Result<u64, Error> {
    let doing = format!("count the keys of schema {}", account.schema);
    let counted = connection.ask(&doing, |session| {
        let Range { start, end } = Range::of(&account.schema);
        let options = GetOptions::new().with_range(end).with_count_only();
        async move { session.client().get(start, Some(options)).await }
    });
    let counted = counted.await.map_err(|failure| failure.error)?;
    Ok(counted.count().try_into().unwrap_or(0))
}

async fn user(connection: &Connection, account: &Account) -> Result<Option<BTreeSet<String>>, Error> {
    let doing = format!("read user {}", account.user);
    let found = connection.ask(&doing, |session| {
        let name = account.user.as_str().to_owned();
        async move { session.client().user_get(name).await }
    });
    match found.await {
        Ok(user) => Ok(Some(user.roles().iter().cloned().collect())),
        Err(Failure { refusal: Refusal::NoUser, .. }) => Ok(None),
        Err(failure) => Err(failure.error),
    }
}

async fn role(connection: &Connection, account: &Account) -> Result<Option<BTreeSet<Grant>>, Error> {
    let doing = format!("read role {}", account.schema);
    let found = connection.ask(&doing, |session| {
        let name = account.schema.as_str().to_owned();
        async move { session.client().role_get(name).await }
    });
    match found.await {
        Ok(role) => Ok(Some(role.permissions().iter().map(grant).collect())),
        Err(Failure { refusal: Refusal::NoRole, .. }) => Ok(None),
        Err(failure) => Err(failure.error),
    }
}

/// All marks and whether there are keys, as of one revision.
async fn marks(connection: &Connection, account: &Account) -> Result<Observed, Error> {
    let doing = format!("read the marks of schema {} and user {}", account.schema, account.user);
    let read = connection.ask(&doing, |session| {
        let Range { start, end } = Range::of(&account.schema);
        let first = GetOptions::new().with_range(end).with_limit(1).with_keys_only();
        let reads = [
            TxnOp::get(keys::owner_of(&account.schema), None),
            TxnOp::get(keys::owner_of_user(&account.user), None),
            TxnOp::get(start, Some(first)),
            TxnOp::get(keys::migration_of(&account.schema), None),
        ];
        async move { session.client().txn(Txn::new().and_then(reads)).await }
    });
    let read = read.await.map_err(|failure| failure.error)?;
    let revision = read.header().map_or(0, etcd_client::ResponseHeader::revision);
    let found: Vec<Option<KeyValue>> = read.op_responses().into_iter().map(first_found).collect();
    match found.as_slice() {
        [schema, user, key, migration] => Ok(Observed {
            schema_mark: mark(schema.as_ref(), Mark::of_schema),
            user_mark: mark(user.as_ref(), Mark::of_user),
            has_keys: key.is_some(),
            migration: migration.as_ref().map(migration_mark),
            revision,
            ..Observed::default()
        }),
        _ => {
            Err(Error::Refused { doing, source: Cause(format!("{} answers to four questions", found.len())) })
        }
    }
}

fn migration_mark(found: &KeyValue) -> Migration {
    let mark =
        serde_json::from_slice(found.value()).ok().and_then(|mark| migrate::mark::Mark::from_json(&mark));
    Migration { mark, revision: found.mod_revision() }
}

fn first_found(response: TxnOpResponse) -> Option<KeyValue> {
    match response {
        TxnOpResponse::Get(mut found) => found.take_kvs().into_iter().next(),
        TxnOpResponse::Put(_) | TxnOpResponse::Delete(_) | TxnOpResponse::Txn(_) => None,
    }
}

fn mark(found: Option<&KeyValue>, read: fn(&[u8], i64) -> Mark) -> Mark {
    found.map_or(Mark::Absent, |found| read(found.value(), found.mod_revision()))
}

fn grant(permission: &Permission) -> Grant {
    let access = match permission.get_type() {
        kind if kind == PermissionType::Readwrite as i32 => Access::ReadWrite,
        kind if kind == PermissionType::Read as i32 => Access::Read,
        _ => Access::Write,
    };
    let range = Range { start: permission.key().to_vec(), end: permission.range_end().to_vec() };
    Grant { range, access }
}
