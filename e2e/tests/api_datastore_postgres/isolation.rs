//! A tenant's password opens its own database and nothing else.

use anyhow::Result;
use kamaji_datastore::{account::Account, store::Store};
use kamaji_e2e::postgres::{PASSWORD, Postgres, SUPERUSER, Session};
use tokio_postgres::error::SqlState;

use super::{account, operator, password_of, tenant};

/// What our documentation asks of an administrator, once per server.
const HARDENING: &[&str] = &[
    "REVOKE ALL PRIVILEGES ON DATABASE postgres, template1 FROM PUBLIC",
    "GRANT CONNECT ON DATABASE postgres TO \"kamaji-operator\"",
];

/// Names that are each other's beginnings, or differ in what SQL may take for the same.
const NAMES: [&str; 5] = ["x", "X", "xy", "x_y", "x-"];

/// What a tenant that is connected to its own database may not do there or from there.
fn denied(other: &str) -> Vec<String> {
    let mut denied: Vec<String> = [
        // Roles.
        "CREATE ROLE more",
        "CREATE DATABASE more",
        "ALTER ROLE {other} PASSWORD 'mine'",
        "ALTER ROLE {other} SUPERUSER",
        "ALTER ROLE {own} CREATEDB",
        "ALTER ROLE {own} CREATEROLE",
        "ALTER ROLE {own} SUPERUSER",
        "GRANT {other} TO {own}",
        "GRANT \"kamaji-operator\" TO {own}",
        "GRANT postgres TO {own}",
        "GRANT pg_read_all_data TO {own}",
        "GRANT pg_write_server_files TO {own}",
        "SET ROLE {other}",
        "SET ROLE \"kamaji-operator\"",
        "SET SESSION AUTHORIZATION {other}",
        "DROP ROLE {other}",
        "DROP OWNED BY {other}",
        "REASSIGN OWNED BY {other} TO {own}",
        "COMMENT ON ROLE {other} IS 'mine'",
        "COMMENT ON ROLE {own} IS 'free'",
        // Databases.
        "DROP DATABASE {other}",
        "ALTER DATABASE {other} OWNER TO {own}",
        "ALTER DATABASE {other} ALLOW_CONNECTIONS false",
        "ALTER DATABASE {other} SET search_path = ''",
        "ALTER DATABASE {own} RENAME TO more",
        "COMMENT ON DATABASE {other} IS 'mine'",
        "GRANT CONNECT ON DATABASE {other} TO {own}",
        "REVOKE CONNECT ON DATABASE {other} FROM {other}",
        "CREATE DATABASE copy TEMPLATE {other}",
        "SELECT pg_database_size('{plain}')",
        // The server and its files.
        "ALTER SYSTEM SET log_statement = 'all'",
        "SELECT pg_read_file('pg_hba.conf')",
        "SELECT pg_ls_dir('.')",
        "COPY (SELECT 1) TO '/tmp/x'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT lo_import('/etc/passwd')",
        "SELECT pg_reload_conf()",
        "SELECT pg_switch_wal()",
        "SELECT * FROM pg_authid",
        "SELECT * FROM pg_hba_file_rules",
        "CHECKPOINT",
        "CREATE EXTENSION dblink",
        "CREATE EXTENSION postgres_fdw",
        "CREATE FUNCTION f() RETURNS void LANGUAGE c AS '/lib/x.so', 'x'",
        "SELECT pg_create_physical_replication_slot('x')",
        "CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p",
    ]
    .map(str::to_owned)
    .into();
    for statement in &mut denied {
        *statement = statement.replace("{other}", &format!("\"{other}\"")).replace("{plain}", other);
    }
    denied
}

async fn harden(root: &Session) -> Result<()> {
    for statement in HARDENING {
        root.batch_execute(statement).await?;
    }
    Ok(())
}

