//! What has to be done for an account, given what there is. Nothing here awaits or knows a client.

use crate::account::{Account, Standing};
use crate::error::Foreign;
use crate::nats::bucket::Shape;
use crate::nats::mark::Mark;

/// What there is in the NATS account for one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) place: Place,
    pub(crate) mark: Mark,
    /// The stream that has the name of the tenant's bucket.
    pub(crate) bucket: Option<Shape>,
    /// Another bucket in which a kine keeps data. Looked for only by a new tenant where nothing is marked.
    pub(crate) neighbour: Option<String>,
    /// Whether the tenant is on its way from or to another datastore, or has left.
    pub(crate) is_moving: bool,
}

/// Whether there is a stream that marks can lie in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    #[default]
    Missing,
    Made,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make the stream that marks lie in. It stays when the account is gone.
    MakePlace,
    /// Mark the NATS account as the tenant's, if nobody has.
    Claim,
    AddBucket,
    /// Give the bucket the settings that kine asks for.
    FitBucket,
    /// Remove the bucket with all that is in it.
    DeleteBucket,
    /// Take the mark away: the message with this number.
    Release(u64),
}

/// What must be done, in order, until the bucket is there and nobody else's data is beside it.
///
/// The mark comes first and is put only where there is none, so that of several tenants one gets the NATS account; what
/// has the bucket's name from then on is the tenant's.
///
/// # Errors
/// What stands in the way; nothing may be done then.
pub(crate) fn ensure(account: &Account, observed: &Observed) -> Result<Vec<Step>, Foreign> {
    if let Some(foreign) = foreign(account, observed) {
        return Err(foreign);
    }
    let mut steps = Vec::new();
    if observed.mark == Mark::Absent {
        steps.extend((observed.place == Place::Missing).then_some(Step::MakePlace));
        steps.push(Step::Claim);
    }
    match observed.bucket {
        None => steps.push(Step::AddBucket),
        Some(Shape::Kine) => {}
        Some(_) => steps.push(Step::FitBucket),
    }
    Ok(steps)
}

/// What must be done, in order, until nothing of the account is left. The mark goes last, so that whoever is cut off is
/// known by it afterwards.
pub(crate) fn remove(account: &Account, observed: &Observed) -> Vec<Step> {
    let marked = observed.mark.is_of(account);
    let taken_over = observed.mark == Mark::Absent && account.standing == Standing::Recorded;
    let may_go = match observed.bucket {
        Some(Shape::Kine | Shape::Bucket | Shape::Shut) => marked || taken_over,
        Some(Shape::Other) | None => false,
    };
    let mut steps = Vec::new();
    steps.extend(may_go.then_some(Step::DeleteBucket));
    if let Mark::Held { sequence, .. } = observed.mark
        && marked
    {
        steps.push(Step::Release(sequence));
    }
    steps
}

/// Whether anything that bears the account's name is left alone by [`remove`].
pub(crate) fn leaves_something(account: &Account, observed: &Observed) -> bool {
    observed.bucket.is_some() && foreign(account, observed).is_some()
}

fn foreign(account: &Account, observed: &Observed) -> Option<Foreign> {
    let unmarked = || Foreign::UnmarkedBucket(account.schema.clone());
    match (&observed.mark, observed.bucket) {
        (mark @ Mark::Held { owner, schema, .. }, _) if !mark.is_of(account) => {
            Some(Foreign::Occupied { tenant: Some((schema.clone(), owner.clone())) })
        }
        (Mark::Unreadable, _) => Some(Foreign::Occupied { tenant: None }),
        (_, Some(Shape::Other)) => Some(unmarked()),
        (Mark::Absent, Some(_)) if account.standing == Standing::Claimed => Some(unmarked()),
        (Mark::Absent, _) => observed.neighbour.clone().map(|bucket| Foreign::Neighbour { bucket }),
        (Mark::Held { .. }, _) => None,
    }
}

#[cfg(test)]
mod tests;
