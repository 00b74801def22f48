//! A new etcd, made ready for tenants: whoever asks must say who they are.

use etcd_client::UserAddOptions;

use crate::connection::{Effect, Failure};
use crate::error::Error;
use crate::etcd::member::Connection;
use crate::etcd::rights;
use crate::refusal::Refusal;

/// The name that etcd demands for the first user and role.
const ROOT: &str = "root";

/// Authentication is on, and the user root, known by its certificate, may do everything. True if something had to be done.
///
/// # Errors
/// [`Error::Forbidden`] or [`Error::Unauthenticated`] if authentication is on and we are not root.
pub(crate) async fn initialise(connection: &Connection) -> Result<bool, Error> {
    match rights::authentication_is_on(connection).await {
        Err(Error::AuthDisabled { .. }) => {}
        checked => return checked.map(|()| false),
    }
    let role = connection.tell("add role root", Effect::Accounts, |session| async move {
        session.client().role_add(ROOT).await.map(drop)
    });
    tolerant(role.await)?;
    let user = connection.tell("add user root", Effect::Accounts, |session| async move {
        let by_certificate = UserAddOptions::new().with_no_pwd();
        session.client().user_add(ROOT, "", Some(by_certificate)).await.map(drop)
    });
    tolerant(user.await)?;
    let grant = connection.tell("grant role root to user root", Effect::Accounts, |session| async move {
        session.client().user_grant_role(ROOT, ROOT).await.map(drop)
    });
    tolerant(grant.await)?;
    let enable = connection.tell("turn authentication on", Effect::Accounts, |session| async move {
        session.client().auth_enable().await.map(drop)
    });
    enable.await.map_err(|failure| failure.error)?;
    Ok(true)
}

/// What an earlier, interrupted try has made already is as good.
fn tolerant(made: Result<(), Failure>) -> Result<(), Error> {
    match made {
        Err(failure) if failure.refusal != Refusal::Raced => Err(failure.error),
        _ => Ok(()),
    }
}
