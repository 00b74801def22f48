//! Which keys mean what.

use crate::account::{Schema, User};

/// Below it lie one mark for every schema, each with its owner. No schema can have this prefix: `_kamaji` is reserved.
pub(crate) const OWNERS: &str = "/_kamaji/owners/";
/// Below it lie one mark for every user, each with its owner.
pub(crate) const USERS: &str = "/_kamaji/users/";
/// Below it lies one mark for every schema that is on its way to or from here.
const MIGRATIONS: &str = "/_kamaji/migrations/";
/// What is written to raise the revision, and for nothing else.
pub(crate) const RAISED: &str = "/_kamaji/raised";
/// Never exists: it is the key of the transaction that proves our rights and does nothing.
pub(crate) const CANARY: &str = "/_kamaji/canary";

/// All keys from `start` up to and without `end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Range {
    pub(crate) start: Vec<u8>,
    pub(crate) end: Vec<u8>,
}

impl Range {
    /// The keys of a schema, `/<schema>/` up to `/<schema>0`: the closing slash keeps `x` out of `xy`, and `0` is the
    /// character after `/`.
    pub(crate) fn of(schema: &Schema) -> Self {
        Self::below(&format!("/{schema}/"))
    }

    /// All keys that begin with `prefix`, which ends in a slash.
    pub(crate) fn below(prefix: &str) -> Self {
        let mut end = prefix.as_bytes().to_vec();
        if let Some(last) = end.last_mut() {
            *last += 1;
        }
        Self { start: prefix.as_bytes().to_vec(), end }
    }

    /// What earlier versions of Kamaji granted: everything that begins with `/<schema>`, neighbours included.
    pub(crate) fn open(schema: &Schema) -> Self {
        Self::below(&format!("/{schema}"))
    }
}

/// Where the mark of a schema's migration lies.
pub(crate) fn migration_of(schema: &Schema) -> String {
    format!("{MIGRATIONS}{schema}")
}

/// Where a schema's mark lies.
pub(crate) fn owner_of(schema: &Schema) -> String {
    format!("{OWNERS}{schema}")
}

/// Where a user's mark lies.
pub(crate) fn owner_of_user(user: &User) -> String {
    format!("{USERS}{user}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_has_the_keys_below_its_slash_and_no_others() {
        let range = Range::of(&Schema::parse("x").expect("plain"));
        assert_eq!((range.start.as_slice(), range.end.as_slice()), (b"/x/".as_slice(), b"/x0".as_slice()));
        let within = |key: &str| *key.as_bytes() >= *range.start && *key.as_bytes() < *range.end;
        assert!(within("/x/") && within("/x/registry/pods") && within("/x/\u{ff}"));
        for other in ["/x", "/x0", "/x0/a", "/xy/a", "/x-/a", "/x.", "/_kamaji/owners/x", "/w/", "x/"] {
            assert!(!within(other), "{other}");
        }
    }

    #[test]
    fn marks_lie_outside_every_schema() {
        for name in ["_kamaji", "_Kamaji", "_kamaji-owners"] {
            assert!(Schema::parse(name).is_err(), "{name}");
        }
    }
}
