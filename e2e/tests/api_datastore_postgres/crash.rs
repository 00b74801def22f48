//! An operator may die at any moment, and the connection with it; the next one goes on from there.

use anyhow::Result;
use kamaji_datastore::{account::Account, config::Settings, store::Store};
use kamaji_e2e::{
    etcd::proxy::{Aftermath, Mode, Moment, Proxy},
    postgres::Postgres,
};

use super::{account, assert_complete, assert_gone, operator};

/// More statements and messages than any account needs: an endless sweep is a failure.
const ENOUGH: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Ensure,
    Remove,
}

impl Verb {
    fn opposite(self) -> Self {
        if self == Self::Ensure { Self::Remove } else { Self::Ensure }
    }
}

/// Makes statements of `verb` until there are `count` of them or nothing is left to do; says whether there were.
async fn die_after(postgres: &Postgres, account: &Account, verb: Verb, count: usize) -> Result<bool> {
    let store = operator(postgres)?;
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

/// A complete account, or none: what the first verb of a sweep starts from.
async fn prepare(postgres: &Postgres, account: &Account, verb: Verb) -> Result<()> {
    operator(postgres)?.remove(account).await?;
    if verb == Verb::Remove {
        operator(postgres)?.ensure(account).await?;
    }
    Ok(())
}

/// A new operator finishes with `verb`, and nothing is missing or left.
async fn finish(postgres: &Postgres, account: &Account, verb: Verb) -> Result<()> {
    let (store, root) = (operator(postgres)?, postgres.superuser("postgres").await?);
    match verb {
        Verb::Ensure => {
            store.ensure(account).await?;
            assert_complete(postgres, &root, account).await
        }
        Verb::Remove => {
            store.remove(account).await?;
            assert_gone(&root, account).await
        }
    }
}

#[tokio::test]
async fn it_may_die_between_every_two_statements() -> Result<()> {
    let postgres = Postgres::start().await?;
    let account = account("between", "between-user");
    for begun in [Verb::Ensure, Verb::Remove] {
        for finished in [Verb::Ensure, Verb::Remove] {
            for statements in 0.. {
                assert!(statements < ENOUGH, "no end");
                prepare(&postgres, &account, begun).await?;
                let more = die_after(&postgres, &account, begun, statements).await?;
                finish(&postgres, &account, finished).await?;
                if !more {
                    assert_eq!(statements, if begun == Verb::Ensure { 7 } else { 4 }, "{begun:?}");
                    break;
                }
            }
        }
    }
    finish(&postgres, &account, Verb::Remove).await
}

/// Cuts the connection at every message of `begun` in turn; returns how many there are.
///
/// If a standing connection can be made anew, `begun` must do its work all the same; else it says that nothing is
/// reached. Then a new operator, over a connection of its own, finishes the work or undoes it.
async fn sweep(begun: Verb, moment: Moment, aftermath: Aftermath) -> Result<usize> {
    let postgres = Postgres::start().await?;
    let account = account("cut", "cut-user");
    for messages in 0.. {
        assert!(messages < ENOUGH, "no end");
        prepare(&postgres, &account, begun).await?;
        let proxy = Proxy::start(postgres.endpoint()).await?;
        let endpoints = vec![proxy.endpoint().clone()];
        let store = Store::postgres(Settings { endpoints, ..postgres.settings() })?;
        if aftermath == Aftermath::Alive {
            // A connection that cannot even be made is told at once: only one that stands is replaced silently.
            store.residue(&account).await?;
        }
        proxy.set(Mode::CutAfter { messages, moment, aftermath });
        let outcome = match begun {
            Verb::Ensure => store.ensure(&account).await.map(drop),
            Verb::Remove => store.remove(&account).await,
        };
        match outcome {
            Err(error) if aftermath == Aftermath::Dead => {
                assert_eq!(error.reason(), "Unreachable", "{error}");
            }
            outcome => outcome?,
        }
        let finished = if messages % 2 == 0 { begun } else { begun.opposite() };
        finish(&postgres, &account, finished).await?;
        if proxy.is_uncut() {
            return Ok(messages);
        }
    }
    unreachable!("the loop has no other end")
}

#[tokio::test]
async fn its_connection_may_be_cut_before_every_message_of_ensure() -> Result<()> {
    let messages = sweep(Verb::Ensure, Moment::Before, Aftermath::Dead).await?;
    assert!(messages > 10, "{messages} messages for six statements");
    Ok(())
}

#[tokio::test]
async fn its_connection_may_be_cut_after_every_message_of_remove() -> Result<()> {
    sweep(Verb::Remove, Moment::After, Aftermath::Dead).await.map(drop)
}

#[tokio::test]
async fn ensure_survives_the_loss_of_any_answer() -> Result<()> {
    sweep(Verb::Ensure, Moment::After, Aftermath::Alive).await.map(drop)
}

#[tokio::test]
async fn remove_survives_the_loss_of_any_answer() -> Result<()> {
    sweep(Verb::Remove, Moment::After, Aftermath::Alive).await.map(drop)
}
