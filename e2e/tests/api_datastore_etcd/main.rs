//! Tenants' accounts in a real etcd: made, repaired, refused, removed, cut off at any moment, and kept apart.

mod crash;
mod foreign;
mod health;
mod initialise;
mod isolation;
mod lifecycle;

use anyhow::{Context, Result};
use etcd_client::{Client, GetOptions, Permission, PermissionType};
use kamaji_datastore::{
    account::{Account, Credential, Owner, Schema, Seal, Standing, User},
    store::Store,
};
use kamaji_e2e::etcd::Etcd;

/// A new account whose schema and user have these names.
fn account(schema: &str, user: &str) -> Account {
    Account {
        schema: Schema::parse(schema).expect("a plain name"),
        user: User::parse(user).expect("a plain name"),
        owner: Owner::parse(&format!("uid-of-{schema}")).expect("a plain name"),
        standing: Standing::Claimed,
        seal: Seal::Open,
        credential: Credential::Certificate,
    }
}

/// The same account, once its tenant's status says that it was set up.
fn recorded(account: &Account) -> Account {
    Account { standing: Standing::Recorded, ..account.clone() }
}

fn operator(etcd: &Etcd) -> Result<Store> {
    Ok(Store::etcd(etcd.settings())?)
}

/// All that etcd holds for the schema and the user of an account, as text that can be compared.
async fn found(root: &mut Client, account: &Account) -> Result<Vec<String>> {
    let mut found = Vec::new();
    if let Ok(user) = root.user_get(account.user.as_str()).await {
        found.push(format!("user {} with roles {:?}", account.user, user.roles()));
    }
    if let Ok(role) = root.role_get(account.schema.as_str()).await {
        found.push(format!("role {} with", account.schema));
        found.extend(role.permissions().iter().map(permission));
    }
    let prefix = format!("/{}/", account.schema);
    let marks = [format!("/_kamaji/owners/{}", account.schema), format!("/_kamaji/users/{}", account.user)];
    let below = root.get(prefix, Some(GetOptions::new().with_prefix())).await?;
    found.extend(
        below
            .kvs()
            .iter()
            .map(|kv| format!("{}={}", kv.key_str().unwrap_or("?"), kv.value_str().unwrap_or("?"))),
    );
    for mark in marks {
        let mark = root.get(mark, None).await?;
        found.extend(
            mark.kvs()
                .iter()
                .map(|kv| format!("{}={}", kv.key_str().unwrap_or("?"), kv.value_str().unwrap_or("?"))),
        );
    }
    Ok(found)
}

fn permission(permission: &Permission) -> String {
    let kind = PermissionType::try_from(permission.get_type());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{kind:?} {} to {}", text(permission.key()), text(permission.range_end()))
}

/// What there must be for an account that is complete, without its data.
fn complete(account: &Account) -> Vec<String> {
    let Account { schema, user, owner, .. } = account;
    vec![
        format!("user {user} with roles [\"{schema}\"]"),
        format!("role {schema} with"),
        format!("Ok(Readwrite) /{schema}/ to /{schema}0"),
        format!("/_kamaji/owners/{schema}={{\"owner\":\"{owner}\",\"user\":\"{user}\"}}"),
        format!("/_kamaji/users/{user}={{\"owner\":\"{owner}\",\"schema\":\"{schema}\"}}"),
    ]
}

async fn assert_complete(root: &mut Client, account: &Account) -> Result<()> {
    assert_eq!(found(root, account).await.context("reading etcd")?, complete(account));
    Ok(())
}

async fn assert_gone(root: &mut Client, account: &Account) -> Result<()> {
    assert_eq!(found(root, account).await.context("reading etcd")?, Vec::<String>::new());
    Ok(())
}
