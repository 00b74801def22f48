//! What is in a PostgreSQL.

use kamaji_e2e::postgres::Postgres;

/// Roles and databases whose names or marks contain a word.
const TRACES: &str = "\
SELECT 'role ' || rolname FROM pg_roles \
 WHERE rolname || coalesce(shobj_description(oid, 'pg_authid'), '') LIKE '%' || $1 || '%' \
UNION ALL SELECT 'database ' || datname FROM pg_database \
 WHERE datname || coalesce(shobj_description(oid, 'pg_database'), '') LIKE '%' || $1 || '%' ORDER BY 1";

/// Roles and databases whose names or marks contain this word.
pub(crate) async fn traces(postgres: &Postgres, word: &str) -> Vec<String> {
    let root = postgres.superuser("postgres").await.unwrap();
    root.query(TRACES, &[&word]).await.unwrap().iter().map(|row| row.get(0)).collect()
}
