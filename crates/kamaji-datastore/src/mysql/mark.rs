//! The mark that says whose a database and a user are: a row in the table `_kamaji.owners`, which no tenant reaches.
//!
//! Neither MariaDB nor MySQL lets both databases and users bear a text of ours, in all versions. The row is put before
//! anything is made and taken away after everything is gone.
//!
//! | column | what |
//! |---|---|
//! | `schema_name` | the database; no two differ in their case alone, for a server may take them for one |
//! | `user_name` | the user; unique |
//! | `owner` | the tenant's UID |

use crate::account::{Account, Owner, User};
use crate::store::Marker;

/// The database of the marks.
pub(crate) const SCHEMA: &str = "_kamaji";

/// What the row of a name says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// There is none.
    #[default]
    Absent,
    /// Whose it is.
    Held(Row),
}

/// A row, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) schema: String,
    pub(crate) user: String,
    pub(crate) owner: String,
}

impl Row {
    /// Whether this is the mark of the account.
    pub(crate) fn is_of(&self, account: &Account) -> bool {
        let Account { schema, user, owner, .. } = account;
        self.schema == schema.as_str() && self.user == user.as_str() && self.owner == owner.as_str()
    }

    /// Whose it is, if that can be read.
    pub(crate) fn owner(&self) -> Option<Owner> {
        Owner::parse(&self.owner).ok()
    }

    /// What it tells of its account.
    pub(crate) fn marker(self) -> Marker {
        let holder = self.owner().and_then(|owner| Some((User::parse(&self.user).ok()?, owner)));
        Marker { schema: self.schema, holder }
    }
}
