//! What an error of the client means for us.
//!
//! Source of the codes: PostgreSQL's "Error Codes".

use std::error::Error as StdError;

use tokio_postgres::error::SqlState;

use crate::error::{Cause, Error};
use crate::tls::{self, Blame};

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The connection is gone; whether the request was carried out is unknown.
    Lost,
    /// No answer came in time; whether the request was carried out is unknown.
    Late,
    /// The server's certificate is none of a server that we trust.
    Untrusted,
    /// The server does not accept who we say we are.
    Unauthenticated,
    /// We lack a right.
    Forbidden,
    /// Someone else was faster: what was to be made exists, or what was to be removed or changed does not.
    Raced,
    /// The server takes no writes.
    ReadOnly,
    /// The disk is full.
    NoSpace,
    /// Anything else.
    Other,
}

impl Refusal {
    /// What an error means.
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        match error.code() {
            Some(code) => Self::of_code(code),
            None => Self::of_transport(error),
        }
    }

    /// What an error below the protocol means.
    pub(crate) fn of_transport(error: &(dyn StdError + 'static)) -> Self {
        match tls::blame(error) {
            Some(Blame::Ours) => Self::Unauthenticated,
            Some(Blame::Theirs) => Self::Untrusted,
            // The server wants a password and we have none, or proves that it does not know the one that we have.
            None if wants_another_log_in(error) => Self::Unauthenticated,
            None => Self::Lost,
        }
    }

    fn of_code(code: &SqlState) -> Self {
        match code.code() {
            "42501" => Self::Forbidden,
            // Duplicate, missing or in use.
            "42710" | "42P04" | "42704" | "3D000" | "23505" | "55006" | "42P01" | "40001" | "XX000" => {
                Self::Raced
            }
            "25006" => Self::ReadOnly,
            "53100" => Self::NoSpace,
            "57014" => Self::Late,
            // Starting, stopping, or no room for one more connection.
            "53300" | "57P01" | "57P02" | "57P03" | "57P05" => Self::Lost,
            other if other.starts_with("28") => Self::Unauthenticated,
            other if other.starts_with("08") => Self::Lost,
            _ => Self::Other,
        }
    }

    /// Whether the request may have been carried out all the same.
    pub(crate) fn leaves_doubt(self) -> bool {
        matches!(self, Self::Lost | Self::Late)
    }

    /// The error to report, for what we were `doing` at `endpoint`.
    pub(crate) fn report(self, doing: &str, endpoint: &str, source: Cause) -> Error {
        let (doing, endpoint) = (doing.to_owned(), endpoint.to_owned());
        match self {
            Self::Lost => Error::Unreachable { endpoints: endpoint, source },
            Self::Untrusted => Error::Untrusted { endpoint, source },
            Self::Unauthenticated => Error::Unauthenticated { endpoint, source },
            Self::Forbidden => Error::Forbidden { doing, source },
            Self::ReadOnly => Error::ReadOnly { endpoint, source },
            Self::NoSpace => Error::NoSpace { doing },
            Self::Late | Self::Raced | Self::Other => Error::Refused { doing, source },
        }
    }
}

/// The words of an error and of its causes. Of what the server said only its message: its details may quote a statement.
pub(crate) fn cause(error: &tokio_postgres::Error) -> Cause {
    if let Some(answer) = error.as_db_error() {
        return Cause(format!("{} (SQLSTATE {})", answer.message(), answer.code().code()));
    }
    words(error)
}

/// The words of an error and of its causes, each said once.
pub(crate) fn words(error: &(dyn StdError + 'static)) -> Cause {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !words.iter().any(|earlier| earlier.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    Cause(words.join(": "))
}

/// Whether the client gave up while it logged in: its errors have no kinds that can be asked for.
fn wants_another_log_in(error: &(dyn StdError + 'static)) -> bool {
    let text = error.to_string();
    text == "authentication error" || text == "invalid configuration"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_codes_are_understood() {
        let cases = [
            ("28P01", Refusal::Unauthenticated),
            ("28000", Refusal::Unauthenticated),
            ("42501", Refusal::Forbidden),
            ("42710", Refusal::Raced),
            ("42P04", Refusal::Raced),
            ("25006", Refusal::ReadOnly),
            ("53100", Refusal::NoSpace),
            ("57014", Refusal::Late),
            ("57P03", Refusal::Lost),
            ("08006", Refusal::Lost),
            ("2BP01", Refusal::Other),
        ];
        for (code, refusal) in cases {
            assert_eq!(Refusal::of_code(&SqlState::from_code(code)), refusal, "{code}");
        }
    }
}
