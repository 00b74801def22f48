//! What has to be done for an account, given what there is. Nothing here awaits or knows a client.

use std::collections::BTreeSet;

use crate::account::{Account, Seal, Standing};
use crate::error::Foreign;
use crate::etcd::keys::Range;
use crate::etcd::mark::Mark;
use crate::migrate;

/// What there is in etcd under the names of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) schema_mark: Mark,
    pub(crate) user_mark: Mark,
    /// The roles of the user, if it exists.
    pub(crate) user: Option<BTreeSet<String>>,
    /// What the role permits, if it exists.
    pub(crate) role: Option<BTreeSet<Grant>>,
    /// Whether any key lies below the schema's prefix.
    pub(crate) has_keys: bool,
    /// The mark of a migration, if it is there.
    pub(crate) migration: Option<Migration>,
    /// The newest revision of all.
    pub(crate) revision: i64,
}

/// What lies where the mark of a migration does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Migration {
    /// Nothing if it cannot be read.
    pub(crate) mark: Option<migrate::mark::Mark>,
    /// The revision of its last change.
    pub(crate) revision: i64,
}

/// One permission of a role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    pub(crate) range: Range,
    pub(crate) access: Access,
}

/// What a permission lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    Read,
    Write,
    ReadWrite,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Put the marks that are missing, if both are still as they were seen.
    Claim {
        schema: Expected,
        user: Expected,
    },
    AddUser,
    DeleteUser,
    AddRole,
    DeleteRole,
    Grant(Grant),
    RevokeRange(Range),
    GrantRole,
    RevokeRole(String),
    /// Delete one batch of the schema's keys, if the schema's mark is still as it was seen.
    DeleteKeys {
        mark: i64,
    },
    /// Delete those marks that are ours, if they are still as they were seen.
    Release {
        schema: Option<i64>,
        user: Option<i64>,
    },
}

/// How a mark was seen when the decision to claim was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// It was not there: put it.
    Absent,
    /// It was ours: leave it, if its last change is still this one.
    Ours(i64),
}

/// What must be done, in order, until the account exists and can reach its own data and nothing else.
///
/// # Errors
/// What bears a name of the account and is not the account's; nothing may be done then.
pub(crate) fn ensure(account: &Account, observed: &Observed) -> Result<Vec<Step>, Foreign> {
    let claims = claims(account, observed)?;
    Ok(claims.into_iter().chain(user_steps(account, observed)).chain(role_steps(account, observed)).collect())
}

/// What must be done, in order, until nothing of the account is left.
///
/// The user goes first, so that nobody writes while the data goes; the marks go last, so that whoever is cut off
/// is known by them afterwards.
pub(crate) fn remove(account: &Account, observed: &Observed) -> Vec<Step> {
    let schema_is_ours = schema_is_ours(account, observed);
    let user_is_ours = user_is_ours(account, observed);
    let mut steps = Vec::new();
    if user_is_ours && observed.user.is_some() {
        steps.push(Step::DeleteUser);
    }
    if schema_is_ours && observed.role.is_some() {
        steps.push(Step::DeleteRole);
    }
    if schema_is_ours && observed.has_keys {
        steps.push(Step::DeleteKeys { mark: observed.schema_mark.revision() });
    }
    let held = |mark: &Mark, ours: bool| (ours && *mark != Mark::Absent).then(|| mark.revision());
    let release = (held(&observed.schema_mark, schema_is_ours), held(&observed.user_mark, user_is_ours));
    if let (schema, user @ Some(_)) | (schema @ Some(_), user) = release {
        steps.push(Step::Release { schema, user });
    }
    steps
}

/// Whether anything that bears the account's names is left alone by [`remove`].
pub(crate) fn leaves_something(account: &Account, observed: &Observed) -> bool {
    let schema_exists = observed.role.is_some() || observed.has_keys || observed.schema_mark != Mark::Absent;
    let user_exists = observed.user.is_some() || observed.user_mark != Mark::Absent;
    (schema_exists && !schema_is_ours(account, observed)) || (user_exists && !user_is_ours(account, observed))
}

fn claims(account: &Account, observed: &Observed) -> Result<Option<Step>, Foreign> {
    let expected = |mark: &Mark| match mark {
        Mark::Absent => Expected::Absent,
        Mark::Held { revision, .. } | Mark::Unreadable { revision } => Expected::Ours(*revision),
    };
    if let Some(foreign) = foreign_schema(account, observed).or_else(|| foreign_user(account, observed)) {
        return Err(foreign);
    }
    let (schema, user) = (expected(&observed.schema_mark), expected(&observed.user_mark));
    let both_marked = schema != Expected::Absent && user != Expected::Absent;
    Ok((!both_marked).then_some(Step::Claim { schema, user }))
}

