//! What a lane says of its PostgreSQL, and what is in there.

use kamaji_e2e::{
    operator::Lane,
    postgres::{OPERATOR, PASSWORD, Postgres},
};
use serde_json::{Value, json};

/// Roles and databases whose names or marks contain a word.
const TRACES: &str = "\
SELECT 'role ' || rolname FROM pg_roles \
 WHERE rolname || coalesce(shobj_description(oid, 'pg_authid'), '') LIKE '%' || $1 || '%' \
UNION ALL SELECT 'database ' || datname FROM pg_database \
 WHERE datname || coalesce(shobj_description(oid, 'pg_database'), '') LIKE '%' || $1 || '%' ORDER BY 1";

/// What a PostgreSQL wants to see of the operator, by key of the Secret.
pub(crate) fn credentials(postgres: &Postgres) -> Value {
    json!({ "ca.crt": postgres.authority().certificate().pem(), "username": OPERATOR, "password": PASSWORD })
}

/// A DataStore at this address whose Secret has the keys of [`credentials`].
pub(crate) fn spec(lane: &Lane, endpoint: &str) -> Value {
    json!({
        "driver": "PostgreSQL", "endpoints": [endpoint],
        "basicAuth": { "username": lane.reference("username"), "password": lane.reference("password") },
        "tlsConfig": { "certificateAuthority": { "certificate": lane.reference("ca.crt") } },
    })
}

/// A lane whose DataStore is this PostgreSQL.
pub(crate) async fn lane_on(postgres: &Postgres) -> Lane {
    let lane = Lane::without_data_store().await.unwrap();
    lane.put_credentials(&credentials(postgres)).await.unwrap();
    lane.put_spec(&spec(&lane, &postgres.endpoint().to_string())).await.unwrap();
    lane
}

/// Roles and databases whose names or marks contain this word.
pub(crate) async fn traces(postgres: &Postgres, word: &str) -> Vec<String> {
    let root = postgres.superuser("postgres").await.unwrap();
    root.query(TRACES, &[&word]).await.unwrap().iter().map(|row| row.get(0)).collect()
}
