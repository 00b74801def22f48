//! Whether what a tenant shows opens what it should, and nothing else.

use zeroize::Zeroizing;

use crate::account::{Account, Credential};
use crate::config::{BasicAuth, Settings, Tls};
use crate::connection::Patience;
use crate::error::{Cause, Error};
use crate::mysql::mark::SCHEMA;
use crate::mysql::member::{self, Connection};
use crate::mysql::observe::{ROWS, rows};
use crate::mysql::quote::identifier;
use crate::refusal::Refusal;

/// The databases that the tenant has any right to.
const VISIBLE: &str = "SELECT SCHEMA_NAME FROM information_schema.schemata";
/// What it may do everywhere.
const POWERS: &str = "\
SELECT PRIVILEGE_TYPE FROM information_schema.user_privileges \
WHERE GRANTEE = CONCAT('\\'', REPLACE(CURRENT_USER(), '@', '\\'@\\''), '\\'') AND PRIVILEGE_TYPE <> 'USAGE'";

/// Whoever has the account's password and this certificate, if there is one, reaches the account's database, and no other
/// tenant's.
pub(crate) async fn prove(
    ours: &Connection,
    settings: &Settings,
    account: &Account,
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<(), Error> {
    let marked = ours.ask("read the marks", |session| async move { rows(&session, ROWS, ()).await });
    let others: Vec<String> = marked.await?.unwrap_or_default().into_iter().map(|row| row.schema).collect();
    let others: Vec<&str> =
        others.iter().map(String::as_str).filter(|schema| *schema != account.schema.as_str()).collect();
    let tenant = member::connection(&settings_of_tenant(settings, account, certificate_pem, key_pem)?)?;
    tenant.session(Patience::Lose).await?;
    let doing = format!("look around as user {}", account.user);
    let look = tenant.ask(&doing, |session| async move {
        let visible: Vec<String> = session.rows(VISIBLE, ()).await?;
        let powers: Vec<String> = session.rows(POWERS, ()).await?;
        Ok::<_, mysql_async::Error>((visible, powers))
    });
    let (visible, powers) = look.await?;
    let is_beyond = |name: &String| name == "mysql" || name == SCHEMA || others.contains(&name.as_str());
    if !powers.is_empty() || visible.iter().any(is_beyond) {
        return Err(Error::NotConfined { user: account.user.clone() });
    }
    if !visible.iter().any(|name| name == account.schema.as_str()) {
        let doing = format!("let user {} use database {}", account.user, account.schema);
        return Err(Error::Refused { doing, source: Cause("the user does not see it".to_owned()) });
    }
    match others.first() {
        Some(neighbour) => is_denied(&tenant, account, neighbour).await,
        None => Ok(()),
    }
}

/// The tenant may not even know whether there is a table in this database.
async fn is_denied(tenant: &Connection, account: &Account, database: &str) -> Result<(), Error> {
    let statement = format!("SELECT 1 FROM {}.`kine` LIMIT 1", identifier(database)?);
    let statement = statement.as_str();
    let doing = format!("look into database {database} as user {}", account.user);
    let looked = tenant.ask(&doing, |session| async move { session.rows::<u8>(statement, ()).await });
    match looked.await {
        Err(failure) if failure.refusal == Refusal::Forbidden => Ok(()),
        // There is no such table, and the server says so.
        Err(failure) if failure.refusal != Refusal::Raced => Err(failure.error),
        _ => Err(Error::NotConfined { user: account.user.clone() }),
    }
}

/// What the tenant itself needs to log in.
pub(crate) fn settings_of_tenant(
    settings: &Settings,
    account: &Account,
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<Settings, Error> {
    let Credential::Password(password) = &account.credential else {
        return Err(Error::Settings { what: "the tenant has no password to show".to_owned(), source: None });
    };
    let client =
        (!certificate_pem.is_empty()).then(|| (certificate_pem.to_vec(), Zeroizing::new(key_pem.to_vec())));
    Ok(Settings {
        endpoints: settings.endpoints.clone(),
        tls: settings.tls.as_ref().map(|tls| Tls { ca_pem: tls.ca_pem.clone(), client }),
        basic_auth: Some(BasicAuth {
            username: account.user.as_str().to_owned(),
            password: Zeroizing::new(password.reveal().to_owned()),
        }),
        deadlines: settings.deadlines,
    })
}
