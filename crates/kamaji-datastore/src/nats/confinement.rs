//! Whether what a tenant shows opens what it should, and no other tenant's.
//!
//! NATS has no users that we could make: a tenant logs in as the DataStore does, and reaches all that is in its NATS
//! account. So what has to be proved is that nobody else's data is in there.

use zeroize::Zeroizing;

use crate::account::Account;
use crate::config::{Settings, Tls};
use crate::error::{Cause, Error};
use crate::nats::bucket::Shape;
use crate::nats::{member, observe};

/// Whoever logs in as the DataStore does, with this certificate if there is one, reaches the account's bucket, and no data
/// of another tenant or of another kine.
pub(crate) async fn prove(
    settings: &Settings,
    account: &Account,
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<(), Error> {
    let connection = member::connection(&settings_of_tenant(settings, certificate_pem, key_pem))?;
    let schema = account.schema.as_str();
    let (_, mark) = observe::mark(&connection).await?;
    if !mark.is_of(account) || observe::neighbour(&connection, schema).await?.is_some() {
        return Err(Error::NotConfined { user: account.user.clone() });
    }
    let found = observe::stream(&connection, schema).await?;
    match found.map(|info| Shape::of(schema, &info["config"])) {
        Some(Shape::Kine) => Ok(()),
        found => {
            let why = if found.is_some() { "its settings are not kine's" } else { "it does not exist" };
            let doing = format!("use bucket {schema} as kine does");
            Err(Error::Refused { doing, source: Cause(why.to_owned()) })
        }
    }
}

fn settings_of_tenant(settings: &Settings, certificate_pem: &[u8], key_pem: &[u8]) -> Settings {
    let client =
        (!certificate_pem.is_empty()).then(|| (certificate_pem.to_vec(), Zeroizing::new(key_pem.to_vec())));
    let tls = settings.tls.as_ref().map(|tls| Tls { ca_pem: tls.ca_pem.clone(), client });
    Settings { tls, ..settings.clone() }
}
