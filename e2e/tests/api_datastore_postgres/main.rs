//! Tenants' accounts in a real PostgreSQL: made, repaired, refused, removed, cut off at any moment, and kept apart.

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
use kamaji_e2e::postgres::{Postgres, Session};

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

fn operator(postgres: &Postgres) -> Result<Store> {
    Ok(Store::postgres(postgres.settings())?)
}

/// The account's own connection to its database.
async fn tenant(postgres: &Postgres, account: &Account) -> Result<Session, tokio_postgres::Error> {
    let user = account.user.as_str();
    postgres.connect(user, &password_of(user), account.schema.as_str()).await
}

/// All that the server holds under these names, as text that can be compared. Passwords are hashed with ever new salts
/// and are left out.
async fn found(root: &Session, schema: &str, user: &str) -> Result<Vec<String>> {
    let roles = "SELECT format('role %s login=%s powers=%s,%s,%s,%s,%s member of %s: %s', rolname, rolcanlogin, \
         rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, \
         (SELECT array_agg(roleid::regrole::text) FROM pg_auth_members WHERE member = r.oid), \
         regexp_replace(coalesce(shobj_description(r.oid, 'pg_authid'), 'unmarked'), '\"password\":\"[^\"]*\"', \
         '\"password\"')) FROM pg_roles r WHERE rolname = $1::text";
    let databases = "SELECT format('database %s of %s open=%s acl=%s: %s', datname, datdba::regrole, datallowconn, \
         datacl, coalesce(shobj_description(oid, 'pg_database'), 'unmarked')) FROM pg_database WHERE datname = $1::text";
    let mut found = Vec::new();
    for (query, name) in [(roles, user), (databases, schema)] {
        found.extend(root.query(query, &[&name]).await?.iter().map(|row| row.get::<_, String>(0)));
    }
    Ok(found)
}

/// What there must be for an account that is complete.
fn complete(account: &Account) -> Vec<String> {
    let Account { schema, user, owner, .. } = account;
    let quoted = |name: &str| if name.contains('-') { format!("\"{name}\"") } else { name.to_owned() };
    let role = quoted(user.as_str());
    vec![
        format!(
            "role {user} login=t powers=f,f,f,f,f member of : \
             kamaji/1 {{\"owner\":\"{owner}\",\"password\",\"schema\":\"{schema}\"}}"
        ),
        format!(
            "database {schema} of {role} open=t acl={{{acl}=CTc/{acl}}}: kamaji/1 {{\"owner\":\"{owner}\",\"user\":\"{user}\"}}",
            acl = if user.as_str().contains('-') { format!("\\\"{user}\\\"") } else { role.clone() }
        ),
    ]
}

async fn assert_complete(postgres: &Postgres, root: &Session, account: &Account) -> Result<()> {
    let found = found(root, account.schema.as_str(), account.user.as_str()).await?;
    assert_eq!(found.len(), 2, "{found:?}");
    // An access list quotes names in its own way.
    let plain = |text: &String| text.replace(['"', '\\'], "");
    assert_eq!(
        found.iter().map(plain).collect::<Vec<_>>(),
        complete(account).iter().map(plain).collect::<Vec<_>>()
    );
    tenant(postgres, account).await?.batch_execute("SELECT 1").await?;
    Ok(())
}

async fn assert_gone(root: &Session, account: &Account) -> Result<()> {
    assert_eq!(found(root, account.schema.as_str(), account.user.as_str()).await?, Vec::<String>::new());
    Ok(())
}
