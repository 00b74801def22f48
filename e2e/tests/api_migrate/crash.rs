//! It may be cut off at any moment: then it goes on from there, or the tenant is brought back.

use anyhow::Result;
use kamaji_datastore::migrate::{Error, Home, Migration, Token};
use kamaji_e2e::etcd::proxy::{Aftermath, Mode, Moment, Proxy};

use super::{ENOUGH, Kind, Lab, PAIRS, advance, finish};

/// What follows when it was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequel {
    /// Another one goes on.
    Resumed,
    /// It is aborted, and the copy is discarded.
    Aborted,
    /// The same, and another one begins anew.
    Repeated,
}

/// Someone else goes on, or brings the tenant back; after the switch there is no way back. Then the tenant is where it
/// should be, and nowhere else.
async fn conclude(lab: &Lab, tenant: &str, sequel: Sequel) -> Result<()> {
    let migration = lab.migration(tenant, "first")?;
    if sequel == Sequel::Resumed {
        finish(&migration).await?;
        return lab.assert_moved(tenant).await;
    }
    match migration.abort().await {
        Err(Error::Switched) => {
            finish(&migration).await?;
            return lab.assert_moved(tenant).await;
        }
        aborted => aborted?,
    }
    lab.assert_stayed(tenant).await?;
    migration.abort().await?;
    let spent = finish(&migration).await.expect_err("the token is spent");
    assert_eq!(spent.reason(), "MigrationAborted");
    migration.discard_target().await?;
    let residue = lab.to.store()?.residue(&lab.target(tenant)).await?;
    assert!(residue.is_empty(), "{residue}");
    if sequel == Sequel::Aborted {
        return Ok(());
    }
    finish(&lab.migration(tenant, "second")?).await?;
    lab.assert_moved(tenant).await
}

#[tokio::test]
async fn it_may_be_killed_between_every_two_steps() -> Result<()> {
    for pair in PAIRS {
        let lab = Lab::start(pair).await?;
        for steps in 0.. {
            assert!(steps < ENOUGH, "no end");
            let mut more = false;
            for sequel in [Sequel::Resumed, Sequel::Repeated] {
                let tenant =
                    format!("{}{steps}", if sequel == Sequel::Resumed { "resumed" } else { "aborted" });
                lab.settle(&tenant).await?;
                more = advance(&lab.migration(&tenant, "first")?, steps).await?;
                conclude(&lab, &tenant, sequel)
                    .await
                    .map_err(|error| error.context(format!("{pair:?} {tenant}")))?;
            }
            if !more {
                assert!(steps > 7, "{pair:?}: {steps} steps");
                break;
            }
        }
    }
    Ok(())
}

/// Which wire is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Source,
    Target,
}

/// Cuts the wire of one side at every message in turn; returns how many there are.
async fn sweep(pair: (Kind, Kind), wire: Wire, moment: Moment) -> Result<usize> {
    let lab = Lab::start(pair).await?;
    for messages in 0.. {
        assert!(messages < ENOUGH, "no end");
        let tenant = format!("cut{messages}");
        lab.settle(&tenant).await?;
        let server = if wire == Wire::Source { &lab.from } else { &lab.to };
        let proxy = Proxy::start(server.endpoint()).await?;
        let (mut from, mut to) = (lab.leaving(&tenant)?, lab.entering(&tenant)?);
        let end: &mut Home = if wire == Wire::Source { &mut from } else { &mut to };
        end.store = server.store_at(proxy.endpoint())?;
        // Proofs of their own would need connections of their own.
        (from.proof, to.proof) = (None, None);
        let migration = Migration::new(from, to, Token::parse("first")?)?;
        proxy.set(Mode::CutAfter { messages, moment, aftermath: Aftermath::Dead });
        let outcome = finish(&migration).await;
        let is_uncut = proxy.is_uncut();
        if is_uncut {
            outcome?;
        } else {
            let error = outcome.as_ref().expect_err("nothing passes any more");
            let side = format!("{wire:?}").to_lowercase();
            assert!(error.to_string().contains(&side), "{messages}: {error}");
        }
        let sequel = [Sequel::Resumed, Sequel::Aborted, Sequel::Resumed, Sequel::Repeated][messages % 4];
        conclude(&lab, &tenant, sequel).await.map_err(|error| error.context(format!("{pair:?} {tenant}")))?;
        if is_uncut {
            return Ok(messages);
        }
    }
    unreachable!("the loop has no other end")
}

#[tokio::test]
async fn the_wire_to_an_etcd_source_may_be_cut_before_any_message() -> Result<()> {
    let messages = sweep((Kind::Etcd, Kind::Postgres), Wire::Source, Moment::Before).await?;
    assert!(messages > 20, "{messages} messages");
    Ok(())
}

#[tokio::test]
async fn the_wire_to_a_postgres_target_may_be_cut_after_any_message() -> Result<()> {
    let messages = sweep((Kind::Etcd, Kind::Postgres), Wire::Target, Moment::After).await?;
    assert!(messages > 20, "{messages} messages");
    Ok(())
}

#[tokio::test]
async fn the_wire_to_a_postgres_source_may_be_cut_after_any_message() -> Result<()> {
    let messages = sweep((Kind::Postgres, Kind::Etcd), Wire::Source, Moment::After).await?;
    assert!(messages > 20, "{messages} messages");
    Ok(())
}

#[tokio::test]
async fn the_wire_to_an_etcd_target_may_be_cut_after_any_message() -> Result<()> {
    let messages = sweep((Kind::Postgres, Kind::Etcd), Wire::Target, Moment::After).await?;
    assert!(messages > 20, "{messages} messages");
    Ok(())
}
