//! How names and texts stand in SQL where nothing can be bound. Whatever they hold, they stay one token.
//!
//! Source: PostgreSQL's "Lexical Structure", 4.1.1 and 4.1.2.

use crate::account::Account;
use crate::error::{Error, NameProblem};

/// The longest name, in bytes: what is longer is cut off by the server, which would then mean another object.
pub(crate) const LONGEST: usize = 63;

/// A name as an identifier.
///
/// # Errors
/// [`Error::Name`] if it is empty, longer than 63 bytes, or holds a zero byte.
pub(crate) fn identifier(name: &str) -> Result<String, Error> {
    match problem(name) {
        None => Ok(format!("\"{}\"", name.replace('"', "\"\""))),
        Some(problem) => Err(Error::name("identifier", name, problem)),
    }
}

/// A text as a literal, whatever the server's `standard_conforming_strings` is.
///
/// # Errors
/// [`Error::Name`] if it holds a zero byte.
pub(crate) fn literal(text: &str) -> Result<String, Error> {
    if text.contains('\0') {
        return Err(Error::name("literal", "", NameProblem::ZeroByte));
    }
    let quoted = text.replace('\'', "''").replace('\\', "\\\\");
    Ok(if text.contains('\\') { format!(" E'{quoted}'") } else { format!("'{quoted}'") })
}

/// Both names of the account can be names here.
///
/// # Errors
/// [`Error::Name`] that says which one cannot.
pub(crate) fn fits(account: &Account) -> Result<(), Error> {
    for (kind, name) in [("schema", account.schema.as_str()), ("user", account.user.as_str())] {
        if let Some(problem) = problem(name) {
            return Err(Error::name(kind, name, problem));
        }
    }
    Ok(())
}

fn problem(name: &str) -> Option<NameProblem> {
    if name.is_empty() {
        Some(NameProblem::Empty)
    } else if name.len() > LONGEST {
        Some(NameProblem::TooLong { longest: LONGEST })
    } else if name.contains('\0') {
        Some(NameProblem::ZeroByte)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_stays_one_token() {
        for (name, quoted) in [
            ("x", r#""x""#),
            ("a\"b", r#""a""b""#),
            ("\"; DROP ROLE \"y", r#""""; DROP ROLE ""y""#),
            ("a.b", r#""a.b""#),
            ("a\\", r#""a\""#),
            ("U&\"d\\0061\"", r#""U&""d\0061""""#),
        ] {
            assert_eq!(identifier(name).expect(name), quoted);
        }
    }

    #[test]
    fn a_literal_stays_one_token() {
        for (text, quoted) in [
            ("x", "'x'"),
            ("", "''"),
            ("a'b", "'a''b'"),
            ("a\\'; DROP ROLE y; --", " E'a\\\\''; DROP ROLE y; --'"),
            ("$$", "'$$'"),
        ] {
            assert_eq!(literal(text).expect(text), quoted);
        }
    }

    #[test]
    fn what_the_server_would_cut_is_refused() {
        assert!(identifier(&"x".repeat(63)).is_ok());
        for name in [&"x".repeat(64), &"\u{e9}".repeat(32), "", "a\0b", "\0"] {
            assert_eq!(identifier(name).expect_err(name).reason(), "InvalidName");
        }
        assert!(literal("a\0b").is_err());
    }
}
