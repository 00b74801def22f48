//! How each step of a migration is made.

use super::{Migration, Progress, Watch};
use crate::migrate::error::{Error, Side};
use crate::migrate::mark::{Mark, Stage};
use crate::migrate::place::{Look, Trouble};
use crate::migrate::plan::{self, HEADROOM, Next, Servers, Step};
use crate::migrate::reconcile::{Marker, Mode, Tally, Told, reconcile};
use crate::migrate::sides::Sided;

impl Migration {
    /// One step, and what it was.
    pub(super) async fn once(&self, servers: Servers, watch: Watch<'_>) -> Result<Next, Halt> {
        let (source, target) = self.look().await?;
        let next = plan::decide(&self.terms, servers, &source.found, &target.found)?;
        let Next::Step(step) = next else { return Ok(next) };
        watch(Progress { step, records: 0, bytes: 0 });
        self.make(step, (&source, &target), watch).await?;
        tracing::info!(?step, token = self.terms.token.as_str(), "migrated a step");
        Ok(next)
    }

    async fn make(&self, step: Step, (source, target): (&Look, &Look), watch: Watch<'_>) -> Result<(), Halt> {
        let theirs = |trouble| Halt::Told((Side::Source, trouble));
        let ours = |trouble| Halt::Told((Side::Target, trouble));
        let token = &self.terms.token;
        match step {
            Step::Claim => {
                if !self.target.place.found().await.map_err(ours)? {
                    self.mark(&self.target, target, Mark::new(token, Stage::Claimed)).await?;
                }
            }
            Step::Prepare => {
                self.target.place.prepare().await.map_err(ours)?;
                self.mark(&self.target, target, Mark::new(token, Stage::Copying)).await?;
            }
            Step::Raise => {
                self.target.place.raise(source.found.revision + HEADROOM).await.map_err(ours)?;
            }
            Step::Fence => self.mark(&self.source, source, Mark::new(token, Stage::Fenced)).await?,
            Step::Shut(Side::Source) => self.source.place.shut().await.map_err(theirs)?,
            Step::Shut(Side::Target) => self.target.place.shut().await.map_err(ours)?,
            Step::Copy => self.copy((source, target), watch).await?,
            Step::Verify => self.verify((source, target), watch).await?,
            Step::Switch => {
                self.prove_fenced().await?;
                // API servers that ran while the copy was made may have shown revisions that others' writes have brought.
                self.target.place.settle(self.terms.shape, source.found.revision).await.map_err(ours)?;
                self.mark(&self.source, source, Mark::new(token, Stage::Left)).await?;
            }
            Step::Open => self.open(target).await?,
        }
        Ok(())
    }

    pub(super) async fn mark(
        &self,
        on: &Sided,
        look: &Look,
        mark: Result<Mark, crate::error::Error>,
    ) -> Result<(), Halt> {
        let told = |trouble| Halt::Told((on.side, trouble));
        let mark = mark.map_err(|error| told(error.into()))?;
        on.place.mark(&look.version, Some(&mark)).await.map(drop).map_err(told)
    }

    /// A write of the tenant's was refused a moment ago.
    async fn prove_fenced(&self) -> Result<(), Halt> {
        let refused = self.source.place.refuses_writes().await;
        if refused.map_err(|trouble| (Side::Source, trouble))? {
            return Ok(());
        }
        Err(Halt::Error(Error::NotFenced))
    }

    /// The target's mark at this stage, under the fence that is up, with a nonce that nobody has seen.
    fn under_fence(&self, source: &Look, stage: Stage) -> Result<Mark, Halt> {
        let mark = Mark::new(&self.terms.token, stage).map_err(|error| (Side::Target, error.into()))?;
        Ok(Mark { fence: source.found.mark.as_ref().map(|fence| fence.nonce.clone()), ..mark })
    }

    /// The target's mark is changed first, so that an earlier runner who still copies is refused.
    async fn copy(&self, (source, target): (&Look, &Look), watch: Watch<'_>) -> Result<(), Halt> {
        self.prove_fenced().await?;
        let copying = self.under_fence(source, Stage::Copying)?;
        let mut marker = Marker::put(&self.target, &target.version, copying).await?;
        let mut show = |tally: Tally| watch(progress(Step::Copy, tally));
        let (sides, shape) = ((&self.source, &mut marker), self.terms.shape);
        let tally = reconcile(sides, shape, Mode::Write, &mut show).await?;
        let settled = self.target.place.settle(shape, source.found.revision).await;
        settled.map_err(|trouble| (Side::Target, trouble))?;
        let of = Some(tally.amount());
        marker.replace(Mark { of, ..self.under_fence(source, Stage::Copied)? }).await?;
        Ok(())
    }

    async fn verify(&self, (source, target): (&Look, &Look), watch: Watch<'_>) -> Result<(), Halt> {
        self.prove_fenced().await?;
        let of = target.found.mark.as_ref().and_then(|mark| mark.of);
        let copied = Mark { of, ..self.under_fence(source, Stage::Copied)? };
        let mut marker = Marker::put(&self.target, &target.version, copied).await?;
        let mut show = |tally: Tally| watch(progress(Step::Verify, tally));
        let (sides, shape) = ((&self.source, &mut marker), self.terms.shape);
        let tally = reconcile(sides, shape, Mode::Count, &mut show).await?;
        if tally.differences > 0 {
            tracing::warn!(differences = tally.differences, "the copy differs from the source and is mended");
        }
        let stage = if tally.differences == 0 { Stage::Verified } else { Stage::Copying };
        let of = (stage == Stage::Verified).then(|| tally.amount());
        marker.replace(Mark { of, ..self.under_fence(source, stage)? }).await?;
        Ok(())
    }

    async fn open(&self, target: &Look) -> Result<(), Halt> {
        let ours = |trouble| Halt::Told((Side::Target, trouble));
        if target.found.mark.is_some() {
            self.target.place.unshut().await.map_err(ours)?;
            self.target.place.mark(&target.version, None).await.map_err(ours)?;
        }
        self.to.store.ensure(&self.to.account).await.map_err(|error| ours(error.into()))?;
        Ok(())
    }
}

/// Why a step ended early.
pub(super) enum Halt {
    Told(Told),
    Error(Error),
}

impl From<Told> for Halt {
    fn from(told: Told) -> Self {
        Self::Told(told)
    }
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Told> for Error {
    fn from((side, trouble): Told) -> Self {
        match trouble {
            Trouble::Failure(failure) => Self::Store { side, source: failure.error },
            Trouble::Odd(why) => Self::Odd { side, why },
            Trouble::Unfit { key, why } => {
                Self::Unfit { key: String::from_utf8_lossy(&key).chars().take(200).collect(), why }
            }
        }
    }
}

impl From<Halt> for Error {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Told(told) => told.into(),
            Halt::Error(error) => error,
        }
    }
}

fn progress(step: Step, tally: Tally) -> Progress {
    Progress { step, records: tally.records, bytes: tally.bytes }
}
