//! Whose place in a datastore is meant, and under which names.

use std::fmt;
use std::hash::{Hash, Hasher};

use zeroize::Zeroizing;

use crate::error::{Error, NameProblem};

/// The longest schema name, in bytes: more than any database takes, short enough for every message.
const LONGEST_SCHEMA: usize = 255;
/// The longest user name, in bytes: it is the common name of the tenant's client certificate (X.520 `ub-common-name`).
pub(crate) const LONGEST_USER: usize = 64;
/// The longest owner, in bytes. Kubernetes UIDs have 36.
const LONGEST_OWNER: usize = 64;
/// The longest password, in bytes.
const LONGEST_PASSWORD: usize = 255;

/// Names that belong to a database, to its administrator or to Kamaji itself, in lower case.
const RESERVED: &[&str] = &[
    "admin",
    "information_schema",
    "kine",
    "mariadb",
    "mysql",
    "none",
    "performance_schema",
    "postgres",
    "public",
    "root",
    "sys",
    "template0",
    "template1",
];

/// Beginnings of such names, in lower case. `_kamaji` is where the ownership markers lie.
const RESERVED_BEGINNINGS: &[&str] = &["_kamaji", "pg_"];

/// One tenant's place in a datastore: the names it has there, and the tenant that they belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    /// Names the data: the key prefix `/<schema>/` and the role in etcd, the database in PostgreSQL.
    pub schema: Schema,
    /// Names the identity that the tenant's API server shows.
    pub user: User,
    /// The tenant that all of this is for.
    pub owner: Owner,
    /// What is already known of this account.
    pub standing: Standing,
    /// Data that the user may read and not write.
    pub seal: Seal,
    /// How the user proves who it is. Only [`ensure`](crate::store::Store::ensure) and
    /// [`prove_confined`](crate::store::Store::prove_confined) ask for it.
    pub credential: Credential,
}

/// How a user proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Credential {
    /// By a client certificate whose common name it is, and by nothing else: the user has no password. etcd knows no
    /// other way.
    #[default]
    Certificate,
    /// By this password.
    Password(Password),
}

/// A password. Its `Debug` shows nothing of it, and it is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Zeroizing<String>);

/// Data of an account that its user may read and not write, so that no one behind that user can change it.
///
/// Only etcd keeps a seal: a database of rows has no such right, and its driver takes every account for open.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Seal {
    /// The user may write everything.
    #[default]
    Open,
    /// These keys are read-only; each is what follows the schema's prefix, and need not exist.
    Closed(Vec<String>),
    /// [`Closed`](Self::Closed) if it is so already, else [`Open`](Self::Open): for whoever does not know yet which it is
    /// to be.
    AsFound(Vec<String>),
}

/// What the tenant's status says of its account before anything is looked up in the datastore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The names were written into the status and nothing more: what bears these names without our marker is
    /// someone else's, and is refused.
    Claimed,
    /// The status says that the account was set up completely, perhaps by an operator that left no markers:
    /// an unmarked user and role that fit are taken over and marked.
    Recorded,
}

/// Names one tenant's data. Letters, digits, `_` and `-`; no reserved name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Schema(String);

/// Names one tenant's identity, which is the common name of its client certificate. Letters, digits, `_` and `-`;
/// no reserved name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User(String);

/// The UID of the tenant that an account belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(String);

