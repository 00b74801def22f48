//! What has to be done for an account, given what there is. Nothing here awaits or knows a client.

use std::collections::BTreeSet;

use crate::account::{Account, Credential, Standing};
use crate::error::Foreign;
use crate::postgres::mark::Mark;

/// What there is in PostgreSQL under the names of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// The role that has the user's name.
    pub(crate) user: Option<FoundUser>,
    /// The database that has the schema's name.
    pub(crate) database: Option<FoundDatabase>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundUser {
    pub(crate) mark: Mark,
    pub(crate) login: Login,
    /// What it may do and no tenant's may.
    pub(crate) powers: BTreeSet<Power>,
    /// The roles that it is a member of.
    pub(crate) roles: BTreeSet<String>,
    /// Whether we may act for it.
    pub(crate) acting: Acting,
    /// Whether it is logged in.
    pub(crate) sessions: Sessions,
    /// Its comment as it is, which holds both marks.
    pub(crate) comment: Option<String>,
}

/// A database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundDatabase {
    pub(crate) mark: Mark,
    pub(crate) holder: Holder,
    pub(crate) kind: Kind,
    /// What those may who were given nothing by name.
    pub(crate) public: Public,
    pub(crate) grants: Grants,
    pub(crate) door: Door,
    /// The table in it that an earlier operator may have made as itself.
    pub(crate) table: Table,
}

/// Whether a role may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Allowed,
    Denied,
}

/// Whether we are a member of a role, with its rights, or may do everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acting {
    Allowed,
    Denied,
}

/// Whether a role is logged in anywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sessions {
    None,
    Some,
}

/// Who a database belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// The role that has the account's user name.
    User,
    /// Whoever we are.
    Us,
    Other,
}

/// What a database is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    Template,
}

/// What everyone may do with a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Public {
    Nothing,
    Something,
}

/// Whether a database's holder has all rights to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grants {
    Complete,
    Missing,
}

/// Whether anyone can connect to a database at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open,
    Shut,
}

/// Who the table of the data belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// The user; or there is none, or nobody looked since the database was marked.
    Settled,
    Other,
}

/// What no tenant's role may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Power {
    Superuser,
    CreateDatabase,
    CreateRole,
    Replication,
    BypassRowSecurity,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make the role with its password and its mark, all at once.
    AddUser,
    /// Mark a role that was made for the tenant by an operator without marks, and set its password.
    MarkUser,
    SetPassword,
    Curb(BTreeSet<Power>),
    Admit,
    RevokeRole(String),
    /// Become a member of the role: only who may act for it can give it a database or end its sessions.
    Join,
    /// Make the database as the role's, shut.
    AddDatabase,
    OwnDatabase,
    OwnTable,
    /// Take all rights to the database from everyone.
    Confine,
    Grant,
    MarkDatabase,
    Open,
    /// Let the role log in no more.
    Lock,
    EndSessions,
    DropDatabase,
    DropUser,
}

/// What must be done, in order, until the account exists and can reach its own data and nothing else.
///
/// The role is made first and is marked from its first moment. A database that it holds is known by that, so that there
/// is no moment at which the account cannot be told from what is foreign; nobody can connect to the database until it
/// is confined and marked.
///
/// # Errors
/// What bears a name of the account and is not the account's; nothing may be done then.
pub(crate) fn ensure(account: &Account, observed: &Observed) -> Result<Vec<Step>, Foreign> {
    if let Some(foreign) = foreign_database(account, observed).or_else(|| foreign_user(account, observed)) {
        return Err(foreign);
    }
    let user = user_steps(account, observed.user.as_ref());
    Ok(user.into_iter().chain(database_steps(account, observed.database.as_ref())).collect())
}

/// What must be done, in order, until nothing of the account is left.
///
/// The role is locked first, so that nobody comes back while the data goes; it goes last, with its mark, so that whoever
/// is cut off is known by it afterwards.
pub(crate) fn remove(account: &Account, observed: &Observed) -> Vec<Step> {
    let user = observed.user.as_ref().filter(|user| user_is_ours(account, user));
    let mut steps = Vec::new();
    if let Some(user) = user {
        steps.extend((user.login == Login::Allowed).then_some(Step::Lock));
        steps.extend((user.acting == Acting::Denied).then_some(Step::Join));
        steps.extend((user.sessions == Sessions::Some).then_some(Step::EndSessions));
    }
    if observed.database.as_ref().is_some_and(|database| database_is_ours(account, observed, database)) {
        steps.push(Step::DropDatabase);
    }
    steps.extend(user.map(|_| Step::DropUser));
    steps
}

