//! What can go wrong between us and an API server.

use std::time::Duration;

use kube::core::Status;
use serde_json::error::Category;

use crate::ObjectId;

/// Something we wanted of an API server did not happen.
///
/// The variant says what we were doing, `object` to what, and [`Failure`] (the source) why not.
/// Nothing in here holds the body of an object.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server-side apply.
    #[error("could not apply {object}")]
    Apply {
        /// What was to be applied.
        object: ObjectId,
        /// Why it was not.
        #[source]
        source: Box<Failure>,
    },
    /// A server-side apply of the status.
    #[error("could not apply the status of {object}")]
    ApplyStatus {
        /// Whose status was to be applied.
        object: ObjectId,
        /// Why it was not.
        #[source]
        source: Box<Failure>,
    },
    /// The creation of an object that must not exist yet.
    #[error("could not create {object}")]
    Create {
        /// What was to be created.
        object: ObjectId,
        /// Why it was not.
        #[source]
        source: Box<Failure>,
    },
    /// Taking over the fields of an earlier manager.
    #[error("could not take over the fields of {object}")]
    Adopt {
        /// Whose fields were to be taken over.
        object: ObjectId,
        /// Why they were not.
        #[source]
        source: Box<Failure>,
    },
    /// A deletion.
    #[error("could not delete {object}")]
    Delete {
        /// What was to be deleted.
        object: ObjectId,
        /// Why it was not.
        #[source]
        source: Box<Failure>,
    },
    /// A removal of finalizers.
    #[error("could not remove finalizers of {object}")]
    Release {
        /// Whose they are.
        object: ObjectId,
        /// Why they stay.
        #[source]
        source: Box<Failure>,
    },
    /// A read.
    #[error("could not read {object}")]
    Read {
        /// What was to be read.
        object: ObjectId,
        /// Why it was not.
        #[source]
        source: Box<Failure>,
    },
}

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server heard us and said no.
    #[error("the API server answered {} {}: {}", status.code, status.reason, status.message)]
    Refused {
        /// The server's words.
        status: Box<Status>,
        /// The server's wish, from the header `Retry-After` or from the status.
        retry_after: Option<Duration>,
    },
    /// No answer in time; the request may still have been carried out.
    #[error("the API server gave no answer within {} s", .0.as_secs())]
    Deadline(Duration),
    /// The request or its answer was lost; the request may have been carried out.
    #[error("the connection to the API server failed")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The answer is not an object of the kind we asked for. The text itself is withheld.
    #[error("the API server's answer is not understood ({category:?} error at line {line}, column {column})")]
    Unreadable {
        /// What is wrong with it.
        category: Category,
        /// Where.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// The answer is larger than we are willing to hold.
    #[error("the API server's answer is larger than {limit} bytes")]
    TooLarge {
        /// The largest answer that is read, in bytes.
        limit: usize,
    },
    /// The object has no name, or one that would change the address of the request.
    #[error(
        "the name or namespace cannot be part of an address; it must not be empty, `.`, `..` or hold any of / % ? #"
    )]
    Unaddressable,
    /// The object has no UID, so it was never read, and another one could be hit.
    #[error("the object has no UID; read it before deleting it")]
    NeverRead,
    /// The object cannot be written as JSON, or the request not be built from it.
    #[error("the request cannot be built")]
    Build(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// The object that the request was about.
    pub fn object(&self) -> &ObjectId {
        match self {
            Self::Apply { object, .. }
            | Self::ApplyStatus { object, .. }
            | Self::Create { object, .. }
            | Self::Adopt { object, .. }
            | Self::Delete { object, .. }
            | Self::Release { object, .. }
            | Self::Read { object, .. } => object,
        }
    }

    /// Why the request came to nothing.
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Apply { source, .. }
            | Self::ApplyStatus { source, .. }
            | Self::Create { source, .. }
            | Self::Adopt { source, .. }
            | Self::Delete { source, .. }
            | Self::Release { source, .. }
            | Self::Read { source, .. } => source,
        }
    }

    /// The server's refusal, if it answered at all.
    pub fn status(&self) -> Option<&Status> {
        self.failure().status()
    }

    /// The object (or its kind, or its namespace) does not exist.
    pub fn is_not_found(&self) -> bool {
        self.failure().is_not_found()
    }

    /// Somebody else was faster: a `resourceVersion`, a UID or another manager's field stood in the way.
    pub fn is_conflict(&self) -> bool {
        self.failure().is_conflict()
    }

    /// The server calls the object invalid, and will until the object changes.
    pub fn is_invalid(&self) -> bool {
        self.status().is_some_and(Status::is_invalid)
    }

    /// We may not do this.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(Status::is_forbidden)
    }

    /// The namespace is being deleted, so nothing more can be created in it.
    pub fn is_forbidden_namespace_terminating(&self) -> bool {
        self.status().is_some_and(|status| {
            let mut causes = status.details.iter().flat_map(|details| &details.causes);
            status.is_forbidden() && causes.any(|cause| cause.reason == "NamespaceTerminating")
        })
    }

    /// A `ResourceQuota` leaves no room for the object.
    ///
    /// The server has no reason of its own for this, so its wording decides.
    pub fn is_quota(&self) -> bool {
        self.status().is_some_and(|status| {
            let quota = ["exceeded quota", "failed quota"];
            status.is_forbidden() && quota.iter().any(|words| status.message.contains(words))
        })
    }

    /// Trying the same again later may help: too many requests, a failing server, a lost connection, no answer.
    pub fn is_transient(&self) -> bool {
        match self.failure() {
            Failure::Refused { status, .. } => matches!(status.code, 408 | 429 | 500..=599),
            Failure::Deadline(_) | Failure::Transport(_) => true,
            Failure::Unreadable { .. }
            | Failure::TooLarge { .. }
            | Failure::Unaddressable
            | Failure::NeverRead
            | Failure::Build(_) => false,
        }
    }

    /// How long the server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.failure() {
            Failure::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Failure {
    /// The server's refusal, if it answered at all.
    pub fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused { status, .. } => Some(status),
            _ => None,
        }
    }

    pub(crate) fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    pub(crate) fn is_conflict(&self) -> bool {
        self.status().is_some_and(Status::is_conflict)
    }

    pub(crate) fn build(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Build(source.into())
    }

    pub(crate) fn transport(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Transport(source.into())
    }
}
