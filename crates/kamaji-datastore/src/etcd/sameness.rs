//! Whether two ways to an etcd lead to the same one.

use crate::connection::Effect;
use crate::error::Error;
use crate::etcd::member::Connection;

/// After how many seconds the trace of a comparison that was cut off is gone.
const LIFETIME: i64 = 30;

/// True if what is noted over `one` connection is seen over the `other`.
///
/// Addresses tell nothing, because one server has many names; cluster IDs are computed from configuration, so etcds that
/// were set up alike share theirs. The note is a lease without keys, whose ID the server makes of itself and the time.
pub(crate) async fn is_same(one: &Connection, other: &Connection) -> Result<bool, Error> {
    let granted = one.tell("grant a lease to compare datastores", Effect::None, |session| async move {
        session.client().lease_grant(LIFETIME, None).await
    });
    let id = granted.await.map_err(|failure| failure.error)?.id();
    let seen = other.ask("look for a lease to compare datastores", |session| async move {
        session.client().lease_time_to_live(id, None).await
    });
    let seen = seen.await;
    let revoked =
        one.tell(
            "revoke a lease",
            Effect::None,
            |session| async move { session.client().lease_revoke(id).await },
        );
    if let Err(failure) = revoked.await {
        tracing::debug!(error = %failure.error, "a lease is left to end by itself");
    }
    // A lease that is not known has a time of -1 left.
    seen.map(|lease| lease.ttl() >= 0).map_err(|failure| failure.error)
}
