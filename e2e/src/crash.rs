//! An operator may die at any moment, and the connection with it; the next one goes on from there. The same sweeps for
//! every kind of datastore.

use anyhow::Result;
use kamaji_datastore::{account::Account, config::Endpoint, store::Store};

use crate::etcd::proxy::{Aftermath, Mode, Moment, Proxy};

/// More statements and messages than any account needs: an endless sweep is a failure.
const ENOUGH: usize = 400;

/// A real datastore of one's own, and what can be seen in it without the operator.
#[allow(async_fn_in_trait, reason = "sweeps run on the thread of their test")]
pub trait Scene: Sized {
    /// A new datastore.
    async fn start() -> Result<Self>;

    /// Where it listens.
    fn endpoint(&self) -> &Endpoint;

    /// The account that is made and removed.
    fn account(&self) -> Account;

    /// A new operator, over a connection of its own to this endpoint.
    fn operator(&self, endpoint: &Endpoint) -> Result<Store>;

    /// The account has data.
    async fn fill(&self, account: &Account) -> Result<()>;

    /// The account is complete, whether or not it has data.
    async fn assert_complete(&self, account: &Account) -> Result<()>;

    /// Nothing is there under the account's names.
    async fn assert_gone(&self, account: &Account) -> Result<()>;
}

/// What an operator was about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Make the account.
    Ensure,
    /// Remove it.
    Remove,
}

impl Verb {
    fn opposite(self) -> Self {
        if self == Self::Ensure { Self::Remove } else { Self::Ensure }
    }
}

/// An operator dies after every statement of both verbs, and the next one finishes its work or undoes it; returns how many
/// statements the verbs have.
///
/// # Panics
/// When anything is missing or left.
pub async fn between_statements<S: Scene>() -> Result<(usize, usize)> {
    let scene = S::start().await?;
    let mut counts = Vec::new();
    for (begun, finished) in [
        (Verb::Ensure, Verb::Ensure),
        (Verb::Remove, Verb::Ensure),
        (Verb::Ensure, Verb::Remove),
        (Verb::Remove, Verb::Remove),
    ] {
        let mut statements = 0;
        loop {
            assert!(statements < ENOUGH, "no end");
            prepare(&scene, begun).await?;
            let more = die_after(&scene, begun, statements).await?;
            finish(&scene, finished).await?;
            if !more {
                break;
            }
            statements += 1;
        }
        counts.push(statements);
    }
    assert_eq!(counts[..2], counts[2..], "what follows a verb does not change it");
    finish(&scene, Verb::Remove).await?;
    Ok((counts[0], counts[1]))
}

/// Cuts the connection at every message of `begun` in turn; returns how many there are.
///
/// If a standing connection can be made anew, `begun` must do its work all the same; else it says that nothing is
/// reached. Then a new operator, over a connection of its own, finishes the work or undoes it.
///
/// # Panics
/// When anything is missing or left.
pub async fn sweep<S: Scene>(begun: Verb, moment: Moment, aftermath: Aftermath) -> Result<usize> {
    let scene = S::start().await?;
    let account = scene.account();
    for messages in 0.. {
        assert!(messages < ENOUGH, "no end");
        prepare(&scene, begun).await?;
        let proxy = Proxy::start(scene.endpoint()).await?;
        let store = scene.operator(proxy.endpoint())?;
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
        finish(&scene, if messages % 2 == 0 { begun } else { begun.opposite() }).await?;
        if proxy.is_uncut() {
            return Ok(messages);
        }
    }
    unreachable!("the loop has no other end")
}

/// Makes statements of `verb` until there are `count` of them or nothing is left to do; says whether there were.
async fn die_after(scene: &impl Scene, verb: Verb, count: usize) -> Result<bool> {
    let (store, account) = (scene.operator(scene.endpoint())?, scene.account());
    for _ in 0..count {
        let step = match verb {
            Verb::Ensure => store.ensure_step(&account).await?,
            Verb::Remove => store.remove_step(&account).await?,
        };
        if step.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A complete account with data, or none: what the first verb of a sweep starts from.
async fn prepare(scene: &impl Scene, verb: Verb) -> Result<()> {
    let (store, account) = (scene.operator(scene.endpoint())?, scene.account());
    store.remove(&account).await?;
    if verb == Verb::Remove {
        store.ensure(&account).await?;
        scene.fill(&account).await?;
    }
    Ok(())
}

/// A new operator finishes with `verb`, and nothing is missing or left.
async fn finish(scene: &impl Scene, verb: Verb) -> Result<()> {
    let (store, account) = (scene.operator(scene.endpoint())?, scene.account());
    match verb {
        Verb::Ensure => {
            store.ensure(&account).await?;
            scene.assert_complete(&account).await
        }
        Verb::Remove => {
            store.remove(&account).await?;
            scene.assert_gone(&account).await
        }
    }
}

/// The tests of a connection that is lost, for this type of [`Scene`].
#[macro_export]
macro_rules! test_losses {
    ($scene:ty) => {
        #[tokio::test]
        async fn its_connection_may_be_cut_after_every_message_of_remove() -> anyhow::Result<()> {
            use $crate::etcd::proxy::{Aftermath, Moment};
            $crate::crash::sweep::<$scene>($crate::crash::Verb::Remove, Moment::After, Aftermath::Dead)
                .await
                .map(drop)
        }

        #[tokio::test]
        async fn ensure_survives_the_loss_of_any_answer() -> anyhow::Result<()> {
            use $crate::etcd::proxy::{Aftermath, Moment};
            $crate::crash::sweep::<$scene>($crate::crash::Verb::Ensure, Moment::After, Aftermath::Alive)
                .await
                .map(drop)
        }

        #[tokio::test]
        async fn remove_survives_the_loss_of_any_answer() -> anyhow::Result<()> {
            use $crate::etcd::proxy::{Aftermath, Moment};
            $crate::crash::sweep::<$scene>($crate::crash::Verb::Remove, Moment::After, Aftermath::Alive)
                .await
                .map(drop)
        }
    };
}
