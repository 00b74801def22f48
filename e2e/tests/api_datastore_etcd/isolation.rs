//! With its own certificate a tenant reaches its own keys and nothing else, however alike the names.

use anyhow::{Context, Result};
use etcd_client::{
    AlarmAction, AlarmType, Client, Compare, CompareOp, DeleteOptions, GetOptions, LeaseTimeToLiveOptions,
    Permission, PutOptions, Txn, TxnOp, UserAddOptions, WatchOptions,
};
use kamaji_datastore::account::{Account, Seal};
use kamaji_e2e::etcd::Etcd;
use kamaji_pki::Pair;

use super::{account, found, operator};

/// Prefixes of each other, and such as end in the characters next to the slash.
const HOSTILE: [&str; 5] = ["x", "x0", "xy", "x-", "X"];

/// What a tenant may ask for: one key, or all from the first up to the second.
type Asked = (Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Copy, Debug)]
enum Verb {
    Get,
    Count,
    GetInTransaction,
    CompareInTransaction,
    GetInBranchNotTaken,
    Put,
    PutInTransaction,
    Delete,
    DeleteInTransaction,
    Watch,
}

const VERBS: [Verb; 10] = [
    Verb::Get,
    Verb::Count,
    Verb::GetInTransaction,
    Verb::CompareInTransaction,
    Verb::GetInBranchNotTaken,
    Verb::Put,
    Verb::PutInTransaction,
    Verb::Delete,
    Verb::DeleteInTransaction,
    Verb::Watch,
];

/// Keys and ranges that lie in, around and across the border of this schema.
fn asked(schema: &str) -> Vec<Asked> {
    let key = |text: String| (text.into_bytes(), None);
    let range = |start: String, end: String| (start.into_bytes(), Some(end.into_bytes()));
    let s = schema;
    vec![
        key(format!("/{s}/")),
        key(format!("/{s}/secret")),
        key(format!("/{s}/y/secret")),
        key(format!("/{s}/\u{10ffff}")),
        key(format!("/{s}")),
        key(format!("/{s}0")),
        key(format!("/{s}.")),
        key(format!("{s}/")),
        key(format!("//{s}/")),
        key(format!("/_kamaji/owners/{s}")),
        key(format!("/_kamaji/users/{s}")),
        key("/".to_owned()),
        key("\0".to_owned()),
        range(format!("/{s}/"), format!("/{s}0")),
        range(format!("/{s}/a"), format!("/{s}/z")),
        range(format!("/{s}/secret"), format!("/{s}/secret\0")),
        range(format!("/{s}/"), format!("/{s}0\0")),
        range(format!("/{s}/"), format!("/{s}1")),
        range(format!("/{s}"), format!("/{s}0")),
        range(format!("/{s}"), format!("/{s}\u{7f}")),
        range(format!("/{s}."), format!("/{s}0")),
        range(format!("/{s}/"), "\0".to_owned()),
        range(format!("/{s}/z"), "\0".to_owned()),
        range("/".to_owned(), "0".to_owned()),
        range("/".to_owned(), "\0".to_owned()),
        range("\0".to_owned(), "\0".to_owned()),
        range("/_kamaji/".to_owned(), "/_kamaji0".to_owned()),
        range("/_kamaji/owners/".to_owned(), format!("/{s}0")),
        range("/A".to_owned(), "/z".to_owned()),
        range("a".to_owned(), "\0".to_owned()),
    ]
}

/// Whether all of it is the schema's.
fn is_own(schema: &str, (start, end): &Asked) -> bool {
    let (first, last) = (format!("/{schema}/").into_bytes(), format!("/{schema}0").into_bytes());
    let begins = *start >= first && *start < last;
    begins && end.as_ref().is_none_or(|end| end.as_slice() != b"\0" && *end <= last)
}

/// Whether etcd did as it was asked; anything but a plain denial is an error of the test.
async fn attempt(client: &mut Client, verb: Verb, asked: &Asked) -> Result<bool> {
    let (start, end) = asked.clone();
    let get = || end.clone().map(|end| GetOptions::new().with_range(end));
    let delete = || end.clone().map(|end| DeleteOptions::new().with_range(end).with_prev_key());
    let transaction = |operation| Txn::new().and_then([operation]);
    let compared = |compare: Compare| match end.clone() {
        Some(end) => compare.with_range(end),
        None => compare,
    };
    let done = match verb {
        Verb::Get => client.get(start, get()).await.map(drop),
        Verb::Count => client.get(start, Some(get().unwrap_or_default().with_count_only())).await.map(drop),
        Verb::GetInTransaction => client.txn(transaction(TxnOp::get(start, get()))).await.map(drop),
        Verb::CompareInTransaction => {
            let compare = compared(Compare::version(start, CompareOp::Greater, 0));
            client.txn(Txn::new().when([compare])).await.map(drop)
        }
        Verb::GetInBranchNotTaken => {
            client.txn(Txn::new().or_else([TxnOp::get(start, get())])).await.map(drop)
        }
        Verb::Put => client.put(start, "x", Some(PutOptions::new())).await.map(drop),
        Verb::PutInTransaction => client.txn(transaction(TxnOp::put(start, "x", None))).await.map(drop),
        Verb::Delete => client.delete(start, delete()).await.map(drop),
        Verb::DeleteInTransaction => client.txn(transaction(TxnOp::delete(start, delete()))).await.map(drop),
        Verb::Watch => return watch(client, start, end).await,
    };
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.to_string().contains("permission denied") => Ok(false),
        Err(error) => Err(error).with_context(|| format!("{verb:?} of {asked:?}")),
    }
}

