//! Makes one statement.

use tokio_postgres::types::Type;

use crate::account::{Account, Credential};
use crate::connection::{Effect, Failure};
use crate::error::Error;
use crate::postgres::mark;
use crate::postgres::member::Connection;
use crate::postgres::plan::{Power, Step};
use crate::postgres::quote::{identifier, literal};
use crate::postgres::verifier::Verifier;
use crate::refusal::Refusal;
use crate::store::Change;

/// Ends every session of a role, and waits up to two seconds for each to be gone.
const END_SESSIONS: &str = "\
SELECT pg_terminate_backend(a.pid, 2000) FROM pg_stat_activity a JOIN pg_roles r ON r.oid = a.usesysid \
WHERE r.rolname = $1";

/// The statement was made, over a connection to the database that it concerns the inside of, if it does.
pub(crate) async fn make(connection: &Connection, account: &Account, step: &Step) -> Result<Change, Failure> {
    let doing = doing(account, step);
    if *step == Step::EndSessions {
        let user = account.user.as_str();
        let ended = connection.tell(&doing, Effect::Accounts, |session| async move {
            session.client.query_typed(END_SESSIONS, &[(&user, Type::TEXT)]).await
        });
        ended.await?;
        return Ok(Change::SessionsEnded);
    }
    let sql = sql(account, step)?;
    let made = execute(connection, &doing, &sql).await;
    match made {
        // The server's own autovacuum may be at work there, and nobody but a superuser may end what has no role.
        Err(failure) if *step == Step::DropDatabase && failure.refusal == Refusal::Forbidden => {
            execute(connection, &doing, &drop_when_idle(account)?).await?;
        }
        made => made?,
    }
    Ok(change(step))
}

async fn execute(connection: &Connection, doing: &str, sql: &str) -> Result<(), Failure> {
    connection
        .tell(doing, Effect::Accounts, |session| async move { session.client.batch_execute(sql).await })
        .await
}

/// Without force, the server sends its own autovacuum away and waits up to five seconds for everybody else to leave.
fn drop_when_idle(account: &Account) -> Result<String, Error> {
    Ok(format!("DROP DATABASE {}", identifier(account.schema.as_str())?))
}

/// The text of a statement. Two in one text are carried out both or not at all.
fn sql(account: &Account, step: &Step) -> Result<String, Error> {
    let (user, database) = (identifier(account.user.as_str())?, identifier(account.schema.as_str())?);
    Ok(match step {
        Step::AddUser => {
            let (password, comment) = password_and_comment(account)?;
            format!(
                "CREATE ROLE {user} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS \
                 PASSWORD {password}; COMMENT ON ROLE {user} IS {comment}"
            )
        }
        Step::MarkUser | Step::SetPassword => {
            let (password, comment) = password_and_comment(account)?;
            format!("ALTER ROLE {user} PASSWORD {password}; COMMENT ON ROLE {user} IS {comment}")
        }
        Step::Curb(powers) => {
            let words: Vec<_> = powers.iter().map(|power| without(*power)).collect();
            format!("ALTER ROLE {user} {}", words.join(" "))
        }
        Step::Admit => format!("ALTER ROLE {user} LOGIN"),
        Step::Lock => format!("ALTER ROLE {user} NOLOGIN"),
        Step::RevokeRole(role) => format!("REVOKE {} FROM {user}", identifier(role)?),
        Step::Join => format!("GRANT {user} TO CURRENT_USER"),
        // `template0` is the one that nobody has changed, and nobody is connected to.
        Step::AddDatabase => {
            format!("CREATE DATABASE {database} OWNER {user} TEMPLATE template0 ALLOW_CONNECTIONS false")
        }
        Step::OwnDatabase => format!("ALTER DATABASE {database} OWNER TO {user}"),
        Step::OwnTable => format!("ALTER TABLE public.kine OWNER TO {user}"),
        Step::Confine => format!("REVOKE ALL PRIVILEGES ON DATABASE {database} FROM PUBLIC"),
        Step::Grant => format!("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {user}"),
        Step::MarkDatabase => {
            format!("COMMENT ON DATABASE {database} IS {}", literal(&mark::for_database(account))?)
        }
        Step::Open => format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
        Step::DropDatabase => format!("DROP DATABASE {database} WITH (FORCE)"),
        // What it may have made outside its own database goes with it.
        Step::DropUser => format!("DROP OWNED BY {user}; DROP ROLE {user}"),
        Step::EndSessions => END_SESSIONS.to_owned(),
    })
}

fn password_and_comment(account: &Account) -> Result<(String, String), Error> {
    let (password, fingerprint) = match &account.credential {
        Credential::Certificate => ("NULL".to_owned(), None),
        Credential::Password(password) => {
            let verifier = Verifier::new(password.reveal())?;
            (literal(&verifier.text())?, Some(verifier.fingerprint()))
        }
    };
    Ok((password, literal(&mark::for_user(account, fingerprint.as_ref()))?))
}

fn without(power: Power) -> &'static str {
    match power {
        Power::Superuser => "NOSUPERUSER",
        Power::CreateDatabase => "NOCREATEDB",
        Power::CreateRole => "NOCREATEROLE",
        Power::Replication => "NOREPLICATION",
        Power::BypassRowSecurity => "NOBYPASSRLS",
    }
}

fn change(step: &Step) -> Change {
    match step {
        Step::AddUser => Change::UserAdded,
        Step::MarkUser | Step::MarkDatabase => Change::Claimed,
        Step::SetPassword => Change::PasswordSet,
        Step::Curb(_) => Change::UserCurbed,
        Step::Admit => Change::UserUnlocked,
        Step::Lock => Change::UserLocked,
        Step::RevokeRole(_) => Change::RoleRevoked,
        Step::Join => Change::Joined,
        Step::AddDatabase => Change::DatabaseAdded,
        Step::OwnDatabase => Change::DatabaseGiven,
        Step::OwnTable => Change::DataGiven,
        Step::Confine => Change::DatabaseConfined,
        Step::Grant => Change::DatabaseGranted,
        Step::Open => Change::DatabaseOpened,
        Step::EndSessions => Change::SessionsEnded,
        Step::DropDatabase => Change::DatabaseDeleted,
        Step::DropUser => Change::UserDeleted,
    }
}

fn doing(account: &Account, step: &Step) -> String {
    let Account { schema, user, owner, .. } = account;
    match step {
        Step::AddUser => format!("make role {user} and mark it as the tenant's with UID {owner}"),
        Step::MarkUser => format!("mark role {user} as the tenant's with UID {owner}"),
        Step::SetPassword => format!("set the password of role {user}"),
        Step::Curb(powers) => format!("take {powers:?} from role {user}"),
        Step::Admit => format!("let role {user} log in"),
        Step::Lock => format!("let role {user} log in no more"),
        Step::RevokeRole(role) => format!("revoke role {role:?} from role {user}"),
        Step::Join => format!("become a member of role {user}"),
        Step::AddDatabase => format!("make database {schema}"),
        Step::OwnDatabase => format!("give database {schema} to role {user}"),
        Step::OwnTable => format!("give table kine in database {schema} to role {user}"),
        Step::Confine => format!("take all rights to database {schema} from everyone"),
        Step::Grant => format!("grant role {user} its database {schema}"),
        Step::MarkDatabase => format!("mark database {schema} as the tenant's with UID {owner}"),
        Step::Open => format!("open database {schema} for connections"),
        Step::EndSessions => format!("end the sessions of role {user}"),
        Step::DropDatabase => format!("drop database {schema}"),
        Step::DropUser => format!("drop role {user}"),
    }
}
