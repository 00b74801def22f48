//! How names stand in SQL where nothing can be bound. Whatever they hold, they stay one token.
//!
//! Source: MariaDB's "Identifier Names" and MySQL's "Schema Object Names"; for patterns, "GRANT Statement".

use std::fmt::Write as _;
use std::iter;

use crate::account::Account;
use crate::error::{Error, NameProblem};

/// The longest name of a database, in characters.
pub(crate) const LONGEST_SCHEMA: usize = 64;
/// The longest name of a user in MySQL, in characters. MariaDB takes 80 and more.
pub(crate) const LONGEST_USER: usize = 32;

/// A name as an identifier, whatever the server's `sql_mode` is. Users, roles and hosts are written so too.
///
/// # Errors
/// [`Error::Name`] if it is empty, longer than 64 characters, holds a zero byte or a character beyond the first 65,536,
/// or ends in a space.
pub(crate) fn identifier(name: &str) -> Result<String, Error> {
    match problem(name) {
        None => Ok(format!("`{}`", name.replace('`', "``"))),
        Some(problem) => Err(Error::name("identifier", name, problem)),
    }
}

/// A database's name as what `GRANT` takes for a pattern that only this name matches.
///
/// # Errors
/// As of [`identifier`].
pub(crate) fn pattern(name: &str) -> Result<String, Error> {
    identifier(name).map(|quoted| escape(&quoted))
}

/// The same, as the server tells it: unquoted.
pub(crate) fn escape(name: &str) -> String {
    name.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%")
}

/// A text as a literal, whatever it holds and the server's `sql_mode` is: its bytes, in hexadecimal.
pub(crate) fn literal(text: &str) -> String {
    let mut literal = "_utf8mb4 X'".to_owned();
    for byte in text.bytes() {
        // Nothing is refused by memory.
        let _ = write!(literal, "{byte:02X}");
    }
    literal + "'"
}

/// A statement with these texts in the places of its question marks, in order.
pub(crate) fn bound(statement: &str, texts: &[&str]) -> String {
    let literals = texts.iter().map(|text| literal(text)).chain(iter::repeat(String::new()));
    statement.split('?').zip(literals).flat_map(|(piece, literal)| [piece.to_owned(), literal]).collect()
}

/// The database's name is one here. What a user's may be depends on the server.
///
/// # Errors
/// [`Error::Name`].
pub(crate) fn fits(account: &Account) -> Result<(), Error> {
    match problem(account.schema.as_str()) {
        None => Ok(()),
        Some(problem) => Err(Error::name("schema", account.schema.as_str(), problem)),
    }
}

fn problem(name: &str) -> Option<NameProblem> {
    if name.is_empty() {
        Some(NameProblem::Empty)
    } else if name.chars().count() > LONGEST_SCHEMA {
        Some(NameProblem::TooLong { longest: LONGEST_SCHEMA })
    } else if name.contains('\0') {
        Some(NameProblem::ZeroByte)
    } else if name.ends_with(' ') || name.chars().any(|c| c > '\u{ffff}') {
        Some(NameProblem::Characters)
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
            ("x", "`x`"),
            ("a`b", "`a``b`"),
            ("`; DROP USER `y", "```; DROP USER ``y`"),
            ("a.b", "`a.b`"),
            ("a\\", "`a\\`"),
            ("a'b\"c", "`a'b\"c`"),
        ] {
            assert_eq!(identifier(name).expect(name), quoted);
        }
    }

    #[test]
    fn a_pattern_matches_one_name() {
        for (name, quoted) in [
            ("default_tenant_00", "`default\\_tenant\\_00`"),
            ("a%", "`a\\%`"),
            ("a\\_", "`a\\\\\\_`"),
            ("a-b", "`a-b`"),
            ("%`.*", "`\\%``.*`"),
        ] {
            assert_eq!(pattern(name).expect(name), quoted);
        }
        assert_eq!(escape("a_b"), "a\\_b");
    }

    #[test]
    fn a_text_stays_one_literal() {
        assert_eq!(literal("a'b\\"), "_utf8mb4 X'6127625C'");
        assert_eq!(
            bound("SELECT ? FROM t WHERE a = ?", &["?", "';"]),
            "SELECT _utf8mb4 X'3F' FROM t WHERE a = _utf8mb4 X'273B'"
        );
        assert_eq!(bound("SELECT 1", &[]), "SELECT 1");
    }

    #[test]
    fn what_the_server_would_refuse_or_change_is_refused() {
        assert!(identifier(&"x".repeat(64)).is_ok() && identifier(&"\u{e9}".repeat(64)).is_ok());
        for name in [&"x".repeat(65), "", "a\0b", "\0", "a ", "\u{1f642}"] {
            assert_eq!(identifier(name).expect_err(name).reason(), "InvalidName");
            assert!(pattern(name).is_err());
        }
    }
}
