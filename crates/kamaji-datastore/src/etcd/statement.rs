//! Makes one statement.

use std::sync::Arc;

use etcd_client::{
    Compare, CompareOp, DeleteOptions, GetOptions, Permission, RoleRevokePermissionOptions, Txn, TxnOp,
    UserAddOptions,
};

use crate::account::Account;
use crate::connection::{Effect, Failure};
use crate::error::{Cause, Error};
use crate::etcd::keys::{self, Range};
use crate::etcd::mark;
use crate::etcd::member::{Connection, Session};
use crate::etcd::plan::{Access, Expected, Grant, Step};
use crate::refusal::Refusal;
use crate::store::Change;

/// How many keys are deleted at once: enough to be quick, few enough not to hold up other tenants.
const BATCH: u16 = 500;

/// The statement was made.
pub(crate) async fn make(connection: &Connection, account: &Account, step: &Step) -> Result<Change, Failure> {
    let doing = doing(account, step);
    match step {
        Step::Claim { schema, user } => {
            if_unchanged(connection, &doing, claim(account, *schema, *user)).await.map(|()| Change::Claimed)
        }
        Step::Release { schema, user } => if_unchanged(connection, &doing, release(account, *schema, *user))
            .await
            .map(|()| Change::Released),
        Step::DeleteKeys { mark } => {
            let batch = next_batch(connection, account, &doing).await?;
            if_unchanged(connection, &doing, delete(account, *mark, &batch))
                .await
                .map(|()| Change::DataDeleted)
        }
        _ => {
            let change =
                connection.tell(&doing, Effect::Accounts, |session| change_accounts(session, account, step));
            change.await
        }
    }
}

async fn change_accounts(
    session: Arc<Session>,
    account: &Account,
    step: &Step,
) -> Result<Change, etcd_client::Error> {
    let mut client = session.client();
    let (user, role) = (account.user.as_str(), account.schema.as_str());
    match step {
        Step::AddUser => {
            let by_certificate = UserAddOptions::new().with_no_pwd();
            client.user_add(user, "", Some(by_certificate)).await.map(|_| Change::UserAdded)
        }
        Step::DeleteUser => client.user_delete(user).await.map(|_| Change::UserDeleted),
        Step::AddRole => client.role_add(role).await.map(|_| Change::RoleAdded),
        Step::DeleteRole => client.role_delete(role).await.map(|_| Change::RoleDeleted),
        Step::Grant(Grant { range, access }) => {
            let start = range.start.clone();
            let permission = match access {
                Access::Read => Permission::read(start),
                Access::Write => Permission::write(start),
                Access::ReadWrite => Permission::read_write(start),
            };
            let permission = permission.with_range_end(range.end.clone());
            client.role_grant_permission(role, permission).await.map(|_| Change::RangeGranted)
        }
        Step::RevokeRange(range) => {
            let exactly = RoleRevokePermissionOptions::new().with_range_end(range.end.clone());
            let revoked = client.role_revoke_permission(role, range.start.clone(), Some(exactly)).await;
            revoked.map(|_| Change::RangeRevoked)
        }
        Step::GrantRole => client.user_grant_role(user, role).await.map(|_| Change::RoleGranted),
        Step::RevokeRole(other) => {
            client.user_revoke_role(user, other.as_str()).await.map(|_| Change::RoleRevoked)
        }
        Step::Claim { .. } | Step::Release { .. } | Step::DeleteKeys { .. } => {
            Err(etcd_client::Error::InvalidArgs("a statement on keys changes no accounts".to_owned()))
        }
    }
}

