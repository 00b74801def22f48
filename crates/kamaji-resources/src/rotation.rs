//! A trust anchor is replaced while tenants, nodes and clients go on: asked for by name and UID, in stages, with the old and the
//! new one trusted side by side, and back again until the very last.
//!
//! # Stages
//! | stage | signs | trusted by the control plane | goes on when |
//! |---|---|---|---|
//! | [`Stage::Settled`] | the one | the one | it is asked for |
//! | [`Stage::TrustingBoth`] | the old | both | every Pod trusts both, and so does what machines are told when they join |
//! | [`Stage::Reissued`] | the new | both | every Pod shows what the new one signed, and the old one is given up by its fingerprint |
//! | [`Stage::TakenBack`] | the old again | both | every Pod shows what the old one signed, and the new one is given up by its fingerprint |
//! | [`Stage::Dropped`] | the one that stays | the one that stays | no Pod is left that reads the other |
//!
//! Whoever takes the request away goes back: from `TrustingBoth` at once, because the new one has signed nothing yet; from
//! `Reissued` by way of `TakenBack`, because nodes may hold what it has signed.
//!
//! # Why nodes and clients go on
//! Behind whatever the new authority has issued stands its own certificate, signed once more by the old one
//! ([`Authority::vouch`](kamaji_pki::Authority::vouch)). So kubelets and clients that know only the old authority believe what the
//! new one has issued, without being touched, until the old one is dropped. Nobody can see from here which of them have followed:
//! that is why the last step waits for the word of whoever knows.
//!
//! # Where it is kept
//! In the anchor's own Secret, so that the stage and what belongs to it change in one write, and are backed up and restored
//! together. What signs stands under the names that it always had; beside it, and only while it lasts:
//!
//! | key | what |
//! |---|---|
//! | `rotation` | the stage |
//! | `trusted.crt`, `trusted.pub` | everything that is trusted: what signs first, then the other |
//! | `other.crt` or `other.pub`, `other.key` | the other one |
//! | `cross.crt` | what signs, signed by the other one |
//!
//! The status remembers the checksum of each anchor's Secret, and what does not fit it is not used. So before a Secret changes,
//! the checksum that it is about to have is announced in the status ([`Record`]): whoever dies between the two writes
//! is followed by somebody who knows both checksums.

mod material;

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::v1alpha1::RotationStatus;
use kamaji_api::{Child, labels};

use crate::secret::value;

pub(crate) use material::{Overlap, overlap, read_checksum};
pub use material::{changed, is_over, other_fingerprint};

/// Key of the stage in an anchor's Secret.
pub(crate) const STAGE: &str = "rotation";
/// So many digits of a fingerprint name an anchor.
const DIGITS: usize = 16;

/// How far the replacement of an anchor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// There is one anchor.
    #[default]
    Settled,
    /// Both are trusted, the old one signs.
    TrustingBoth,
    /// Both are trusted, the new one signs.
    Reissued,
    /// Both are trusted, the old one signs again.
    TakenBack,
    /// One is left, and Pods may still read what was beside it.
    Dropped,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 5] =
        [Self::Settled, Self::TrustingBoth, Self::Reissued, Self::TakenBack, Self::Dropped];

    /// The stage as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "Settled",
            Self::TrustingBoth => "TrustingBoth",
            Self::Reissued => "Reissued",
            Self::TakenBack => "TakenBack",
            Self::Dropped => "Dropped",
        }
    }

    /// The stage that an anchor's Secret is in.
    pub fn of(secret: &Secret) -> Self {
        let word = value(secret, STAGE).unwrap_or_default();
        Self::ALL.into_iter().find(|stage| stage.as_str().as_bytes() == word).unwrap_or_default()
    }

    /// Whether two anchors are trusted.
    pub const fn overlaps(self) -> bool {
        matches!(self, Self::TrustingBoth | Self::Reissued | Self::TakenBack)
    }
}

/// What whoever may edit the TenantControlPlane wants of an anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It stays, or comes back.
    Kept,
    /// It is replaced.
    Rotated,
    /// It was replaced for this very request.
    Served,
}

