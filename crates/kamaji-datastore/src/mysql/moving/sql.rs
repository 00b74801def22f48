//! The statements. The database stands in them as `{database}`, quoted.
//!
//! Source of the table and of what its rows mean: kine 0.17, `pkg/drivers/mysql`, `pkg/drivers/generic` and
//! `pkg/logstructured/sqllog`.

/// What is in a database, by the server's catalogs alone: whether there is anything, whether there is the table, whether
/// it is an ordinary one, and whether its columns are those of kine.
pub(super) const LOOK_INSIDE: &str = "\
SELECT EXISTS (SELECT 1 FROM information_schema.tables WHERE TABLE_SCHEMA = ?), \
 EXISTS (SELECT 1 FROM information_schema.tables WHERE TABLE_SCHEMA = ? AND TABLE_NAME = 'kine'), \
 EXISTS (SELECT 1 FROM information_schema.tables WHERE TABLE_SCHEMA = ? AND TABLE_NAME = 'kine' \
  AND TABLE_TYPE = 'BASE TABLE' AND ENGINE = 'InnoDB') \
 AND NOT EXISTS (SELECT 1 FROM information_schema.table_constraints WHERE TABLE_SCHEMA = ? AND TABLE_NAME = 'kine' \
  AND CONSTRAINT_TYPE NOT IN ('PRIMARY KEY', 'UNIQUE')) \
 AND NOT EXISTS (SELECT 1 FROM information_schema.triggers WHERE EVENT_OBJECT_SCHEMA = ? \
  AND EVENT_OBJECT_TABLE = 'kine'), \
 (SELECT GROUP_CONCAT(CONCAT(COLUMN_NAME, ' ', CASE WHEN EXTRA NOT IN ('', 'auto_increment') THEN 'odd' \
   WHEN DATA_TYPE IN ('int', 'bigint') THEN 'number' WHEN DATA_TYPE IN ('varchar', 'text') THEN 'text' \
   WHEN DATA_TYPE IN ('blob', 'mediumblob', 'longblob') THEN 'bytes' ELSE 'odd' END)) \
  FROM information_schema.columns WHERE TABLE_SCHEMA = ? AND TABLE_NAME = 'kine')";

/// The columns of kine's table, as the statement above tells them.
pub(super) const COLUMNS: [&str; 9] = [
    "create_revision number",
    "created number",
    "deleted number",
    "id number",
    "lease number",
    "name text",
    "old_value bytes",
    "prev_revision number",
    "value bytes",
];

/// The newest revision.
pub(super) const REVISION: &str = "SELECT CAST(COALESCE(MAX(id), 0) AS SIGNED) FROM {database}.`kine`";

/// Whether a key lies where no API server puts one.
pub(super) const STRANGERS: &str = "\
SELECT EXISTS (SELECT 1 FROM {database}.`kine` WHERE name NOT LIKE '/registry/%' AND name NOT LIKE 'gap-%' \
 AND name NOT IN ('compact_rev_key', 'compact_rev_key_apiserver'))";

/// At most 500 rows of two MiB together, but for the last one.
pub(super) const PAGE_OF_ROWS: &str = "\
SELECT k.id, COALESCE(CAST(k.name AS BINARY), ''), k.created, k.deleted, k.create_revision, k.prev_revision, k.lease, \
 k.value, k.old_value FROM (\
  SELECT s.id, SUM(s.size) OVER (ORDER BY s.id) - s.size AS before_it FROM (\
   SELECT id, COALESCE(LENGTH(name), 0) + COALESCE(LENGTH(value), 0) + COALESCE(LENGTH(old_value), 0) AS size \
    FROM {database}.`kine` WHERE id > ? ORDER BY id LIMIT 500) AS s) AS w \
 JOIN {database}.`kine` AS k ON k.id = w.id WHERE w.before_it < 2097152 ORDER BY k.id";

/// The same of the newest row of each key that is not deleted, in the order of the keys' bytes, which is not the column's.
pub(super) const PAGE_OF_LIVE: &str = "\
SELECT k.id, w.name, k.lease, k.value FROM (\
  SELECT s.id, s.name, SUM(s.size) OVER (ORDER BY s.name) - s.size AS before_it FROM (\
   SELECT n.id, n.name, LENGTH(n.name) + COALESCE(LENGTH(v.value), 0) AS size FROM (\
    SELECT MAX(id) AS id, CAST(name AS BINARY) AS name FROM {database}.`kine` \
     WHERE CAST(name AS BINARY) > ? AND CAST(name AS BINARY) < '/registry0' GROUP BY CAST(name AS BINARY)) AS n \
   JOIN {database}.`kine` AS v ON v.id = n.id WHERE COALESCE(v.deleted, 0) = 0 ORDER BY n.name LIMIT 500) AS s) AS w \
 JOIN {database}.`kine` AS k ON k.id = w.id WHERE w.before_it < 2097152 ORDER BY w.name";