fn foreign_schema(account: &Account, observed: &Observed) -> Option<Foreign> {
    if schema_is_ours(account, observed) {
        return None;
    }
    let schema = account.schema.clone();
    match (&observed.schema_mark, &observed.role, observed.has_keys) {
        (Mark::Absent, Some(_), _) => Some(Foreign::UnmarkedRole(schema)),
        (Mark::Absent, None, true) => Some(Foreign::UnmarkedKeys(schema)),
        (Mark::Absent, None, false) => None,
        (mark, _, _) => Some(Foreign::Schema { schema, owner: mark.owner().cloned() }),
    }
}

fn foreign_user(account: &Account, observed: &Observed) -> Option<Foreign> {
    if user_is_ours(account, observed) {
        return None;
    }
    let user = account.user.clone();
    match (&observed.user_mark, &observed.user) {
        (Mark::Absent, Some(_)) => Some(Foreign::UnmarkedUser(user)),
        (Mark::Absent, None) => None,
        (mark, _) => Some(Foreign::User { user, owner: mark.owner().cloned() }),
    }
}

/// Whether role and data of the schema are this account's: by the mark, or, before there is one, by the tenant's
/// status and a role that fits.
fn schema_is_ours(account: &Account, observed: &Observed) -> bool {
    match &observed.schema_mark {
        Mark::Absent => {
            account.standing == Standing::Recorded
                && observed.role.as_ref().is_none_or(|role| role.iter().all(|grant| fits(account, grant)))
        }
        mark => mark.is_of(account, account.user.as_str()),
    }
}

/// Whether the user is this account's: by the mark, or, before there is one, by the tenant's status and roles that fit.
fn user_is_ours(account: &Account, observed: &Observed) -> bool {
    match &observed.user_mark {
        Mark::Absent => {
            account.standing == Standing::Recorded
                && observed
                    .user
                    .as_ref()
                    .is_none_or(|roles| roles.iter().all(|role| role == account.schema.as_str()))
        }
        mark => mark.is_of(account, account.schema.as_str()),
    }
}

/// Whether a grant is one that Kamaji made, in this version or an earlier one.
fn fits(account: &Account, grant: &Grant) -> bool {
    grant.range == Range::of(&account.schema) || grant.range == Range::open(&account.schema)
}

fn user_steps(account: &Account, observed: &Observed) -> Vec<Step> {
    let surplus = |role: &&String| role.as_str() != account.schema.as_str();
    match &observed.user {
        None => vec![Step::AddUser],
        Some(roles) => roles.iter().filter(surplus).cloned().map(Step::RevokeRole).collect(),
    }
}

fn role_steps(account: &Account, observed: &Observed) -> Vec<Step> {
    let (add, grants) = match &observed.role {
        None => (Some(Step::AddRole), &BTreeSet::new()),
        Some(grants) => (None, grants),
    };
    let wanted = wanted(account, grants);
    // Granted before the wrong ones are revoked, and to write before only to read: a tenant never loses what it may keep.
    let missing = wanted.iter().filter(|grant| !grants.contains(grant)).cloned();
    let (write, read): (Vec<Grant>, Vec<Grant>) =
        missing.partition(|grant| grant.access == Access::ReadWrite);
    let grant = write.into_iter().chain(read).map(Step::Grant);
    let surplus = grants.iter().filter(|grant| wanted.iter().all(|wanted| wanted.range != grant.range));
    let revoke = surplus.map(|grant| Step::RevokeRange(grant.range.clone()));
    let has_role = observed.user.as_ref().is_some_and(|roles| roles.contains(account.schema.as_str()));
    let give = (!has_role).then_some(Step::GrantRole);
    add.into_iter().chain(grant).chain(revoke).chain(give).collect()
}

/// What the role should permit.
fn wanted(account: &Account, found: &BTreeSet<Grant>) -> BTreeSet<Grant> {
    let all = Range::of(&account.schema);
    let open = || BTreeSet::from([Grant { range: all.clone(), access: Access::ReadWrite }]);
    match &account.seal {
        Seal::Open => open(),
        Seal::Closed(keys) => sealed(&all, keys),
        Seal::AsFound(keys) => Some(sealed(&all, keys)).filter(|sealed| sealed == found).unwrap_or_else(open),
    }
}

/// Everything may be read; what lies between the sealed keys may also be written.
fn sealed(all: &Range, keys: &[String]) -> BTreeSet<Grant> {
    let keys: BTreeSet<Vec<u8>> = keys.iter().map(|key| [&all.start, key.as_bytes()].concat()).collect();
    let mut grants = BTreeSet::from([Grant { range: all.clone(), access: Access::Read }]);
    let mut start = all.start.clone();
    for key in keys {
        // The first key after this one is the same with a zero byte.
        let after = [key.as_slice(), b"\0"].concat();
        grants.insert(Grant { range: Range { start, end: key }, access: Access::ReadWrite });
        start = after;
    }
    grants.insert(Grant { range: Range { start, end: all.end.clone() }, access: Access::ReadWrite });
    grants
}

#[cfg(test)]
mod tests;
