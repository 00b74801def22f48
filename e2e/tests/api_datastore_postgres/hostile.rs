//! Whatever stands in names, passwords and settings, the server sees our statements and no others, and no password.

use std::collections::BTreeSet;

use anyhow::Result;
use kamaji_datastore::{
    Postgres as Driver,
    account::{Account, Credential, Password, Schema, User},
    config::{BasicAuth, Endpoint, Settings},
    store::Store,
};
use kamaji_e2e::postgres::{PASSWORD, Postgres, SUPERUSER, Statements};
use zeroize::Zeroizing;

use super::{account, assert_gone};

/// What people have tried on others' databases.
const CORPUS: &[&str] = &[
    "a\"b",
    "\"",
    "\"\"",
    "a'b",
    "'; DROP ROLE postgres; --",
    "\"; DROP DATABASE postgres; --",
    "x\" SUPERUSER PASSWORD 'y",
    "a\\",
    "\\'; SELECT 1; --",
    "a;b",
    "a--b",
    "/* a */",
    "$$",
    "$1",
    "a.b",
    "../x",
    "a%",
    "a_b",
    "U&\"\\0061\"",
    "a b",
    " a",
    "a\nb",
    "a\tb",
    "\u{1f642}",
    "\u{202e}x",
    "\u{e9}\u{301}",
    "SELECT",
    "current_user",
    "Upper",
    "0",
];

#[tokio::test]
async fn every_name_comes_back_from_the_server_as_it_was_quoted() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let root = postgres.superuser("postgres").await?;
    let mut names: BTreeSet<String> = CORPUS.iter().map(|&name| name.to_owned()).collect();
    // Every byte that a name can hold, alone and between others, and the longest of all.
    names.extend((1..=127_u8).map(|byte| format!("a{}b", char::from(byte))));
    names.extend((1..=127_u8).map(|byte| char::from(byte).to_string()));
    names.extend(["x".repeat(63), "\"".repeat(63), "\u{e9}".repeat(31)]);
    for name in names {
        let quoted = Driver::quote_identifier(&name)?;
        let rows = root.query(&format!("SELECT 1 AS {quoted}"), &[]).await?;
        assert_eq!(rows[0].columns()[0].name(), name, "{quoted}");
    }
    // The server cuts what is longer, and would mean another.
    let long = "x".repeat(64);
    assert!(Driver::quote_identifier(&long).is_err());
    let rows = root.query(&format!("SELECT 1 AS \"{long}\""), &[]).await?;
    assert_ne!(rows[0].columns()[0].name(), long);
    Ok(())
}

#[tokio::test]
async fn names_that_are_too_long_are_told_by_field_and_make_nothing() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let (store, root) = (super::operator(postgres)?, postgres.superuser("postgres").await?);
    let long = "x".repeat(64);
    for (taken, field) in [(account(&long, "short"), "schema"), (account("short", &long), "user")] {
        let error = store.ensure(&taken).await.expect_err("too long");
        assert_eq!(error.reason(), "InvalidName");
        let text = error.to_string();
        assert!(text.starts_with(field) && text.contains("63 bytes"), "{text}");
        store.remove(&taken).await?;
        assert_gone(&root, &taken).await?;
    }
    let exactly = "y".repeat(63);
    let longest = account(&exactly, &exactly);
    store.ensure(&longest).await?;
    assert!(!store.ensure(&longest).await?.changed());
    store.remove(&longest).await?;
    assert_gone(&root, &longest).await
}

#[tokio::test]
async fn the_log_of_the_server_has_our_statements_only_and_no_password() -> Result<()> {
    let postgres = Postgres::start_with(Statements::All).await?;
    let root = postgres.superuser("postgres").await?;
    let store = Store::postgres(postgres.settings_as(SUPERUSER, PASSWORD))?;
    root.batch_execute("SELECT 'the test begins'").await?;
    for (number, hostile) in CORPUS.iter().enumerate() {
        // Those names that are refused never reach the server.
        let (schema, user) = (Schema::parse(hostile), User::parse(hostile));
        let secret = format!("secret-{number}-{}", hostile.replace(|c: char| !c.is_ascii_graphic(), "_"));
        let base = account(&format!("plain{number}"), &format!("plain{number}"));
        let account = Account {
            schema: schema.unwrap_or_else(|_| base.schema.clone()),
            user: user.unwrap_or_else(|_| base.user.clone()),
            credential: Credential::Password(Password::parse(secret.clone())?),
            ..base
        };
        // A role of such a name in the way of confinement, by an administrator with odd tastes.
        let role = Driver::quote_identifier(&format!("r{hostile}"))?;
        store.ensure(&account).await?;
        root.batch_execute(&format!(
            "/* by the test */ CREATE ROLE {role}; GRANT {role} TO \"{}\"",
            account.user
        ))
        .await?;
        assert!(store.ensure(&account).await?.changed(), "it is revoked");
        postgres.connect(account.user.as_str(), &secret, account.schema.as_str()).await?;
        store.prove_confined(&account, b"", b"").await?;
        store.remove(&account).await?;
        root.batch_execute(&format!("/* by the test */ DROP ROLE {role}")).await?;
        assert_gone(&root, &account).await?;
        // The settings of a DataStore are no better known to us.
        let settings = Settings {
            basic_auth: Some(BasicAuth {
                username: (*hostile).to_owned(),
                password: Zeroizing::new((*hostile).to_owned()),
            }),
            ..postgres.settings()
        };
        let error = Store::postgres(settings)?.check().await.expect_err("nobody has that name");
        assert_eq!(error.reason(), "Unauthenticated", "{error}");
        assert!(Endpoint::parse(&format!("127.0.0.1{hostile}:1")).is_err() || hostile.is_ascii());
    }
    let log = postgres.log()?;
    let ours = log.split_once("the test begins").expect("logged").1;
    assert!(!ours.contains("secret-") && !ours.contains(PASSWORD), "no password in the log");
    assert_only_templates(ours);
    Ok(())
}

/// What every statement of ours begins with.
const TEMPLATES: &[&str] = &[
    "SELECT r.oid IS NOT NULL AS has_user",
    "SELECT pg_is_in_recovery()",
    "SELECT pg_catalog.pg_is_in_recovery()",
    "SELECT pg_terminate_backend(",
    "SELECT (SELECT rolsuper",
    "CREATE ROLE \"",
    "ALTER ROLE \"",
    "CREATE DATABASE \"",
    "REVOKE ALL PRIVILEGES ON DATABASE \"",
    "REVOKE \"r",
    "COMMENT ON DATABASE \"",
    "ALTER DATABASE \"",
    "DROP DATABASE \"",
    "DROP OWNED BY \"",
    // Of this test.
    "SELECT format('",
    "'",
];

fn assert_only_templates(log: &str) {
    let statements = log.lines().filter_map(|line| {
        let (_, rest) = line.split_once("LOG:  ")?;
        let (kind, statement) = rest.split_once(": ")?;
        (kind == "statement" || kind.starts_with("execute")).then_some(statement)
    });
    let mut seen = 0;
    for statement in statements.filter(|statement| !statement.starts_with("/* by the test */")) {
        seen += 1;
        assert!(TEMPLATES.iter().any(|template| statement.starts_with(template)), "{statement}");
    }
    assert!(seen > CORPUS.len() * 10, "{seen} statements");
}
