//! What an error means for us, whatever kind of datastore it comes from.

use std::error::Error as StdError;

use crate::error::{Cause, Error};
use crate::tls::{self, Blame};

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The connection is gone; whether the request was carried out is unknown.
    Lost,
    /// No answer came in time; whether the request was carried out is unknown.
    Late,
    /// There is no quorum; whether the request was carried out is unknown.
    NoQuorum,
    /// The server's certificate is none of a server that we trust.
    Untrusted,
    /// The server does not accept who we say we are.
    Unauthenticated,
    /// The log-in has run out; the request was not carried out and can be sent again.
    LoginExpired,
    /// Users or roles changed while the request was on its way; it was not carried out and can be sent again.
    OldRevision,
    /// We lack a right.
    Forbidden,
    /// There is no such user. From a question about oneself it means that we are none.
    NoUser,
    /// There is no such role.
    NoRole,
    /// Someone else was faster: what was to be made exists, or what was to be removed or changed does not.
    Raced,
    /// Authentication is off.
    AuthDisabled,
    /// The server takes no writes.
    ReadOnly,
    /// The datastore is full.
    NoSpace,
    /// The members' data differ.
    Corrupt,
    /// The server keeps nothing.
    JetStreamOff,
    /// Anything else.
    Other,
}

/// What a driver's client says when a request fails.
pub(crate) trait Fault {
    /// What it means.
    fn refusal(&self) -> Refusal;
    /// Its words and those of its causes, without secrets.
    fn cause(&self) -> Cause;
}

impl Refusal {
    /// What an error below the protocol means, if TLS is to blame.
    pub(crate) fn of_handshake(error: &(dyn StdError + 'static)) -> Option<Self> {
        tls::blame(error).map(|blame| match blame {
            Blame::Ours => Self::Unauthenticated,
            Blame::Theirs => Self::Untrusted,
        })
    }

    /// Whether the request may have been carried out all the same.
    pub(crate) fn leaves_doubt(self) -> bool {
        matches!(self, Self::Lost | Self::Late | Self::NoQuorum)
    }

    /// Whether the request was certainly not carried out, and only came at a bad moment.
    pub(crate) fn allows_another_try(self) -> bool {
        matches!(self, Self::OldRevision | Self::LoginExpired)
    }

    /// Whether a statement failed because it was in vain, or nobody knows whether it did.
    pub(crate) fn is_settled_by_another_look(self) -> bool {
        self.leaves_doubt() || matches!(self, Self::Raced | Self::NoUser | Self::NoRole)
    }

    /// The error to report, for what we were `doing` at `endpoint`.
    pub(crate) fn report(self, doing: &str, endpoint: &str, source: Cause) -> Error {
        let (doing, endpoint) = (doing.to_owned(), endpoint.to_owned());
        match self {
            Self::Lost => Error::Unreachable { endpoints: endpoint, source },
            Self::NoQuorum => Error::NoQuorum { doing, source },
            Self::Untrusted => Error::Untrusted { endpoint, source },
            Self::LoginExpired | Self::Unauthenticated => Error::Unauthenticated { endpoint, source },
            Self::Forbidden => Error::Forbidden { doing, source },
            Self::AuthDisabled => Error::AuthDisabled { endpoint },
            Self::ReadOnly => Error::ReadOnly { endpoint, source },
            Self::NoSpace => Error::NoSpace { doing },
            Self::Corrupt => Error::Corrupt,
            Self::JetStreamOff => Error::JetStreamOff { endpoint, source },
            Self::Late | Self::OldRevision | Self::NoUser | Self::NoRole | Self::Raced | Self::Other => {
                Error::Refused { doing, source }
            }
        }
    }
}

/// The words of an error and of its causes, each said once.
pub(crate) fn words(error: &(dyn StdError + 'static)) -> Cause {
    words_by(error, |error| (error.to_string(), error.source()))
}

/// The same, for errors whose own words and causes are told by `unfold`.
pub(crate) fn words_by<'a>(
    error: &'a (dyn StdError + 'static),
    unfold: impl Fn(&'a (dyn StdError + 'static)) -> (String, Option<&'a (dyn StdError + 'static)>),
) -> Cause {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let (text, source) = unfold(error);
        if !words.iter().any(|earlier| earlier.contains(&text)) {
            words.push(text);
        }
        next = source;
    }
    Cause(words.join(": "))
}
