//! What an error of the client means for us.
//!
//! etcd's errors are told apart by their texts, as its own clients do: the codes are too few.
//! Source: `rpctypes` of etcd 3.5 and 3.6.

use std::error::Error as StdError;

use crate::error::Cause;
use crate::refusal::{Fault, Refusal, words_by};

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

impl Fault for etcd_client::Error {
    fn refusal(&self) -> Refusal {
        match self {
            Self::GRpcStatus(status) => match status.message().strip_prefix("etcdserver: ") {
                Some(text) => of_text(text),
                None => Refusal::of_handshake(status).unwrap_or(Refusal::Lost),
            },
            Self::TransportError(error) => Refusal::of_handshake(error).unwrap_or(Refusal::Lost),
            Self::IoError(error) => Refusal::of_handshake(error).unwrap_or(Refusal::Lost),
            _ => Refusal::Other,
        }
    }

    fn cause(&self) -> Cause {
        cause(self)
    }
}

/// The words of an error and of its causes, each said once.
pub(crate) fn cause(error: &(dyn StdError + 'static)) -> Cause {
    words_by(error, words_of)
}

fn of_text(text: &str) -> Refusal {
    let known = TEXTS.iter().find(|(known, _)| text.starts_with(known));
    known.map_or(Refusal::Other, |(_, refusal)| *refusal)
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
            assert_eq!(status(code, message).refusal(), refusal, "{message}");
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
