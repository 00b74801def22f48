//! Reads what there is under the names of one account.

use std::collections::BTreeSet;

use crate::account::{Account, Credential};
use crate::connection::Failure;
use crate::error::{Error, NameProblem};
use crate::mysql::mark::{MIGRATION, Mark, Migration, Row};
use crate::mysql::member::{Answers, Connection, Flavour, Session};
use crate::mysql::plan::{Database, Door, FoundUser, Grant, Ledger, Login, Observed, Sessions};
use crate::mysql::quote::bound;
use crate::mysql::statement::Transport;
use crate::mysql::verifier::Verifier;
use crate::refusal::{Fault, Refusal};
use crate::step::Aim;

/// The sessions of a user.
pub(crate) const SESSIONS: &str = "SELECT ID FROM information_schema.processlist WHERE USER = ?";
/// All rows.
pub(crate) const ROWS: &str =
    "SELECT `schema_name`, `user_name`, `owner` FROM `_kamaji`.`owners` ORDER BY `schema_name`";
const ROWS_OF_NAMES: &str = "\
SELECT `schema_name`, `user_name`, `owner` FROM `_kamaji`.`owners` WHERE `schema_name` = ? OR `user_name` = ?";
const DATABASE: &str = "SELECT 1 FROM information_schema.schemata WHERE SCHEMA_NAME = ?";

/// A user with what it proves itself by, as MariaDB tells it. One that has several ways to prove itself has none of ours.
const USER_OF_MARIADB: &str = "\
SELECT IF(COALESCE(JSON_LENGTH(Priv, '$.auth_or'), 0) > 1, '', COALESCE(JSON_VALUE(Priv, '$.plugin'), '')), \
 COALESCE(JSON_VALUE(Priv, '$.authentication_string'), ''), \
 COALESCE(JSON_VALUE(Priv, '$.ssl_type'), '0'), \
 COALESCE(JSON_VALUE(Priv, '$.account_locked'), '0') IN ('1', 'true') \
FROM mysql.global_priv WHERE Host = '%' AND User = ?";
/// The same, as MySQL tells it.
const USER_OF_MYSQL: &str = "\
SELECT plugin, authentication_string, CASE ssl_type WHEN '' THEN '0' WHEN 'ANY' THEN '1' ELSE '2' END, \
 account_locked = 'Y' FROM mysql.user WHERE Host = '%' AND User = ?";

/// What a user may do, by the name under which it is granted things: where, what, and whether it may pass it on.
const GRANTS: [(Place, &str); 4] = [
    (
        Place::Server,
        "SELECT '', PRIVILEGE_TYPE, IS_GRANTABLE = 'YES' FROM information_schema.user_privileges \
         WHERE GRANTEE = ? AND (PRIVILEGE_TYPE <> 'USAGE' OR IS_GRANTABLE = 'YES')",
    ),
    (
        Place::Databases,
        "SELECT TABLE_SCHEMA, PRIVILEGE_TYPE, IS_GRANTABLE = 'YES' FROM information_schema.schema_privileges \
         WHERE GRANTEE = ?",
    ),
    (
        Place::Part,
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME), PRIVILEGE_TYPE, IS_GRANTABLE = 'YES' \
         FROM information_schema.table_privileges WHERE GRANTEE = ?",
    ),
    (
        Place::Part,
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME, '.', COLUMN_NAME), PRIVILEGE_TYPE, IS_GRANTABLE = 'YES' \
         FROM information_schema.column_privileges WHERE GRANTEE = ?",
    ),
];
/// The same, by the user's name.
const ROUTINES: (Place, &str) = (
    Place::Part,
    "SELECT CONCAT(Db, '.', Routine_name), CONCAT('', Proc_priv), false FROM mysql.procs_priv \
     WHERE Host = '%' AND User = ?",
);
const ROLES_OF_MARIADB: (Place, &str) =
    (Place::Role, "SELECT Role, '', false FROM mysql.roles_mapping WHERE Host = '%' AND User = ?");
const ROLES_OF_MYSQL: (Place, &str) = (
    Place::Role,
    "SELECT FROM_USER, FROM_HOST, false FROM mysql.role_edges WHERE TO_HOST = '%' AND TO_USER = ?",
);

/// Where a user may do something.
#[derive(Clone, Copy)]
enum Place {
    /// Everywhere.
    Server,
    /// In all databases whose names match a pattern.
    Databases,
    /// In a part of a database.
    Part,
    /// Wherever a role may.
    Role,
}