fn doing(account: &Account, step: &Step) -> String {
    let Account { schema, user, owner, .. } = account;
    match step {
        Step::Claim { .. } => {
            format!("mark schema {schema} and user {user} as those of the tenant with UID {owner}")
        }
        Step::AddUser => format!("add user {user}"),
        Step::DeleteUser => format!("delete user {user}"),
        Step::AddRole => format!("add role {schema}"),
        Step::DeleteRole => format!("delete role {schema}"),
        Step::Grant(Grant { access: Access::Read, .. }) => {
            format!("let role {schema} read, and no more, the sealed keys below /{schema}/")
        }
        Step::Grant(_) => format!("grant role {schema} the keys below /{schema}/"),
        Step::RevokeRange(range) => format!(
            "revoke the keys from {:?} to {:?} from role {schema}",
            String::from_utf8_lossy(&range.start),
            String::from_utf8_lossy(&range.end)
        ),
        Step::GrantRole => format!("grant role {schema} to user {user}"),
        Step::RevokeRole(role) => format!("revoke role {role:?} from user {user}"),
        Step::DeleteKeys { .. } => format!("delete the keys below /{schema}/"),
        Step::Release { .. } => format!("remove the marks of schema {schema} and user {user}"),
    }
}

/// Carries out a transaction; that its conditions do not hold any more counts as a lost race.
async fn if_unchanged(connection: &Connection, doing: &str, transaction: Txn) -> Result<(), Failure> {
    let done = connection.tell(doing, Effect::None, |session| {
        let transaction = transaction.clone();
        async move { session.client().txn(transaction).await }
    });
    if done.await?.succeeded() {
        return Ok(());
    }
    let source = Cause("it was changed meanwhile".to_owned());
    Err(Failure { refusal: Refusal::Raced, error: Error::Refused { doing: doing.to_owned(), source } })
}

fn claim(account: &Account, schema: Expected, user: Expected) -> Txn {
    let marks = [
        (keys::owner_of(&account.schema), mark::for_schema(&account.owner, &account.user), schema),
        (keys::owner_of_user(&account.user), mark::for_user(&account.owner, &account.schema), user),
    ];
    let seen = |expected: Expected| match expected {
        Expected::Absent => 0,
        Expected::Ours(revision) => revision,
    };
    let conditions: Vec<_> = marks.iter().map(|(key, _, expected)| unchanged(key, seen(*expected))).collect();
    let missing = marks.into_iter().filter(|(_, _, expected)| *expected == Expected::Absent);
    let puts: Vec<_> = missing.map(|(key, text, _)| TxnOp::put(key, text, None)).collect();
    Txn::new().when(conditions).and_then(puts)
}

fn release(account: &Account, schema: Option<i64>, user: Option<i64>) -> Txn {
    let marks = [(keys::owner_of(&account.schema), schema), (keys::owner_of_user(&account.user), user)];
    let ours: Vec<_> = marks.into_iter().filter_map(|(key, seen)| Some((key, seen?))).collect();
    let conditions: Vec<_> = ours.iter().map(|(key, seen)| unchanged(key, *seen)).collect();
    let migration = schema.map(|_| keys::migration_of(&account.schema));
    let gone = ours.into_iter().map(|(key, _)| key).chain(migration);
    let deletes: Vec<_> = gone.map(|key| TxnOp::delete(key, None)).collect();
    Txn::new().when(conditions).and_then(deletes)
}

fn delete(account: &Account, mark: i64, batch: &Range) -> Txn {
    let options = DeleteOptions::new().with_range(batch.end.clone());
    Txn::new()
        .when([unchanged(&keys::owner_of(&account.schema), mark)])
        .and_then([TxnOp::delete(batch.start.clone(), Some(options))])
}

fn unchanged(key: &str, revision: i64) -> Compare {
    Compare::mod_revision(key, CompareOp::Equal, revision)
}

/// The next keys of the account's schema, at most [`BATCH`].
async fn next_batch(connection: &Connection, account: &Account, doing: &str) -> Result<Range, Failure> {
    let all = Range::of(&account.schema);
    let found = connection.ask(doing, |session| {
        let options =
            GetOptions::new().with_range(all.end.clone()).with_limit(i64::from(BATCH) + 1).with_keys_only();
        let start = all.start.clone();
        async move { session.client().get(start, Some(options)).await }
    });
    let found = found.await?;
    let end = found.kvs().get(usize::from(BATCH)).map_or(all.end, |next| next.key().to_vec());
    Ok(Range { start: all.start, end })
}
