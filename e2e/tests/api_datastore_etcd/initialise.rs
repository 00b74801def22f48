//! An etcd that was just installed is made ready for tenants, however often and by however many.

use anyhow::Result;
use etcd_client::UserAddOptions;
use futures::future::try_join_all;
use kamaji_datastore::store::Store;
use kamaji_e2e::etcd::{Authentication, Etcd, Options};

use super::{account, assert_complete, operator};

async fn open_etcd() -> Result<Etcd> {
    Etcd::start_with(Options { authentication: Authentication::Off, ..Options::default() }).await
}

#[tokio::test]
async fn a_new_etcd_is_made_ready_once() -> Result<()> {
    let etcd = open_etcd().await?;
    let store = operator(&etcd)?;
    assert!(store.initialise().await?);
    assert!(!store.initialise().await?);
    store.check().await?;
    let account = account("first", "first");
    store.ensure(&account).await?;
    assert_complete(&mut etcd.root().await?, &account).await?;
    let stranger = Store::etcd(etcd.settings_as("stranger")?)?;
    assert_eq!(stranger.initialise().await.expect_err("only root may").reason(), "Forbidden");
    Ok(())
}

#[tokio::test]
async fn many_may_make_it_ready_at_once() -> Result<()> {
    let etcd = open_etcd().await?;
    let stores = (0..4).map(|_| operator(&etcd)).collect::<Result<Vec<_>>>()?;
    try_join_all(stores.iter().map(Store::initialise)).await?;
    stores[0].check().await?;
    Ok(())
}

#[tokio::test]
async fn what_an_interrupted_try_left_is_completed() -> Result<()> {
    for steps in 1..=3 {
        let etcd = open_etcd().await?;
        let mut root = etcd.root().await?;
        root.role_add("root").await?;
        if steps > 1 {
            root.user_add("root", "", Some(UserAddOptions::new().with_no_pwd())).await?;
        }
        if steps > 2 {
            root.user_grant_role("root", "root").await?;
        }
        let store = operator(&etcd)?;
        assert!(store.initialise().await?);
        store.check().await?;
    }
    Ok(())
}
