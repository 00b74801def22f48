//! From nothing to an account and back, again and again.

use anyhow::Result;
use futures::future::try_join_all;
use kamaji_datastore::{
    account::{Account, Credential, Password},
    store::{Change, Marker, Store},
};
use kamaji_e2e::postgres::{PASSWORD, Postgres, SUPERUSER};

use super::{account, assert_complete, assert_gone, found, operator, password_of, recorded, tenant};

const ALL: [Change; 6] = [
    Change::UserAdded,
    Change::Joined,
    Change::DatabaseAdded,
    Change::DatabaseConfined,
    Change::Claimed,
    Change::DatabaseOpened,
];

#[tokio::test]
async fn an_account_is_made_once_and_removed_once() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let root = postgres.superuser("postgres").await?;
    let stores = [
        (operator(postgres)?, &ALL[..]),
        // Who may do everything need not become a member of anything.
        (
            Store::postgres(postgres.settings_as(SUPERUSER, PASSWORD))?,
            &[ALL[0], ALL[2], ALL[3], ALL[4], ALL[5]][..],
        ),
    ];
    for (store, all) in stores {
        let account = account("life", "life-user");
        assert_eq!(store.ensure(&account).await?.changes, all);
        assert_complete(postgres, &root, &account).await?;
        for account in [account.clone(), recorded(&account)] {
            assert!(!store.ensure(&account).await?.changed(), "a second pass finds nothing to do");
        }
        let inside = tenant(postgres, &account).await?;
        inside.batch_execute("CREATE TABLE kine (id serial PRIMARY KEY, value bytea)").await?;
        assert!(store.usage(&account).await?.bytes.is_some_and(|bytes| bytes > 1_000_000));
        store.prove_confined(&account, b"", b"").await?;
        assert_eq!(store.residue(&account).await?.to_string(), "user life-user, database life");
        let names =
            Marker { schema: "life".to_owned(), holder: Some((account.user.clone(), account.owner.clone())) };
        assert!(store.audit().await?.contains(&names));

        // A tenant that is connected does not hold its removal up.
        store.remove(&account).await?;
        assert_gone(&root, &account).await?;
        assert!(inside.batch_execute("SELECT 1").await.is_err(), "its session is ended");
        assert!(store.residue(&account).await?.is_empty());
        assert_eq!(store.usage(&account).await?.bytes, None);
        store.remove(&account).await?;
        store.remove(&recorded(&account)).await?;
        assert!(tenant(postgres, &account).await.is_err(), "the tenant is nobody any more");
    }
    Ok(())
}

#[tokio::test]
async fn what_others_changed_is_mended() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let root = postgres.superuser("postgres").await?;
    let store = Store::postgres(postgres.settings_as(SUPERUSER, PASSWORD))?;
    let account = account("mend", "mend");
    store.ensure(&account).await?;
    root.batch_execute("CREATE ROLE mend_other").await?;
    for (damage, changes) in [
        ("ALTER ROLE mend SUPERUSER CREATEROLE", vec![Change::UserCurbed]),
        ("GRANT mend_other TO mend", vec![Change::RoleRevoked]),
        ("ALTER ROLE mend NOLOGIN", vec![Change::UserUnlocked]),
        ("GRANT CONNECT ON DATABASE mend TO PUBLIC", vec![Change::DatabaseConfined]),
        ("REVOKE CREATE ON DATABASE mend FROM mend", vec![Change::DatabaseGranted]),
        ("ALTER DATABASE mend ALLOW_CONNECTIONS false", vec![Change::DatabaseOpened]),
        ("ALTER DATABASE mend OWNER TO postgres", vec![Change::DatabaseGiven]),
        ("COMMENT ON DATABASE mend IS NULL", vec![Change::Claimed]),
    ] {
        root.batch_execute(damage).await?;
        assert_eq!(store.ensure(&account).await?.changes, changes, "{damage}");
        assert_complete(postgres, &root, &account).await?;
    }
    store.remove(&account).await?;
    root.batch_execute("DROP ROLE mend_other").await?;
    assert_gone(&root, &account).await
}

