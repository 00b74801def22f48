//! Whatever stands in names, passwords and settings, the server sees our statements and no others, and no password.

use std::collections::BTreeSet;

use anyhow::Result;
use kamaji_datastore::{
    MySql as Driver,
    account::{Account, Credential, Password, Schema, User},
    config::{BasicAuth, Settings},
    store::Store,
};
use kamaji_e2e::mariadb::{MariaDb, OPERATOR, PASSWORD, Statements};
use mysql_async::prelude::Queryable;
use zeroize::Zeroizing;

use super::{account, assert_gone, operator};

/// What people have tried on others' databases.
const CORPUS: &[&str] = &[
    "a`b",
    "`",
    "``",
    "a\"b",
    "a'b",
    "'; DROP USER root; -- x",
    "`; DROP DATABASE mysql; -- x",
    "x` IDENTIFIED BY 'y",
    "x'@'%' IDENTIFIED BY 'y",
    "a\\",
    "\\'; SELECT 1; -- x",
    "\\`; SELECT 1; -- x",
    "a;b",
    "a--b",
    "a#b",
    "/* a */",
    "/*! SELECT 1 */",
    "/*M! SELECT 1 */",
    "?",
    "@@version",
    "a.b",
    "../x",
    "a%",
    "a_b",
    "%",
    "a b",
    "a\nb",
    "a\tb",
    "\u{202e}x",
    "\u{e9}\u{301}",
    "SELECT",
    "current_user",
    "Upper",
    "0",
];

#[tokio::test]
async fn every_name_comes_back_from_the_server_as_it_was_quoted() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let mut root = mariadb.superuser().await?;
    let mut names: BTreeSet<String> = CORPUS.iter().map(|&name| name.to_owned()).collect();
    // Every byte that a name can hold, between others, and the longest of all.
    names.extend((1..=127_u8).map(|byte| format!("a{}b", char::from(byte))));
    names.extend(["x".repeat(64), "`".repeat(64), "\u{e9}".repeat(64)]);
    for mode in ["", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"] {
        root.query_drop(format!("SET SESSION sql_mode = '{mode}'")).await?;
        for name in &names {
            let quoted = Driver::quote_identifier(name)?;
            // As a column of a table: the server keeps no more than 64 characters of any name.
            let rows = root.query_iter(format!("SELECT {quoted} FROM (SELECT 1 AS {quoted}) AS t")).await?;
            assert_eq!(rows.columns().expect("rows")[0].name_str(), *name, "{quoted}");
            rows.drop_result().await?;
        }
    }
    for refused in ["", "a ", "a\0", "\u{1f642}", &"x".repeat(65)] {
        assert!(Driver::quote_identifier(refused).is_err());
    }
    Ok(())
}

#[tokio::test]
async fn a_pattern_grants_one_database_and_no_other() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let mut root = mariadb.superuser().await?;
    root.query_drop("CREATE USER pattern@'%' IDENTIFIED BY 'x'").await?;
    for (name, similar) in
        [("p_t", "pat"), ("p%", "p_t"), ("p\\_t", "p_t"), ("p-_-t", "p-a-t"), ("p`_", "p`a")]
    {
        let quoted = Driver::quote_pattern(name)?;
        for database in [name, similar] {
            root.query_drop(format!("CREATE DATABASE {}", Driver::quote_identifier(database)?)).await?;
        }
        root.query_drop(format!("GRANT SELECT ON {quoted}.* TO pattern@'%'")).await?;
        let mut limited = mariadb.connect("pattern", "x", None).await?;
        let seen: Vec<String> = limited.query("SHOW DATABASES").await?;
        assert!(seen.contains(&name.to_owned()) && !seen.contains(&similar.to_owned()), "{name}: {seen:?}");
        limited.disconnect().await?;
        root.query_drop("REVOKE ALL PRIVILEGES, GRANT OPTION FROM pattern@'%'").await?;
        for database in [name, similar] {
            root.query_drop(format!("DROP DATABASE {}", Driver::quote_identifier(database)?)).await?;
        }
    }
    root.query_drop("DROP USER pattern@'%'").await?;
    Ok(())
}

#[tokio::test]
async fn names_that_are_too_long_are_told_by_field_and_make_nothing() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let store = operator(mariadb)?;
    let long = account(&"x".repeat(65), "short");
    let error = store.ensure(&long).await.expect_err("too long");
    assert_eq!(error.reason(), "InvalidName");
    let text = error.to_string();
    assert!(text.starts_with("schema") && text.contains("64 bytes"), "{text}");
    store.remove(&long).await?;
    assert_gone(mariadb, &long).await?;
    let longest = account(&"y".repeat(64), &"u".repeat(64));
    store.ensure(&longest).await?;
    assert!(!store.ensure(&longest).await?.changed());
    store.prove_confined(&longest, b"", b"").await?;
    store.remove(&longest).await?;
    assert_gone(mariadb, &longest).await?;
    // MySQL takes less: what a new account is called fits there too.
    assert_eq!(store.longest_user(), 32);
    Ok(())
}