async fn watch(client: &mut Client, start: Vec<u8>, end: Option<Vec<u8>>) -> Result<bool> {
    let options = end.map(|end| WatchOptions::new().with_range(end));
    let mut stream = client.watch(start, options).await?;
    let answer = stream.message().await?.context("a watch is answered")?;
    Ok(!answer.canceled())
}

#[tokio::test]
async fn tenants_with_names_alike_reach_their_own_keys_only() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let accounts: Vec<Account> = HOSTILE.iter().map(|name| account(name, name)).collect();
    for account in &accounts {
        store.ensure(account).await?;
        root.put(format!("/{}/secret", account.schema), "precious", None).await?;
    }
    let mut allowed = 0;
    for (index, tenant) in accounts.iter().enumerate() {
        let mut client = etcd.client(tenant.user.as_str()).await?;
        let neighbours = accounts.iter().enumerate().filter(|(other, _)| *other != index);
        let before = everything_of(&mut root, neighbours.clone().map(|(_, account)| account)).await?;
        for (verb, asked) in HOSTILE
            .iter()
            .flat_map(|name| asked(name))
            .flat_map(|asked| VERBS.map(|verb| (verb, asked.clone())))
        {
            let one_key = matches!(verb, Verb::Put | Verb::PutInTransaction);
            if one_key && asked.1.is_some() {
                continue;
            }
            let own = is_own(tenant.schema.as_str(), &asked);
            let text = (
                String::from_utf8_lossy(&asked.0).into_owned(),
                asked.1.as_ref().map(|end| String::from_utf8_lossy(end).into_owned()),
            );
            assert_eq!(
                attempt(&mut client, verb, &asked).await?,
                own,
                "{} does {verb:?} on {text:?}",
                tenant.schema
            );
            allowed += usize::from(own);
        }
        assert_eq!(
            everything_of(&mut root, neighbours.map(|(_, account)| account)).await?,
            before,
            "neighbours are as they were"
        );
        root.put(format!("/{}/secret", tenant.schema), "precious", None).await?;
    }
    // Seven own keys and ranges; two verbs are for keys only.
    assert_eq!(allowed, HOSTILE.len() * (4 * 10 + 3 * 8));
    Ok(())
}

#[tokio::test]
async fn sealed_keys_are_read_and_not_written() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let open = account("x", "x");
    store.ensure(&open).await?;
    root.put("/x/policies/limit", "precious", None).await?;
    let sealed = Account { seal: Seal::Closed(vec!["policies/limit".to_owned()]), ..open.clone() };
    store.ensure(&sealed).await?;
    assert!(!store.ensure(&sealed).await?.changed(), "it stays so");

    let mut client = etcd.client("x").await?;
    let key = |text: &str| (text.as_bytes().to_vec(), None);
    let below = |from: &str, to: &str| (from.as_bytes().to_vec(), Some(to.as_bytes().to_vec()));
    let writes = [Verb::Put, Verb::PutInTransaction, Verb::Delete, Verb::DeleteInTransaction];
    let reads = [Verb::Get, Verb::GetInTransaction, Verb::CompareInTransaction, Verb::Watch];
    for verb in writes {
        assert!(!attempt(&mut client, verb, &key("/x/policies/limit")).await?, "{verb:?}");
        for other in ["/x/policies/limit2", "/x/policies/limi", "/x/policies/limit/a", "/x/pods/a"] {
            assert!(attempt(&mut client, verb, &key(other)).await?, "{verb:?} {other}");
        }
    }
    for verb in [Verb::Delete, Verb::DeleteInTransaction] {
        assert!(!attempt(&mut client, verb, &below("/x/policies/", "/x/policies0")).await?, "{verb:?}");
    }
    for verb in reads {
        for asked in [key("/x/policies/limit"), below("/x/policies/", "/x/policies0"), below("/x/", "/x0")] {
            assert!(attempt(&mut client, verb, &asked).await?, "{verb:?}");
        }
    }
    store.ensure(&open).await?;
    assert!(attempt(&mut client, Verb::Delete, &key("/x/policies/limit")).await?, "the seal is broken");
    Ok(())
}

