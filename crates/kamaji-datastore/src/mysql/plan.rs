//! What has to be done for an account, given what there is. Nothing here awaits or knows a client.

use std::collections::BTreeSet;

use crate::account::{Account, Standing};
use crate::error::Foreign;
use crate::mysql::mark::{Mark, Migration};
use crate::mysql::quote::escape;

/// What a tenant's user may do in its own database. Source: what kine's statements need.
pub(crate) const PRIVILEGES: [&str; 7] = ["SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "INDEX", "ALTER"];

/// What there is in the server under the names of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) ledger: Ledger,
    /// The row of the schema's name.
    pub(crate) schema_mark: Mark,
    /// The row of the user's name.
    pub(crate) user_mark: Mark,
    pub(crate) user: Option<FoundUser>,
    pub(crate) database: Database,
    pub(crate) migration: Migration,
}

/// A user that may come from everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundUser {
    pub(crate) login: Login,
    pub(crate) door: Door,
    /// What it may do.
    pub(crate) grants: BTreeSet<Grant>,
    /// Whether it is logged in.
    pub(crate) sessions: Sessions,
}

/// The table of the marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ledger {
    Present,
    #[default]
    Absent,
}

/// Whether there is a database of the schema's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Database {
    Present,
    #[default]
    Absent,
}

/// Whether a user proves who it is in the way that we ask of it: by its password, over TLS if we ourselves come so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    AsWanted,
    Other,
}

/// Whether a user may log in at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    Locked,
}

/// Whether a user is logged in anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sessions {
    None,
    Some,
}

/// Something that a user may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grant {
    /// A privilege to all databases whose names match a pattern.
    Databases { pattern: String, privilege: String },
    /// What no tenant's user may: to do something everywhere, or to a part of a database, or to pass it on.
    Beyond(String),
    /// What belongs to a role. Only who may pass the role on can take it away.
    Role { name: String, host: String },
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make the table of the marks, and the database that it is in.
    AddLedger,
    /// Put the row, if neither name has one.
    Claim,
    /// Make the user with its password.
    AddUser,
    SetPassword,
    Unlock,
    /// Take a role from the user.
    RevokeRole {
        name: String,
        host: String,
    },
    /// Take everything else from the user.
    Curb,
    AddDatabase,
    Grant,
    Lock,
    EndSessions,
    DropDatabase,
    DropUser,
    /// Take the row away.
    Release,
    /// Take the row away together with the mark of a migration.
    ReleaseMoved,
}

/// What must be done, in order, until the account exists and can reach its own data and nothing else.
///
/// # Errors
/// What bears a name of the account and is not the account's; nothing may be done then.
pub(crate) fn ensure(account: &Account, observed: &Observed) -> Result<Vec<Step>, Foreign> {
    if let Some(foreign) = foreign(account, observed) {
        return Err(foreign);
    }
    let mut steps = Vec::new();
    if observed.schema_mark == Mark::Absent {
        steps.extend((observed.ledger == Ledger::Absent).then_some(Step::AddLedger));
        steps.push(Step::Claim);
    }
    steps.extend(user_steps(account, observed.user.as_ref()));
    steps.extend((observed.database == Database::Absent).then_some(Step::AddDatabase));
    let missing = observed.user.as_ref().is_none_or(|user| {
        has_surplus(account, user) || wanted(account).iter().any(|grant| !user.grants.contains(grant))
    });
    steps.extend(missing.then_some(Step::Grant));
    Ok(steps)
}

/// What must be done, in order, until nothing of the account is left.
///
/// The user is locked first, so that nobody comes back while the data goes; the row goes last, so that whoever is cut off is
/// known by it afterwards.
pub(crate) fn remove(account: &Account, observed: &Observed) -> Vec<Step> {
    if foreign(account, observed).is_some() {
        return Vec::new();
    }
    let mut steps = Vec::new();
    if let Some(user) = &observed.user {
        steps.extend((user.door == Door::Open).then_some(Step::Lock));
        steps.extend((user.sessions == Sessions::Some).then_some(Step::EndSessions));
    }
    steps.extend((observed.database == Database::Present).then_some(Step::DropDatabase));
    steps.extend(observed.user.as_ref().map(|_| Step::DropUser));
    let release = if observed.migration == Migration::None { Step::Release } else { Step::ReleaseMoved };
    steps.extend((observed.schema_mark != Mark::Absent).then_some(release));
    steps
}

/// Whether anything that bears the account's names is left alone by [`remove`].
pub(crate) fn leaves_something(account: &Account, observed: &Observed) -> bool {
    foreign(account, observed).is_some()
}

/// What is in the way of the account.
fn foreign(account: &Account, observed: &Observed) -> Option<Foreign> {
    let (schema, user) = (|| account.schema.clone(), || account.user.clone());
    match (&observed.schema_mark, &observed.user_mark) {
        (Mark::Held(row), _) if row.is_of(account) => None,
        (Mark::Held(row), _) => Some(Foreign::Schema { schema: schema(), owner: row.owner() }),
        (Mark::Absent, Mark::Held(row)) => Some(Foreign::User { user: user(), owner: row.owner() }),
        (Mark::Absent, Mark::Absent) => unmarked(account, observed),
    }
}

/// Before there is a row, what the tenant's status records is the account's, if the user is as an operator without marks
/// leaves it.
fn unmarked(account: &Account, observed: &Observed) -> Option<Foreign> {
    let recorded = account.standing == Standing::Recorded;
    if observed.user.as_ref().is_some_and(|user| !recorded || !looks_like_a_tenant(account, user)) {
        return Some(Foreign::UnmarkedUser(account.user.clone()));
    }
    (observed.database == Database::Present && !recorded)
        .then(|| Foreign::UnmarkedDatabase(account.schema.clone()))
}

fn looks_like_a_tenant(account: &Account, user: &FoundUser) -> bool {
    let schema = account.schema.as_str();
    user.grants.iter().all(|grant| match grant {
        Grant::Databases { pattern, .. } => *pattern == escape(schema) || pattern == schema,
        Grant::Beyond(_) | Grant::Role { .. } => false,
    })
}

fn user_steps(account: &Account, user: Option<&FoundUser>) -> Vec<Step> {
    let Some(user) = user else { return vec![Step::AddUser] };
    let mut steps = Vec::new();
    steps.extend((user.login == Login::Other).then_some(Step::SetPassword));
    steps.extend((user.door == Door::Locked).then_some(Step::Unlock));
    steps.extend(user.grants.iter().filter_map(|grant| match grant {
        Grant::Role { name, host } => Some(Step::RevokeRole { name: name.clone(), host: host.clone() }),
        Grant::Databases { .. } | Grant::Beyond(_) => None,
    }));
    steps.extend(has_surplus(account, user).then_some(Step::Curb));
    steps
}

/// Whether the user may do more than it should, roles aside.
fn has_surplus(account: &Account, user: &FoundUser) -> bool {
    let wanted = wanted(account);
    user.grants.iter().any(|grant| !matches!(grant, Grant::Role { .. }) && !wanted.contains(grant))
}

fn wanted(account: &Account) -> BTreeSet<Grant> {
    let pattern = escape(account.schema.as_str());
    let privilege =
        |privilege: &str| Grant::Databases { pattern: pattern.clone(), privilege: privilege.to_owned() };
    PRIVILEGES.into_iter().map(privilege).collect()
}

#[cfg(test)]
mod tests;
