//! Makes one statement.

use std::sync::Arc;
use std::time::Duration;

use crate::account::{Account, Credential};
use crate::connection::{Effect, Failure};
use crate::error::Error;
use crate::mysql::mark::SCHEMA;
use crate::mysql::member::{Connection, Flavour, Session};
use crate::mysql::observe::SESSIONS;
use crate::mysql::plan::{PRIVILEGES, Step};
use crate::mysql::quote::{identifier, pattern};
use crate::mysql::verifier::Verifier;
use crate::refusal::{Fault, Refusal};
use crate::store::Change;

/// Every name is plain ASCII. Databases that differ in their case alone can be one, so their names must differ in more.
const LEDGER: &str = "\
CREATE TABLE IF NOT EXISTS `_kamaji`.`owners` (\
 `schema_name` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL PRIMARY KEY, \
 `user_name` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE, \
 `owner` VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL) ENGINE=InnoDB";
const CLAIM: &str = "INSERT INTO `_kamaji`.`owners` (`schema_name`, `user_name`, `owner`) VALUES (?, ?, ?)";
const RELEASE: &str =
    "DELETE FROM `_kamaji`.`owners` WHERE `schema_name` = ? AND `user_name` = ? AND `owner` = ?";
const RELEASE_MOVED: &str = "\
DELETE `_kamaji`.`owners`, `_kamaji`.`migrations` FROM `_kamaji`.`owners` LEFT JOIN `_kamaji`.`migrations` \
ON `_kamaji`.`migrations`.`schema_name` = `_kamaji`.`owners`.`schema_name` WHERE `_kamaji`.`owners`.`schema_name` = ? \
AND `_kamaji`.`owners`.`user_name` = ? AND `_kamaji`.`owners`.`owner` = ?";
/// How often it is looked whether sessions that were ended are gone: it takes them some milliseconds.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Whether users must come over TLS: they must if we ourselves do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tls,
    Any,
}

/// The statement was made, by way of a server that users reach by this transport.
pub(crate) async fn make(
    connection: &Connection,
    transport: Transport,
    account: &Account,
    step: &Step,
) -> Result<Change, Failure> {
    let doing = doing(account, step);
    let text = |flavour| sql(account, step, flavour, transport);
    // What cannot be said is told before anything is sent.
    text(Flavour::MariaDb)?;
    let made = connection.tell(&doing, Effect::Accounts, |session| {
        let text = text(session.flavour);
        async move {
            let text = text.map_err(|error| mysql_async::Error::Other(Box::new(error)))?;
            execute(session, account, step, &text).await
        }
    });
    made.await?;
    Ok(change(step))
}

async fn execute(
    session: Arc<Session>,
    account: &Account,
    step: &Step,
    text: &str,
) -> Result<(), mysql_async::Error> {
    let Account { schema, user, owner, .. } = account;
    match step {
        Step::EndSessions => end_sessions(&session, user.as_str()).await,
        Step::AddLedger => {
            session.run(&format!("CREATE DATABASE IF NOT EXISTS `{SCHEMA}`"), ()).await?;
            session.run(text, ()).await.map(drop)
        }
        Step::Claim | Step::Release | Step::ReleaseMoved => {
            session.run(text, (schema.as_str(), user.as_str(), owner.as_str())).await.map(drop)
        }
        _ => session.run(text, ()).await.map(drop),
    }
}

