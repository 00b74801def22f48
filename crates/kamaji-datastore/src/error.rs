//! What can go wrong with a datastore, told apart by what has to be done about it.

use std::fmt;
use std::time::Duration;

use crate::account::{Owner, Schema, User};

/// Why a verb did not do its work.
///
/// The text says what was being done and what to do next; the cause is the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name that no datastore account may have.
    #[error("{kind} name {name:?} cannot be used: {problem}")]
    Name {
        /// Which name: schema, user or owner.
        kind: &'static str,
        /// The name, shortened.
        name: String,
        /// What is wrong with it.
        problem: NameProblem,
    },
    /// The settings cannot be used, whatever the datastore says.
    #[error("{what}; correct the DataStore or the Secret that it names")]
    Settings {
        /// What is wrong with them.
        what: String,
        /// The parser's complaint, if there is one.
        #[source]
        source: Option<Cause>,
    },
    /// No endpoint answers.
    #[error("cannot reach {endpoints}; check that the datastore runs and that its endpoints are right")]
    Unreachable {
        /// All endpoints that were tried.
        endpoints: String,
        /// What happened at each of them.
        #[source]
        source: Cause,
    },
    /// The server's certificate is not the one of a server that we trust.
    #[error(
        "{endpoint} is not trusted; check the certificate authority in the DataStore, and the server's certificate"
    )]
    Untrusted {
        /// Where the server was found.
        endpoint: String,
        /// Which rule its certificate breaks.
        #[source]
        source: Cause,
    },
    /// The server does not accept who we say we are.
    #[error(
        "{endpoint} does not accept our identity; check the client certificate or the password in the DataStore"
    )]
    Unauthenticated {
        /// Where the server was found.
        endpoint: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The server knows us, and we lack a right.
    #[error(
        "not allowed to {doing}; give the DataStore's user the right to it: the role root in etcd, CREATEROLE and CREATEDB in PostgreSQL, in MariaDB and MySQL the rights that the cause names, to publish to $JS.API.> and $KV.> in NATS"
    )]
    Forbidden {
        /// What we were doing.
        doing: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The server does not ask anyone who they are, so that tenants could read each other.
    #[error("authentication is off at {endpoint}; turn it on before tenants share this datastore")]
    AuthDisabled {
        /// Where the server was found.
        endpoint: String,
    },
    /// The datastore is full and refuses writes.
    #[error(
        "no space left in the datastore to {doing}; free or enlarge it, then disarm its alarm if it is etcd"
    )]
    NoSpace {
        /// What we were doing.
        doing: String,
    },
    /// A NATS server that keeps nothing, at least for us.
    #[error(
        "JetStream is off at {endpoint}; turn it on in the server, and for the account of the DataStore's user"
    )]
    JetStreamOff {
        /// Where the server was found.
        endpoint: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The server takes no writes: it is a standby, or was set so.
    #[error("{endpoint} is read-only; name the primary server in the DataStore, or let it take writes again")]
    ReadOnly {
        /// Where the server was found.
        endpoint: String,
        /// How that shows.
        #[source]
        source: Cause,
    },
    /// Too few members of the datastore are alive to agree on anything.
    #[error("the datastore has no quorum to {doing}; bring its members back")]
    NoQuorum {
        /// What we were doing.
        doing: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
    /// The members of the datastore hold different data.
    #[error("the datastore reports that it is corrupt; repair it before it is used again")]
    Corrupt,
    /// What bears the account's name is not the account's.
    #[error("{what}; {}", .what.advice())]
    Foreign {
        /// What is not ours.
        what: Foreign,
    },
    /// A migration holds the account.
    #[error(
        "schema {schema} is being moved to or from another datastore, or its tenant has left; finish or abort that migration"
    )]
    Moving {
        /// The schema.
        schema: Schema,
    },
    /// A tenant's certificate opens more than its own data.
    #[error(
        "user {user} reads what is not its own; check that authentication is on, and the roles of that user"
    )]
    NotConfined {
        /// The user.
        user: User,
    },
    /// No answer came within the deadline.
    #[error("no answer within {after:?} to: {doing}")]
    Timeout {
        /// What we were doing.
        doing: String,
        /// The deadline.
        after: Duration,
    },
    /// What we wrote was changed again and again while we looked.
    #[error("gave up after {rounds} rounds to {doing}; something else changes the same account")]
    Contended {
        /// What we were doing.
        doing: String,
        /// How often we tried.
        rounds: usize,
    },
    /// Anything else that the datastore refused.
    #[error("the datastore refused to {doing}")]
    Refused {
        /// What we were doing.
        doing: String,
        /// What the server said.
        #[source]
        source: Cause,
    },
}

