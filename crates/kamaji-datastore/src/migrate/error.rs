//! Why a migration cannot go on.

use std::fmt;

use crate::error;
use crate::migrate::mark::Token;

/// One of the two datastores of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The one that the tenant leaves.
    Source,
    /// The one that it goes to.
    Target,
}

/// Why a step was not made. Whatever it is, nothing is lost: the same call goes on from there, or the migration is
/// aborted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the datastores did not do its part.
    #[error("the {side} datastore of the migration failed")]
    Store {
        /// Which one.
        side: Side,
        /// How.
        #[source]
        source: error::Error,
    },
    /// The account is not in the source.
    #[error("the tenant's account is not in the source datastore; check which datastore the tenant uses")]
    NoSource,
    /// Both sides are the same account.
    #[error("source and target are the same account; choose another datastore to migrate to")]
    SamePlace,
    /// The accounts are of two tenants.
    #[error("source and target belong to different tenants; give both accounts the same owner")]
    OtherTenant,
    /// Another migration holds the account.
    #[error("the {side} is held by the migration {token}; finish or abort that one first")]
    Held {
        /// Which account.
        side: Side,
        /// Whose it is.
        token: Token,
    },
    /// The tenant has left the source by another migration.
    #[error("the tenant has left the source with the migration {token}; migrate from where it is now")]
    Gone {
        /// By which one.
        token: Token,
    },
    /// This token was aborted.
    #[error("the migration {token} was aborted; start another one under a new token")]
    Aborted {
        /// The token.
        token: Token,
    },
    /// The switch is behind us.
    #[error("the tenant is on the target already; finish this migration, then migrate back")]
    Switched,
    /// The tenant is not on the target yet.
    #[error("the tenant is still on the source; finish or abort the migration before the source is dropped")]
    NotSwitched,
    /// The target holds data that no migration has put there.
    #[error(
        "the target holds data of this tenant that no migration has put there; remove it, or choose another datastore"
    )]
    InUse,
    /// The target has lost the account that the tenant is to use.
    #[error(
        "the tenant has left the source, and the target has no copy; restore the target, the source still has all data"
    )]
    TargetLost,
    /// The target's revisions are too far behind to be raised one by one.
    #[error(
        "the target's revision is {behind} behind the source's, and at most {furthest} are made up for; restore an empty \
         target with `etcdutl snapshot restore --bump-revision`, or raise the limit"
    )]
    FarBehind {
        /// How many revisions.
        behind: u64,
        /// The limit.
        furthest: u64,
    },
    /// A write of the tenant was not refused.
    #[error("the source still lets the tenant write after it was fenced; check the rights of its user")]
    NotFenced,
    /// Table or bucket are not as kine makes them.
    #[error("what kine keeps in the {side} cannot be read safely, because {why}; remove that first")]
    Odd {
        /// Which one.
        side: Side,
        /// What is odd.
        why: String,
    },
    /// A key or a value that the target cannot keep.
    #[error("the target cannot keep {key:?}, because {why}; change or remove it in the tenant")]
    Unfit {
        /// The key, shortened.
        key: String,
        /// Why not.
        why: &'static str,
    },
    /// Someone else changes the same accounts.
    #[error("gave up after {rounds} rounds; something else changes the same accounts")]
    Contended {
        /// How often we looked.
        rounds: usize,
    },
}

impl Error {
    /// The word for conditions, Events and metrics: one of a closed set, never built from data.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Store { source, .. } => source.reason(),
            Self::NoSource => "NoSource",
            Self::SamePlace => "SamePlace",
            Self::OtherTenant => "OtherTenant",
            Self::Held { .. } => "MigrationHeld",
            Self::Gone { .. } => "TenantGone",
            Self::Aborted { .. } => "MigrationAborted",
            Self::Switched => "MigrationSwitched",
            Self::NotSwitched => "MigrationNotSwitched",
            Self::InUse => "TargetInUse",
            Self::TargetLost => "TargetLost",
            Self::FarBehind { .. } => "RevisionFarBehind",
            Self::NotFenced => "NotFenced",
            Self::Odd { .. } => "TableOdd",
            Self::Unfit { .. } => "KeyUnfit",
            Self::Contended { .. } => "Contended",
        }
    }

    /// Whether waiting cannot help: abort, change something, and start anew.
    pub fn needs_a_change(&self) -> bool {
        match self {
            Self::Store { source, .. } => source.needs_a_change(),
            Self::NotFenced | Self::Contended { .. } => false,
            _ => true,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}
