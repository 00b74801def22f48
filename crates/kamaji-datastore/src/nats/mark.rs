//! The mark that says whose data a NATS account holds: a message in a stream of ours.
//!
//! The stream is a bucket like any other, so that `nats kv get _kamaji owner` shows the mark. It is a JSON object:
//! `owner` is the tenant's UID, `schema` its bucket, `user` the name that the tenant's status has for it. Whoever puts it
//! says that there must be none yet, and whoever takes it away names its sequence number, which no other ever has: so of
//! several who claim an account at once one succeeds, and a late removal cannot hit another's mark.
//!
//! `migration`, if it is there, is the mark of a migration; so one message holds both, and is changed by number.

use serde_json::{Value, json};

use crate::account::{Account, Owner, Schema, User};
use crate::migrate::mark::Mark as Migration;
use crate::store::Marker;

/// Bucket of the marks. No tenant can have a bucket of this name.
pub(crate) const BUCKET: &str = "_kamaji";
/// Stream of that bucket.
pub(crate) const STREAM: &str = "KV__kamaji";
/// Subject of the mark.
pub(crate) const SUBJECT: &str = "$KV._kamaji.owner";
/// Subject on which it is tried whether the server takes writes.
pub(crate) const TRIAL: &str = "$KV._kamaji.check";

/// What there is at the subject of the mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing.
    #[default]
    Absent,
    /// A mark.
    Held {
        /// Whose it is.
        owner: Owner,
        /// The tenant's bucket.
        schema: Schema,
        /// The tenant's user.
        user: User,
        /// The message's number in its stream.
        sequence: u64,
        /// Whether it goes from or to another datastore.
        underway: Underway,
    },
    /// Something that cannot be read as a mark.
    Unreadable,
}

/// What a mark says of a migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Underway {
    /// Nothing.
    #[default]
    No,
    /// This.
    Marked(Box<Migration>),
    /// Something that cannot be read.
    Unreadable,
}

impl Underway {
    /// Whether nobody but a migration may open the bucket.
    fn shuts(&self) -> bool {
        match self {
            Self::No => false,
            Self::Marked(migration) => migration.shuts(),
            Self::Unreadable => true,
        }
    }
}

impl Mark {
    /// Reads the message with this number.
    pub(crate) fn read(text: &[u8], sequence: u64) -> Self {
        let value: Value = serde_json::from_slice(text).unwrap_or_default();
        let owner = value["owner"].as_str().and_then(|owner| Owner::parse(owner).ok());
        let schema = value["schema"].as_str().and_then(|schema| Schema::parse(schema).ok());
        let user = value["user"].as_str().and_then(|user| User::parse(user).ok());
        let underway = value.get("migration").map_or(Underway::No, |migration| {
            Migration::from_json(migration)
                .map_or(Underway::Unreadable, |mark| Underway::Marked(Box::new(mark)))
        });
        match (owner, schema, user) {
            (Some(owner), Some(schema), Some(user)) => Self::Held { owner, schema, user, sequence, underway },
            _ => Self::Unreadable,
        }
    }

    /// Whether this is the mark of the account.
    pub(crate) fn is_of(&self, account: &Account) -> bool {
        matches!(self, Self::Held { owner, schema, .. } if *owner == account.owner && *schema == account.schema)
    }

    /// Whether the account is on its way from or to another datastore, or has left.
    pub(crate) fn is_moving(&self, account: &Account) -> bool {
        self.is_of(account) && matches!(self, Self::Held { underway, .. } if underway.shuts())
    }

    /// The account that is marked, for a list of all.
    pub(crate) fn marker(self) -> Option<Marker> {
        match self {
            Self::Absent => None,
            Self::Held { owner, schema, user, .. } => {
                Some(Marker { schema: schema.to_string(), holder: Some((user, owner)) })
            }
            Self::Unreadable => Some(Marker { schema: SUBJECT.to_owned(), holder: None }),
        }
    }
}

