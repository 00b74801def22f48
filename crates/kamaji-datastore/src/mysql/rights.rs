//! Whether the server and our own rights in it are such that tenants can be kept apart.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::connection::{Patience, Session as _};
use crate::error::{Cause, Error};
use crate::mysql::member::{Connection, Session};
use crate::mysql::plan::PRIVILEGES;
use crate::store::Health;

const IS_READ_ONLY: &str = "SELECT @@global.read_only OR @@global.innodb_read_only";
/// What we may do everywhere, and whether we may pass it on.
const OUR_RIGHTS: &str = "\
SELECT PRIVILEGE_TYPE, IS_GRANTABLE = 'YES' FROM information_schema.user_privileges \
WHERE GRANTEE = CONCAT('\\'', REPLACE(CURRENT_USER(), '@', '\\'@\\''), '\\'')";
const USED: &str = "\
SELECT CAST(COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0) AS UNSIGNED) FROM information_schema.tables";

/// What we do ourselves, and pass on to nobody.
const OUR_OWN: [&str; 3] = ["CREATE USER", "DROP", "PROCESS"];
/// What lets us end others' sessions: in MariaDB, in MySQL, in their earlier versions.
const ENDING: [&str; 3] = ["CONNECTION ADMIN", "CONNECTION_ADMIN", "SUPER"];

/// The server takes our writes, asks everyone who they are, and lets us make users and databases.
pub(crate) async fn prove(connection: &Connection) -> Result<Health, Error> {
    takes_writes(connection).await?;
    let session = connection.session(Patience::Lose).await?;
    if session.lets_strangers_in().await {
        return Err(Error::AuthDisabled { endpoint: session.endpoint().to_owned() });
    }
    let rights = connection.ask("read our own rights", |session| async move {
        session.rows::<(String, bool)>(OUR_RIGHTS, ()).await
    });
    if let Some(missing) = missing(&rights.await?) {
        let doing = "make users and databases".to_owned();
        return Err(Error::Forbidden { doing, source: Cause(missing) });
    }
    let used =
        connection.ask("measure all databases", |session| async move { session.rows::<u64>(USED, ()).await });
    Ok(Health {
        endpoint: session.endpoint().to_owned(),
        version: session.version.clone(),
        used_bytes: used.await?.first().copied().unwrap_or(0),
        quota_bytes: None,
    })
}

/// The server at the other end takes writes; if it does not any more, another one does.
pub(crate) async fn takes_writes(connection: &Connection) -> Result<(), Error> {
    // A session that was opened on a server that took writes may now be with one that does not.
    let (session, is_read_only) = look(connection).await?;
    if !is_read_only {
        return Ok(());
    }
    connection.give_up(&session).await;
    let (session, is_read_only) = look(connection).await?;
    if is_read_only { Err(session.read_only()) } else { Ok(()) }
}

/// Which rights we lack, if any.
fn missing(rights: &[(String, bool)]) -> Option<String> {
    let held: BTreeSet<&str> = rights.iter().map(|(right, _)| right.as_str()).collect();
    let may_pass_on: BTreeSet<&str> =
        rights.iter().filter(|(_, grantable)| *grantable).map(|(right, _)| right.as_str()).collect();
    let mut missing: Vec<&str> = Vec::new();
    missing.extend(PRIVILEGES.iter().filter(|right| !held.contains(**right)));
    missing.extend(OUR_OWN.iter().filter(|right| !held.contains(**right)));
    missing.extend((!ENDING.iter().any(|right| held.contains(right))).then_some(ENDING[0]));
    if !missing.is_empty() {
        return Some(format!("our user has not {} on *.*", missing.join(", ")));
    }
    let all_pass = PRIVILEGES.iter().all(|right| may_pass_on.contains(right));
    (!all_pass).then(|| "our user has its rights without GRANT OPTION".to_owned())
}

async fn look(connection: &Connection) -> Result<(Arc<Session>, bool), Error> {
    connection.session(Patience::Lose).await?;
    let look = connection.ask("ask whether it takes writes", |session| async move {
        let found: Vec<bool> = session.rows(IS_READ_ONLY, ()).await?;
        Ok::<_, mysql_async::Error>((session, found.first().copied().unwrap_or(false)))
    });
    Ok(look.await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<(String, bool)> {
        let rights = PRIVILEGES.iter().chain(&OUR_OWN).chain(&ENDING[..1]);
        rights.map(|right| ((*right).to_owned(), true)).collect()
    }

    #[test]
    fn every_right_is_missed_by_name() {
        assert_eq!(missing(&all()), None);
        for index in 0..all().len() {
            let mut rights = all();
            let (right, _) = rights.remove(index);
            assert!(missing(&rights).is_some_and(|missing| missing.contains(&right)), "{right}");
        }
        for index in 0..PRIVILEGES.len() {
            let mut rights = all();
            rights[index].1 = false;
            assert!(missing(&rights).is_some_and(|missing| missing.contains("GRANT OPTION")));
        }
    }
}
