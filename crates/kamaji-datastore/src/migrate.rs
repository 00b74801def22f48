//! One tenant's data goes from one datastore to another, and nothing is lost.
//!
//! # How
//! A migration has no memory of its own. Each step looks at both datastores, decides from what they say, and does one
//! thing; whoever is killed is followed by another one with the same [`Token`], who looks and goes on. Marks beside the
//! account's own say how far it is:
//!
//! | source | target | next |
//! |---|---|---|
//! | open | nothing, or a copy of ours from another try | [`Claim`](Step::Claim): the target is shut and marked |
//! | open | claimed | [`Prepare`](Step::Prepare): the target is wiped |
//! | open | empty, its revision too low | [`Raise`](Step::Raise) |
//! | open | empty | [`Fence`](Step::Fence): the source is marked |
//! | fenced | empty | [`Shut`](Step::Shut), until nobody can write |
//! | fenced | empty, or a part of the copy | [`Copy`](Step::Copy) |
//! | fenced | copied | [`Verify`](Step::Verify): both sides are read and compared |
//! | fenced | verified | [`Next::StopServers`]; once they are gone [`Switch`](Step::Switch): the source is marked as left |
//! | left | verified | [`Open`](Step::Open) |
//! | left | open | [`Next::Done`] |
//!
//! # Never two that can be written
//! The fence is the datastore's own: in PostgreSQL the role can log in no more, its sessions are ended and it may not
//! change its table; in MySQL the user is locked, has no rights, and its sessions are ended; in etcd its role is granted
//! nothing; in NATS the bucket's stream takes messages elsewhere. A write of the tenant's is tried, or in MySQL its
//! log-in, and must be refused, before anything is copied, compared or switched. While a mark says so,
//! [`ensure`](crate::store::Store::ensure) fails with
//! [`Moving`](crate::error::Error::Moving) and opens nothing. A target is shut from its claim to its opening.
//!
//! [`Migration::abort`] and the switch change the same mark of the source, each only if it is still the fence that was
//! seen: one of them comes first, and the other is refused. To abort, the target need not be there. An aborted token is
//! spent. A source that somebody has opened by hand gets another fence, under which everything is compared again. A switched
//! source stays shut until [`Migration::drop_source`].
//!
//! # What is copied
//! Between two tables of kine the rows, with their ids and all history, so that every watch goes on where it was. In
//! every other pair what is there now: keys below `/<schema>/` in etcd are those below `/registry/` of kine, in a table or
//! in a bucket of NATS. Both sides are read in the same order, page by page, and what differs is put, replaced or deleted, so that a copy that was cut
//! off is continued and a stale one becomes equal. Comparing is the same without writing, byte by byte. Memory is that
//! of a few pages, whatever the size.
//!
//! What expires in etcd expires in the target at the same time or up to ten seconds later. kine keeps how long a row
//! lasts, and counts from its own start: so it does after a migration. In NATS kine (as of v0.17.5) forgets with each
//! start what expires, so there what was copied stays until it is written again or deleted.
//!
//! # Revisions never go back
//! What gets new revisions gets greater ones than anyone has seen: the target's is raised above the source's before
//! anything is copied. With kine that is a row and its sequence or `AUTO_INCREMENT`, or the number of an empty bucket.
//! etcd's is shared by all tenants and grows by one with each write, so it is raised by writing, mostly before the fence;
//! it is refused if the way is too long ([`Migration::furthest`]). Read requests are denied too, but a watch that is open
//! goes on, and in etcd shows revisions that others' writes bring. So API servers may run while the data is copied, but
//! not when it is switched: what they may have shown by then is looked up once more, and the target is raised above it.
//!
//! API servers compare revisions only as numbers. One that asks for a watch from before the switch is told that it is
//! too old, and lists anew: in kine by `compact_rev_key` (`compact_rev_key_apiserver` in NATS), in etcd by a compaction
//! up to the source's last revision. That compaction is of all tenants' history, like those that etcd makes every few minutes.
//!
//! # What the caller does
//! ```no_run
//! use kamaji_datastore::migrate::{Error, Home, Migration, Next, Servers, Token};
//!
//! # async fn stop_servers() {}
//! # async fn start_servers_on_target() {}
//! async fn migrate(from: Home, to: Home, token: Token) -> Result<(), Error> {
//!     let migration = Migration::new(from, to, token)?;
//!     let mut show = |progress| println!("{progress:?}");
//!     // The tenant works while the target is made ready. Then the source is fenced, and its data copied and compared:
//!     // whoever hears of the fence may stop the servers meanwhile.
//!     if migration.run(Servers::Running, &mut show).await? == Next::StopServers {
//!         stop_servers().await;
//!         migration.run(Servers::Gone, &mut show).await?;
//!     }
//!     start_servers_on_target().await;
//!     Ok(())
//! }
//! ```
//! If it fails, call it again, or [`Migration::abort`] and start the servers where they were. Later
//! [`Migration::drop_source`], or [`Migration::discard_target`] after an abort.
//!
//! # What is refused
//! A target that holds what no migration has put there. A table that is not as kine makes it: triggers or expressions of
//! the tenant's would run as us. Keys that PostgreSQL or NATS cannot hold, and those that kine's table in MySQL cannot:
//! beyond ASCII, longer than 630 bytes with their prefix, or different from another one in their case alone. Values that
//! are larger than NATS takes. Values that are encrypted at rest with AES-GCM or a KMS
//! if their prefix changes, for they are bound to their key.