/// What a decision rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// How far it is.
    pub stage: Stage,
    /// What is wanted.
    pub wish: Wish,
    /// Who has followed to this stage.
    pub followers: Followers,
    /// The anchor that does not sign was given up by its fingerprint.
    pub given_up: bool,
}

/// Who has followed to a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followers {
    /// The tenant is asleep, so that nobody could.
    Asleep,
    /// Not every Pod.
    SomePods,
    /// Every Pod is one of this stage and ready, and no other is left.
    AllPods,
    /// What stands inside the tenant too, or nobody gets in because the old anchor has ended.
    Everybody,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is to be done.
    Rest,
    /// Something must happen first.
    Wait(For),
    /// The Secret goes to this stage.
    Go(Stage),
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// That the tenant wakes.
    Waking,
    /// That every Pod is of this stage.
    Pods,
    /// That what stands inside the tenant is of this stage.
    Inside,
    /// The word of whoever knows that nodes and clients have followed.
    LastWord,
}

/// What comes next for one anchor. Each goes its own way, whatever the others do.
pub fn next(view: &View) -> Step {
    let is_wanted = view.wish == Wish::Rotated;
    let ready = |to| match view.followers {
        Followers::Asleep => Step::Wait(For::Waking),
        Followers::SomePods => Step::Wait(For::Pods),
        Followers::AllPods => Step::Wait(For::Inside),
        Followers::Everybody => to,
    };
    let last = || if view.given_up { Step::Go(Stage::Dropped) } else { Step::Wait(For::LastWord) };
    match view.stage {
        Stage::Settled if !is_wanted => Step::Rest,
        _ if view.followers == Followers::Asleep => Step::Wait(For::Waking),
        Stage::Settled => Step::Go(Stage::TrustingBoth),
        Stage::TrustingBoth if is_wanted => ready(Step::Go(Stage::Reissued)),
        Stage::TrustingBoth => Step::Go(Stage::Dropped),
        Stage::Reissued if is_wanted => ready(last()),
        Stage::Reissued => Step::Go(Stage::TakenBack),
        Stage::TakenBack if is_wanted => Step::Go(Stage::Reissued),
        Stage::TakenBack => ready(last()),
        Stage::Dropped if view.followers == Followers::SomePods => Step::Wait(For::Pods),
        Stage::Dropped => Step::Go(Stage::Settled),
    }
}

/// The annotation on a TenantControlPlane that asks for a new anchor; its value is the UID.
pub const fn request(child: Child) -> &'static str {
    match child {
        Child::FrontProxyCa => labels::ROTATE_FRONT_PROXY_CA,
        Child::ServiceAccountKey => labels::ROTATE_SERVICE_ACCOUNT_KEY,
        _ => labels::ROTATE_CA,
    }
}

/// What the status remembers of the replacement of an anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which anchor.
    pub child: Child,
    /// How far it was when this was written.
    pub stage: Stage,
    /// The checksum that its Secret was about to have.
    pub announced: String,
    /// Whether the request that stands was carried out, once the Secret has that checksum.
    pub served: bool,
}

impl Record {
    /// Reads one out of a status; `None` of what is none of ours.
    pub fn of(status: &RotationStatus) -> Option<Self> {
        Some(Self {
            child: crate::anchors::ANCHORS.into_iter().find(|child| child.component() == status.anchor)?,
            stage: Stage::ALL.into_iter().find(|stage| stage.as_str() == status.stage).unwrap_or_default(),
            announced: status.checksum.clone(),
            served: status.served,
        })
    }

    /// As it stands in a status.
    pub fn status(&self) -> RotationStatus {
        RotationStatus {
            anchor: self.child.component().to_owned(),
            stage: self.stage.as_str().to_owned(),
            checksum: self.announced.clone(),
            served: self.served,
        }
    }
}

/// The first digits of a fingerprint, which are enough to name an anchor.
pub(crate) fn short(fingerprint: &str) -> String {
    fingerprint.chars().take(DIGITS).collect()
}

#[cfg(test)]
mod tests;
