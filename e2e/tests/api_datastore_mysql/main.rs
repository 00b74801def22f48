//! Tenants' accounts in a real MariaDB: made, repaired, refused, removed, cut off at any moment, and kept apart.

mod crash;
mod foreign;
mod health;
mod hostile;
mod isolation;
mod lifecycle;

use anyhow::Result;
use kamaji_datastore::{
    account::{Account, Credential, Owner, Password, Schema, Seal, Standing, User},
    store::Store,
};
use kamaji_e2e::mariadb::MariaDb;
use mysql_async::{Conn, prelude::Queryable};

/// A new account whose schema and user have these names, and whose password is the user's name twice.
fn account(schema: &str, user: &str) -> Account {
    Account {
        schema: Schema::parse(schema).expect("a plain name"),
        user: User::parse(user).expect("a plain name"),
        owner: Owner::parse(&format!("uid-of-{schema:.40}")).expect("a plain name"),
        standing: Standing::Claimed,
        seal: Seal::Open,
        credential: Credential::Password(Password::parse(password_of(user)).expect("printable")),
    }
}

fn password_of(user: &str) -> String {
    format!("{user}-{user}")
}

/// The same account, once its tenant's status says that it was set up.
fn recorded(account: &Account) -> Account {
    Account { standing: Standing::Recorded, ..account.clone() }
}

fn operator(mariadb: &MariaDb) -> Result<Store> {
    Ok(Store::mysql(mariadb.settings())?)
}

/// Who may do everything.
fn chief(mariadb: &MariaDb) -> Result<Store> {
    Ok(Store::mysql(mariadb.settings_as(kamaji_e2e::mariadb::SUPERUSER, kamaji_e2e::mariadb::PASSWORD))?)
}

/// The account's own connection to its database.
async fn tenant(mariadb: &MariaDb, account: &Account) -> Result<Conn, mysql_async::Error> {
    let user = account.user.as_str();
    mariadb.connect(user, &password_of(user), Some(account.schema.as_str())).await
}

/// All that the server holds under these names, as text that can be compared. Passwords are left out.
async fn found(root: &mut Conn, schema: &str, user: &str) -> Result<Vec<String>> {
    let users = "SELECT CONCAT_WS(' ', 'user', User, Host, JSON_VALUE(Priv, '$.access'), JSON_VALUE(Priv, '$.plugin'), \
         JSON_VALUE(Priv, '$.ssl_type'), IF(JSON_VALUE(Priv, '$.account_locked') IN ('1', 'true'), 'locked', 'open')) \
         FROM mysql.global_priv WHERE User = ? ORDER BY Host";
    let grants = "SELECT CONCAT('grant on ', TABLE_SCHEMA, ': ', GROUP_CONCAT(PRIVILEGE_TYPE ORDER BY PRIVILEGE_TYPE)) \
         FROM information_schema.schema_privileges WHERE GRANTEE LIKE CONCAT('\\'', ?, '\\'@%') GROUP BY TABLE_SCHEMA";
    let roles = "SELECT CONCAT('role ', Role) FROM mysql.roles_mapping WHERE User = ?";
    let databases =
        "SELECT CONCAT('database ', SCHEMA_NAME) FROM information_schema.schemata WHERE SCHEMA_NAME = ?";
    let mut found: Vec<String> = Vec::new();
    for (query, name) in [(users, user), (grants, user), (roles, user), (databases, schema)] {
        found.extend(root.exec::<String, _, _>(query, (name,)).await?);
    }
    let ledger =
        "SELECT 1 FROM information_schema.tables WHERE TABLE_SCHEMA = '_kamaji' AND TABLE_NAME = 'owners'";
    if root.query_first::<u8, _>(ledger).await?.is_some() {
        let rows = "SELECT CONCAT_WS(' ', 'row', schema_name, user_name, owner) FROM _kamaji.owners \
             WHERE schema_name = ? OR user_name = ?";
        found.extend(root.exec::<String, _, _>(rows, (schema, user)).await?);
    }
    Ok(found)
}

/// What there must be for an account that is complete.
fn complete(account: &Account) -> Vec<String> {
    let Account { schema, user, owner, .. } = account;
    vec![
        format!("user {user} % 0 mysql_native_password 1 open"),
        format!(
            "grant on {}: ALTER,CREATE,DELETE,INDEX,INSERT,SELECT,UPDATE",
            schema.as_str().replace('_', "\\_")
        ),
        format!("database {schema}"),
        format!("row {schema} {user} {owner}"),
    ]
}

async fn assert_complete(mariadb: &MariaDb, account: &Account) -> Result<()> {
    let mut root = mariadb.superuser().await?;
    let found = found(&mut root, account.schema.as_str(), account.user.as_str()).await?;
    assert_eq!(found, complete(account));
    tenant(mariadb, account).await?.query_drop("SELECT 1").await?;
    Ok(())
}

async fn assert_gone(mariadb: &MariaDb, account: &Account) -> Result<()> {
    let mut root = mariadb.superuser().await?;
    let found = found(&mut root, account.schema.as_str(), account.user.as_str()).await?;
    assert_eq!(found, Vec::<String>::new());
    Ok(())
}

/// The code of the server's refusal.
fn code<T>(answer: Result<T, mysql_async::Error>) -> Option<u16> {
    match answer {
        Err(mysql_async::Error::Server(error)) => Some(error.code),
        _ => None,
    }
}