/// The words of a library or a server on what went wrong, with its own causes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Cause(pub(crate) String);

/// Something in the datastore that has the name of an account and is not the account's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// The schema is marked as another tenant's, or as this one's with another user.
    Schema {
        /// The schema.
        schema: Schema,
        /// Whose marker it bears, if that can be read.
        owner: Option<Owner>,
    },
    /// The user is marked as another tenant's, or as this one's with another schema.
    User {
        /// The user.
        user: User,
        /// Whose marker it bears, if that can be read.
        owner: Option<Owner>,
    },
    /// A user of this name exists, and nothing says that it is ours.
    UnmarkedUser(User),
    /// A role of this name exists, and nothing says that it is ours.
    UnmarkedRole(Schema),
    /// There are keys where this account's data would be, and nothing says that they are ours.
    UnmarkedKeys(Schema),
    /// A database of this name exists, and nothing says that it is ours.
    UnmarkedDatabase(Schema),
    /// A bucket of this name exists, and nothing says that it is ours.
    UnmarkedBucket(Schema),
    /// The whole datastore is another tenant's.
    Occupied {
        /// The other tenant's schema and its UID, if its mark can be read.
        tenant: Option<(Schema, Owner)>,
    },
    /// The datastore holds what belongs to another cluster, and cannot keep us apart from it.
    Neighbour {
        /// The other cluster's bucket.
        bucket: String,
    },
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// It has no characters.
    #[error("it is empty")]
    Empty,
    /// It has too many.
    #[error("it is longer than {longest} bytes")]
    TooLong {
        /// The greatest length, in bytes.
        longest: usize,
    },
    /// It has others than the plain ones.
    #[error("only letters, digits, '_' and '-' are allowed, and no '-' at the beginning")]
    Characters,
    /// It holds a zero byte.
    #[error("it holds a zero byte")]
    ZeroByte,
    /// It belongs to a database, to its administrator or to Kamaji.
    #[error("it is reserved")]
    Reserved,
}

impl Error {
    pub(crate) fn name(kind: &'static str, name: &str, problem: NameProblem) -> Self {
        Self::Name { kind, name: name.chars().take(80).collect(), problem }
    }

    /// The word for conditions, Events and metrics: one of a closed set, never built from data.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Name { .. } => "InvalidName",
            Self::Settings { .. } => "InvalidSettings",
            Self::Unreachable { .. } => "Unreachable",
            Self::Untrusted { .. } => "ServerNotTrusted",
            Self::Unauthenticated { .. } => "Unauthenticated",
            Self::Forbidden { .. } => "Forbidden",
            Self::AuthDisabled { .. } => "AuthDisabled",
            Self::NoSpace { .. } => "NoSpace",
            Self::JetStreamOff { .. } => "JetStreamOff",
            Self::ReadOnly { .. } => "ReadOnly",
            Self::NoQuorum { .. } => "NoQuorum",
            Self::Corrupt => "Corrupt",
            Self::Foreign { .. } => "ForeignObject",
            Self::Moving { .. } => "Moving",
            Self::NotConfined { .. } => "NotConfined",
            Self::Timeout { .. } => "Timeout",
            Self::Contended { .. } => "Contended",
            Self::Refused { .. } => "Refused",
        }
    }

    /// Whether the datastore itself fails, and not only what was asked of it: the next request for any account would fail
    /// like this one.
    pub fn concerns_everyone(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Untrusted { .. }
                | Self::Unauthenticated { .. }
                | Self::AuthDisabled { .. }
                | Self::NoSpace { .. }
                | Self::ReadOnly { .. }
                | Self::NoQuorum { .. }
                | Self::Corrupt
                | Self::Timeout { .. }
        )
    }

    /// Whether only a change of the account's names, of the settings or of what others made in the datastore can help.
    ///
    /// Everything else may mend by itself and is worth another try later.
    pub fn needs_a_change(&self) -> bool {
        matches!(self, Self::Name { .. } | Self::Settings { .. } | Self::Foreign { .. })
    }
}

