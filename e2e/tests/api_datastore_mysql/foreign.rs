//! What bears an account's name and is not its own is refused, and stays as it was.

use anyhow::Result;
use kamaji_datastore::{
    account::{Account, Owner},
    error::{Error, Foreign},
    store::Store,
};
use kamaji_e2e::mariadb::MariaDb;
use mysql_async::{Conn, prelude::Queryable};

use super::{account, assert_complete, assert_gone, chief, found, operator, recorded};

/// Neither making nor removing the account alters anything, and making it says why not.
async fn assert_refused(store: &Store, root: &mut Conn, account: &Account, expected: &Foreign) -> Result<()> {
    let (schema, user) = (account.schema.as_str(), account.user.as_str());
    let before = found(root, schema, user).await?;
    let error = store.ensure(account).await.expect_err("what is foreign is refused");
    assert_eq!(error.reason(), "ForeignObject");
    assert!(matches!(&error, Error::Foreign { what } if what == expected), "{error}");
    store.remove(account).await?;
    assert_eq!(found(root, schema, user).await?, before, "untouched");
    Ok(())
}

#[tokio::test]
async fn unmarked_users_and_databases_are_refused_and_untouched() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let mut root = mariadb.superuser().await?;
    for store in [operator(mariadb)?, chief(mariadb)?] {
        let taken = account("foreign-a", "foreign-user");
        root.query_drop("CREATE USER `foreign-user`@`%` IDENTIFIED BY 'x'").await?;
        assert_refused(&store, &mut root, &taken, &Foreign::UnmarkedUser(taken.user.clone())).await?;
        root.query_drop("DROP USER `foreign-user`@`%`").await?;

        let taken = account("foreign-wiki", "foreign-b");
        root.query_drop("CREATE DATABASE `foreign-wiki`").await?;
        root.query_drop("CREATE TABLE `foreign-wiki`.pages (text text)").await?;
        assert_refused(&store, &mut root, &taken, &Foreign::UnmarkedDatabase(taken.schema.clone())).await?;
        root.query_drop("DROP DATABASE `foreign-wiki`").await?;

        // Once nothing is in the way, the same account is made.
        store.ensure(&taken).await?;
        assert_complete(mariadb, &taken).await?;
        store.remove(&taken).await?;
        assert_gone(mariadb, &taken).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_recorded_account_does_not_take_over_an_administrator_or_a_strangers_user() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let (mut root, store) = (mariadb.superuser().await?, operator(mariadb)?);
    root.query_drop("CREATE DATABASE shop").await?;
    root.query_drop("CREATE ROLE chiefs").await?;
    for right in [
        "GRANT PROCESS ON *.* TO chief@'%'",
        "GRANT SELECT ON shop.* TO chief@'%'",
        "GRANT chiefs TO chief@'%'",
    ] {
        root.query_drop("CREATE USER chief@'%' IDENTIFIED BY 'x'").await?;
        root.query_drop(right).await?;
        let taken = recorded(&account("chief", "chief"));
        assert_refused(&store, &mut root, &taken, &Foreign::UnmarkedUser(taken.user.clone())).await?;
        root.query_drop("DROP USER chief@'%'").await?;
    }
    root.query_drop("DROP DATABASE shop").await?;
    root.query_drop("DROP ROLE chiefs").await?;
    Ok(())
}

#[tokio::test]
async fn what_another_tenant_holds_is_refused_and_untouched() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let (store, mut root) = (operator(mariadb)?, mariadb.superuser().await?);
    let holder = account("held", "held-user");
    store.ensure(&holder).await?;
    let owner = Owner::parse("uid-of-a-thief")?;
    let same_schema = Account { owner: owner.clone(), ..account("held", "thief") };
    let same_user = Account { owner: owner.clone(), ..account("thief", "held-user") };
    let both = Account { owner, ..holder.clone() };
    // Of the same tenant, with another of its names: not the account that is marked.
    let other_user = account("held", "thief");
    // A server that keeps no case would take it for the same database.
    let same_but_case = Account { owner: both.owner.clone(), ..account("HELD", "thief") };
    let schema = |account: &Account| Foreign::Schema {
        schema: account.schema.clone(),
        owner: Some(holder.owner.clone()),
    };
    let user =
        |account: &Account| Foreign::User { user: account.user.clone(), owner: Some(holder.owner.clone()) };
    for (thief, expected) in [
        (&same_schema, schema(&same_schema)),
        (&same_user, user(&same_user)),
        (&both, schema(&both)),
        (&other_user, schema(&other_user)),
        (&same_but_case, schema(&same_but_case)),
    ] {
        for thief in [thief.clone(), recorded(thief)] {
            assert_refused(&store, &mut root, &thief, &expected).await?;
        }
    }
    assert!(!store.ensure(&holder).await?.changed(), "the holder notices nothing");
    assert_complete(mariadb, &holder).await?;
    store.remove(&holder).await?;
    assert_gone(mariadb, &holder).await
}

#[tokio::test]
async fn of_two_who_claim_one_name_at_once_one_gets_it() -> Result<()> {
    let mariadb = MariaDb::shared().await?;
    let stores = [operator(mariadb)?, operator(mariadb)?];
    for round in 0..4 {
        let name = format!("race-{round}");
        let first = account(&name, &name);
        let second = Account { owner: Owner::parse("another")?, ..first.clone() };
        let (one, two) = tokio::join!(stores[0].ensure(&first), stores[1].ensure(&second));
        let (winner, loser) = match (one, two) {
            (Ok(_), Err(Error::Foreign { .. })) => (first, second),
            (Err(Error::Foreign { .. }), Ok(_)) => (second, first),
            other => panic!("both or none: {other:?}"),
        };
        stores[1].remove(&loser).await?;
        assert_complete(mariadb, &winner).await?;
        stores[0].remove(&winner).await?;
        assert_gone(mariadb, &winner).await?;
    }
    Ok(())
}
