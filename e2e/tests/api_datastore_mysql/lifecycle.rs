//! From nothing to an account and back, again and again.

use anyhow::Result;
use futures::future::try_join_all;
use kamaji_datastore::{
    account::{Account, Credential, Password},
    config::Settings,
    store::{Change, Marker, Store},
};
use kamaji_e2e::mariadb::{CLEAR, MariaDb, PASSWORD};
use mysql_async::prelude::Queryable;

use super::{
    account, assert_complete, assert_gone, chief, code, found, operator, password_of, recorded, tenant,
};

const ALL: [Change; 4] = [Change::Claimed, Change::UserAdded, Change::DatabaseAdded, Change::DatabaseGranted];

#[tokio::test]
async fn an_account_is_made_once_and_removed_once() -> Result<()> {
    let mariadb = MariaDb::start().await?;
    // The very first account of a server makes the table of the marks.
    let first = account("first", "first");
    let changes = operator(&mariadb)?.ensure(&first).await?.changes;
    assert_eq!(changes, [&[Change::PlaceMade][..], &ALL[..]].concat());
    for store in [operator(&mariadb)?, chief(&mariadb)?] {
        let account = account("life_a", "life-user");
        assert_eq!(store.usage(&account).await?.bytes, None);
        assert_eq!(store.ensure(&account).await?.changes, ALL);
        assert_complete(&mariadb, &account).await?;
        for account in [account.clone(), recorded(&account)] {
            assert!(!store.ensure(&account).await?.changed(), "a second pass finds nothing to do");
        }
        let mut inside = tenant(&mariadb, &account).await?;
        assert_eq!(store.usage(&account).await?.bytes, Some(0), "it is empty");
        inside
            .query_drop("CREATE TABLE kine (id bigint PRIMARY KEY AUTO_INCREMENT, value mediumblob)")
            .await?;
        inside.query_drop("CREATE INDEX by_value ON kine (value(100))").await?;
        assert!(store.usage(&account).await?.bytes.is_some_and(|bytes| bytes > 10_000));
        store.prove_confined(&account, b"", b"").await?;
        let residue = "user life-user, database life_a, key life_a in _kamaji.owners";
        assert_eq!(store.residue(&account).await?.to_string(), residue);
        assert_eq!(store.footprint(&account).to_string(), residue);
        let names = Marker {
            schema: "life_a".to_owned(),
            holder: Some((account.user.clone(), account.owner.clone())),
        };
        assert!(store.audit().await?.contains(&names));

        // A tenant that is connected, in the middle of a transaction, does not hold its removal up.
        inside.query_drop("START TRANSACTION").await?;
        inside.query_drop("INSERT INTO kine (value) VALUES ('a')").await?;
        store.remove(&account).await?;
        assert_gone(&mariadb, &account).await?;
        assert!(inside.query_drop("SELECT 1").await.is_err(), "its session is ended");
        assert!(store.residue(&account).await?.is_empty());
        store.remove(&account).await?;
        store.remove(&recorded(&account)).await?;
        assert_eq!(code(tenant(&mariadb, &account).await), Some(1045), "the tenant is nobody any more");
    }
    assert_complete(&mariadb, &first).await
}

#[tokio::test]
async fn what_others_changed_is_mended() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let (mut root, store) = (mariadb.superuser().await?, operator(mariadb)?);
    let account = account("mend_it", "mend");
    store.ensure(&account).await?;
    for statement in [
        "CREATE ROLE mend_other",
        "CREATE DATABASE mend_elsewhere",
        "CREATE TABLE mend_elsewhere.t (a int)",
        "CREATE PROCEDURE mend_elsewhere.p() SELECT 1",
    ] {
        root.query_drop(statement).await?;
    }
    let curbed = || vec![Change::UserCurbed, Change::DatabaseGranted];
    for (damage, changes) in [
        ("GRANT SELECT ON *.* TO mend@'%'", curbed()),
        ("GRANT ALL PRIVILEGES ON *.* TO mend@'%' WITH GRANT OPTION", curbed()),
        ("GRANT SELECT ON mend_elsewhere.* TO mend@'%'", curbed()),
        ("GRANT SELECT ON mend_elsewhere.t TO mend@'%'", curbed()),
        ("GRANT SELECT (a) ON mend_elsewhere.t TO mend@'%'", curbed()),
        ("GRANT EXECUTE ON PROCEDURE mend_elsewhere.p TO mend@'%'", curbed()),
        ("GRANT DROP ON `mend\\_it`.* TO mend@'%'", curbed()),
        ("GRANT SELECT ON `mend\\_it`.* TO mend@'%' WITH GRANT OPTION", curbed()),
        ("GRANT SELECT ON `mend_it`.* TO mend@'%'", curbed()),
        ("REVOKE CREATE ON `mend\\_it`.* FROM mend@'%'", vec![Change::DatabaseGranted]),
        ("REVOKE ALL PRIVILEGES, GRANT OPTION FROM mend@'%'", vec![Change::DatabaseGranted]),
        ("ALTER USER mend@'%' ACCOUNT LOCK", vec![Change::UserUnlocked]),
        ("ALTER USER mend@'%' REQUIRE NONE", vec![Change::PasswordSet]),
        ("ALTER USER mend@'%' IDENTIFIED BY 'mine'", vec![Change::PasswordSet]),
        (
            "ALTER USER mend@'%' IDENTIFIED VIA mysql_native_password USING PASSWORD('mine') OR unix_socket",
            vec![Change::PasswordSet],
        ),
    ] {
        root.query_drop(damage).await?;
        assert_eq!(store.ensure(&account).await?.changes, changes, "{damage}");
        assert_complete(mariadb, &account).await?;
    }
    // Of roles only who may pass them on can dispose: whoever may not says so.
    root.query_drop("GRANT mend_other TO mend@'%'").await?;
    let error = store.ensure(&account).await.expect_err("not the operator's role");
    assert_eq!(error.reason(), "Forbidden", "{error}");
    assert!(error.to_string().contains("revoke role \"mend_other\" from user mend"), "{error}");
    assert_eq!(chief(mariadb)?.ensure(&account).await?.changes, [Change::RoleRevoked]);
    assert_complete(mariadb, &account).await?;
    store.remove(&account).await?;
    root.query_drop("DROP ROLE mend_other").await?;
    root.query_drop("DROP DATABASE mend_elsewhere").await?;
    assert_gone(mariadb, &account).await
}