impl Schema {
    /// Reads a schema name.
    ///
    /// # Errors
    /// [`Error::Name`] if it is empty, longer than 255 bytes, reserved, or holds anything but ASCII letters, digits,
    /// `_` and `-`, so that no name can reach beyond its own prefix or needs quoting anywhere.
    pub fn parse(name: &str) -> Result<Self, Error> {
        match problem(name, LONGEST_SCHEMA).or_else(|| reserved(name)) {
            None => Ok(Self(name.to_owned())),
            Some(problem) => Err(Error::name("schema", name, problem)),
        }
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl User {
    /// Reads a user name.
    ///
    /// # Errors
    /// [`Error::Name`] if it is empty, longer than 64 bytes, reserved, or holds anything but ASCII letters, digits,
    /// `_` and `-`.
    pub fn parse(name: &str) -> Result<Self, Error> {
        match problem(name, LONGEST_USER).or_else(|| reserved(name)) {
            None => Ok(Self(name.to_owned())),
            Some(problem) => Err(Error::name("user", name, problem)),
        }
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Owner {
    /// Reads a tenant's UID.
    ///
    /// # Errors
    /// [`Error::Name`] if it is empty, longer than 64 bytes, or holds anything but ASCII letters, digits, `_` and `-`.
    pub fn parse(uid: &str) -> Result<Self, Error> {
        match problem(uid, LONGEST_OWNER) {
            None => Ok(Self(uid.to_owned())),
            Some(problem) => Err(Error::name("owner", uid, problem)),
        }
    }

    /// The UID as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Password {
    /// Takes a password.
    ///
    /// # Errors
    /// [`Error::Settings`] if it is empty, longer than 255 bytes, or holds anything but printable ASCII without spaces, so
    /// that every datastore and every connection string takes it for the same. The error does not show it.
    pub fn parse(password: impl Into<Zeroizing<String>>) -> Result<Self, Error> {
        let password = password.into();
        let refused =
            |what: &str| Error::Settings { what: format!("the password of the user {what}"), source: None };
        if password.is_empty() {
            Err(refused("is empty"))
        } else if password.len() > LONGEST_PASSWORD {
            Err(refused("is longer than 255 bytes"))
        } else if !password.bytes().all(|byte| byte.is_ascii_graphic()) {
            Err(refused("holds other characters than printable ASCII without spaces"))
        } else {
            Ok(Self(password))
        }
    }

    /// The password itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Hash for Password {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_bytes().hash(state);
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn problem(name: &str, longest: usize) -> Option<NameProblem> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() {
        Some(NameProblem::Empty)
    } else if name.len() > longest {
        Some(NameProblem::TooLong { longest })
    } else if !name.bytes().all(plain) || name.starts_with('-') {
        Some(NameProblem::Characters)
    } else {
        None
    }
}

fn reserved(name: &str) -> Option<NameProblem> {
    let name = name.to_ascii_lowercase();
    let whole = RESERVED.contains(&name.as_str());
    let beginning = RESERVED_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
    (whole || beginning).then_some(NameProblem::Reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_working_installations_are_admitted() {
        let longest = "u".repeat(64);
        for name in [
            "2aa54532-e3bd-456d-ba58-b54ff44aee1f",
            "default_tenant_00",
            "Tenant-A",
            "x",
            "x0",
            "xy",
            "x-",
            "_x",
            "0",
            "rooted",
            "kine2",
            "kamaji",
            "registry",
            longest.as_str(),
        ] {
            assert_eq!(Schema::parse(name).expect(name).as_str(), name);
            assert_eq!(User::parse(name).expect(name).to_string(), name);
        }
    }

    #[test]
    fn hostile_names_are_refused() {
        for name in [
            "",
            " ",
            "x ",
            " x",
            "a%",
            "a`b",
            "a\"b",
            "a'b",
            "a\\",
            "a;DROP",
            "../x",
            "..",
            ".",
            "a.b",
            "a/b",
            "/",
            "a\0",
            "🙂",
            "é",
            "\u{200f}x",
            "x\n",
            "-x",
            "a:b",
            "a@b",
            "*",
            "$x",
            "${x}",
        ] {
            let schema = Schema::parse(name).expect_err(name);
            let user = User::parse(name).expect_err(name);
            assert_eq!((schema.reason(), user.reason()), ("InvalidName", "InvalidName"));
        }
    }

    #[test]
    fn reserved_names_are_refused_in_any_case() {
        for name in RESERVED.iter().chain(&[
            "_kamaji",
            "_kamaji-x",
            "pg_toast",
            "Root",
            "ROOT",
            "KINE",
            "_KAMAJI",
            "PG_x",
        ]) {
            let error = Schema::parse(name).expect_err(name).to_string();
            assert!(error.contains("reserved"), "{error}");
            assert!(User::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn each_name_has_its_own_length() {
        assert!(Schema::parse(&"s".repeat(255)).is_ok());
        assert!(Schema::parse(&"s".repeat(256)).is_err());
        assert!(User::parse(&"u".repeat(65)).is_err());
        assert!(Schema::parse(&"s".repeat(630)).expect_err("too long").to_string().len() < 200);
    }

    #[test]
    fn an_error_shows_no_raw_control_characters() {
        let error = Schema::parse("a\n\u{202e}b").expect_err("hostile").to_string();
        assert!(error.chars().all(|c| !c.is_control() && c != '\u{202e}'), "{error}");
    }

    #[test]
    fn a_password_is_never_shown() {
        for password in ["", "has space", "pass\u{e9}", "pass\0", "pass\n", &"p".repeat(256)] {
            let error = Password::parse(password.to_owned()).expect_err("refused");
            assert_eq!(error.reason(), "InvalidSettings");
            assert!(password.is_empty() || !format!("{error} {error:?}").contains(password));
        }
        let password = Password::parse("s3cret-';\"\\".to_owned()).expect("printable");
        assert_eq!(password.reveal(), "s3cret-';\"\\");
        assert!(!format!("{:?}", Credential::Password(password)).contains("s3cret"));
    }

    #[test]
    fn an_owner_is_a_uid() {
        assert!(Owner::parse("4746b6dc-a96d-4b56-9a1c-e561fad1fc10").is_ok());
        for uid in ["", "a b", "{\"owner\"}", "a/b"] {
            assert!(Owner::parse(uid).is_err(), "{uid}");
        }
    }
}
