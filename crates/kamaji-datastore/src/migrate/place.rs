//! One account in one datastore, as a migration sees it: what every driver can do that takes part.

use std::future::Future;

use crate::connection::Failure;
use crate::error;
use crate::migrate::mark::Mark;
use crate::migrate::plan::Found;
use crate::migrate::record::{After, Record, Shape};

/// What a mark was when it was looked at. Whoever changes it says so, and is refused if it is not so any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// etcd: the revisions of the last change of the migration's mark and of the account's own, 0 without one.
    #[cfg(feature = "etcd")]
    Revisions { mark: i64, owner: i64 },
    /// A text that holds the mark; nothing if there is none.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    Text(Option<String>),
    /// NATS: the number of the message that holds both marks, 0 without one, and the word under which its bucket is shut.
    #[cfg(feature = "nats")]
    Message { sequence: u64, word: String },
}

impl Version {
    /// The revisions; none that ever were if it is another driver's.
    #[cfg(feature = "etcd")]
    pub(crate) fn revisions(&self) -> (i64, i64) {
        match self {
            Self::Revisions { mark, owner } => (*mark, *owner),
            #[cfg(any(feature = "mysql", feature = "postgres"))]
            Self::Text(_) => (-1, -1),
            #[cfg(feature = "nats")]
            Self::Message { .. } => (-1, -1),
        }
    }

    /// The text, if it is that.
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => text.as_deref(),
            #[cfg(feature = "etcd")]
            Self::Revisions { .. } => None,
            #[cfg(feature = "nats")]
            Self::Message { .. } => None,
        }
    }

    /// The number and the word; none that ever were if it is another driver's.
    #[cfg(feature = "nats")]
    pub(crate) fn message(&self) -> (u64, &str) {
        match self {
            Self::Message { sequence, word } => (*sequence, word),
            #[allow(unreachable_patterns, reason = "NATS may be the only driver that is compiled in")]
            _ => (0, ""),
        }
    }
}

/// What was found, and as of when.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) found: Found,
    pub(crate) version: Version,
}

/// How a datastore keeps a tenant's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Keys below `/<schema>/`; the revision is everybody's, and grows by one with every write.
    #[cfg_attr(not(feature = "etcd"), allow(dead_code, reason = "no other driver keeps keys"))]
    Keys,
    /// kine's table of rows, with keys below `/registry/`; the revision is the tenant's own.
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres")),
        allow(dead_code, reason = "only what stands behind kine has rows")
    )]
    Rows,
    /// kine's bucket, with keys below `/registry/`; the revision is the tenant's own.
    #[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "no other driver keeps buckets"))]
    Bucket,
}

/// How much is written at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batch {
    pub(crate) records: usize,
    /// A single greater record is written all the same.
    pub(crate) bytes: usize,
}

/// Why a driver did not do its part.
pub(crate) enum Trouble {
    Failure(Failure),
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres")),
        allow(dead_code, reason = "only what stands behind kine has rows")
    )]
    Odd(String),
    Unfit {
        key: Vec<u8>,
        why: &'static str,
    },
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<error::Error> for Trouble {
    fn from(error: error::Error) -> Self {
        Self::Failure(error.into())
    }
}

/// What a datastore can do in a migration. All of it may be repeated, and cut off at any moment.
pub(crate) trait Place: Send + Sync {
    const KIND: Kind;
    const BATCH: Batch;

    /// What there is. The account's own mark is there and is the account's, or there is nothing of it.
    fn look(&self) -> impl Future<Output = Result<Look, Trouble>> + Send;

    /// At most one statement towards an account that can bear a mark; false if it can.
    fn found(&self) -> impl Future<Output = Result<bool, Trouble>> + Send;

    /// The mark is this one, if it was the one that was looked at; the tenant can log in only if the mark does not shut it.
    fn mark(
        &self,
        version: &Version,
        mark: Option<&Mark>,
    ) -> impl Future<Output = Result<Version, Trouble>> + Send;

    /// At most one statement was made towards a tenant that cannot write, nor has anyone logged in who could.
    fn shut(&self) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// What [`shut`](Self::shut) took from the tenant's user beside its log-in was given back.
    fn unshut(&self) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Whether a write of the tenant's was tried and refused.
    fn refuses_writes(&self) -> impl Future<Output = Result<bool, Trouble>> + Send;

    /// The account has an empty place for data, and nothing else is in it.
    fn prepare(&self) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// The revision is this one, or nearer to it, by about two seconds' work.
    fn raise(&self, to: i64) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// The next records in the order of the shape: about one MiB of them, at least one, or none at the end.
    fn page(&self, shape: Shape, after: &After) -> impl Future<Output = Result<Vec<Record>, Trouble>> + Send;

    /// These are gone, and those are there, if the mark is still as it was.
    fn write(
        &self,
        shape: Shape,
        version: &Version,
        edits: &Edits,
    ) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// The first API server finds all as it needs it: whoever has seen less than this revision of the source starts over.
    fn settle(&self, shape: Shape, source: i64) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// What makes the target more like the source.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    pub(crate) puts: Vec<Record>,
    pub(crate) deletes: Vec<After>,
    pub(crate) bytes: usize,
}

impl Edits {
    pub(crate) fn len(&self) -> usize {
        self.puts.len() + self.deletes.len()
    }
}