#[tokio::test]
async fn a_password_is_changed_and_nothing_else() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let store = operator(mariadb)?;
    let account = account("pass", "pass");
    store.ensure(&account).await?;
    let new = "quite'another\\one`\"";
    let changed =
        Account { credential: Credential::Password(Password::parse(new.to_owned())?), ..account.clone() };
    assert_eq!(store.ensure(&changed).await?.changes, [Change::PasswordSet]);
    assert!(!store.ensure(&changed).await?.changed());
    assert_eq!(code(tenant(mariadb, &account).await), Some(1045));
    mariadb.connect("pass", new, Some("pass")).await?;
    // A user without a password would be open to all: there is none.
    let without = Account { credential: Credential::Certificate, ..account.clone() };
    let error = store.ensure(&without).await.expect_err("no password");
    assert_eq!(error.reason(), "InvalidSettings", "{error}");
    mariadb.connect("pass", new, Some("pass")).await?;
    assert_eq!(store.ensure(&account).await?.changes, [Change::PasswordSet]);
    tenant(mariadb, &account).await?;
    // To remove it nothing needs to be known of its password.
    store.remove(&without).await?;
    assert_gone(mariadb, &account).await
}

#[tokio::test]
async fn tenants_come_as_the_operator_does() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let clear = Store::mysql(Settings { tls: None, ..mariadb.settings_as(CLEAR, PASSWORD) })?;
    let account = account("clear", "clear");
    clear.ensure(&account).await?;
    clear.prove_confined(&account, b"", b"").await?;
    let secure = operator(mariadb)?;
    assert_eq!(secure.ensure(&account).await?.changes, [Change::PasswordSet]);
    assert_complete(mariadb, &account).await?;
    let error = clear.prove_confined(&account, b"", b"").await.expect_err("TLS is asked for");
    assert_eq!(error.reason(), "Unauthenticated", "{error}");
    secure.prove_confined(&account, b"", b"").await?;
    assert_eq!(clear.ensure(&account).await?.changes, [Change::PasswordSet]);
    clear.remove(&account).await?;
    assert_gone(mariadb, &account).await
}

#[tokio::test]
async fn what_the_go_operator_made_is_taken_over_with_its_data() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let (mut root, store) = (mariadb.superuser().await?, operator(mariadb)?);
    // With a wildcard in its name, which it granted unescaped.
    for name in ["991ec4f3-7536-4132-a418-e979ba41a55f", "default_tenant_00"] {
        let account = recorded(&account(name, name));
        for statement in [
            format!("CREATE USER `{name}`@`%` IDENTIFIED BY '{}'", password_of(name)),
            format!("CREATE DATABASE `{name}`"),
            format!(
                "GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX ON `{name}`.* TO `{name}`@`%`"
            ),
            format!("CREATE TABLE `{name}`.kine (name text)"),
            format!("INSERT INTO `{name}`.kine VALUES ('a')"),
        ] {
            root.query_drop(&statement).await?;
        }
        let changes = store.ensure(&account).await?.changes;
        assert!(
            changes.contains(&Change::Claimed) && !changes.contains(&Change::DatabaseAdded),
            "{changes:?}"
        );
        assert_eq!(changes.contains(&Change::UserCurbed), name.contains('_'), "{changes:?}");
        assert_complete(mariadb, &account).await?;
        let mut own = tenant(mariadb, &account).await?;
        assert_eq!(own.query::<String, _>("SELECT name FROM kine").await?, ["a"], "the data is still there");
        own.query_drop("INSERT INTO kine VALUES ('b')").await?;
        own.disconnect().await?;
        assert!(!store.ensure(&account).await?.changed());
        store.remove(&account).await?;
        assert_gone(mariadb, &account).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_go_operator_made_is_removed_before_it_was_marked() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let (mut root, store) = (mariadb.superuser().await?, operator(mariadb)?);
    let account = account("unmarked", "unmarked");
    root.query_drop("CREATE USER unmarked@'%' IDENTIFIED BY 'x'").await?;
    root.query_drop("CREATE DATABASE unmarked").await?;
    let before = found(&mut root, "unmarked", "unmarked").await?;
    store.remove(&account).await?;
    assert_eq!(
        found(&mut root, "unmarked", "unmarked").await?,
        before,
        "nothing says that it is the account's"
    );
    store.remove(&recorded(&account)).await?;
    assert_gone(mariadb, &account).await
}

#[tokio::test]
async fn many_are_made_at_once() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let store = operator(mariadb)?;
    let accounts: Vec<_> = (0..8).map(|n| account(&format!("many-{n}"), &format!("many-{n}"))).collect();
    try_join_all(accounts.iter().map(|account| store.ensure(account))).await?;
    for account in &accounts {
        assert_complete(mariadb, account).await?;
    }
    try_join_all(accounts.iter().map(|account| store.remove(account))).await?;
    for account in &accounts {
        assert_gone(mariadb, account).await?;
    }
    Ok(())
}