#[tokio::test]
async fn no_tenant_gets_into_anothers_database_or_at_it() -> Result<()> {
    let postgres = Postgres::start().await?;
    let root = postgres.superuser("postgres").await?;
    harden(&root).await?;
    let store = operator(&postgres)?;
    let accounts: Vec<Account> = NAMES.iter().map(|name| account(name, name)).collect();
    for account in &accounts {
        store.ensure(account).await?;
        let own = tenant(&postgres, account).await?;
        own.batch_execute("CREATE TABLE kine (value text); INSERT INTO kine VALUES ('precious')").await?;
        own.batch_execute("CREATE TEMPORARY TABLE t (a int); SELECT pg_advisory_lock(1)").await?;
    }
    let mut refusals = 0;
    for own in &accounts {
        let user = own.user.as_str();
        let others = NAMES.iter().copied().filter(|name| *name != user);
        // No connection: then no table, no list, no temporary table and no advisory lock either.
        for database in others.clone().chain(["postgres", "template1", "template0"]) {
            let refused = postgres.connect(user, &password_of(user), database).await.err();
            let code = refused.and_then(|error| error.code().cloned());
            let expected = if database == "template0" {
                SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE
            } else {
                SqlState::INSUFFICIENT_PRIVILEGE
            };
            assert_eq!(code, Some(expected), "{user} connects to {database}");
            refusals += 1;
        }
        // Nor as another, with one's own password.
        for other in others.clone() {
            let refused = postgres.connect(other, &password_of(user), other).await.err();
            let code = refused.and_then(|error| error.code().cloned());
            assert_eq!(code, Some(SqlState::INVALID_PASSWORD), "{user} as {other}");
        }
        let session = tenant(&postgres, own).await?;
        for other in others {
            for statement in denied(other) {
                let statement = statement.replace("{own}", &format!("\"{user}\""));
                let Err(error) = session.batch_execute(&statement).await else {
                    panic!("{user} may {statement}")
                };
                let code = error.code().cloned().expect("the server said no");
                assert!(
                    [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::UNDEFINED_FILE].contains(&code),
                    "{statement}: {code:?} {error:?}"
                );
                refusals += 1;
            }
        }
        store.prove_confined(own, b"", b"").await?;
    }
    assert_eq!(refusals, 5 * (4 + 3) + 5 * 4 * denied("x").len());
    for own in &accounts {
        assert!(!store.ensure(own).await?.changed(), "all are as they were");
        let rows = tenant(&postgres, own).await?.query("SELECT value FROM kine", &[]).await?;
        assert_eq!(rows[0].get::<_, String>(0), "precious");
        store.remove(own).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_tenant_that_reaches_more_is_noticed() -> Result<()> {
    let postgres = Postgres::start().await?;
    let root = postgres.superuser("postgres").await?;
    let store = Store::postgres(postgres.settings_as(SUPERUSER, PASSWORD))?;
    let (one, two) = (account("one", "one"), account("two", "two"));
    store.ensure(&one).await?;
    store.ensure(&two).await?;
    store.prove_confined(&one, b"", b"").await?;
    for (damage, cure) in [
        ("GRANT CONNECT ON DATABASE two TO PUBLIC", "REVOKE CONNECT ON DATABASE two FROM PUBLIC"),
        ("GRANT CONNECT ON DATABASE two TO one", "REVOKE CONNECT ON DATABASE two FROM one"),
        ("GRANT two TO one", "REVOKE two FROM one"),
        ("ALTER ROLE one SUPERUSER", "ALTER ROLE one NOSUPERUSER"),
        ("ALTER ROLE one CREATEROLE", "ALTER ROLE one NOCREATEROLE"),
    ] {
        root.batch_execute(damage).await?;
        let error = store.prove_confined(&one, b"", b"").await.expect_err(damage);
        assert_eq!(error.reason(), "NotConfined", "{damage}: {error}");
        root.batch_execute(cure).await?;
        store.prove_confined(&one, b"", b"").await?;
    }
    root.batch_execute("REVOKE CONNECT ON DATABASE one FROM one").await?;
    assert_eq!(store.prove_confined(&one, b"", b"").await.expect_err("shut out").reason(), "Refused");
    Ok(())
}
