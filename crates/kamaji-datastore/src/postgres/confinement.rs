//! Whether what a tenant shows opens what it should, and nothing else.

use zeroize::Zeroizing;

use crate::account::{Account, Credential};
use crate::config::{BasicAuth, Settings, Tls};
use crate::connection::Patience;
use crate::error::{Cause, Error};
use crate::postgres::member::{self, Plans};

/// What the tenant may do beyond its own, by the server's own judgement; and another tenant's database to try.
const LOOK: &str = "\
SELECT (SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls FROM pg_roles \
  WHERE rolname = current_user) \
 OR EXISTS (SELECT FROM pg_database d WHERE d.datname <> current_database() \
  AND shobj_description(d.oid, 'pg_database') LIKE 'kamaji/1 %' AND has_database_privilege(d.oid, 'CONNECT')) \
  AS reaches_more, \
 (SELECT min(d.datname::text) FROM pg_database d WHERE d.datname <> current_database() AND d.datallowconn \
  AND shobj_description(d.oid, 'pg_database') LIKE 'kamaji/1 %') AS neighbour";

/// Whoever has the account's credential and this certificate, if there is one, reaches the account's database, and no
/// other tenant's.
pub(crate) async fn prove(
    settings: &Settings,
    account: &Account,
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<(), Error> {
    let settings = settings_of_tenant(settings, account, certificate_pem, key_pem)?;
    let own = member::connection(&settings, account.schema.as_str(), Plans::Any)?;
    own.session(Patience::Lose).await.map_err(|error| match error {
        Error::Forbidden { source, .. } => {
            let doing = format!("let user {} use database {}", account.user, account.schema);
            Error::Refused { doing, source }
        }
        other => other,
    })?;
    let doing = format!("look around as user {}", account.user);
    let look = own.ask(&doing, |session| async move { session.client.query_typed_one(LOOK, &[]).await });
    let row = look.await.map_err(|failure| failure.error)?;
    let reaches_more = || Error::NotConfined { user: account.user.clone() };
    if row.get("reaches_more") {
        return Err(reaches_more());
    }
    let neighbour: Option<String> = row.get("neighbour");
    let Some(neighbour) = neighbour else { return Ok(()) };
    match member::connection(&settings, &neighbour, Plans::Any)?.session(Patience::Lose).await {
        Ok(_) => Err(reaches_more()),
        // Denied, or removed meanwhile.
        Err(Error::Forbidden { .. } | Error::Refused { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

fn settings_of_tenant(
    settings: &Settings,
    account: &Account,
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<Settings, Error> {
    let client =
        (!certificate_pem.is_empty()).then(|| (certificate_pem.to_vec(), Zeroizing::new(key_pem.to_vec())));
    let password = match &account.credential {
        Credential::Password(password) => password.reveal().to_owned(),
        Credential::Certificate if client.is_none() => {
            let what = "the tenant has neither a password nor a certificate to show".to_owned();
            return Err(Error::Settings { what, source: None::<Cause> });
        }
        Credential::Certificate => String::new(),
    };
    Ok(Settings {
        endpoints: settings.endpoints.clone(),
        tls: settings.tls.as_ref().map(|tls| Tls { ca_pem: tls.ca_pem.clone(), client }),
        basic_auth: Some(BasicAuth {
            username: account.user.as_str().to_owned(),
            password: Zeroizing::new(password),
        }),
        deadlines: settings.deadlines,
    })
}
