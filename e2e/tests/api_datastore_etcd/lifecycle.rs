//! From nothing to an account and back, again and again.

use anyhow::Result;
use etcd_client::{Client, Permission, PutOptions, RoleRevokePermissionOptions, UserAddOptions};
use futures::future::try_join_all;
use kamaji_datastore::store::{Change, Marker, Usage};
use kamaji_e2e::etcd::Etcd;

use super::{account, assert_complete, assert_gone, found, operator, recorded};

#[tokio::test]
async fn an_account_is_made_once_and_removed_once() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let account = account("life", "life-user");

    let first = store.ensure(&account).await?;
    let all =
        [Change::Claimed, Change::UserAdded, Change::RoleAdded, Change::RangeGranted, Change::RoleGranted];
    assert_eq!(first.changes, all);
    assert_complete(&mut root, &account).await?;
    for account in [account.clone(), recorded(&account)] {
        assert!(!store.ensure(&account).await?.changed(), "a second pass finds nothing to do");
    }

    let mut tenant = etcd.client("life-user").await?;
    tenant.put("/life/registry/pods/a", "1", None).await?;
    assert_eq!(
        store.residue(&account).await?.to_string(),
        "user life-user, role life, 1 keys below /life/, \
        key /_kamaji/owners/life, key /_kamaji/users/life-user"
    );

    assert_eq!(store.usage(&account).await?, Usage { bytes: None, keys: Some(1) });

    store.remove(&account).await?;
    assert_gone(&mut root, &account).await?;
    assert!(store.residue(&account).await?.is_empty());
    store.remove(&account).await?;
    store.remove(&recorded(&account)).await?;
    assert!(tenant.get("/life/registry/pods/a", None).await.is_err(), "the tenant is nobody any more");

    assert_eq!(store.ensure(&account).await?.changes, all, "the name is free again");
    store.remove(&account).await?;
    assert_gone(&mut root, &account).await
}

#[tokio::test]
async fn a_read_that_finds_everything_in_order_changes_nothing() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let account = account("quiet", "quiet");
    store.ensure(&account).await?;
    let revision = root.get("/", None).await?.header().map(etcd_client::ResponseHeader::revision);
    for _ in 0..3 {
        store.check().await?;
        store.ensure(&account).await?;
        store.audit().await?;
        store.residue(&account).await?;
    }
    assert_eq!(root.get("/", None).await?.header().map(etcd_client::ResponseHeader::revision), revision);
    assert_eq!(root.user_list().await?.users(), ["quiet", "root"]);
    Ok(())
}

#[tokio::test]
async fn a_wrong_range_is_repaired() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let account = account("range", "range");
    store.ensure(&account).await?;
    let wrong = [
        Permission::read_write("/range").with_range_end("/rangf"),
        Permission::read("/range/").with_range_end("/range0"),
        Permission::read_write("/range/").with_from_key(),
        Permission::read_write("").with_all_keys(),
        Permission::write("/range/one"),
    ];
    for permission in wrong {
        let own = RoleRevokePermissionOptions::new().with_range_end("/range0");
        root.role_revoke_permission("range", "/range/", Some(own)).await?;
        root.role_grant_permission("range", permission.clone()).await?;
        assert!(store.ensure(&account).await?.changed(), "{permission:?}");
        assert_complete(&mut root, &account).await?;
    }
    store.remove(&account).await?;
    Ok(())
}

#[tokio::test]
async fn other_roles_are_taken_from_the_user() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let account = account("surplus", "surplus");
    store.ensure(&account).await?;
    root.user_grant_role("surplus", "root").await?;
    assert_eq!(store.ensure(&account).await?.changes, [Change::RoleRevoked]);
    assert_complete(&mut root, &account).await?;
    store.remove(&account).await?;
    Ok(())
}

#[tokio::test]
async fn an_account_of_the_go_operator_is_taken_over_and_its_open_range_closed() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    for (name, end, changes) in [
        ("2aa54532-e3bd-456d-ba58-b54ff44aee1f", None, vec![Change::Claimed]),
        (
            "Old_Tenant",
            Some("/Old_Tenanu"),
            vec![Change::Claimed, Change::RangeGranted, Change::RangeRevoked],
        ),
    ] {
        let account = recorded(&account(name, name));
        root.user_add(name, "", Some(UserAddOptions::new().with_no_pwd())).await?;
        root.role_add(name).await?;
        let permission = match end {
            None => Permission::read_write(format!("/{name}/")).with_range_end(format!("/{name}0")),
            Some(end) => Permission::read_write(format!("/{name}")).with_range_end(end),
        };
        root.role_grant_permission(name, permission).await?;
        root.user_grant_role(name, name).await?;
        assert_eq!(store.ensure(&account).await?.changes, changes);
        assert_complete(&mut root, &account).await?;
        store.remove(&account).await?;
        assert_gone(&mut root, &account).await?;
    }
    Ok(())
}

