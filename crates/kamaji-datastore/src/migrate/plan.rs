//! What comes next in a migration, given what both datastores say. Nothing here awaits.

use crate::migrate::error::{Error, Side};
use crate::migrate::mark::{Amount, Mark, Stage, Token};
use crate::migrate::record::Shape;

/// How far above the source's revision the target's is raised: so much may the source's grow before it is raised again.
pub(crate) const HEADROOM: i64 = 1_000;

/// What the caller knows of the API servers of the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Servers {
    /// Some may still run: what they have read can still reach clients, with revisions that go on growing.
    Running,
    /// All are gone, and none will be started before the migration is done or aborted.
    Gone,
}

/// One step of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// The account in the target was marked as this migration's, and shut.
    Claim,
    /// The target was made empty.
    Prepare,
    /// The target's revision was raised towards the source's, or beyond it.
    Raise,
    /// The source was marked as fenced, and new log-ins were denied.
    Fence,
    /// One more way to write was taken from the tenant.
    Shut(Side),
    /// What differed was copied.
    Copy,
    /// Both sides were read and compared.
    Verify,
    /// The tenant left the source. From here on there is no way back but another migration.
    Switch,
    /// The target was opened to the tenant.
    Open,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This step.
    Step(Step),
    /// The copy is complete. If the tenant's API servers still run they must be stopped now; then go on with
    /// [`Servers::Gone`].
    StopServers,
    /// The tenant is on the target; the source is kept, and takes no writes.
    Done,
}

/// How far a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The tenant can write to the source.
    Open,
    /// It can write nowhere, and its data is being copied.
    Fenced,
    /// The same, and the copy is complete: once the API servers are gone, the tenant can be switched.
    Ready,
    /// The tenant has left the source.
    Switched,
    /// This token was aborted: the tenant stays in the source.
    Aborted,
}

/// Who is asked how far a migration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Both datastores.
    Both,
    /// The source alone: the target is known not to answer.
    Source,
}

/// What the datastores say of a migration.
#[derive(Debug)]
pub struct Sight {
    /// How far it is. Only a target that says so counts as a complete copy; one that does not answer says nothing.
    pub position: Position,
    /// What is in the way of the next step while API servers may still run.
    pub obstacle: Option<Error>,
    /// How much of the source has been read behind the fence: while it is copied, or while it is compared.
    pub read: Option<Amount>,
    /// How much was copied, once all is.
    pub copied: Option<Amount>,
    /// Differs from an earlier one if anything was done in between.
    pub sign: Sign,
}

/// A sign of life of whoever makes a migration's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    source: (Option<Mark>, Door),
    /// Nothing if it did not answer.
    target: Option<(Option<Mark>, Door)>,
}

impl Sign {
    /// A target that was not seen is as it was in an earlier sign.
    #[must_use]
    pub fn after(self, earlier: &Self) -> Self {
        Self { target: self.target.or_else(|| earlier.target.clone()), ..self }
    }
}

/// What one datastore says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) presence: Presence,
    pub(crate) mark: Option<Mark>,
    pub(crate) door: Door,
    pub(crate) data: Data,
    /// Why what is there cannot be read safely, if it cannot.
    pub(crate) odd: Option<String>,
    /// The newest revision that anyone can have seen.
    pub(crate) revision: i64,
}

/// Whether there is an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Absent,
    Present,
}

/// Whether the tenant can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// It can.
    Open,
    /// Something still stands open, or not everything is open yet.
    Ajar,
    /// It cannot.
    Shut,
}

/// Whether there is anything in the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    None,
    Some,
}

/// What is true of a migration from beginning to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) token: Token,
    pub(crate) shape: Shape,
    /// How many revisions the target may be behind, if raising it takes a statement for each.
    pub(crate) furthest: Option<u64>,
}

