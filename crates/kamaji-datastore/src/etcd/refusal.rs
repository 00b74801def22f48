//! What an error of the client means for us.
//!
//! etcd's errors are told apart by their texts, as its own clients do: the codes are too few.
//! Source: `rpctypes` of etcd 3.5 and 3.6.

use std::error::Error as StdError;

use crate::error::{Cause, Error};
use crate::tls::{self, Blame};

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The connection is gone; whether the request was carried out is unknown.
    Lost,
    /// The server's certificate is none of a server that we trust.
    Untrusted,
    /// Users or roles changed while the request was on its way; it was not carried out and can be sent again.
    OldRevision,
    /// The log-in has run out; the request was not carried out.
    LoginExpired,
    /// The server does not accept who we say we are.
    Unauthenticated,
    /// We lack a right.
    Forbidden,
    /// There is no such user. From a question about oneself it means that we are none.
    NoUser,
    /// There is no such role.
    NoRole,
    /// Someone else was faster: what was to be made exists, or what was to be removed does not.
    Raced,
    /// Authentication is off.
    AuthDisabled,
    /// The datastore is full.
    NoSpace,
    /// There is no quorum; whether the request was carried out is unknown.
    NoQuorum,
    /// The members' data differ.
    Corrupt,
    /// Anything else.
    Other,
}

const TEXTS: &[(&str, Refusal)] = &[
    ("revision of auth store is old", Refusal::OldRevision),
    ("invalid auth token", Refusal::LoginExpired),
    ("authentication failed, invalid user ID or password", Refusal::Unauthenticated),
    ("user name is empty", Refusal::Unauthenticated),
    ("permission denied", Refusal::Forbidden),
    ("user name not found", Refusal::NoUser),
    ("role name not found", Refusal::NoRole),
    ("user name already exists", Refusal::Raced),
    ("role name already exists", Refusal::Raced),
    ("role is not granted to the user", Refusal::Raced),
    ("permission is not granted to the role", Refusal::Raced),
    ("authentication is not enabled", Refusal::AuthDisabled),
    ("mvcc: database space exceeded", Refusal::NoSpace),
    ("no leader", Refusal::NoQuorum),
    ("leader changed", Refusal::NoQuorum),
    ("unhealthy cluster", Refusal::NoQuorum),
    ("request timed out", Refusal::NoQuorum),
    ("corrupt cluster", Refusal::Corrupt),
    ("server stopped", Refusal::Lost),
    ("context deadline exceeded", Refusal::Lost),
];

impl Refusal {
    /// What an error of a request means.
    pub(crate) fn of(error: &etcd_client::Error) -> Self {
        match error {
            etcd_client::Error::GRpcStatus(status) => match status.message().strip_prefix("etcdserver: ") {
                Some(text) => Self::of_text(text),
                None => Self::of_transport(status).unwrap_or(Self::Lost),
            },
            etcd_client::Error::TransportError(error) => Self::of_transport(error).unwrap_or(Self::Lost),
            etcd_client::Error::IoError(error) => Self::of_transport(error).unwrap_or(Self::Lost),
            _ => Self::Other,
        }
    }

    /// What an error below gRPC means, if TLS is to blame.
    pub(crate) fn of_transport(error: &(dyn StdError + 'static)) -> Option<Self> {
        tls::blame(error).map(|blame| match blame {
            Blame::Ours => Self::Unauthenticated,
            Blame::Theirs => Self::Untrusted,
        })
    }

    fn of_text(text: &str) -> Self {
        TEXTS.iter().find(|(known, _)| text.starts_with(known)).map_or(Self::Other, |(_, refusal)| *refusal)
    }

    /// Whether the request may have been carried out all the same.
    pub(crate) fn leaves_doubt(self) -> bool {
        matches!(self, Self::Lost | Self::NoQuorum)
    }

    /// The error to report, for what we were `doing` at `endpoint`.
    pub(crate) fn report(self, doing: &str, endpoint: &str, source: Cause) -> Error {
        let (doing, endpoint) = (doing.to_owned(), endpoint.to_owned());
        match self {
            Self::Lost => Error::Unreachable { endpoints: endpoint, source },
            Self::Untrusted => Error::Untrusted { endpoint, source },
            Self::LoginExpired | Self::Unauthenticated => Error::Unauthenticated { endpoint, source },
            Self::Forbidden => Error::Forbidden { doing, source },
            Self::AuthDisabled => Error::AuthDisabled { endpoint },
            Self::NoSpace => Error::NoSpace { doing },
            Self::NoQuorum => Error::NoQuorum { doing, source },
            Self::Corrupt => Error::Corrupt,
            Self::OldRevision | Self::NoUser | Self::NoRole | Self::Raced | Self::Other => {
                Error::Refused { doing, source }
            }
        }
    }
}

/// The words of an error and of its causes, each said once.
pub(crate) fn cause(error: &(dyn StdError + 'static)) -> Cause {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let (text, source) = words_of(error);
        if !words.iter().any(|earlier| earlier.contains(&text)) {
            words.push(text);
        }
        next = source;
    }
    Cause(words.join(": "))
}

/// A status shows its cause in its own text, and the client's error is deaf to causes: both are unfolded here.
fn words_of<'a>(error: &'a (dyn StdError + 'static)) -> (String, Option<&'a (dyn StdError + 'static)>) {
    if let Some(etcd_client::Error::GRpcStatus(status)) = error.downcast_ref() {
        return (status.message().to_owned(), status.source());
    }
    if let Some(etcd_client::Error::TransportError(error)) = error.downcast_ref() {
        return (error.to_string(), error.source());
    }
    if let Some(status) = error.downcast_ref::<tonic::Status>() {
        return (status.message().to_owned(), status.source());
    }
    (error.to_string(), error.source())
}

#[cfg(test)]
mod tests {
    use std::io;

    use tonic::{Code, Status};

    use super::*;

    fn status(code: Code, message: &str) -> etcd_client::Error {
        etcd_client::Error::GRpcStatus(Status::new(code, message))
    }

    #[test]
    fn the_servers_words_are_understood() {
        let cases = [
            (Code::InvalidArgument, "etcdserver: revision of auth store is old", Refusal::OldRevision),
            (Code::PermissionDenied, "etcdserver: permission denied", Refusal::Forbidden),
            (Code::FailedPrecondition, "etcdserver: user name not found", Refusal::NoUser),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", Refusal::NoSpace),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to connection lost",
                Refusal::NoQuorum,
            ),
            (Code::InvalidArgument, "etcdserver: request is too large", Refusal::Other),
            (Code::Unavailable, "error trying to connect", Refusal::Lost),
            (Code::Unknown, "transport error", Refusal::Lost),
        ];
        for (code, message, refusal) in cases {
            assert_eq!(Refusal::of(&status(code, message)), refusal, "{message}");
        }
    }

    #[test]
    fn a_cause_says_each_thing_once() {
        let wrapped = io::Error::other("connection refused");
        let mut status = Status::new(Code::Unavailable, "tcp connect error");
        status.set_source(std::sync::Arc::new(wrapped));
        let error = etcd_client::Error::GRpcStatus(status);
        assert_eq!(cause(&error).0, "tcp connect error: connection refused");
    }
}