/// The table as kine makes it.
pub(super) const TABLE: &str = "\
CREATE TABLE {database}.`kine` (id BIGINT UNSIGNED AUTO_INCREMENT, name VARCHAR(630) CHARACTER SET ascii, \
 created INTEGER, deleted INTEGER, create_revision BIGINT UNSIGNED, prev_revision BIGINT UNSIGNED, lease INTEGER, \
 value MEDIUMBLOB, old_value MEDIUMBLOB, PRIMARY KEY (id), INDEX kine_name_index (name), \
 INDEX kine_name_id_index (name, id), INDEX kine_id_deleted_index (id, deleted), \
 INDEX kine_prev_revision_index (prev_revision), UNIQUE INDEX kine_name_prev_revision_uindex (name, prev_revision)) \
 ENGINE=InnoDB";

/// Rows such as kine puts where one is missing are gone.
pub(super) const CLEAR_GAPS: &str = "DELETE FROM {database}.`kine` WHERE name LIKE 'gap-%'";
/// The newest revision is this one, by such a row.
pub(super) const RAISE: &str = "\
INSERT INTO {database}.`kine` (id, name, created, deleted, create_revision, prev_revision, lease) \
VALUES (?, ?, 0, 1, 0, 0, 0)";

pub(super) const CLEAR_COMPACTION: &str = "DELETE FROM {database}.`kine` WHERE name = 'compact_rev_key'";
/// Whoever has seen less than this revision must start over.
pub(super) const COMPACT: &str = "\
INSERT INTO {database}.`kine` (name, created, deleted, create_revision, prev_revision, lease, value) \
VALUES ('compact_rev_key', 1, 0, 0, ?, 0, '')";
/// The next row follows the newest one.
pub(super) const SETTLE: &str = "ALTER TABLE {database}.`kine` AUTO_INCREMENT = 1";

/// What every change of rows depends on: that the mark is still the one that was seen.
pub(super) const IF_MARKED: &str =
    "EXISTS (SELECT 1 FROM `_kamaji`.`migrations` WHERE `schema_name` = ? AND `mark` = ?)";
const ROW: &str = "SELECT CAST(? AS SIGNED) AS c1, CAST(? AS BINARY) AS c2, CAST(? AS SIGNED) AS c3, CAST(? AS SIGNED) AS c4, \
    CAST(? AS SIGNED) AS c5, CAST(? AS SIGNED) AS c6, CAST(? AS SIGNED) AS c7, CAST(? AS BINARY) AS c8, \
    CAST(? AS BINARY) AS c9";
const LIVE: &str = "SELECT CAST(? AS BINARY) AS c1, CAST(? AS SIGNED) AS c2, CAST(? AS BINARY) AS c3";

/// Puts so many whole rows.
pub(super) fn put_rows(rows: usize) -> String {
    let rows = vec![ROW; rows].join(" UNION ALL ");
    format!(
        "INSERT INTO {{database}}.`kine` (id, name, created, deleted, create_revision, prev_revision, lease, value, \
         old_value) SELECT c1, c2, c3, c4, c5, c6, c7, c8, c9 FROM ({rows}) AS u WHERE {IF_MARKED}"
    )
}

/// Puts so many keys under new revisions.
pub(super) fn put_live(rows: usize) -> String {
    let rows = vec![LIVE; rows].join(" UNION ALL ");
    format!(
        "INSERT INTO {{database}}.`kine` (name, created, deleted, create_revision, prev_revision, lease, value) \
         SELECT c1, 1, 0, 0, 0, c2, c3 FROM ({rows}) AS u WHERE {IF_MARKED}"
    )
}

pub(super) fn delete_rows(rows: usize) -> String {
    format!("DELETE FROM {{database}}.`kine` WHERE id IN ({}) AND {IF_MARKED}", values(rows))
}

/// By the index, which does not tell upper from lower case, and then by the bytes.
pub(super) fn delete_live(rows: usize) -> String {
    let values = values(rows);
    format!(
        "DELETE FROM {{database}}.`kine` WHERE name IN ({values}) AND CAST(name AS BINARY) IN ({values}) AND {IF_MARKED}"
    )
}

/// What the server takes for one of these names, and is none.
pub(super) fn twins(rows: usize) -> String {
    let values = values(rows);
    format!(
        "SELECT CAST(name AS BINARY) FROM {{database}}.`kine` WHERE name IN ({values}) \
         AND CAST(name AS BINARY) NOT IN ({values}) LIMIT 1"
    )
}

fn values(count: usize) -> String {
    vec!["?"; count].join(", ")
}
