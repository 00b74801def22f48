//! Tenants' buckets in a real NATS: made, repaired, refused, removed, cut off at any moment, and kept apart.

mod crash;
mod foreign;
mod health;
mod isolation;
mod lifecycle;

use anyhow::Result;
use kamaji_datastore::{
    account::{Account, Credential, Owner, Schema, Seal, Standing, User},
    store::Store,
};
use kamaji_e2e::nats::{Hand, Nats, OWNER, of_kine};

/// The stream of the marks, and the subject of the one.
const MARKS: &str = "KV__kamaji";
const MARK: &str = "$KV._kamaji.owner";

/// A new account with a bucket of this name.
fn account(schema: &str) -> Account {
    Account {
        schema: Schema::parse(schema).expect("a plain name"),
        user: User::parse(schema).expect("a plain name"),
        owner: Owner::parse(&format!("uid-of-{schema:.40}")).expect("a plain name"),
        standing: Standing::Claimed,
        seal: Seal::Open,
        credential: Credential::Certificate,
    }
}

/// The same account, once its tenant's status says that it was set up.
fn recorded(account: &Account) -> Account {
    Account { standing: Standing::Recorded, ..account.clone() }
}

fn operator(nats: &Nats) -> Result<Store> {
    Ok(Store::nats(nats.settings())?)
}

/// Who may do everything in the operator's NATS account.
async fn owner(nats: &Nats) -> Result<Hand> {
    nats.connect(OWNER).await
}

/// All that the NATS account holds, as text that can be compared.
async fn found(hand: &Hand) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (name, settings, messages) in hand.streams().await? {
        found.push(format!("{name} with {messages} messages: {settings}"));
    }
    found.extend(hand.last(MARKS, MARK).await.ok().flatten());
    Ok(found)
}

/// What kine asks for it gets, and the mark is the account's.
async fn assert_complete(hand: &Hand, account: &Account) -> Result<()> {
    hand.make(&of_kine(account.schema.as_str())).await?;
    let Account { owner, schema, user, .. } = account;
    let mark = format!(r#"{{"owner":"{owner}","schema":"{schema}","user":"{user}"}}"#);
    assert_eq!(hand.last(MARKS, MARK).await?, Some(mark));
    Ok(())
}

/// There is no bucket of this name, and no mark at all.
async fn assert_gone(hand: &Hand, account: &Account) -> Result<()> {
    for (name, _, messages) in hand.streams().await? {
        assert_ne!(name, format!("KV_{}", account.schema));
        assert!(name != MARKS || messages == 0, "a mark is left");
    }
    Ok(())
}