/// The sessions of the user are gone. That takes a moment, which is waited for: the caller has a deadline.
async fn end_sessions(session: &Session, user: &str) -> Result<(), mysql_async::Error> {
    loop {
        let found: Vec<u64> = session.rows(SESSIONS, (user,)).await?;
        if found.is_empty() {
            return Ok(());
        }
        for id in found {
            match session.run(&format!("KILL {id}"), ()).await {
                // It went by itself.
                Err(error) if error.refusal() == Refusal::Raced => {}
                ended => drop(ended?),
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The text of a statement.
fn sql(account: &Account, step: &Step, flavour: Flavour, transport: Transport) -> Result<String, Error> {
    let user = format!("{}@`%`", identifier(account.user.as_str())?);
    let database = identifier(account.schema.as_str())?;
    Ok(match step {
        Step::AddLedger => LEDGER.to_owned(),
        Step::Claim => CLAIM.to_owned(),
        Step::Release => RELEASE.to_owned(),
        Step::ReleaseMoved => RELEASE_MOVED.to_owned(),
        Step::AddUser => format!("CREATE USER {user} {}", login(account, flavour, transport)?),
        Step::SetPassword => format!("ALTER USER {user} {}", login(account, flavour, transport)?),
        Step::Unlock => format!("ALTER USER {user} ACCOUNT UNLOCK"),
        Step::Lock => format!("ALTER USER {user} ACCOUNT LOCK"),
        // In MariaDB roles have no host.
        Step::RevokeRole { name, host } if host.is_empty() => {
            format!("REVOKE {} FROM {user}", identifier(name)?)
        }
        Step::RevokeRole { name, host } => {
            format!("REVOKE {}@{} FROM {user}", identifier(name)?, identifier(host)?)
        }
        Step::Curb => format!("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {user}"),
        Step::AddDatabase => format!("CREATE DATABASE {database}"),
        Step::Grant => {
            let privileges = PRIVILEGES.join(", ");
            format!("GRANT {privileges} ON {}.* TO {user}", pattern(account.schema.as_str())?)
        }
        Step::DropDatabase => format!("DROP DATABASE {database}"),
        Step::DropUser => format!("DROP USER {user}"),
        Step::EndSessions => SESSIONS.to_owned(),
    })
}

/// How the user proves who it is. What the server keeps of a password is plain: it needs no quoting.
fn login(account: &Account, flavour: Flavour, transport: Transport) -> Result<String, Error> {
    let Credential::Password(password) = &account.credential else {
        let what =
            format!("user {} has no password, and MySQL knows its users by nothing else", account.user);
        return Err(Error::Settings { what, source: None });
    };
    let Verifier { plugin, text } = Verifier::new(flavour, password.reveal())?;
    let require = if transport == Transport::Tls { "SSL" } else { "NONE" };
    Ok(match flavour {
        Flavour::MariaDb => format!("IDENTIFIED VIA {plugin} USING '{text}' REQUIRE {require}"),
        Flavour::MySql => format!("IDENTIFIED WITH {plugin} AS '{text}' REQUIRE {require}"),
    })
}

fn change(step: &Step) -> Change {
    match step {
        Step::AddLedger => Change::PlaceMade,
        Step::Claim => Change::Claimed,
        Step::AddUser => Change::UserAdded,
        Step::SetPassword => Change::PasswordSet,
        Step::Unlock => Change::UserUnlocked,
        Step::RevokeRole { .. } => Change::RoleRevoked,
        Step::Curb => Change::UserCurbed,
        Step::AddDatabase => Change::DatabaseAdded,
        Step::Grant => Change::DatabaseGranted,
        Step::Lock => Change::UserLocked,
        Step::EndSessions => Change::SessionsEnded,
        Step::DropDatabase => Change::DatabaseDeleted,
        Step::DropUser => Change::UserDeleted,
        Step::Release | Step::ReleaseMoved => Change::Released,
    }
}

fn doing(account: &Account, step: &Step) -> String {
    let Account { schema, user, owner, .. } = account;
    match step {
        Step::AddLedger => format!("make the table {SCHEMA}.owners"),
        Step::Claim => {
            format!("mark database {schema} and user {user} as those of the tenant with UID {owner}")
        }
        Step::AddUser => format!("make user {user}"),
        Step::SetPassword => format!("set the password of user {user}"),
        Step::Unlock => format!("let user {user} log in"),
        Step::RevokeRole { name, .. } => format!("revoke role {name:?} from user {user}"),
        Step::Curb => format!("take all rights from user {user}"),
        Step::AddDatabase => format!("make database {schema}"),
        Step::Grant => format!("grant user {user} its database {schema}"),
        Step::Lock => format!("let user {user} log in no more"),
        Step::EndSessions => format!("end the sessions of user {user}"),
        Step::DropDatabase => format!("drop database {schema}"),
        Step::DropUser => format!("drop user {user}"),
        Step::Release | Step::ReleaseMoved => format!("remove the mark of database {schema} and user {user}"),
    }
}