/// The text of an account's mark.
pub(crate) fn of(account: &Account) -> String {
    with_migration(account, None)
}

/// The text of an account's mark that bears that of a migration.
pub(crate) fn with_migration(account: &Account, migration: Option<&Migration>) -> String {
    let Account { owner, schema, user, .. } = account;
    let mut mark = json!({ "owner": owner.as_str(), "schema": schema.as_str(), "user": user.as_str() });
    if let Some(migration) = migration {
        mark["migration"] = migration.to_json();
    }
    mark.to_string()
}

/// The stream that marks lie in: one message for each subject, and every one of them can be taken away by its number.
pub(crate) fn stream() -> Value {
    json!({
        "name": STREAM,
        "description": "Kamaji: whose data this account holds",
        "subjects": [format!("$KV.{BUCKET}.>")],
        "retention": "limits",
        "max_consumers": -1,
        "max_msgs": -1,
        "max_bytes": -1,
        "max_msgs_per_subject": 1,
        "max_msg_size": 4096,
        "discard": "new",
        "storage": "file",
        "num_replicas": 1,
        "allow_direct": true,
        "allow_rollup_hdrs": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{Credential, Seal, Standing};
    use crate::migrate::mark::{Stage, Token};

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
        assert_eq!(of(&account), r#"{"owner":"uid","schema":"x","user":"u"}"#);
        let mark = Mark::read(of(&account).as_bytes(), 7);
        assert!(mark.is_of(&account));
        let holder = Some((account.user.clone(), account.owner.clone()));
        assert_eq!(mark.marker(), Some(Marker { schema: "x".to_owned(), holder }));
    }

    #[test]
    fn the_mark_of_a_migration_is_read_and_shuts() {
        let account = account();
        let token = Token::parse("try-1").expect("plain");
        for (stage, shuts) in [(Stage::Fenced, true), (Stage::Copying, true), (Stage::Aborted, false)] {
            let migration = Migration::new(&token, stage).expect("random");
            let mark = Mark::read(with_migration(&account, Some(&migration)).as_bytes(), 7);
            assert!(
                matches!(&mark, Mark::Held { underway: Underway::Marked(read), .. } if **read == migration)
            );
            assert_eq!((mark.is_of(&account), mark.is_moving(&account)), (true, shuts));
            assert!(
                !mark.is_moving(&Account { owner: Owner::parse("other").expect("plain"), ..account.clone() })
            );
        }
        let odd = r#"{"owner":"uid","schema":"x","user":"u","migration":{"stage":"newer"}}"#;
        assert!(Mark::read(odd.as_bytes(), 7).is_moving(&account), "what cannot be read is left alone");
        assert!(!Mark::read(of(&account).as_bytes(), 7).is_moving(&account));
    }

    #[test]
    fn another_owner_or_another_bucket_is_another_account() {
        let mark = Mark::read(of(&account()).as_bytes(), 1);
        assert!(!mark.is_of(&Account { owner: Owner::parse("other").expect("plain"), ..account() }));
        assert!(!mark.is_of(&Account { schema: Schema::parse("y").expect("plain"), ..account() }));
    }

    #[test]
    fn whatever_else_lies_there_is_no_account_and_is_listed() {
        for text in ["", "null", "[]", "{\"owner\":1}", r#"{"owner":"uid","schema":"a/b","user":"u"}"#, "{"] {
            let mark = Mark::read(text.as_bytes(), 1);
            assert_eq!(mark, Mark::Unreadable, "{text}");
            assert_eq!(mark.marker().expect("it is listed").holder, None);
        }
        assert_eq!(Mark::Absent.marker(), None);
    }

    #[test]
    fn no_tenant_can_have_the_bucket_of_the_marks() {
        assert!(Schema::parse(BUCKET).is_err());
        assert_eq!(STREAM, format!("KV_{BUCKET}"));
        assert!([SUBJECT, TRIAL].iter().all(|subject| subject.starts_with(&format!("$KV.{BUCKET}."))));
    }
}
