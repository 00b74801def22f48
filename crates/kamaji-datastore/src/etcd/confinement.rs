//! Whether a tenant's certificate opens what it should, and nothing else.

use etcd_client::{Compare, CompareOp, GetOptions, Txn, TxnOp};
use zeroize::Zeroizing;

use crate::account::Account;
use crate::config::{Settings, Tls};
use crate::error::{Cause, Error};
use crate::etcd::keys::{self, Range};
use crate::etcd::member::{self, Connection};
use crate::refusal::Refusal;

/// The holder of this certificate reads the account's keys, and is denied the account's mark and the set of all keys.
pub(crate) async fn prove(
    settings: &Settings,
    account: &Account,
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<(), Error> {
    let tenant = member::connection(&settings_of_tenant(settings, certificate_pem, key_pem)?)?;
    let own = Range::of(&account.schema);
    if !may_read(&tenant, account, own.start, own.end).await? {
        let doing = format!("let user {} read the keys below /{}/", account.user, account.schema);
        return Err(Error::Refused { doing, source: Cause("permission denied".to_owned()) });
    }
    let mark = keys::owner_of(&account.schema).into_bytes();
    let beyond = [(mark.clone(), [mark.as_slice(), b"\0"].concat()), (b"\0".to_vec(), b"\0".to_vec())];
    for (start, end) in beyond {
        if may_read(&tenant, account, start, end).await? {
            return Err(Error::NotConfined { user: account.user.clone() });
        }
    }
    Ok(())
}

fn settings_of_tenant(
    settings: &Settings,
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<Settings, Error> {
    let Some(tls) = &settings.tls else {
        let what = "a client certificate proves nothing without TLS".to_owned();
        return Err(Error::Settings { what, source: None });
    };
    let client = Some((certificate_pem.to_vec(), Zeroizing::new(key_pem.to_vec())));
    Ok(Settings {
        endpoints: settings.endpoints.clone(),
        tls: Some(Tls { ca_pem: tls.ca_pem.clone(), client }),
        basic_auth: None,
        deadlines: settings.deadlines,
    })
}

async fn may_read(
    tenant: &Connection,
    account: &Account,
    start: Vec<u8>,
    end: Vec<u8>,
) -> Result<bool, Error> {
    let doing = format!("read as user {}", account.user);
    let read = tenant.ask(&doing, |session| {
        let options = GetOptions::new().with_range(end.clone()).with_limit(1).with_keys_only();
        let start = start.clone();
        async move { session.client().get(start, Some(options)).await }
    });
    match read.await {
        Ok(_) => Ok(true),
        Err(failure) if failure.refusal == Refusal::Forbidden => Ok(false),
        Err(failure) => Err(failure.error),
    }
}

/// Whether the holder of this certificate may write among the account's keys. Nothing is written either way: the
/// transaction puts only if a key exists that never does.
pub(crate) async fn may_write(
    settings: &Settings,
    account: &Account,
    certificate_pem: &[u8],
    key_pem: &[u8],
) -> Result<bool, Error> {
    let tenant = member::connection(&settings_of_tenant(settings, certificate_pem, key_pem)?)?;
    let key = [&Range::of(&account.schema).start, b"_kamaji".as_slice()].concat();
    let put = Txn::new()
        .when([Compare::version(key.clone(), CompareOp::Greater, 0)])
        .and_then([TxnOp::put(key, "", None)]);
    let doing = format!("write as user {}", account.user);
    let written = tenant.ask(&doing, |session| {
        let put = put.clone();
        async move { session.client().txn(put).await }
    });
    match written.await {
        Ok(_) => Ok(true),
        Err(failure) if matches!(failure.refusal, Refusal::Forbidden | Refusal::NoUser) => Ok(false),
        Err(failure) => Err(failure.error),
    }
}