#[tokio::test]
async fn the_log_of_the_server_has_our_statements_only_and_no_password() -> Result<()> {
    let mariadb = MariaDb::start_with(Statements::All).await?;
    let (store, mut root) = (operator(&mariadb)?, mariadb.superuser().await?);
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
        store.ensure(&account).await?;
        // A role of such a name in the way of confinement, by an administrator with odd tastes.
        let role = Driver::quote_identifier(&format!("r{hostile}"))?;
        root.query_drop(format!("CREATE ROLE {role}")).await?;
        root.query_drop(format!("GRANT {role} TO `{OPERATOR}`@`%` WITH ADMIN OPTION")).await?;
        root.query_drop(format!("GRANT {role} TO `{}`@`%`", account.user)).await?;
        assert!(store.ensure(&account).await?.changed(), "it is revoked");
        let session = mariadb.connect(account.user.as_str(), &secret, Some(account.schema.as_str())).await?;
        session.disconnect().await?;
        store.prove_confined(&account, b"", b"").await?;
        store.remove(&account).await?;
        root.query_drop(format!("DROP ROLE {role}")).await?;
        assert_gone(&mariadb, &account).await?;
        // The settings of a DataStore are no better known to us.
        let settings = Settings {
            basic_auth: Some(BasicAuth {
                username: (*hostile).to_owned(),
                password: Zeroizing::new((*hostile).to_owned()),
            }),
            ..mariadb.settings()
        };
        let error = Store::mysql(settings)?.check().await.expect_err("nobody has that name");
        assert_eq!(error.reason(), "Unauthenticated", "{error}");
    }
    assert_only_templates(&mariadb.log()?);
    Ok(())
}

/// What every statement of ours begins with.
const TEMPLATES: &[&str] = &[
    "SET SESSION autocommit = 1, sql_mode",
    "SELECT VERSION(), @@global.read_only",
    "SELECT IF(COALESCE(JSON_LENGTH(Priv",
    "SELECT '', PRIVILEGE_TYPE, IS_GRANTABLE",
    "SELECT TABLE_SCHEMA, PRIVILEGE_TYPE",
    "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME",
    "SELECT CONCAT(Db, '.', Routine_name)",
    "SELECT Role, '', false",
    "SELECT ID FROM information_schema.processlist",
    "SELECT 1 FROM information_schema.schemata",
    "SELECT `schema_name`, `user_name`, `owner` FROM `_kamaji`.`owners`",
    "SELECT SCHEMA_NAME FROM information_schema.schemata",
    "SELECT PRIVILEGE_TYPE FROM information_schema.user_privileges",
    "CREATE DATABASE IF NOT EXISTS `_kamaji`",
    "CREATE TABLE IF NOT EXISTS `_kamaji`.`owners`",
    "INSERT INTO `_kamaji`.`owners`",
    "DELETE FROM `_kamaji`.`owners`",
    "CREATE USER `",
    "CREATE DATABASE `",
    "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, INDEX, ALTER ON `",
    "REVOKE `r",
    "ALTER USER `",
    "DROP DATABASE `",
    "DROP USER `",
    "KILL ",
    // Of the client of this test.
    "SELECT @@max_allowed_packet",
];

/// The general log: of each session who opened it, and then what it sent, by the session's number.
fn assert_only_templates(log: &str) {
    let (mut ours, mut seen) = (BTreeSet::new(), 0);
    for line in log.lines() {
        // A time and a tab, or two tabs if it is that of the line before; a number and a command, a tab, and its text.
        let rest = line.strip_prefix("\t\t").or_else(|| line.split_once('\t').map(|(_, rest)| rest));
        let Some((head, text)) = rest.and_then(|rest| rest.split_once('\t')) else { continue };
        let Some((number, command)) = head.trim().split_once(' ') else { continue };
        if command == "Connect" && !text.starts_with("root@") {
            ours.insert(number);
            continue;
        }
        if !ours.contains(number) || !["Query", "Prepare", "Execute"].contains(&command) {
            continue;
        }
        seen += 1;
        assert!(!text.contains("secret-") && !text.contains(PASSWORD), "a password in the log: {text}");
        assert!(TEMPLATES.iter().any(|template| text.starts_with(template)), "{text}");
    }
    assert!(seen > CORPUS.len() * 20, "{seen} statements");
}