#[tokio::test]
async fn many_keys_are_removed_in_batches_and_neighbours_keep_theirs() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let (big, neighbour) = (account("big", "big"), account("big0", "big0"));
    store.ensure(&big).await?;
    store.ensure(&neighbour).await?;
    root.put("/big0/kept", "1", None).await?;
    root.put("/bigger/kept", "1", None).await?;
    for block in 0..12 {
        let client = root.clone();
        try_join_all((0..100).map(|key| {
            let mut client = client.clone();
            async move { client.put(format!("/big/{block}/{key}"), "", None::<PutOptions>).await }
        }))
        .await?;
    }
    let mut batches = 0;
    while let Some(change) = store.remove_step(&big).await? {
        batches += usize::from(change == Change::DataDeleted);
    }
    assert_eq!(batches, 3, "1,200 keys");
    assert_gone(&mut root, &big).await?;
    assert!(found(&mut root, &neighbour).await?.contains(&"/big0/kept=1".to_owned()));
    assert_eq!(root.get("/bigger/kept", None).await?.kvs().len(), 1);
    root.delete("/bigger/kept", None).await?;
    store.remove(&neighbour).await?;
    Ok(())
}

#[tokio::test]
async fn sixteen_tenants_at_once_do_not_disturb_each_other() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut root = etcd.root().await?;
    // Two operators: within one, changes of users and roles wait for each other.
    let stores = [operator(&etcd)?, operator(&etcd)?];
    let accounts: Vec<_> = (0..16).map(|n| account(&format!("many-{n}"), &format!("many-{n}"))).collect();
    let ensured = accounts.iter().enumerate().map(|(n, account)| stores[n % 2].ensure(account));
    for ensured in try_join_all(ensured).await? {
        assert_eq!(ensured.changes.len(), 5);
    }
    for account in &accounts {
        assert_complete(&mut root, account).await?;
    }
    try_join_all(accounts.iter().enumerate().map(|(n, account)| stores[n % 2].remove(account))).await?;
    for account in &accounts {
        assert_gone(&mut root, account).await?;
    }
    Ok(())
}

/// Changes users and roles as fast as etcd can; every request that is under way meanwhile may be refused for its age.
async fn storm(mut root: Client) -> Result<()> {
    root.role_add("storm").await?;
    root.user_add("storm", "", Some(UserAddOptions::new().with_no_pwd())).await?;
    loop {
        root.user_grant_role("storm", "storm").await?;
        root.user_revoke_role("storm", "storm").await?;
    }
}

#[tokio::test]
async fn users_and_roles_that_change_all_the_time_disturb_nobody() -> Result<()> {
    let etcd = Etcd::start().await?;
    let store = operator(&etcd)?;
    let work = async {
        let accounts: Vec<_> = (0..16).map(|n| account(&format!("calm-{n}"), &format!("calm-{n}"))).collect();
        try_join_all(accounts.iter().map(|account| store.ensure(account))).await?;
        try_join_all((0..64).map(|_| store.audit())).await?;
        try_join_all(accounts.iter().map(|account| store.remove(account))).await?;
        anyhow::Ok(())
    };
    tokio::select! {
        done = work => done,
        ended = storm(etcd.root().await?) => ended,
    }
}

#[tokio::test]
async fn one_account_made_by_many_at_once_is_made_once() -> Result<()> {
    let etcd = Etcd::start().await?;
    let mut root = etcd.root().await?;
    let stores = (0..8).map(|_| operator(&etcd)).collect::<Result<Vec<_>>>()?;
    let account = account("same", "same");
    try_join_all(stores.iter().map(|store| store.ensure(&account))).await?;
    assert_complete(&mut root, &account).await?;
    try_join_all(stores.iter().map(|store| store.remove(&account))).await?;
    assert_gone(&mut root, &account).await
}

#[tokio::test]
async fn the_audit_lists_every_marked_account() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    assert_eq!(store.audit().await?, []);
    let account = account("audited", "audited-user");
    store.ensure(&account).await?;
    root.put("/_kamaji/owners/strange", "not a mark", None).await?;
    let marker =
        Marker { schema: "audited".to_owned(), holder: Some((account.user.clone(), account.owner.clone())) };
    let strange = Marker { schema: "strange".to_owned(), holder: None };
    assert_eq!(store.audit().await?, [marker.clone(), strange]);
    let orphan = marker.account().expect("a readable mark");
    store.remove(&orphan).await?;
    assert_gone(&mut root, &account).await?;
    // More than one page.
    for block in 0..11 {
        let client = root.clone();
        try_join_all((0..100).map(|key| {
            let mut client = client.clone();
            async move { client.put(format!("/_kamaji/owners/{block}-{key}"), "", None).await }
        }))
        .await?;
    }
    assert_eq!(store.audit().await?.len(), 1_101);
    Ok(())
}