mod error;
pub(crate) mod mark;
pub(crate) mod place;
pub(crate) mod plan;
mod reconcile;
pub(crate) mod record;
mod sides;
mod steps;

use std::fmt;

use zeroize::Zeroizing;

pub use self::error::{Error, Side};
pub use self::mark::{Amount, Token};
pub use self::plan::{Asked, Next, Position, Servers, Sight, Sign, Step};

use self::mark::{Mark, Stage};
use self::place::{Kind, Look, Trouble};
use self::plan::{Data, Presence, Terms};
use self::reconcile::Told;
use self::record::Shape;
use self::sides::{AnyPlace, Sided};
use self::steps::Halt;
use crate::account::Account;
use crate::store::Store;

/// How often a step whose outcome is unknown, or in which another was faster, leads to a new look.
const LOOKS: usize = 8;
/// How often a copy is made that differs when it is compared: what expires meanwhile explains one.
const COPIES: usize = 4;
/// More steps than any migration needs, but for those that raise the revision.
const ROUNDS: usize = 64;
/// How many revisions an etcd may be behind by default: some minutes, and some hundred megabytes of history.
const FURTHEST: u64 = 5_000_000;

/// Where a tenant's data is, or will be.
#[derive(Clone, Debug)]
pub struct Home {
    /// The datastore.
    pub store: Store,
    /// The account in it.
    pub account: Account,
    /// With it the fence is tried out as the tenant. Without it etcd's own list of rights is believed.
    pub proof: Option<Proof>,
}

/// The client certificate that the tenant shows to its datastore. Its `Debug` shows no secret.
#[derive(Clone)]
pub struct Proof {
    /// PEM certificate chain.
    pub certificate_pem: Vec<u8>,
    /// PEM private key.
    pub key_pem: Zeroizing<Vec<u8>>,
}

/// How far the step is that is being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The step.
    pub step: Step,
    /// How many keys or rows of the source have been read in it.
    pub records: u64,
    /// How many bytes of the source have been read in it.
    pub bytes: u64,
}

/// Who is told of progress.
pub type Watch<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// A tenant on its way from one datastore to another.
pub struct Migration {
    from: Home,
    to: Home,
    source: Sided,
    target: Sided,
    terms: Terms,
}