async fn everything_of(root: &mut Client, accounts: impl Iterator<Item = &Account>) -> Result<Vec<String>> {
    let mut everything = Vec::new();
    for account in accounts {
        everything.extend(found(root, account).await?);
    }
    Ok(everything)
}

#[tokio::test]
async fn a_tenant_manages_nothing() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let (tenant, neighbour) = (account("tenant", "tenant"), account("neighbour", "neighbour"));
    store.ensure(&tenant).await?;
    store.ensure(&neighbour).await?;
    let mut client = etcd.client("tenant").await?;
    let everything = Permission::read_write("").with_all_keys();
    let denied = [
        ("list users", client.user_list().await.map(drop)),
        ("list roles", client.role_list().await.map(drop)),
        ("read a neighbour's user", client.user_get("neighbour").await.map(drop)),
        ("read a neighbour's role", client.role_get("neighbour").await.map(drop)),
        (
            "add a user",
            client.user_add("more", "", Some(UserAddOptions::new().with_no_pwd())).await.map(drop),
        ),
        ("delete a neighbour", client.user_delete("neighbour").await.map(drop)),
        ("become root", client.user_grant_role("tenant", "root").await.map(drop)),
        ("become a neighbour", client.user_grant_role("tenant", "neighbour").await.map(drop)),
        ("widen its range", client.role_grant_permission("tenant", everything).await.map(drop)),
        ("set a password", client.user_change_password("root", "mine").await.map(drop)),
        ("turn authentication off", client.auth_disable().await.map(drop)),
        ("take a snapshot", snapshot(&mut client).await),
        ("hash all keys", client.hash_kv(0).await.map(drop)),
        ("defragment", client.defragment().await.map(drop)),
        ("raise an alarm", client.alarm(AlarmAction::Activate, AlarmType::Nospace, None).await.map(drop)),
    ];
    for (deed, outcome) in denied {
        let error = outcome.expect_err(deed).to_string();
        assert!(error.contains("permission denied"), "{deed}: {error}");
    }
    assert!(!store.ensure(&tenant).await?.changed() && !store.ensure(&neighbour).await?.changed());
    assert_eq!(root.user_list().await?.users(), ["neighbour", "root", "tenant"]);
    Ok(())
}

async fn snapshot(client: &mut Client) -> Result<(), etcd_client::Error> {
    client.snapshot().await?.message().await.map(drop)
}

#[tokio::test]
async fn a_tenants_leases_are_its_own() -> Result<()> {
    let etcd = Etcd::start().await?;
    let store = operator(&etcd)?;
    store.ensure(&account("tenant", "tenant")).await?;
    store.ensure(&account("neighbour", "neighbour")).await?;
    let (mut tenant, mut neighbour) = (etcd.client("tenant").await?, etcd.client("neighbour").await?);
    let lease = neighbour.lease_grant(600, None).await?.id();
    neighbour.put("/neighbour/event", "precious", Some(PutOptions::new().with_lease(lease))).await?;
    let own = || Some(PutOptions::new().with_lease(lease));
    let keys = || Some(LeaseTimeToLiveOptions::new().with_keys());
    let denied = [
        ("revoke it", tenant.lease_revoke(lease).await.map(drop)),
        ("join it", tenant.put("/tenant/event", "x", own()).await.map(drop)),
        ("list its keys", tenant.lease_time_to_live(lease, keys()).await.map(drop)),
    ];
    for (deed, outcome) in denied {
        let error = outcome.expect_err(deed).to_string();
        assert!(error.contains("permission denied"), "{deed}: {error}");
    }
    assert_eq!(neighbour.get("/neighbour/event", None).await?.kvs().len(), 1);
    Ok(())
}

#[tokio::test]
async fn confinement_is_proved_with_the_tenants_own_certificate() -> Result<()> {
    let etcd = Etcd::start().await?;
    let (store, mut root) = (operator(&etcd)?, etcd.root().await?);
    let tenant = account("tenant", "tenant");
    store.ensure(&tenant).await?;
    let own = etcd.certificate_of("tenant")?;
    let prove = async |pair: &Pair| {
        store.prove_confined(&tenant, pair.certificate().pem().as_bytes(), pair.key().pem().as_bytes()).await
    };
    prove(&own).await?;

    assert_eq!(
        prove(&etcd.certificate_of("root")?).await.expect_err("reads everything").reason(),
        "NotConfined"
    );
    assert_eq!(prove(&etcd.certificate_of("nobody")?).await.expect_err("reads nothing").reason(), "Refused");
    for wide in [Permission::read("").with_all_keys(), Permission::read("/_kamaji/").with_prefix()] {
        root.role_grant_permission("tenant", wide).await?;
        assert_eq!(prove(&own).await.expect_err("reads marks").reason(), "NotConfined");
        store.ensure(&tenant).await?;
        prove(&own).await?;
    }
    root.auth_disable().await?;
    assert_eq!(prove(&own).await.expect_err("everyone reads everything").reason(), "NotConfined");
    Ok(())
}
