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
//!
//! A tenant that is being migrated, or has been, has a row in `_kamaji.migrations` too: `schema_name`, and `mark`, which
//! is a JSON object.

use crate::account::{Account, Owner, User};
use crate::migrate;
use crate::store::Marker;

/// The database of the marks.
pub(crate) const SCHEMA: &str = "_kamaji";

/// The table of the marks of migrations.
pub(crate) const MIGRATIONS: &str = "\
CREATE TABLE IF NOT EXISTS `_kamaji`.`migrations` (\
 `schema_name` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY, \
 `mark` VARCHAR(512) CHARACTER SET ascii COLLATE ascii_bin NOT NULL) ENGINE=InnoDB";
pub(crate) const MIGRATION: &str = "SELECT `mark` FROM `_kamaji`.`migrations` WHERE `schema_name` = ?";
/// The first mark of an account that has a row.
pub(crate) const ADD_MIGRATION: &str = "\
INSERT INTO `_kamaji`.`migrations` (`schema_name`, `mark`) SELECT `schema_name`, ? FROM `_kamaji`.`owners` \
WHERE `schema_name` = ? AND `user_name` = ? AND `owner` = ?";
pub(crate) const CHANGE_MIGRATION: &str =
    "UPDATE `_kamaji`.`migrations` SET `mark` = ? WHERE `schema_name` = ? AND `mark` = ?";
pub(crate) const END_MIGRATION: &str =
    "DELETE FROM `_kamaji`.`migrations` WHERE `schema_name` = ? AND `mark` = ?";

/// What there is of a migration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Migration {
    #[default]
    None,
    Marked {
        mark: migrate::mark::Mark,
        /// As it is kept.
        text: String,
    },
    Unreadable,
}

impl Migration {
    /// Reads a mark.
    pub(crate) fn read(text: Option<String>) -> Self {
        let Some(text) = text else { return Self::None };
        let value = serde_json::from_str(&text).unwrap_or_default();
        migrate::mark::Mark::from_json(&value).map_or(Self::Unreadable, |mark| Self::Marked { mark, text })
    }

    /// Whether nobody may be let in.
    pub(crate) fn shuts(&self) -> bool {
        match self {
            Self::None => false,
            Self::Unreadable => true,
            Self::Marked { mark, .. } => mark.shuts(),
        }
    }
}

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
