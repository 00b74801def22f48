//! What is not the account's is refused and stays as it was; and a NATS account holds one tenant.

use anyhow::Result;
use kamaji_datastore::{
    account::{Account, Owner, Schema},
    error::{Error, Foreign},
    store::Store,
};
use kamaji_e2e::nats::{Hand, Nats, of_go, of_kine};
use serde_json::{Value, json};

use super::{MARK, MARKS, account, assert_complete, assert_gone, found, operator, owner, recorded};

/// Neither making nor removing the account alters anything, and making it says why not.
async fn assert_refused(store: &Store, hand: &Hand, account: &Account, expected: &Foreign) -> Result<()> {
    let before = found(hand).await?;
    let error = store.ensure(account).await.expect_err("what is foreign is refused");
    assert_eq!(error.reason(), "ForeignObject");
    assert!(matches!(&error, Error::Foreign { what } if what == expected), "{error}");
    store.remove(account).await?;
    assert_eq!(found(hand).await?, before, "untouched");
    Ok(())
}

#[tokio::test]
async fn unmarked_buckets_and_other_streams_of_the_name_are_refused_and_untouched() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    let account = account("taken");
    let foreign = Foreign::UnmarkedBucket(account.schema.clone());
    let mirror = json!({ "name": "KV_taken", "mirror": { "name": "KV_other" } });
    let subjects = json!({ "name": "KV_taken", "subjects": ["orders.>"] });
    hand.make(&of_go("other")).await?;
    for (settings, is_bucket) in
        [(of_go("taken"), true), (of_kine("taken"), true), (mirror, false), (subjects, false)]
    {
        hand.make(&settings).await?;
        assert_refused(&store, &hand, &account, &foreign).await?;
        if !is_bucket {
            assert_refused(&store, &hand, &recorded(&account), &foreign).await?;
        }
        hand.api("STREAM.DELETE.KV_taken", &Value::Null).await?;
    }
    // Once nothing is in the way, the same account is made.
    store.ensure(&account).await?;
    assert_complete(&hand, &account).await?;
    store.remove(&account).await?;
    assert_gone(&hand, &account).await
}

#[tokio::test]
async fn the_streams_of_other_programs_are_untouched_from_beginning_to_end() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    hand.make(&json!({ "name": "ORDERS", "subjects": ["orders.>"] })).await?;
    hand.make(&of_go("sessions")).await?;
    hand.put("orders.1", "one").await?;
    hand.put("$KV.sessions.a", "b").await?;
    let before = found(&hand).await?;
    let account = account("beside");
    store.check().await?;
    store.ensure(&account).await?;
    store.prove_confined(&account, b"", b"").await?;
    store.check().await?;
    store.remove(&account).await?;
    let mut after = found(&hand).await?;
    after.retain(|stream| !stream.starts_with(MARKS));
    assert_eq!(after, before);
    Ok(())
}

#[tokio::test]
async fn the_second_tenant_is_refused_and_told_who_the_first_is() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    let first = account("first");
    store.ensure(&first).await?;
    let stranger = Owner::parse("uid-of-a-thief")?;
    let same_bucket = Account { owner: stranger, ..first.clone() };
    let same_owner = Account { schema: Schema::parse("another")?, ..first.clone() };
    let occupied = Foreign::Occupied { tenant: Some((first.schema.clone(), first.owner.clone())) };
    for second in [account("second"), same_bucket, same_owner] {
        for second in [second.clone(), recorded(&second)] {
            assert_refused(&store, &hand, &second, &occupied).await?;
            // Nor through another DataStore that logs in to the same NATS account.
            let other = Store::nats(nats.settings_as(kamaji_e2e::nats::OWNER))?;
            assert_refused(&other, &hand, &second, &occupied).await?;
        }
    }
    let said = store.ensure(&account("second")).await.expect_err("refused").to_string();
    let expected = "this datastore belongs to the tenant with UID uid-of-first, whose bucket is first; a NATS account \
                    holds one tenant: give this one a DataStore of its own, that logs in to another account";
    assert_eq!(said, expected);
    assert!(!store.ensure(&first).await?.changed(), "the first notices nothing");
    store.remove(&first).await?;
    store.ensure(&account("second")).await?;
    assert_complete(&hand, &account("second")).await
}

#[tokio::test]
async fn of_many_who_claim_at_once_one_gets_it() -> Result<()> {
    const CLAIMANTS: usize = 6;
    let nats = Nats::start().await?;
    let hand = owner(&nats).await?;
    for round in 0..4 {
        let accounts: Vec<_> =
            (0..CLAIMANTS).map(|number| account(&format!("race-{round}-{number}"))).collect();
        let stores: Vec<_> = accounts.iter().map(|_| operator(&nats)).collect::<Result<_>>()?;
        let claims = accounts.iter().zip(&stores).map(|(account, store)| store.ensure(account));
        let outcomes = futures::future::join_all(claims).await;
        let winners: Vec<_> = accounts
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_ok())
            .map(|(account, _)| account)
            .collect();
        let [winner] = winners[..] else { panic!("{} got it: {outcomes:?}", winners.len()) };
        for (account, outcome) in accounts.iter().zip(&outcomes) {
            if let Err(error) = outcome {
                assert_eq!(error.reason(), "ForeignObject", "{error}");
                stores[0].remove(account).await?;
            }
        }
        assert_complete(&hand, winner).await?;
        assert_eq!(hand.streams().await?.len(), 2, "the marks and one bucket");
        stores[1].remove(winner).await?;
        assert_gone(&hand, winner).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_is_nobodys_to_replace() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    let account = account("spoilt");
    store.ensure(&account).await?;
    hand.put(MARK, "by hand").await?;
    let occupied = Foreign::Occupied { tenant: None };
    assert_refused(&store, &hand, &account, &occupied).await?;
    assert_refused(&store, &hand, &recorded(&account), &occupied).await?;
    assert_eq!(store.audit().await?[0].holder, None, "it is listed");
    Ok(())
}

#[tokio::test]
async fn a_new_tenant_is_not_put_beside_the_data_of_another_kine() -> Result<()> {
    let nats = Nats::start().await?;
    let (store, hand) = (operator(&nats)?, owner(&nats).await?);
    let account = account("new");
    hand.make(&of_kine("another")).await?;
    hand.put("$KV.another.L8nZchjdPLL.tzCUBDXD", "{}").await?;
    let neighbour = Foreign::Neighbour { bucket: "another".to_owned() };
    assert_refused(&store, &hand, &account, &neighbour).await?;
    // One that was there before us stays where it is, but nobody says that it is apart.
    hand.make(&of_go("new")).await?;
    store.ensure(&recorded(&account)).await?;
    let error = store.prove_confined(&account, b"", b"").await.expect_err("it reaches the other");
    assert_eq!(error.reason(), "NotConfined");
    Ok(())
}
