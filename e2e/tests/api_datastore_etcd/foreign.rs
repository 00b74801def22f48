//! What bears an account's name and is not its own is refused, and stays as it was.

use anyhow::Result;
use etcd_client::{Client, UserAddOptions};
use kamaji_datastore::{
    account::{Account, Owner},
    error::{Error, Foreign},
    store::Store,
};
use kamaji_e2e::etcd::Etcd;

use super::{account, assert_complete, assert_gone, found, operator, recorded};

/// Neither making nor removing the account alters anything, and making it says why not.
async fn assert_refused(
    store: &Store,
    root: &mut Client,
    account: &Account,
    expected: &Foreign,
) -> Result<()> {
    let before = found(root, account).await?;
    let error = store.ensure(account).await.expect_err("what is foreign is refused");
    assert_eq!(error.reason(), "ForeignObject");
    assert!(matches!(&error, Error::Foreign { what } if what == expected), "{error}");
    store.remove(account).await?;
    assert_eq!(found(root, account).await?, before, "untouched");
    Ok(())
}

#[tokio::test]
async fn unmarked_users_roles_and_keys_are_refused_and_untouched() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);

    let taken = account("foreign-a", "foreign-user");
    root.user_add("foreign-user", "", Some(UserAddOptions::new().with_no_pwd())).await?;
    assert_refused(&store, &mut root, &taken, &Foreign::UnmarkedUser(taken.user.clone())).await?;
    root.user_delete("foreign-user").await?;

    let taken = account("foreign-role", "foreign-b");
    root.role_add("foreign-role").await?;
    assert_refused(&store, &mut root, &taken, &Foreign::UnmarkedRole(taken.schema.clone())).await?;
    root.role_delete("foreign-role").await?;

    let taken = account("registry", "foreign-c");
    root.put("/registry/pods/default/a", "of another cluster", None).await?;
    assert_refused(&store, &mut root, &taken, &Foreign::UnmarkedKeys(taken.schema.clone())).await?;
    root.delete("/registry/pods/default/a", None).await?;

    // Once nothing is in the way, the same account is made.
    store.ensure(&taken).await?;
    assert_complete(&mut root, &taken).await?;
    store.remove(&taken).await?;
    assert_gone(&mut root, &taken).await
}

#[tokio::test]
async fn a_recorded_account_does_not_take_over_an_administrator() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    root.user_add("chief", "", Some(UserAddOptions::new().with_no_pwd())).await?;
    root.user_grant_role("chief", "root").await?;
    let taken = recorded(&account("chief", "chief"));
    assert_refused(&store, &mut root, &taken, &Foreign::UnmarkedUser(taken.user.clone())).await?;
    root.user_delete("chief").await?;
    Ok(())
}

#[tokio::test]
async fn what_another_tenant_holds_is_refused_and_untouched() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let holder = account("held", "held-user");
    store.ensure(&holder).await?;
    root.put("/held/data", "precious", None).await?;

    let owner = Owner::parse("uid-of-a-thief")?;
    let same_schema = Account { owner: owner.clone(), ..account("held", "thief") };
    let same_user = Account { owner: owner.clone(), ..account("thief", "held-user") };
    let both = Account { owner, ..holder.clone() };
    let schema = Foreign::Schema { schema: holder.schema.clone(), owner: Some(holder.owner.clone()) };
    let user = Foreign::User { user: holder.user.clone(), owner: Some(holder.owner.clone()) };
    for (thief, expected) in [(same_schema, &schema), (same_user, &user), (both, &schema)] {
        for thief in [thief.clone(), recorded(&thief)] {
            assert_refused(&store, &mut root, &thief, expected).await?;
        }
    }
    assert!(!store.ensure(&holder).await?.changed(), "the holder notices nothing");
    assert!(found(&mut root, &holder).await?.contains(&"/held/data=precious".to_owned()));
    store.remove(&holder).await?;
    assert_gone(&mut root, &holder).await
}

#[tokio::test]
async fn of_two_who_claim_one_name_at_once_one_gets_it() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut root = etcd.root().await?;
    let stores = [operator(&etcd)?, operator(&etcd)?];
    for round in 0..8 {
        let name = format!("race-{round}");
        let first = account(&name, &name);
        let second = Account { owner: Owner::parse("another")?, ..first.clone() };
        let (one, two) = tokio::join!(stores[0].ensure(&first), stores[1].ensure(&second));
        let winner = match (one, two) {
            (Ok(_), Err(Error::Foreign { .. })) => first,
            (Err(Error::Foreign { .. }), Ok(_)) => second,
            other => panic!("both or none: {other:?}"),
        };
        assert_complete(&mut root, &winner).await?;
        stores[0].remove(&winner).await?;
        assert_gone(&mut root, &winner).await?;
    }
    Ok(())
}