/// What there is, as of a moment during this call. It is asked in one message.
///
/// User and database are read before the marks: as marks are made first and removed last, what is seen of an account that
/// others are making at this moment is never taken for unmarked.
pub(crate) async fn account(
    connection: &Connection,
    transport: Transport,
    account: &Account,
    aim: Aim,
) -> Result<Observed, Failure> {
    let Account { schema, user, .. } = account;
    let doing = format!("look at user {user} and database {schema}");
    let flavour = connection.session(crate::connection::Patience::Keep).await?.flavour;
    let longest = flavour.longest_user();
    if aim == Aim::Ensured && user.as_str().len() > longest {
        return Err(Error::name("user", user.as_str(), NameProblem::TooLong { longest }).into());
    }
    let found = connection.ask(&doing, |session| async move {
        let flavour = session.flavour;
        let mut answers = session.answers(&questions(flavour, account)).await?;
        let user = found_user(&mut answers, flavour, transport, account)?;
        let database: Vec<u8> = answers.take()?;
        let rows = marks(answers.take())?;
        let mark = match answers.take::<String>() {
            // There is no such table before the first migration.
            Err(error) if error.refusal() == Refusal::Raced => None,
            marks => marks?.into_iter().next(),
        };
        Ok::<_, mysql_async::Error>((user, database, rows, Migration::read(mark)))
    });
    let (user, database, rows, migration) = found.await?;
    let ledger = if rows.is_some() { Ledger::Present } else { Ledger::Absent };
    let rows = rows.unwrap_or_default();
    let mark = |is_meant: fn(&Row, &Account) -> bool| {
        let row = rows.iter().find(|row| is_meant(row, account));
        row.map_or(Mark::Absent, |row| Mark::Held(row.clone()))
    };
    Ok(Observed {
        ledger,
        schema_mark: mark(|row, account| row.schema.eq_ignore_ascii_case(account.schema.as_str())),
        user_mark: mark(|row, account| row.user == account.user.as_str()),
        user,
        database: if database.is_empty() { Database::Absent } else { Database::Present },
        migration,
    })
}

/// Everything that is asked about an account, in the order in which it is told.
fn questions(flavour: Flavour, account: &Account) -> Vec<String> {
    let (schema, name) = (account.schema.as_str(), account.user.as_str());
    let user = match flavour {
        Flavour::MariaDb => USER_OF_MARIADB,
        Flavour::MySql => USER_OF_MYSQL,
    };
    let grantee = format!("'{name}'@'%'");
    let of_grantee = GRANTS.map(|(_, statement)| bound(statement, &[&grantee]));
    let of_name = [ROUTINES.1, roles(flavour).1, SESSIONS].map(|statement| bound(statement, &[name]));
    let of_schema =
        [bound(DATABASE, &[schema]), bound(ROWS_OF_NAMES, &[schema, name]), bound(MIGRATION, &[schema])];
    [bound(user, &[name])].into_iter().chain(of_grantee).chain(of_name).chain(of_schema).collect()
}

/// The rows of the table of the marks; nothing if there is no such table.
pub(crate) async fn rows(
    session: &Session,
    statement: &str,
    values: impl Into<mysql_async::Params> + Send,
) -> Result<Option<Vec<Row>>, mysql_async::Error> {
    marks(session.rows(statement, values).await)
}

fn marks(
    rows: Result<Vec<(String, String, String)>, mysql_async::Error>,
) -> Result<Option<Vec<Row>>, mysql_async::Error> {
    let row = |(schema, user, owner): (String, String, String)| Row { schema, user, owner };
    match rows {
        Ok(rows) => Ok(Some(rows.into_iter().map(row).collect())),
        Err(error) if error.refusal() == Refusal::Raced => Ok(None),
        Err(error) => Err(error),
    }
}

fn found_user(
    answers: &mut Answers,
    flavour: Flavour,
    transport: Transport,
    account: &Account,
) -> Result<Option<FoundUser>, mysql_async::Error> {
    let found: Vec<(String, Vec<u8>, String, bool)> = answers.take()?;
    let mut grants = BTreeSet::new();
    for place in GRANTS.into_iter().chain([ROUTINES, roles(flavour)]).map(|(place, _)| place) {
        let found: Vec<(String, String, bool)> = answers.take()?;
        grants.extend(found.into_iter().flat_map(|found| grant(place, found)));
    }
    let sessions: Vec<u64> = answers.take()?;
    let Some((plugin, text, ssl, is_locked)) = found.into_iter().next() else { return Ok(None) };
    let text = String::from_utf8_lossy(&text);
    let is_ours = match &account.credential {
        Credential::Password(password) => Verifier::is_of(flavour, &plugin, &text, password.reveal()),
        Credential::Certificate => false,
    };
    let is_bound = ssl == if transport == Transport::Tls { "1" } else { "0" };
    Ok(Some(FoundUser {
        login: if is_ours && is_bound { Login::AsWanted } else { Login::Other },
        door: if is_locked { Door::Locked } else { Door::Open },
        grants,
        sessions: if sessions.is_empty() { Sessions::None } else { Sessions::Some },
    }))
}

fn roles(flavour: Flavour) -> (Place, &'static str) {
    match flavour {
        Flavour::MariaDb => ROLES_OF_MARIADB,
        Flavour::MySql => ROLES_OF_MYSQL,
    }
}

/// What a row tells: the privilege, and that it may be passed on, if it may.
fn grant(place: Place, (at, what, is_grantable): (String, String, bool)) -> Vec<Grant> {
    let passed_on = is_grantable.then(|| Grant::Beyond(format!("grant {what} on {at}")));
    let grant = match place {
        Place::Server => Grant::Beyond(what),
        Place::Databases => Grant::Databases { pattern: at, privilege: what },
        Place::Part => Grant::Beyond(format!("{what} on {at}")),
        Place::Role => Grant::Role { name: at, host: what },
    };
    [grant].into_iter().chain(passed_on).collect()
}