impl Migration {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::SamePlace`] or [`Error::OtherTenant`] if this pair is none, [`Error::Store`] if a name cannot be one in
    /// its datastore.
    pub fn new(from: Home, to: Home, token: Token) -> Result<Self, Error> {
        if from.account.owner != to.account.owner {
            return Err(Error::OtherTenant);
        }
        let sided = |side, home: &Home| {
            let place = AnyPlace::new(home);
            place
                .map(|place| Sided::new(side, place, &home.account))
                .map_err(|source| Error::Store { side, source })
        };
        let (source, target) = (sided(Side::Source, &from)?, sided(Side::Target, &to)?);
        let shape = match (source.place.kind(), target.place.kind()) {
            (Kind::Rows, Kind::Rows) => Shape::Rows,
            _ => Shape::Live,
        };
        let furthest = (target.place.kind() == Kind::Keys).then_some(FURTHEST);
        Ok(Self { from, to, source, target, terms: Terms { token, shape, furthest } })
    }

    /// How many revisions an etcd may be behind as a target, 5 million by default. Each takes a write: thousands a second
    /// can be made, and a million take some 70 MB until the next compaction. Its other tenants wait a little longer.
    pub fn furthest(&mut self, revisions: u64) {
        self.terms.furthest = self.terms.furthest.map(|_| revisions);
    }

    /// What comes next. Nothing is changed.
    pub async fn next(&self, servers: Servers) -> Result<Next, Error> {
        let (source, target) = self.look().await.map_err(Error::from)?;
        plan::decide(&self.terms, servers, &source.found, &target.found)
    }

    /// How far it is, what comes next, and what was done so far. Nothing is changed.
    ///
    /// # Errors
    /// If the source does not answer. A target that does not is in the way of what comes next.
    pub async fn sight(&self, asked: Asked) -> Result<Sight, Error> {
        let found = |side, look: Result<Look, Trouble>| {
            look.map(|look| look.found).map_err(|trouble| Error::from((side, trouble)))
        };
        let target = async {
            match asked {
                Asked::Both => found(Side::Target, self.target.place.look().await).map(Some),
                Asked::Source => Ok(None),
            }
        };
        let (source, target) = tokio::join!(self.source.place.look(), target);
        Ok(plan::sight(&self.terms, &found(Side::Source, source)?, target))
    }

    /// One step was made, which is returned; or there is none to make now.
    pub async fn step(&self, servers: Servers, watch: Watch<'_>) -> Result<Next, Error> {
        for _ in 0..LOOKS {
            match Box::pin(self.once(servers, watch)).await {
                Err(Halt::Told((side, Trouble::Failure(failure))))
                    if failure.refusal.is_settled_by_another_look() =>
                {
                    tracing::debug!(error = %failure.error, %side, "looking again");
                }
                Err(halt) => return Err(halt.into()),
                Ok(next) => return Ok(next),
            }
        }
        Err(Error::Contended { rounds: LOOKS })
    }

    /// All steps were made that can be: the API servers must be stopped now, or it is done.
    ///
    /// # Errors
    /// [`Error::Contended`] if the copy differed from the source time after time, or the source would not shut.
    pub async fn run(&self, servers: Servers, watch: Watch<'_>) -> Result<Next, Error> {
        let (mut copies, mut rounds) = (0, 0);
        loop {
            let next = self.step(servers, watch).await?;
            if !matches!(next, Next::Step(_)) {
                return Ok(next);
            }
            copies += usize::from(next == Next::Step(Step::Copy));
            rounds += usize::from(next != Next::Step(Step::Raise));
            if copies > COPIES || rounds > ROUNDS {
                return Err(Error::Contended { rounds });
            }
        }
    }

    /// The tenant can write to the source again, and this token never fences it any more. The target is not asked.
    ///
    /// # Errors
    /// [`Error::Switched`] if the tenant has left the source.
    pub async fn abort(&self) -> Result<(), Error> {
        for _ in 0..LOOKS {
            match Box::pin(self.abort_once()).await {
                Err(Halt::Told((_, Trouble::Failure(failure))))
                    if failure.refusal.is_settled_by_another_look() => {}
                Err(halt) => return Err(halt.into()),
                Ok(()) => {
                    let opened = self.from.store.ensure(&self.from.account).await;
                    return opened.map(drop).map_err(|source| Error::Store { side: Side::Source, source });
                }
            }
        }
        Err(Error::Contended { rounds: LOOKS })
    }

    /// Nothing of the tenant is left in the source. Only once the tenant is on the target.
    pub async fn drop_source(&self) -> Result<(), Error> {
        let (source, target) = self.look().await.map_err(Error::from)?;
        if source.found.presence == Presence::Absent && source.found.mark.is_none() {
            return Ok(());
        }
        if plan::decide(&self.terms, Servers::Gone, &source.found, &target.found)? != Next::Done {
            return Err(Error::NotSwitched);
        }
        let removed = self.from.store.remove(&self.from.account).await;
        removed.map_err(|source| Error::Store { side: Side::Source, source })
    }

    /// Nothing of an aborted copy is left in the target, nor an account there that was never used.
    ///
    /// # Errors
    /// [`Error::NotSwitched`] if the migration was not aborted: it may still need its copy.
    pub async fn discard_target(&self) -> Result<(), Error> {
        let (source, target) = self.look().await.map_err(Error::from)?;
        let is_ours =
            |look: &Look| look.found.mark.as_ref().is_some_and(|mark| mark.token == self.terms.token);
        let is_aborted =
            is_ours(&source) && source.found.mark.as_ref().is_some_and(|mark| mark.stage == Stage::Aborted);
        if !is_aborted {
            return if is_ours(&target) { Err(Error::NotSwitched) } else { Ok(()) };
        }
        let is_unused = target.found.mark.is_none() && target.found.data == Data::None;
        if is_ours(&target) || is_unused {
            let removed = self.to.store.remove(&self.to.account).await;
            removed.map_err(|source| Error::Store { side: Side::Target, source })?;
        }
        Ok(())
    }

    async fn look(&self) -> Result<(Look, Look), Told> {
        let source = async { self.source.place.look().await.map_err(|trouble| (Side::Source, trouble)) };
        let target = async { self.target.place.look().await.map_err(|trouble| (Side::Target, trouble)) };
        tokio::try_join!(source, target)
    }

    /// The source bears the mark that this token was aborted.
    async fn abort_once(&self) -> Result<(), Halt> {
        let theirs = |trouble| Halt::Told((Side::Source, trouble));
        let source = self.source.place.look().await.map_err(theirs)?;
        let token = &self.terms.token;
        match &source.found.mark {
            Some(mark) if mark.stage == Stage::Aborted && mark.token == *token => return Ok(()),
            None | Some(Mark { stage: Stage::Aborted, .. }) => {
                if source.found.presence == Presence::Absent {
                    return Err(Error::NoSource.into());
                }
            }
            Some(mark) if mark.token != *token => {
                let token = mark.token.clone();
                return Err(match mark.stage {
                    Stage::Left => Error::Gone { token },
                    _ => Error::Held { side: Side::Source, token },
                }
                .into());
            }
            Some(Mark { stage: Stage::Fenced, .. }) => {}
            Some(Mark { stage: Stage::Left, .. }) => return Err(Error::Switched.into()),
            Some(_) => return Err(Error::SamePlace.into()),
        }
        self.source.place.unshut().await.map_err(theirs)?;
        self.mark(&self.source, &source, Mark::new(token, Stage::Aborted)).await
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (from, to) = (&self.from.store, &self.to.store);
        f.debug_struct("Migration")
            .field("from", from)
            .field("to", to)
            .field("terms", &self.terms)
            .finish_non_exhaustive()
    }
}
