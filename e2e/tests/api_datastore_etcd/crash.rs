//! An operator may die at any moment, and the connection with it; the next one goes on from there.

use anyhow::Result;
use kamaji_datastore::{account::Account, config::Settings, store::Store};
use kamaji_e2e::etcd::{
    Etcd,
    proxy::{Mode, Moment, Proxy},
};

use super::{account, assert_complete, assert_gone, operator};

/// More statements and messages than any account needs: an endless sweep is a failure.
const ENOUGH: usize = 400;

/// Makes statements of `verb` until there are `count` of them or nothing is left to do; says whether there were.
async fn die_after(etcd: &Etcd, account: &Account, verb: Verb, count: usize) -> Result<bool> {
    let store = operator(etcd)?;
    for _ in 0..count {
        let step = match verb {
            Verb::Ensure => store.ensure_step(account).await?,
            Verb::Remove => store.remove_step(account).await?,
        };
        if step.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Ensure,
    Remove,
}

/// A complete account with data, or none: what the first verb of a sweep starts from.
async fn prepare(etcd: &Etcd, account: &Account, verb: Verb) -> Result<()> {
    operator(etcd)?.remove(account).await?;
    if verb == Verb::Remove {
        operator(etcd)?.ensure(account).await?;
        let mut tenant = etcd.client(account.user.as_str()).await?;
        tenant.put(format!("/{}/a", account.schema), "1", None).await?;
    }
    Ok(())
}

/// A new operator finishes with `verb`, and nothing is missing or left.
async fn finish(etcd: &Etcd, account: &Account, verb: Verb) -> Result<()> {
    let (store, mut root) = (operator(etcd)?, etcd.root().await?);
    match verb {
        Verb::Ensure => {
            store.ensure(account).await?;
            root.delete(format!("/{}/a", account.schema), None).await?;
            assert_complete(&mut root, account).await
        }
        Verb::Remove => {
            store.remove(account).await?;
            assert_gone(&mut root, account).await
        }
    }
}

#[tokio::test]
async fn it_may_die_between_every_two_statements() -> Result<()> {
    let etcd = Etcd::start().await?;
    let account = account("between", "between-user");
    for begun in [Verb::Ensure, Verb::Remove] {
        for finished in [Verb::Ensure, Verb::Remove] {
            for statements in 0.. {
                assert!(statements < ENOUGH, "no end");
                prepare(&etcd, &account, begun).await?;
                let more = die_after(&etcd, &account, begun, statements).await?;
                finish(&etcd, &account, finished).await?;
                if !more {
                    assert_eq!(statements, if begun == Verb::Ensure { 6 } else { 5 }, "{begun:?}");
                    break;
                }
            }
        }
    }
    finish(&etcd, &account, Verb::Remove).await
}

/// Cuts the connection at every message of `begun` in turn, and lets a new operator finish.
async fn sweep(etcd: &Etcd, account: &Account, begun: Verb, moment: Moment) -> Result<usize> {
    for messages in 0.. {
        assert!(messages < ENOUGH, "no end");
        prepare(etcd, account, begun).await?;
        let proxy = Proxy::start(etcd.endpoint()).await?;
        let store = Store::etcd(Settings { endpoints: vec![proxy.endpoint().clone()], ..etcd.settings() })?;
        proxy.set(Mode::CutAfter { messages, moment });
        let survived = match begun {
            Verb::Ensure => store.ensure(account).await.map(|_| ()),
            Verb::Remove => store.remove(account).await,
        };
        if let Err(error) = &survived {
            assert_eq!(error.reason(), "Unreachable", "{error}");
        }
        // The one that lived to see the connection come back finishes by itself; else another one does the opposite.
        if messages % 2 == 0 {
            proxy.set(Mode::Pass);
            match begun {
                Verb::Ensure => store.ensure(account).await.map(|_| ())?,
                Verb::Remove => store.remove(account).await?,
            }
            finish(etcd, account, begun).await?;
        }
        finish(etcd, account, if begun == Verb::Ensure { Verb::Remove } else { Verb::Ensure }).await?;
        if survived.is_ok() {
            finish(etcd, account, Verb::Remove).await?;
            return Ok(messages);
        }
    }
    unreachable!("the loop has no other end")
}

#[tokio::test]
async fn its_connection_may_be_cut_before_every_message_of_ensure() -> Result<()> {
    let messages =
        sweep(&Etcd::start().await?, &account("cut-a", "cut-a"), Verb::Ensure, Moment::Before).await?;
    assert!(messages > 10, "{messages} messages for five statements");
    Ok(())
}

#[tokio::test]
async fn its_connection_may_be_cut_after_every_message_of_ensure() -> Result<()> {
    sweep(&Etcd::start().await?, &account("cut-b", "cut-b"), Verb::Ensure, Moment::After).await?;
    Ok(())
}

#[tokio::test]
async fn its_connection_may_be_cut_before_every_message_of_remove() -> Result<()> {
    sweep(&Etcd::start().await?, &account("cut-c", "cut-c"), Verb::Remove, Moment::Before).await?;
    Ok(())
}

#[tokio::test]
async fn its_connection_may_be_cut_after_every_message_of_remove() -> Result<()> {
    sweep(&Etcd::start().await?, &account("cut-d", "cut-d"), Verb::Remove, Moment::After).await?;
    Ok(())
}
