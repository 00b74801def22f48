//! A row of kine's table as the client tells it.

use crate::migrate::record::{Record, Row};

/// A row of kine's table, as it is read.
pub(super) type Columns = (
    i64,
    Vec<u8>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

/// The record that it is.
pub(super) fn row(
    (id, key, created, deleted, create_revision, prev_revision, ttl, value, old_value): Columns,
) -> Record {
    let row = Some(Row { created, deleted, create_revision, prev_revision, old_value });
    Record { id, key, value, ttl, row }
}