/// Whether there is a database of the user's that can be connected to.
pub(crate) fn can_be_entered(observed: &Observed) -> bool {
    let open = |database: &FoundDatabase| database.door == Door::Open && database.holder == Holder::User;
    observed.database.as_ref().is_some_and(open)
}

/// Whether anything that bears the account's names is left alone by [`remove`].
pub(crate) fn leaves_something(account: &Account, observed: &Observed) -> bool {
    foreign_database(account, observed).or_else(|| foreign_user(account, observed)).is_some()
}

fn foreign_database(account: &Account, observed: &Observed) -> Option<Foreign> {
    let database = observed.database.as_ref()?;
    if database_is_ours(account, observed, database) {
        return None;
    }
    let schema = account.schema.clone();
    Some(match &database.mark {
        Mark::Absent => Foreign::UnmarkedDatabase(schema),
        // A mark that names this account on what another holds is one that nobody but that other has put there.
        mark if mark.is_of(account, account.user.as_str()) => Foreign::UnmarkedDatabase(schema),
        mark => Foreign::Schema { schema, owner: mark.owner().cloned() },
    })
}

fn foreign_user(account: &Account, observed: &Observed) -> Option<Foreign> {
    let found = observed.user.as_ref()?;
    if user_is_ours(account, found) {
        return None;
    }
    let user = account.user.clone();
    Some(match &found.mark {
        Mark::Absent => Foreign::UnmarkedUser(user),
        mark => Foreign::User { user, owner: mark.owner().cloned() },
    })
}

/// Whether a role is this account's: by the mark, or, before there is one, by the tenant's status and a role that fits.
fn user_is_ours(account: &Account, user: &FoundUser) -> bool {
    match &user.mark {
        Mark::Absent => {
            account.standing == Standing::Recorded && user.powers.is_empty() && user.roles.is_empty()
        }
        mark => mark.is_of(account, account.schema.as_str()),
    }
}

/// Whether a database is this account's.
///
/// It is if the account's own marked role holds it, whatever its comment says: the role names it in its mark, and as the
/// database's holder it can write any comment on it.
fn database_is_ours(account: &Account, observed: &Observed, database: &FoundDatabase) -> bool {
    let user = observed.user.as_ref();
    let unmarked = database.mark == Mark::Absent;
    let marked = database.mark.is_of(account, account.user.as_str());
    match database.holder {
        Holder::User => user.is_some_and(|user| {
            user_is_ours(account, user) && (user.mark != Mark::Absent || unmarked || marked)
        }),
        Holder::Us => {
            let recorded = account.standing == Standing::Recorded && database.kind == Kind::Plain;
            marked || (unmarked && recorded && user.is_none_or(|user| user_is_ours(account, user)))
        }
        Holder::Other => false,
    }
}

fn user_steps(account: &Account, user: Option<&FoundUser>) -> Vec<Step> {
    let Some(user) = user else { return vec![Step::AddUser] };
    let mut steps = Vec::new();
    match &user.mark {
        Mark::Held { password, .. } => {
            let same = match (&account.credential, password) {
                (Credential::Certificate, None) => true,
                (Credential::Password(wanted), Some(found)) => found.is_of(wanted.reveal()),
                (Credential::Certificate, Some(_)) | (Credential::Password(_), None) => false,
            };
            steps.extend((!same).then_some(Step::SetPassword));
        }
        Mark::Absent | Mark::Unreadable => steps.push(Step::MarkUser),
    }
    steps.extend((!user.powers.is_empty()).then(|| Step::Curb(user.powers.clone())));
    steps.extend(user.roles.iter().cloned().map(Step::RevokeRole));
    steps.extend((user.login == Login::Denied).then_some(Step::Admit));
    steps.extend((user.acting == Acting::Denied).then_some(Step::Join));
    steps
}

fn database_steps(account: &Account, database: Option<&FoundDatabase>) -> Vec<Step> {
    let Some(database) = database else {
        return vec![Step::AddDatabase, Step::Confine, Step::MarkDatabase, Step::Open];
    };
    let marked = database.mark.is_of(account, account.user.as_str());
    let steps = [
        (database.holder != Holder::User).then_some(Step::OwnDatabase),
        (database.table == Table::Other).then_some(Step::OwnTable),
        (database.public == Public::Something).then_some(Step::Confine),
        (database.grants == Grants::Missing).then_some(Step::Grant),
        (!marked).then_some(Step::MarkDatabase),
        (database.door == Door::Shut).then_some(Step::Open),
    ];
    steps.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests;
