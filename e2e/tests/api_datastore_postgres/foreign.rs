//! What bears an account's name and is not its own is refused, and stays as it was.

use anyhow::Result;
use kamaji_datastore::{
    account::{Account, Owner},
    error::{Error, Foreign},
    store::Store,
};
use kamaji_e2e::postgres::{PASSWORD, Postgres, SUPERUSER, Session};

use super::{account, assert_complete, assert_gone, found, operator, recorded, tenant};

/// Neither making nor removing the account alters anything, and making it says why not.
async fn assert_refused(store: &Store, root: &Session, account: &Account, expected: &Foreign) -> Result<()> {
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
async fn unmarked_roles_and_databases_are_refused_and_untouched() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let root = postgres.superuser("postgres").await?;
    for store in [operator(postgres)?, Store::postgres(postgres.settings_as(SUPERUSER, PASSWORD))?] {
        let taken = account("foreign-a", "foreign-user");
        root.batch_execute("CREATE ROLE \"foreign-user\" LOGIN").await?;
        assert_refused(&store, &root, &taken, &Foreign::UnmarkedUser(taken.user.clone())).await?;
        root.batch_execute("DROP ROLE \"foreign-user\"").await?;

        let taken = account("foreign-wiki", "foreign-b");
        root.batch_execute("CREATE DATABASE \"foreign-wiki\"").await?;
        root.batch_execute("COMMENT ON DATABASE \"foreign-wiki\" IS 'of the wiki'").await?;
        assert_refused(&store, &root, &taken, &Foreign::UnmarkedDatabase(taken.schema.clone())).await?;
        root.batch_execute("DROP DATABASE \"foreign-wiki\"").await?;

        // Once nothing is in the way, the same account is made.
        store.ensure(&taken).await?;
        assert_complete(postgres, &root, &taken).await?;
        store.remove(&taken).await?;
        assert_gone(&root, &taken).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_recorded_account_does_not_take_over_an_administrator_or_a_strangers_database() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let root = postgres.superuser("postgres").await?;
    let store = Store::postgres(postgres.settings_as(SUPERUSER, PASSWORD))?;
    root.batch_execute("CREATE ROLE chief LOGIN CREATEROLE").await?;
    let taken = recorded(&account("chief", "chief"));
    assert_refused(&store, &root, &taken, &Foreign::UnmarkedUser(taken.user.clone())).await?;
    root.batch_execute("CREATE DATABASE shop OWNER chief").await?;
    let taken = recorded(&account("shop", "shopper"));
    assert_refused(&store, &root, &taken, &Foreign::UnmarkedDatabase(taken.schema.clone())).await?;
    root.batch_execute("DROP DATABASE shop").await?;
    root.batch_execute("DROP ROLE chief").await?;
    Ok(())
}

#[tokio::test]
async fn what_another_tenant_holds_is_refused_and_untouched() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let (store, root) = (operator(postgres)?, postgres.superuser("postgres").await?);
    let holder = account("held", "held-user");
    store.ensure(&holder).await?;
    let owner = Owner::parse("uid-of-a-thief")?;
    let same_schema = Account { owner: owner.clone(), ..account("held", "thief") };
    let same_user = Account { owner: owner.clone(), ..account("thief", "held-user") };
    let both = Account { owner, ..holder.clone() };
    let schema = Foreign::Schema { schema: holder.schema.clone(), owner: Some(holder.owner.clone()) };
    let user = Foreign::User { user: holder.user.clone(), owner: Some(holder.owner.clone()) };
    for (thief, expected) in [(same_schema, &schema), (same_user, &user), (both, &schema)] {
        for thief in [thief.clone(), recorded(&thief)] {
            assert_refused(&store, &root, &thief, expected).await?;
        }
    }
    assert!(!store.ensure(&holder).await?.changed(), "the holder notices nothing");
    assert_complete(postgres, &root, &holder).await?;
    store.remove(&holder).await?;
    assert_gone(&root, &holder).await
}

#[tokio::test]
async fn a_tenant_gains_nothing_by_the_comment_on_its_own_database() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let (store, root) = (operator(postgres)?, postgres.superuser("postgres").await?);
    let (liar, victim) = (account("liar", "liar"), account("liar", "victim"));
    store.ensure(&liar).await?;
    let lie = format!("kamaji/1 {{\"owner\":\"{}\",\"user\":\"victim\"}}", victim.owner);
    for comment in [format!("'{lie}'"), "'kamaji/1 broken'".to_owned(), "NULL".to_owned()] {
        let own = tenant(postgres, &liar).await?;
        own.batch_execute(&format!("COMMENT ON DATABASE liar IS {comment}")).await?;
        assert!(own.batch_execute(&format!("COMMENT ON ROLE liar IS {comment}")).await.is_err());
        drop(own);
        for victim in [victim.clone(), recorded(&victim)] {
            assert_eq!(store.ensure(&victim).await.expect_err("not its own").reason(), "ForeignObject");
            store.remove(&victim).await?;
        }
        store.ensure(&liar).await?;
        assert_complete(postgres, &root, &liar).await?;
    }
    store.remove(&liar).await?;
    assert_gone(&root, &liar).await?;
    assert_gone(&root, &victim).await
}

#[tokio::test]
async fn of_two_who_claim_one_name_at_once_one_gets_it() -> Result<()> {
    let postgres = Postgres::shared().await?;
    let root = postgres.superuser("postgres").await?;
    let stores = [operator(postgres)?, operator(postgres)?];
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
        assert_complete(postgres, &root, &winner).await?;
        stores[0].remove(&winner).await?;
        assert_gone(&root, &winner).await?;
    }
    Ok(())
}
