//! What an error of the client means for us.
//!
//! Source of the codes: PostgreSQL's "Error Codes".

use std::error::Error as StdError;

use tokio_postgres::error::SqlState;

use crate::error::Cause;
use crate::refusal::{Fault, Refusal, words};

impl Fault for tokio_postgres::Error {
    fn refusal(&self) -> Refusal {
        match self.code() {
            Some(code) => of_code(code),
            None => of_transport(self),
        }
    }

    /// Of what the server said only its message: its details may quote a statement.
    fn cause(&self) -> Cause {
        if let Some(answer) = self.as_db_error() {
            return Cause(format!("{} (SQLSTATE {})", answer.message(), answer.code().code()));
        }
        words(self)
    }
}

/// What an error below the protocol means.
pub(crate) fn of_transport(error: &(dyn StdError + 'static)) -> Refusal {
    match Refusal::of_handshake(error) {
        Some(refusal) => refusal,
        // The server wants a password and we have none, or proves that it does not know the one that we have.
        None if wants_another_log_in(error) => Refusal::Unauthenticated,
        None => Refusal::Lost,
    }
}

fn of_code(code: &SqlState) -> Refusal {
    match code.code() {
        "42501" => Refusal::Forbidden,
        // Duplicate, missing or in use.
        "42710" | "42P04" | "42704" | "3D000" | "23505" | "55006" | "42P01" | "40001" | "XX000" => {
            Refusal::Raced
        }
        "25006" => Refusal::ReadOnly,
        "53100" => Refusal::NoSpace,
        "57014" => Refusal::Late,
        // Starting, stopping, or no room for one more connection.
        "53300" | "57P01" | "57P02" | "57P03" | "57P05" => Refusal::Lost,
        other if other.starts_with("28") => Refusal::Unauthenticated,
        other if other.starts_with("08") => Refusal::Lost,
        _ => Refusal::Other,
    }
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
            assert_eq!(of_code(&SqlState::from_code(code)), refusal, "{code}");
        }
    }
}