#[tokio::test]
async fn a_password_is_changed_and_nothing_else() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let (store, root) = (operator(postgres)?, postgres.superuser("postgres").await?);
    let account = account("pass", "pass");
    store.ensure(&account).await?;
    let new = Credential::Password(Password::parse("quite'another\\one".to_owned())?);
    let changed = Account { credential: new, ..account.clone() };
    assert_eq!(store.ensure(&changed).await?.changes, [Change::PasswordSet]);
    assert!(!store.ensure(&changed).await?.changed());
    let error = tenant(postgres, &account).await.err().and_then(|error| error.code().cloned());
    assert_eq!(error, Some(tokio_postgres::error::SqlState::INVALID_PASSWORD));
    postgres.connect("pass", "quite'another\\one", "pass").await?;
    let without = Account { credential: Credential::Certificate, ..account.clone() };
    assert_eq!(store.ensure(&without).await?.changes, [Change::PasswordSet]);
    assert!(postgres.connect("pass", "quite'another\\one", "pass").await.is_err());
    assert_eq!(store.ensure(&account).await?.changes, [Change::PasswordSet]);
    tenant(postgres, &account).await?;
    store.remove(&account).await?;
    assert_gone(&root, &account).await
}

#[tokio::test]
async fn what_the_go_operator_made_is_taken_over_with_its_data() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let root = postgres.superuser("postgres").await?;
    let store = Store::postgres(postgres.settings_as(SUPERUSER, PASSWORD))?;
    let name = "991ec4f3-7536-4132-a418-e979ba41a55f";
    let account = recorded(&account(name, name));
    for statement in [
        format!("CREATE ROLE \"{name}\" LOGIN PASSWORD '{}'", password_of(name)),
        format!("CREATE DATABASE \"{name}\""),
        format!("GRANT CONNECT, CREATE ON DATABASE \"{name}\" TO \"{name}\""),
        format!("ALTER DATABASE \"{name}\" OWNER TO \"{name}\""),
    ] {
        root.batch_execute(&statement).await?;
    }
    // As its migration left it: the table is the administrator's.
    let inside = postgres.superuser(name).await?;
    inside
        .batch_execute("CREATE TABLE public.kine (name text); INSERT INTO public.kine VALUES ('a')")
        .await?;
    drop(inside);
    assert_eq!(
        store.ensure(&account).await?.changes,
        [Change::Claimed, Change::DataGiven, Change::DatabaseConfined, Change::Claimed]
    );
    let found = found(&root, name, name).await?;
    assert!(found.iter().all(|found| found.contains("kamaji/1 ")), "{found:?}");
    let own = tenant(postgres, &account).await?;
    assert_eq!(own.query("SELECT * FROM public.kine", &[]).await?.len(), 1, "the data is still there");
    own.batch_execute("INSERT INTO public.kine VALUES ('b')").await?;
    drop(own);
    assert!(!store.ensure(&account).await?.changed());
    store.remove(&account).await?;
    assert_gone(&root, &account).await
}

#[tokio::test]
async fn many_are_made_at_once() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let (store, root) = (operator(postgres)?, postgres.superuser("postgres").await?);
    let accounts: Vec<_> = (0..8).map(|n| account(&format!("many-{n}"), &format!("many-{n}"))).collect();
    try_join_all(accounts.iter().map(|account| store.ensure(account))).await?;
    for account in &accounts {
        assert_complete(postgres, &root, account).await?;
    }
    try_join_all(accounts.iter().map(|account| store.remove(account))).await?;
    for account in &accounts {
        assert_gone(&root, account).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_an_administrator_made_is_taken_over_with_the_least_rights() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let (store, root) = (operator(postgres)?, postgres.superuser("postgres").await?);
    let account = recorded(&account("least", "least"));
    for statement in [
        format!("CREATE ROLE least LOGIN PASSWORD '{}'", password_of("least")),
        "CREATE DATABASE least OWNER least".to_owned(),
    ] {
        root.batch_execute(&statement).await?;
    }
    tenant(postgres, &account).await?.batch_execute("CREATE TABLE public.kine (name text)").await?;
    assert_eq!(
        store.ensure(&account).await?.changes,
        [Change::Claimed, Change::Joined, Change::DatabaseConfined, Change::Claimed]
    );
    assert_complete(postgres, &root, &account).await?;
    assert!(!store.ensure(&account).await?.changed());
    store.remove(&account).await?;
    assert_gone(&root, &account).await
}
