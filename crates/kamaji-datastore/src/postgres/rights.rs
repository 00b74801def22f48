//! Whether the server and our own rights in it are such that tenants can be kept apart.

use std::sync::Arc;

use tokio_postgres::Row;

use crate::connection::{Patience, Session as _};
use crate::error::{Cause, Error};
use crate::postgres::member::{Connection, Session};
use crate::store::Health;

const LOOK: &str = "\
SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS refuses_writes, \
 current_setting('server_version') AS version, r.rolsuper AS super, \
 r.rolcreaterole AND r.rolcreatedb AS creator, r.rolinherit AS inherits, \
 (SELECT coalesce(sum(pg_database_size(d.oid)), 0)::bigint FROM pg_database d \
  WHERE has_database_privilege(d.oid, 'CONNECT')) AS used \
FROM pg_roles r WHERE r.rolname = current_user";

/// The server takes our writes, asks everyone who they are, and lets us make roles and databases.
pub(crate) async fn prove(connection: &Connection) -> Result<Health, Error> {
    // A session that was opened on a server that took writes may now be with one that does not.
    let (session, mut row) = look(connection).await?;
    if row.get("refuses_writes") {
        connection.give_up(&session).await;
        row = look(connection).await?.1;
    }
    let session = connection.session(Patience::Lose).await?;
    if session.lets_strangers_in().await {
        return Err(Error::AuthDisabled { endpoint: session.endpoint().to_owned() });
    }
    let forbidden = |why: &str| Error::Forbidden {
        doing: "make roles and databases".to_owned(),
        source: Cause(format!("our role has not {why}")),
    };
    let (is_super, creator, inherits): (bool, bool, bool) =
        (row.get("super"), row.get("creator"), row.get("inherits"));
    if !is_super && !creator {
        return Err(forbidden("both CREATEROLE and CREATEDB"));
    }
    if !is_super && !inherits {
        return Err(forbidden("INHERIT"));
    }
    let used: i64 = row.get("used");
    Ok(Health {
        endpoint: session.endpoint().to_owned(),
        version: row.get("version"),
        used_bytes: used.try_into().unwrap_or(0),
        quota_bytes: None,
    })
}

/// The server at the other end takes writes; if it does not any more, another one does.
pub(crate) async fn takes_writes(connection: &Connection) -> Result<(), Error> {
    let session = connection.session(Patience::Keep).await?;
    if session.takes_writes().await.is_ok() {
        return Ok(());
    }
    connection.give_up(&session).await;
    connection.session(Patience::Keep).await.map(drop)
}

async fn look(connection: &Connection) -> Result<(Arc<Session>, Row), Error> {
    connection.session(Patience::Lose).await?;
    let look = connection.ask("read our own rights", |session| async move {
        let row = session.client.query_typed_one(LOOK, &[]).await?;
        Ok::<_, tokio_postgres::Error>((session, row))
    });
    look.await.map_err(|failure| failure.error)
}
