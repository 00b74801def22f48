//! Reads what there is under the names of one account.

use std::collections::BTreeSet;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::account::Account;
use crate::connection::Failure;
use crate::error::Error;
use crate::postgres::mark::Mark;
use crate::postgres::member::Connection;
use crate::postgres::plan::{
    Acting, Door, FoundDatabase, FoundUser, Grants, Holder, Kind, Login, Observed, Power, Public, Sessions,
    Table,
};
use crate::refusal::Fault;

/// Role and database, as of one moment.
const LOOK: &str = "\
SELECT r.oid IS NOT NULL AS has_user, \
 shobj_description(r.oid, 'pg_authid') AS user_comment, \
 coalesce(r.rolcanlogin, false) AS can_log_in, \
 coalesce(r.rolsuper, false) AS super, coalesce(r.rolcreatedb, false) AS create_database, \
 coalesce(r.rolcreaterole, false) AS create_role, coalesce(r.rolreplication, false) AS replication, \
 coalesce(r.rolbypassrls, false) AS bypass, \
 ARRAY(SELECT g.rolname::text FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid) \
  AS roles, \
 coalesce(pg_has_role(r.oid, 'USAGE'), false) AS acting, \
 EXISTS (SELECT FROM pg_stat_activity a WHERE a.usesysid = r.oid) AS has_sessions, \
 d.oid IS NOT NULL AS has_database, \
 shobj_description(d.oid, 'pg_database') AS database_comment, \
 coalesce(d.datdba = r.oid, false) AS is_held_by_user, \
 coalesce(o.rolname = current_user, false) AS is_held_by_us, \
 coalesce(d.datistemplate, false) AS is_template, \
 coalesce(d.datallowconn, false) AS is_open, \
 EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee = 0) AS is_public, \
 (SELECT count(DISTINCT a.privilege_type) FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a \
  WHERE a.grantee = d.datdba AND a.privilege_type IN ('CONNECT', 'CREATE', 'TEMPORARY')) = 3 AS is_granted \
FROM (SELECT $1 AS user_name, $2 AS database_name) AS n \
LEFT JOIN pg_roles r ON r.rolname = n.user_name \
LEFT JOIN pg_database d ON d.datname = n.database_name \
LEFT JOIN pg_roles o ON o.oid = d.datdba";

/// Whether the table of the data is held by another than the role.
const LOOK_INSIDE: &str = "\
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
 LEFT JOIN pg_roles r ON r.oid = c.relowner \
 WHERE n.nspname = 'public' AND c.relname = 'kine' AND c.relkind IN ('r', 'p') \
 AND r.rolname IS DISTINCT FROM $1)";

/// What there is, as of a moment during this call.
pub(crate) async fn account(connection: &Connection, account: &Account) -> Result<Observed, Error> {
    let doing = format!("look at role {} and database {}", account.user, account.schema);
    let (user, schema) = (account.user.as_str(), account.schema.as_str());
    let found = connection.ask(&doing, |session| async move {
        session.client.query_typed_one(LOOK, &[(&user, Type::TEXT), (&schema, Type::TEXT)]).await
    });
    let row = found.await.map_err(|failure| failure.error)?;
    read(&row).map_err(|error| Error::Refused { doing, source: error.cause() })
}

/// The same, with the database's table: only one that an operator without marks has made can be another's.
pub(crate) async fn inside(inside: &Connection, account: &Account) -> Result<Table, Failure> {
    let doing = format!("look at the table kine in database {}", account.schema);
    let user = account.user.as_str();
    let found = inside.ask(&doing, |session| async move {
        session.client.query_typed_one(LOOK_INSIDE, &[(&user, Type::TEXT)]).await
    });
    Ok(if found.await?.get(0) { Table::Other } else { Table::Settled })
}

fn read(row: &Row) -> Result<Observed, tokio_postgres::Error> {
    let user = if row.try_get("has_user")? { Some(user(row)?) } else { None };
    let database = if row.try_get("has_database")? { Some(database(row)?) } else { None };
    Ok(Observed { user, database })
}

fn user(row: &Row) -> Result<FoundUser, tokio_postgres::Error> {
    let powers = [
        ("super", Power::Superuser),
        ("create_database", Power::CreateDatabase),
        ("create_role", Power::CreateRole),
        ("replication", Power::Replication),
        ("bypass", Power::BypassRowSecurity),
    ];
    let mut found = BTreeSet::new();
    for (column, power) in powers {
        if row.try_get(column)? {
            found.insert(power);
        }
    }
    let roles: Vec<String> = row.try_get("roles")?;
    Ok(FoundUser {
        mark: Mark::of_user(row.try_get("user_comment")?),
        comment: row.try_get("user_comment")?,
        login: if row.try_get("can_log_in")? { Login::Allowed } else { Login::Denied },
        powers: found,
        roles: roles.into_iter().collect(),
        acting: if row.try_get("acting")? { Acting::Allowed } else { Acting::Denied },
        sessions: if row.try_get("has_sessions")? { Sessions::Some } else { Sessions::None },
    })
}

fn database(row: &Row) -> Result<FoundDatabase, tokio_postgres::Error> {
    let holder = match (row.try_get("is_held_by_user")?, row.try_get("is_held_by_us")?) {
        (true, _) => Holder::User,
        (false, true) => Holder::Us,
        (false, false) => Holder::Other,
    };
    Ok(FoundDatabase {
        mark: Mark::of_database(row.try_get("database_comment")?),
        holder,
        kind: if row.try_get("is_template")? { Kind::Template } else { Kind::Plain },
        public: if row.try_get("is_public")? { Public::Something } else { Public::Nothing },
        grants: if row.try_get("is_granted")? { Grants::Complete } else { Grants::Missing },
        door: if row.try_get("is_open")? { Door::Open } else { Door::Shut },
        table: Table::Settled,
    })
}
