//! It may be cut off at any moment: then it goes on from there, or the tenant is brought back or deleted.

use std::future::ready;

use anyhow::{Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kamaji_datastore::migrate::{Error, Home, Migration, Token};
use kamaji_e2e::etcd::proxy::{Aftermath, Mode, Moment, Proxy};

use super::{ENOUGH, Kind, Lab, advance, finish};

/// How many migrations are cut off at the same time.
const AT_ONCE: usize = 4;

/// What follows when it was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sequel {
    /// Another one goes on.
    Resumed,
    /// It is aborted, and the copy is discarded.
    Aborted,
    /// The same, and another one begins anew.
    Repeated,
    /// The tenant is deleted before anybody goes on.
    Deleted,
}

/// Nothing of the tenant is left, wherever its migration had come.
async fn delete(lab: &Lab, tenant: &str) -> Result<()> {
    for (server, account) in [(&lab.from, lab.source(tenant)), (&lab.to, lab.target(tenant))] {
        let store = server.store()?;
        store.remove(&account).await?;
        let residue = store.residue(&account).await?;
        ensure!(residue.is_empty(), "{residue}");
    }
    Ok(())
}

/// Someone else goes on, or brings the tenant back; after the switch there is no way back. Then the tenant is where it
/// should be, and nowhere else.
async fn conclude(lab: &Lab, tenant: &str, sequel: Sequel) -> Result<()> {
    if sequel == Sequel::Deleted {
        return delete(lab, tenant).await;
    }
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
    // In the other pairs it is cut off in the middle of every step, too.
    for pair in [(Kind::Etcd, Kind::Etcd), (Kind::Postgres, Kind::Postgres), (Kind::Nats, Kind::Nats)] {
        let lab = Lab::start(pair).await?;
        for steps in 0.. {
            assert!(steps < ENOUGH, "no end");
            let mut more = false;
            for sequel in [Sequel::Resumed, Sequel::Repeated, Sequel::Deleted] {
                let tenant = format!("{sequel:?}{steps}").to_lowercase();
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

/// What follows one cut after the other.
const SEQUELS: [Sequel; 5] =
    [Sequel::Resumed, Sequel::Deleted, Sequel::Aborted, Sequel::Resumed, Sequel::Repeated];

/// Which wire is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    Source,
    Target,
}

/// Cuts the wire of one side at every message in turn; returns how many there are.
async fn sweep(pair: (Kind, Kind), wire: Wire, moment: Moment) -> Result<usize> {
    let lab = Lab::start(pair).await?;
    // etcd refuses what was asked before somebody changed a user: there one is cut after the other.
    let at_once = if [pair.0, pair.1].contains(&Kind::Etcd) { 1 } else { AT_ONCE };
    let cuts = stream::iter(0..ENOUGH).map(|messages| Box::pin(cut(&lab, wire, moment, messages)));
    let uncut = cuts.buffered(at_once).try_take_while(|was_cut| ready(Ok(*was_cut)));
    let messages = uncut.try_fold(0, |messages, _| ready(Ok(messages + 1))).await?;
    ensure!(messages < ENOUGH, "no end");
    Ok(messages)
}

/// A tenant whose migration is cut off at this message of one side arrives, or stays where it was; says whether there was
/// such a message.
async fn cut(lab: &Lab, wire: Wire, moment: Moment, messages: usize) -> Result<bool> {
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
    let concluded = conclude(lab, &tenant, SEQUELS[messages % SEQUELS.len()]).await;
    concluded.map_err(|error| error.context(format!("{} {tenant}", server.kind().word())))?;
    Ok(!is_uncut)
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

#[tokio::test]
async fn the_wire_to_a_mysql_source_may_be_cut_after_any_message() -> Result<()> {
    let messages = sweep((Kind::MySql, Kind::MySql), Wire::Source, Moment::After).await?;
    assert!(messages > 20, "{messages} messages");
    Ok(())
}

#[tokio::test]
async fn the_wire_to_a_nats_source_may_be_cut_after_any_message() -> Result<()> {
    let messages = sweep((Kind::Nats, Kind::Etcd), Wire::Source, Moment::After).await?;
    assert!(messages > 20, "{messages} messages");
    Ok(())
}

#[tokio::test]
async fn the_wire_to_a_mysql_target_may_be_cut_after_any_message() -> Result<()> {
    let messages = sweep((Kind::MySql, Kind::MySql), Wire::Target, Moment::After).await?;
    assert!(messages > 20, "{messages} messages");
    Ok(())
}

#[tokio::test]
async fn the_wire_to_a_nats_target_may_be_cut_after_any_message() -> Result<()> {
    let messages = sweep((Kind::Etcd, Kind::Nats), Wire::Target, Moment::After).await?;
    assert!(messages > 20, "{messages} messages");
    Ok(())
}