/// What comes next.
///
/// # Errors
/// What must be changed first.
pub(crate) fn decide(terms: &Terms, servers: Servers, source: &Found, target: &Found) -> Result<Next, Error> {
    let token = &terms.token;
    let fence = match &source.mark {
        Some(mark) if mark.token == *token => match mark.stage {
            Stage::Fenced => Some(&mark.nonce),
            Stage::Left => return after_switch(token, target),
            Stage::Aborted => return Err(Error::Aborted { token: token.clone() }),
            _ => return Err(Error::SamePlace),
        },
        None | Some(Mark { stage: Stage::Aborted, .. }) => None,
        Some(Mark { stage: Stage::Left, token, .. }) => return Err(Error::Gone { token: token.clone() }),
        Some(Mark { token, .. }) => return Err(Error::Held { side: Side::Source, token: token.clone() }),
    };
    if source.presence == Presence::Absent {
        return Err(Error::NoSource);
    }
    safe(Side::Source, source)?;
    let mark = match &target.mark {
        Some(mark) if mark.stage == Stage::Fenced => {
            return Err(Error::Held { side: Side::Target, token: mark.token.clone() });
        }
        Some(mark) if mark.token == *token && is_of_target(mark.stage) => mark,
        None | Some(Mark { stage: Stage::Aborted, .. }) if target.data == Data::Some => {
            return Err(Error::InUse);
        }
        _ => return Ok(Next::Step(Step::Claim)),
    };
    if mark.stage == Stage::Claimed {
        return Ok(Next::Step(Step::Prepare));
    }
    safe(Side::Target, target)?;
    if target.door != Door::Shut {
        return Ok(Next::Step(Step::Shut(Side::Target)));
    }
    if let Some(raise) = raise(terms, source, target)? {
        return Ok(Next::Step(raise));
    }
    let Some(fence) = fence else { return Ok(Next::Step(Step::Fence)) };
    let copy = if mark.fence.as_ref() == Some(fence) { mark.stage } else { Stage::Copying };
    if source.door != Door::Shut {
        // Whoever has opened it may have written what a copy lacks: under another fence there is none yet.
        let is_late = matches!(copy, Stage::Copied | Stage::Verified);
        return Ok(Next::Step(if is_late { Step::Fence } else { Step::Shut(Side::Source) }));
    }
    Ok(match copy {
        Stage::Copied => Next::Step(Step::Verify),
        Stage::Verified if servers == Servers::Running => Next::StopServers,
        Stage::Verified => Next::Step(Step::Switch),
        _ => Next::Step(Step::Copy),
    })
}

/// What the source says, and the target if it was asked and has answered.
pub(crate) fn sight(terms: &Terms, source: &Found, target: Result<Option<Found>, Error>) -> Sight {
    let (target, failure) = match target {
        Ok(target) => (target, None),
        Err(error) => (None, Some(error)),
    };
    let mark = target.as_ref().and_then(|target| target.mark.as_ref());
    let position = position(&terms.token, source.mark.as_ref(), mark);
    let copy = mark.filter(|mark| mark.token == terms.token && position != Position::Open);
    let next = target.as_ref().map(|target| decide(terms, Servers::Running, source, target));
    let sign = |found: &Found| (found.mark.clone(), found.door);
    Sight {
        position,
        obstacle: failure.or_else(|| next?.err()),
        read: copy.and_then(|copy| copy.read),
        copied: copy.and_then(|copy| copy.of),
        sign: Sign { source: sign(source), target: target.as_ref().map(sign) },
    }
}

/// How far a migration is, as the marks say, whatever is in the way of the next step.
fn position(token: &Token, source: Option<&Mark>, target: Option<&Mark>) -> Position {
    let Some(mark) = source.filter(|mark| mark.token == *token) else { return Position::Open };
    let is_verified = |copy: &Mark| {
        copy.token == *token && copy.stage == Stage::Verified && copy.fence.as_ref() == Some(&mark.nonce)
    };
    match mark.stage {
        Stage::Fenced if target.is_some_and(is_verified) => Position::Ready,
        Stage::Fenced => Position::Fenced,
        Stage::Left => Position::Switched,
        Stage::Aborted => Position::Aborted,
        _ => Position::Open,
    }
}

fn safe(side: Side, found: &Found) -> Result<(), Error> {
    match &found.odd {
        None => Ok(()),
        Some(why) => Err(Error::Odd { side, why: why.clone() }),
    }
}

fn is_of_target(stage: Stage) -> bool {
    matches!(stage, Stage::Claimed | Stage::Copying | Stage::Copied | Stage::Verified)
}

/// Rows are copied with their revisions; whatever gets new ones must get greater ones than anybody has seen.
fn raise(terms: &Terms, source: &Found, target: &Found) -> Result<Option<Step>, Error> {
    if terms.shape == Shape::Rows || target.revision > source.revision {
        return Ok(None);
    }
    let behind = u64::try_from(source.revision - target.revision).unwrap_or_default();
    match terms.furthest {
        Some(furthest) if behind > furthest => Err(Error::FarBehind { behind, furthest }),
        _ => Ok(Some(Step::Raise)),
    }
}

fn after_switch(token: &Token, target: &Found) -> Result<Next, Error> {
    match &target.mark {
        Some(mark) if mark.token == *token && mark.stage == Stage::Verified => Ok(Next::Step(Step::Open)),
        None if target.presence == Presence::Absent => Err(Error::TargetLost),
        None if target.door != Door::Open => Ok(Next::Step(Step::Open)),
        // It may have moved on since.
        Some(mark) if mark.token == *token => Err(Error::TargetLost),
        None | Some(_) => Ok(Next::Done),
    }
}

#[cfg(test)]
mod tests;
