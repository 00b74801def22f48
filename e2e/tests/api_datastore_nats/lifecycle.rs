//! An account's whole life.

use anyhow::Result;
use kamaji_datastore::{
    account::Schema,
    error::Error,
    store::{Change, Leftover, Marker, Residue, Usage},
};
use kamaji_e2e::nats::{Nats, of_go, of_kine};
use serde_json::{Value, json};

use super::{MARK, account, assert_complete, assert_gone, found, operator, owner, recorded};

#[tokio::test]
async fn an_account_is_made_once_and_removed_without_a_trace() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    let account = account("Blue_Data-1");
    let made = store.ensure(&account).await?;
    assert_eq!(made.changes, [Change::PlaceMade, Change::Claimed, Change::BucketAdded]);
    assert_complete(&hand, &account).await?;
    assert!(!store.ensure(&account).await?.changed());
    assert!(
        !operator(&nats)?.ensure(&recorded(&account)).await?.changed(),
        "another operator sees it so too"
    );
    store.prove_confined(&account, b"", b"").await?;
    store.remove(&account).await?;
    assert_gone(&hand, &account).await?;
    store.remove(&account).await?;
    // The place of the marks stays, and the next tenant finds it.
    assert_eq!(store.ensure(&account).await?.changes, [Change::Claimed, Change::BucketAdded]);
    store.remove(&account).await?;
    assert_gone(&hand, &account).await
}

#[tokio::test]
async fn what_is_there_can_be_listed_and_measured() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    let account = account("measured");
    assert_eq!(store.usage(&account).await?, Usage::default());
    assert!(store.residue(&account).await?.is_empty());
    assert_eq!(store.audit().await?, []);
    store.ensure(&account).await?;
    let empty = store.usage(&account).await?;
    assert_eq!(empty.keys, Some(0));
    hand.put("$KV.measured.a", &"x".repeat(10_000)).await?;
    let full = store.usage(&account).await?;
    assert_eq!(full.keys, Some(1));
    let (empty, full) = (empty.bytes.expect("it is there"), full.bytes.expect("it is there"));
    assert!(full - empty >= 10_000 && full - empty < 11_000, "{empty} {full}");
    let holder = Some((account.user.clone(), account.owner.clone()));
    assert_eq!(store.audit().await?, [Marker { schema: "measured".to_owned(), holder }]);
    let everything =
        Residue { left: vec![Leftover::Bucket(account.schema.clone()), Leftover::Mark(MARK.to_owned())] };
    assert_eq!(store.residue(&account).await?, everything);
    assert_eq!(store.footprint(&account), everything);
    assert_eq!(everything.to_string(), "bucket measured, key $KV._kamaji.owner");
    // What an audit lists is enough to remove it.
    let orphan = store.audit().await?[0].account().expect("it can be read");
    store.remove(&orphan).await?;
    assert!(store.residue(&account).await?.is_empty());
    assert_gone(&hand, &account).await
}

#[tokio::test]
async fn what_others_changed_is_mended() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    let account = account("mend");
    store.ensure(&account).await?;
    for (key, value) in [
        ("max_msgs_per_subject", json!(3)),
        ("description", json!("mine")),
        ("max_bytes", json!(1 << 20)),
        ("metadata", json!({ "team": "blue" })),
        ("deny_purge", json!(false)),
    ] {
        let mut settings = of_kine("mend");
        settings[key] = value;
        hand.api("STREAM.UPDATE.KV_mend", &settings).await?;
        let changes = store.ensure(&account).await?.changes;
        let expected: &[Change] = if key == "deny_purge" { &[] } else { &[Change::BucketFitted] };
        assert_eq!(changes, expected, "{key}");
        assert_complete(&hand, &account).await?;
    }
    hand.api("STREAM.DELETE.KV_mend", &Value::Null).await?;
    assert_eq!(store.ensure(&account).await?.changes, [Change::BucketAdded]);
    assert_complete(&hand, &account).await
}

/// With its data, and as kine will have it; other programs' streams are where they were.
#[tokio::test]
async fn what_the_go_operator_made_is_taken_over() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    let account = account("4746b6dc-a96d-4b56-9a1c-e561fad1fc10");
    let bucket = account.schema.as_str();
    hand.make(&of_go(bucket)).await?;
    hand.make(&json!({ "name": "ORDERS", "subjects": ["orders.>"] })).await?;
    let subject = format!("$KV.{bucket}.L8nZchjdPLL.tzCUBDXD");
    hand.put(&subject, "kept").await?;
    let changes = store.ensure(&recorded(&account)).await?.changes;
    assert_eq!(changes, [Change::PlaceMade, Change::Claimed, Change::BucketFitted]);
    assert_complete(&hand, &account).await?;
    assert_eq!(hand.last(&format!("KV_{bucket}"), &subject).await?, Some("kept".to_owned()));
    store.prove_confined(&account, b"", b"").await?;
    store.remove(&account).await?;
    assert_gone(&hand, &account).await?;
    assert!(found(&hand).await?.iter().any(|stream| stream.starts_with("ORDERS")));
    // One that was never marked is removed too.
    hand.make(&of_go(bucket)).await?;
    store.remove(&recorded(&account)).await?;
    assert_gone(&hand, &account).await
}

#[tokio::test]
async fn a_name_that_no_bucket_can_have_is_refused_before_anything_is_sent() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    let longest = account(&"b".repeat(64));
    let schema = |length: usize| Schema::parse(&"b".repeat(length));
    let fits = kamaji_datastore::account::Account { schema: schema(252)?, ..longest.clone() };
    store.ensure(&fits).await?;
    assert_complete(&hand, &fits).await?;
    store.remove(&fits).await?;
    let before = found(&hand).await?;
    let too_long = kamaji_datastore::account::Account { schema: schema(253)?, ..longest };
    assert!(matches!(store.ensure(&too_long).await, Err(Error::Name { .. })));
    store.remove(&too_long).await?;
    assert_eq!(found(&hand).await?, before);
    Ok(())
}
