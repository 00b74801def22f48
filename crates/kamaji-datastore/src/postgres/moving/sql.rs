//! The statements.
//!
//! Source of the table and of what its rows mean: kine 0.17, `pkg/drivers/pgsql`, `pkg/drivers/generic` and
//! `pkg/logstructured/sqllog`.

use crate::error::Error;
use crate::migrate::mark::Mark;
use crate::migrate::record::Shape;
use crate::postgres::quote::literal;

/// What there is in a database, by the server's catalogs alone. The table is odd if anything of the tenant's own would be
/// called when it is read or written, or if a column is not as kine's.
pub(super) const LOOK_INSIDE: &str = "\
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
  WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%') AS has_anything, \
 t.oid IS NOT NULL AS has_table, \
 CASE WHEN t.oid IS NULL THEN NULL \
  WHEN t.relkind <> 'r' OR t.relpersistence <> 'p' THEN 'it is not an ordinary table' \
  WHEN t.relhasrules OR t.relrowsecurity OR t.relforcerowsecurity \
   OR EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = t.oid) THEN 'it has rules of its own' \
  WHEN EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.oid) THEN 'it has triggers' \
  WHEN EXISTS (SELECT FROM pg_inherits i WHERE t.oid IN (i.inhrelid, i.inhparent)) THEN 'it has relatives' \
  WHEN EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)) \
   OR EXISTS (SELECT FROM pg_statistic_ext s WHERE s.stxrelid = t.oid) THEN 'it has indexes of expressions' \
  WHEN EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = t.oid AND k.contype NOT IN ('p', 'u', 'n')) \
   THEN 'it has conditions' \
  WHEN EXISTS (SELECT FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
    WHERE d.adrelid = t.oid AND (a.attname <> 'id' OR a.attgenerated <> '')) THEN 'its columns have values of their own' \
  WHEN (SELECT array_agg(format('%s %s', a.attname, CASE a.atttypid WHEN 'int4'::regtype THEN 'number' \
     WHEN 'int8'::regtype THEN 'number' WHEN 'text'::regtype THEN 'text' WHEN 'varchar'::regtype THEN 'text' \
     WHEN 'bytea'::regtype THEN 'bytes' ELSE 'other' END) ORDER BY a.attname::text COLLATE \"C\") FROM pg_attribute a \
    WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped) IS DISTINCT FROM ARRAY['create_revision number', \
    'created number', 'deleted number', 'id number', 'lease number', 'name text', 'old_value bytes', \
    'prev_revision number', 'value bytes'] THEN 'its columns are not those of kine' END AS odd, \
 coalesce(has_table_privilege($1, t.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'), false) AS has_rights, \
 coalesce((SELECT pg_sequence_last_value(s.oid::regclass) FROM pg_class s JOIN pg_namespace n ON n.oid = s.relnamespace \
  WHERE n.nspname = 'public' AND s.relname = 'kine_id_seq' AND s.relkind = 'S'), 0)::int8 AS sequence \
FROM (SELECT 1) AS one LEFT JOIN (pg_class t JOIN pg_namespace m ON m.oid = t.relnamespace AND m.nspname = 'public') \
 ON t.relname = 'kine'";

/// Whether a key lies where no API server puts one.
pub(super) const STRANGERS: &str = "\
SELECT EXISTS (SELECT FROM public.kine WHERE name COLLATE \"C\" < '/registry/') \
 OR EXISTS (SELECT FROM public.kine WHERE name COLLATE \"C\" >= '/registry0' AND name NOT LIKE 'gap-%' \
  AND name NOT IN ('compact_rev_key', 'compact_rev_key_apiserver'))";

/// At most 500 rows of one MiB together, but for the last one.
pub(super) const PAGE_OF_ROWS: &str = "\
SELECT w.id::int8 AS id, coalesce(w.name, '')::text AS name, w.created::int8 AS created, w.deleted::int8 AS deleted, \
 w.create_revision::int8 AS create_revision, w.prev_revision::int8 AS prev_revision, w.lease::int8 AS lease, \
 w.value AS value, w.old_value AS old_value FROM (\
  SELECT s.*, sum(s.size) OVER (ORDER BY s.id) - s.size AS before FROM (\
   SELECT k.*, coalesce(octet_length(k.name), 0) + coalesce(octet_length(k.value), 0) \
    + coalesce(octet_length(k.old_value), 0) AS size \
    FROM public.kine AS k WHERE k.id > $1 ORDER BY k.id LIMIT 500) AS s) AS w \
 WHERE w.before < 1048576 ORDER BY w.id";

/// The same of the newest row of each key that is not deleted.
pub(super) const PAGE_OF_LIVE: &str = "\
SELECT w.id::int8 AS id, w.name AS name, w.lease::int8 AS lease, w.value AS value FROM (\
  SELECT s.*, sum(s.size) OVER (ORDER BY s.name) - s.size AS before FROM (\
   SELECT n.*, octet_length(n.name) + coalesce(octet_length(n.value), 0) AS size FROM (\
    SELECT DISTINCT ON (name COLLATE \"C\") id, name::text COLLATE \"C\" AS name, deleted, lease, value FROM public.kine \
     WHERE name COLLATE \"C\" > $1 AND name COLLATE \"C\" < '/registry0' ORDER BY name COLLATE \"C\", id DESC) AS n \
   WHERE coalesce(n.deleted, 0) = 0 ORDER BY n.name LIMIT 500) AS s) AS w \
 WHERE w.before < 1048576 ORDER BY w.name";

/// What every change of rows depends on: that the role's comment is still the one that was seen.
macro_rules! if_marked {
    ($statement:literal, $rest:literal) => {
        concat!(
            $statement,
            "(SELECT shobj_description(r.oid, 'pg_authid') FROM pg_roles AS r WHERE r.rolname = $1) = $2",
            $rest
        )
    };
}

pub(super) const DELETE_ROWS: &str = if_marked!("DELETE FROM public.kine WHERE id = ANY($3) AND ", "");
pub(super) const DELETE_LIVE: &str = if_marked!("DELETE FROM public.kine WHERE name = ANY($3) AND ", "");
pub(super) const PUT_ROWS: &str = if_marked!(
    "INSERT INTO public.kine (id, name, created, deleted, create_revision, prev_revision, lease, value, old_value) \
     SELECT i, n, c::int4, d::int4, r, p, l::int4, v, o \
     FROM unnest($3, $4, $5, $6, $7, $8, $9, $10, $11) AS u (i, n, c, d, r, p, l, v, o) WHERE ",
    " ON CONFLICT (id) DO UPDATE SET name = excluded.name, created = excluded.created, deleted = excluded.deleted, \
     create_revision = excluded.create_revision, prev_revision = excluded.prev_revision, lease = excluded.lease, \
     value = excluded.value, old_value = excluded.old_value"
);
pub(super) const PUT_LIVE: &str = if_marked!(
    "INSERT INTO public.kine (name, created, deleted, create_revision, prev_revision, lease, value) \
     SELECT n, 1, 0, 0, 0, l::int4, v FROM unnest($3, $4, $5) WITH ORDINALITY AS u (n, l, v, i) WHERE ",
    " ORDER BY i"
);

/// The mark is changed if it is still the old one. The role is altered first: that makes whoever comes at the same time wait.
pub(super) fn mark(
    user: &str,
    name: &str,
    (old, new): (&str, &str),
    mark: Option<&Mark>,
) -> Result<String, Error> {
    let login = if mark.is_some_and(Mark::shuts) { "NOLOGIN" } else { "LOGIN" };
    let (old, new) = (literal(old)?, literal(new)?);
    let check = format!(
        "BEGIN IF (SELECT pg_catalog.shobj_description(oid, 'pg_authid') FROM pg_catalog.pg_roles WHERE rolname = {name}) \
         IS DISTINCT FROM {old} THEN RAISE EXCEPTION USING ERRCODE = '40001', MESSAGE = 'it was changed meanwhile'; \
         END IF; END"
    );
    let check = literal(&check)?;
    Ok(format!("ALTER ROLE {user} {login}; DO {check}; COMMENT ON ROLE {user} IS {new}"))
}

/// The table as kine makes it, given to the tenant.
pub(super) fn table(user: &str) -> String {
    format!(
        "CREATE TABLE public.kine (id BIGSERIAL PRIMARY KEY, name text COLLATE \"C\", created INTEGER, deleted INTEGER, \
         create_revision BIGINT, prev_revision BIGINT, lease INTEGER, value bytea, old_value bytea); \
         CREATE INDEX kine_name_index ON public.kine (name); \
         CREATE INDEX kine_name_id_index ON public.kine (name, id); \
         CREATE INDEX kine_id_deleted_index ON public.kine (id, deleted); \
         CREATE INDEX kine_prev_revision_index ON public.kine (prev_revision); \
         CREATE UNIQUE INDEX kine_name_prev_revision_uindex ON public.kine (name, prev_revision); \
         CREATE INDEX kine_list_query_index ON public.kine (name, id DESC, deleted); \
         ALTER TABLE public.kine OWNER TO {user}"
    )
}

/// The newest revision is this one, by a row such as kine puts where one is missing.
pub(super) fn raise(to: i64) -> String {
    format!(
        "DELETE FROM public.kine WHERE name LIKE 'gap-%'; \
         INSERT INTO public.kine (id, name, created, deleted, create_revision, prev_revision, lease) \
         VALUES ({to}, 'gap-{to}', 0, 1, 0, 0, 0); SELECT setval('public.kine_id_seq', {to})"
    )
}

/// The next row follows the newest one. What is live only has no history: whoever has seen less than the source's last
/// revision must start over, as after a compaction.
pub(super) fn settle(shape: Shape, source: i64) -> String {
    let next = "SELECT setval('public.kine_id_seq', greatest((SELECT max(id) FROM public.kine), 1))";
    if shape == Shape::Rows {
        return next.to_owned();
    }
    format!(
        "DELETE FROM public.kine WHERE name = 'compact_rev_key'; \
         INSERT INTO public.kine (name, created, deleted, create_revision, prev_revision, lease, value) \
         VALUES ('compact_rev_key', 1, 0, 0, {source}, 0, ''); {next}"
    )
}
