//! The mark that says whose a database or a role is: its comment, which is `kamaji/1 ` and a JSON object.
//!
//! | comment on | members |
//! |---|---|
//! | role | `owner`: the tenant's UID; `schema`: the database; `password`: its fingerprint, if there is a password; `migration`: its mark, if there is one |
//! | database | `owner`: the tenant's UID; `user`: the role |
//!
//! The mark of a role is the one that counts: a tenant cannot change it, while it can that of the database it owns.

use serde_json::Value;

use crate::account::{Account, Owner, Schema, User};
use crate::migrate;
use crate::postgres::verifier::Fingerprint;
use crate::store::Marker;

/// What every mark begins with. It holds nothing that `LIKE` would take for a pattern.
pub(crate) const BEGINNING: &str = "kamaji/1 ";

/// What a comment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing of whose it is.
    #[default]
    Absent,
    /// Whose it is.
    Held {
        owner: Owner,
        /// The other name of the same account: the user of a schema, the schema of a user.
        counterpart: String,
        /// Of the password that was set with the mark.
        password: Option<Fingerprint>,
    },
    /// It begins as a mark and cannot be read as one.
    Unreadable,
}

impl Mark {
    /// Reads a database's comment.
    pub(crate) fn of_database(comment: Option<&str>) -> Self {
        Self::read(comment, "user")
    }

    /// Reads a role's comment.
    pub(crate) fn of_user(comment: Option<&str>) -> Self {
        Self::read(comment, "schema")
    }

    fn read(comment: Option<&str>, counterpart: &str) -> Self {
        let Some(text) = comment.and_then(|comment| comment.strip_prefix(BEGINNING)) else {
            return Self::Absent;
        };
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let owner = value["owner"].as_str().and_then(|owner| Owner::parse(owner).ok());
        let password = value["password"].as_str().map(Fingerprint::parse);
        match (owner, value[counterpart].as_str(), password) {
            (Some(owner), Some(counterpart), None) => {
                Self::Held { owner, counterpart: counterpart.to_owned(), password: None }
            }
            (Some(owner), Some(counterpart), Some(Some(password))) => {
                Self::Held { owner, counterpart: counterpart.to_owned(), password: Some(password) }
            }
            _ => Self::Unreadable,
        }
    }

    /// Whether this is the mark of the account, given the account's other name.
    pub(crate) fn is_of(&self, account: &Account, other_name: &str) -> bool {
        matches!(self, Self::Held { owner, counterpart, .. } if *owner == account.owner && counterpart == other_name)
    }

    /// Whose it is, if that can be read.
    pub(crate) fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Held { owner, .. } => Some(owner),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

/// What a role's comment says of a migration, in its member `migration`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Migration {
    None,
    Marked(migrate::mark::Mark),
    Unreadable,
}

/// Reads the mark of a migration in a role's comment.
pub(crate) fn migration(comment: Option<&str>) -> Migration {
    let text = comment.and_then(|comment| comment.strip_prefix(BEGINNING)).unwrap_or_default();
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    match value.get("migration") {
        None => Migration::None,
        Some(mark) => migrate::mark::Mark::from_json(mark).map_or(Migration::Unreadable, Migration::Marked),
    }
}

/// A role's comment with this mark of a migration instead of the one that it had. Nothing if it is no mark of ours.
pub(crate) fn with_migration(comment: &str, mark: Option<&migrate::mark::Mark>) -> Option<String> {
    let mut value: Value = serde_json::from_str(comment.strip_prefix(BEGINNING)?).ok()?;
    let members = value.as_object_mut()?;
    members.remove("migration");
    members.extend(mark.map(|mark| ("migration".to_owned(), mark.to_json())));
    Some(format!("{BEGINNING}{value}"))
}

/// The comment on an account's database.
pub(crate) fn for_database(account: &Account) -> String {
    let mark = serde_json::json!({ "owner": account.owner.as_str(), "user": account.user.as_str() });
    format!("{BEGINNING}{mark}")
}

/// The comment on an account's role, whose password has this fingerprint.
pub(crate) fn for_user(account: &Account, password: Option<&Fingerprint>) -> String {
    let mut mark = serde_json::json!({ "owner": account.owner.as_str(), "schema": account.schema.as_str() });
    if let Some(password) = password {
        mark["password"] = password.to_string().into();
    }
    format!("{BEGINNING}{mark}")
}

/// What a marked role tells of its account.
pub(crate) fn marker_of_user(user: &str, comment: &str) -> Marker {
    match Mark::of_user(Some(comment)) {
        Mark::Held { owner, counterpart, .. } => {
            Marker { holder: User::parse(user).ok().map(|user| (user, owner)), schema: counterpart }
        }
        Mark::Absent | Mark::Unreadable => Marker { schema: user.to_owned(), holder: None },
    }
}

/// What a marked database tells of its account.
pub(crate) fn marker_of_database(database: &str, comment: &str) -> Marker {
    let holder = match Mark::of_database(Some(comment)) {
        Mark::Held { owner, counterpart, .. } if Schema::parse(database).is_ok() => {
            User::parse(&counterpart).ok().map(|user| (user, owner))
        }
        _ => None,
    };
    Marker { schema: database.to_owned(), holder }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Credential, Seal, Standing};
    use crate::postgres::verifier::Verifier;

    fn account() -> Account {
        Account {
            schema: Schema::parse("x").expect("plain"),
            user: User::parse("u").expect("plain"),
            owner: Owner::parse("uid").expect("plain"),
            standing: Standing::Claimed,
            seal: Seal::Open,
            credential: Credential::Certificate,
        }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let account = account();
        assert_eq!(for_database(&account), r#"kamaji/1 {"owner":"uid","user":"u"}"#);
        assert_eq!(for_user(&account, None), r#"kamaji/1 {"owner":"uid","schema":"x"}"#);
        assert!(Mark::of_database(Some(&for_database(&account))).is_of(&account, "u"));
        let fingerprint = Verifier::with_salt("secret", [7; 16]).fingerprint();
        let Mark::Held { password, .. } = Mark::of_user(Some(&for_user(&account, Some(&fingerprint)))) else {
            panic!("held")
        };
        assert_eq!(password, Some(fingerprint));
    }

    #[test]
    fn any_comment_can_be_read() {
        for comment in
            [None, Some(""), Some("the wiki"), Some("kamaji"), Some("kamaji/2 {}"), Some(" kamaji/1 {}")]
        {
            assert_eq!(Mark::of_user(comment), Mark::Absent, "{comment:?}");
        }
        for comment in [
            "kamaji/1 ",
            "kamaji/1 null",
            "kamaji/1 []",
            "kamaji/1 {\"owner\":1,\"schema\":\"x\"}",
            "kamaji/1 {\"owner\":\"a b\",\"schema\":\"x\"}",
            "kamaji/1 {\"owner\":\"uid\"}",
            "kamaji/1 {\"owner\":\"uid\",\"schema\":\"x\",\"password\":\"no fingerprint\"}",
            "kamaji/1 {\"owner\":\"uid\",\"schema\":\"x\"",
        ] {
            assert_eq!(Mark::of_user(Some(comment)), Mark::Unreadable, "{comment}");
        }
    }
}
