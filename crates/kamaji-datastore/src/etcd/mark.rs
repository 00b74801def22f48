//! The mark that says whose a schema or a user is: a JSON object with the tenant's UID and the account's other name.

use crate::account::{Account, Owner, Schema, User};
use crate::etcd::keys;
use crate::store::Marker;

/// What lies at the key of a mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing.
    #[default]
    Absent,
    /// A mark.
    Held {
        /// Whose it is.
        owner: Owner,
        /// The other name of the same account: the user of a schema, the schema of a user.
        counterpart: String,
        /// The revision of its last change.
        revision: i64,
    },
    /// Something that cannot be read as a mark.
    Unreadable {
        /// The revision of its last change.
        revision: i64,
    },
}

impl Mark {
    /// Reads a schema's mark.
    pub(crate) fn of_schema(value: &[u8], revision: i64) -> Self {
        Self::read(value, "user", revision)
    }

    /// Reads a user's mark.
    pub(crate) fn of_user(value: &[u8], revision: i64) -> Self {
        Self::read(value, "schema", revision)
    }

    fn read(value: &[u8], counterpart: &str, revision: i64) -> Self {
        let value: serde_json::Value = serde_json::from_slice(value).unwrap_or_default();
        let owner = value["owner"].as_str().and_then(|owner| Owner::parse(owner).ok());
        match (owner, value[counterpart].as_str()) {
            (Some(owner), Some(counterpart)) => {
                Self::Held { owner, counterpart: counterpart.to_owned(), revision }
            }
            _ => Self::Unreadable { revision },
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
            Self::Absent | Self::Unreadable { .. } => None,
        }
    }

    /// The revision of its last change; 0, as etcd has it, if there is nothing.
    pub(crate) fn revision(&self) -> i64 {
        match self {
            Self::Absent => 0,
            Self::Held { revision, .. } | Self::Unreadable { revision } => *revision,
        }
    }
}

/// A schema's mark, as a list of all shows it.
pub(crate) fn marker(key: &[u8], value: &[u8]) -> Marker {
    let key = String::from_utf8_lossy(key);
    let schema = key.strip_prefix(keys::OWNERS).unwrap_or(&key).to_owned();
    let holder = match Mark::of_schema(value, 0) {
        Mark::Held { owner, counterpart, revision: _ } => {
            User::parse(&counterpart).ok().map(|user| (user, owner))
        }
        Mark::Absent | Mark::Unreadable { .. } => None,
    };
    Marker { schema, holder }
}

/// The text of a schema's mark.
pub(crate) fn for_schema(owner: &Owner, user: &User) -> String {
    serde_json::json!({ "owner": owner.as_str(), "user": user.as_str() }).to_string()
}

/// The text of a user's mark.
pub(crate) fn for_user(owner: &Owner, schema: &Schema) -> String {
    serde_json::json!({ "owner": owner.as_str(), "schema": schema.as_str() }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Standing;

    #[test]
    fn what_is_written_can_be_read() {
        let account = Account {
            schema: Schema::parse("x").expect("plain"),
            user: User::parse("y").expect("plain"),
            owner: Owner::parse("uid").expect("plain"),
            seal: crate::account::Seal::Open,
            credential: crate::account::Credential::Certificate,
            standing: Standing::Claimed,
        };
        let mark = Mark::of_schema(for_schema(&account.owner, &account.user).as_bytes(), 7);
        assert!(mark.is_of(&account, "y") && !mark.is_of(&account, "z"));
        let mark = Mark::of_user(for_user(&account.owner, &account.schema).as_bytes(), 7);
        assert!(mark.is_of(&account, "x"));
        assert_eq!(mark.revision(), 7);
    }

    #[test]
    fn anything_else_is_unreadable_and_nobodys() {
        for value in [
            "",
            "uid",
            "{}",
            "[]",
            "null",
            "{\"owner\":1,\"user\":\"y\"}",
            "{\"owner\":\"a b\",\"user\":\"y\"}",
            "\u{0}",
        ] {
            let mark = Mark::of_schema(value.as_bytes(), 3);
            assert_eq!(mark, Mark::Unreadable { revision: 3 }, "{value}");
            assert_eq!(mark.owner(), None);
        }
    }
}