impl Foreign {
    /// What to do about it.
    fn advice(&self) -> &'static str {
        match self {
            Self::Occupied { .. } | Self::Neighbour { .. } => {
                "a NATS account holds one tenant: give this one a DataStore of its own, that logs in to another account"
            }
            _ => "choose another name for this tenant, or remove it from the datastore by hand",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema { schema, owner: Some(owner) } => {
                write!(f, "schema {schema} belongs to the tenant with UID {owner}")
            }
            Self::Schema { schema, owner: None } => {
                write!(f, "schema {schema} bears a marker that cannot be read")
            }
            Self::User { user, owner: Some(owner) } => {
                write!(f, "user {user} belongs to the tenant with UID {owner}")
            }
            Self::User { user, owner: None } => write!(f, "user {user} bears a marker that cannot be read"),
            Self::UnmarkedUser(user) => write!(f, "user {user} exists and was not made for this tenant"),
            Self::UnmarkedRole(schema) => write!(f, "role {schema} exists and was not made for this tenant"),
            Self::UnmarkedKeys(schema) => {
                write!(f, "there are keys below /{schema}/ that were not made for this tenant")
            }
            Self::UnmarkedDatabase(schema) => {
                write!(f, "database {schema} exists and was not made for this tenant")
            }
            Self::UnmarkedBucket(schema) => {
                write!(f, "bucket {schema} exists and was not made for this tenant")
            }
            Self::Occupied { tenant: Some((schema, owner)) } => {
                write!(f, "this datastore belongs to the tenant with UID {owner}, whose bucket is {schema}")
            }
            Self::Occupied { tenant: None } => f.write_str("this datastore bears a mark that cannot be read"),
            Self::Neighbour { bucket } => {
                write!(f, "bucket {bucket} of this datastore holds the data of another cluster")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn cause() -> Cause {
        Cause("because".to_owned())
    }

    fn one_of_each() -> Vec<Error> {
        let doing = || "add user x".to_owned();
        let endpoint = || "a:1".to_owned();
        vec![
            Error::name("schema", "a/b", NameProblem::Characters),
            Error::Settings { what: "no endpoint is given".to_owned(), source: Some(cause()) },
            Error::Unreachable { endpoints: endpoint(), source: cause() },
            Error::Untrusted { endpoint: endpoint(), source: cause() },
            Error::Unauthenticated { endpoint: endpoint(), source: cause() },
            Error::Forbidden { doing: doing(), source: cause() },
            Error::AuthDisabled { endpoint: endpoint() },
            Error::NoSpace { doing: doing() },
            Error::JetStreamOff { endpoint: endpoint(), source: cause() },
            Error::ReadOnly { endpoint: endpoint(), source: cause() },
            Error::NoQuorum { doing: doing(), source: cause() },
            Error::Corrupt,
            Error::Foreign { what: Foreign::UnmarkedUser(User::parse("x").expect("plain")) },
            Error::Moving { schema: Schema::parse("x").expect("plain") },
            Error::NotConfined { user: User::parse("x").expect("plain") },
            Error::Timeout { doing: doing(), after: Duration::from_secs(10) },
            Error::Contended { doing: doing(), rounds: 32 },
            Error::Refused { doing: doing(), source: cause() },
        ]
    }

    #[test]
    fn every_reason_is_camel_case_and_belongs_to_one_error() {
        let errors = one_of_each();
        let reasons: BTreeSet<_> = errors.iter().map(Error::reason).collect();
        assert_eq!(reasons.len(), errors.len());
        for reason in reasons {
            assert!(reason.starts_with(|c: char| c.is_ascii_uppercase()), "{reason}");
            assert!(reason.chars().all(|c| c.is_ascii_alphanumeric()), "{reason}");
        }
    }

    #[test]
    fn the_text_never_repeats_the_cause() {
        for error in one_of_each() {
            let text = error.to_string();
            assert!(!text.contains("because") && !text.ends_with('.'), "{text}");
        }
    }
}
