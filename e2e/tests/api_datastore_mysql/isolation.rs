//! A tenant's password opens its own database and nothing else.

use anyhow::Result;
use kamaji_datastore::account::Account;
use kamaji_e2e::mariadb::MariaDb;
use mysql_async::{Conn, prelude::Queryable};

use super::{account, code, operator, password_of, tenant};

/// Names that are each other's beginnings, or patterns of each other if nothing escapes them.
const NAMES: [&str; 5] = ["x", "xy", "x_y", "xay", "x-"];

/// What says that something is denied: a database, a table, a column, a right, another's password, an unknown role.
const DENIED: [u16; 8] = [1044, 1045, 1142, 1143, 1227, 1370, 1698, 1959];

/// What a tenant that is connected to its own database may not do there or from there.
const FORBIDDEN: &[&str] = &[
    // Users.
    "CREATE USER more",
    "CREATE ROLE more",
    "ALTER USER {other}@`%` IDENTIFIED BY 'mine'",
    "ALTER USER {own}@`%` REQUIRE NONE",
    "SET PASSWORD FOR {other}@`%` = PASSWORD('mine')",
    "DROP USER {other}@`%`",
    "RENAME USER {other}@`%` TO mine@`%`",
    "GRANT ALL PRIVILEGES ON *.* TO {own}@`%`",
    "GRANT SELECT ON {other}.* TO {own}@`%`",
    "GRANT SELECT ON {own}.* TO {other}@`%`",
    "GRANT {other} TO {own}@`%`",
    "GRANT PROXY ON {other}@`%` TO {own}@`%`",
    "REVOKE ALL PRIVILEGES, GRANT OPTION FROM {other}@`%`",
    "SET ROLE {other}",
    "SHOW GRANTS FOR {other}@`%`",
    "SHOW CREATE USER {other}@`%`",
    // Databases.
    "CREATE DATABASE more",
    "CREATE DATABASE `_kamaji2`",
    "DROP DATABASE {other}",
    "ALTER DATABASE {other} CHARACTER SET latin1",
    "USE {other}",
    "SELECT * FROM {other}.kine",
    "SELECT COUNT(*) FROM {other}.kine",
    "INSERT INTO {other}.kine VALUES ('mine')",
    "UPDATE {other}.kine SET value = 'mine'",
    "DELETE FROM {other}.kine",
    "TRUNCATE TABLE {other}.kine",
    "DROP TABLE {other}.kine",
    "ALTER TABLE {other}.kine ADD COLUMN mine int",
    "RENAME TABLE {other}.kine TO {own}.stolen",
    "CREATE TABLE {other}.mine (a int)",
    "CREATE TABLE {own}.copy AS SELECT * FROM {other}.kine",
    "CREATE TABLE {own}.copy LIKE {other}.kine",
    "CREATE INDEX mine ON {other}.kine (value)",
    "CREATE VIEW {own}.v AS SELECT * FROM {other}.kine",
    "LOCK TABLES {other}.kine READ",
    "SHOW TABLES FROM {other}",
    "SHOW CREATE TABLE {other}.kine",
    "SHOW CREATE DATABASE {other}",
    "DESCRIBE {other}.kine",
    "DROP TABLE {own}.kine",
    "DROP DATABASE {own}",
    // The marks.
    "SELECT * FROM `_kamaji`.`owners`",
    "DELETE FROM `_kamaji`.`owners`",
    "UPDATE `_kamaji`.`owners` SET owner = 'mine'",
    "DROP TABLE `_kamaji`.`owners`",
    "USE `_kamaji`",
    // The server, its files and its programs.
    "SELECT * FROM mysql.global_priv",
    "SELECT * FROM mysql.user",
    "SELECT * FROM mysql.db",
    "INSERT INTO mysql.db SELECT * FROM mysql.db",
    "USE mysql",
    "SET GLOBAL general_log = 1",
    "SET GLOBAL read_only = 1",
    "SET GLOBAL init_connect = 'x'",
    "FLUSH PRIVILEGES",
    "FLUSH TABLES WITH READ LOCK",
    "SHUTDOWN",
    "RESET MASTER",
    "CHANGE MASTER TO MASTER_HOST = 'x'",
    "SHOW MASTER STATUS",
    "SHOW BINARY LOGS",
    "INSTALL SONAME 'auth_socket'",
    "CREATE FUNCTION sys_exec RETURNS string SONAME 'x.so'",
    "SELECT 'x' INTO OUTFILE '/tmp/x'",
    "LOAD DATA INFILE '/etc/passwd' INTO TABLE {own}.kine",
    "CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
    "CREATE PROCEDURE {own}.p() SELECT 1",
    "CREATE TRIGGER {own}.t BEFORE INSERT ON {own}.kine FOR EACH ROW SET @a = 1",
    "CREATE EVENT {own}.e ON SCHEDULE EVERY 1 SECOND DO SELECT 1",
];

/// Databases, tables and sessions that a tenant can list are its own.
async fn assert_lists_its_own(session: &mut Conn, user: &str) -> Result<()> {
    let of_all = ["information_schema", "performance_schema"];
    for (list, wanted) in [
        ("SHOW DATABASES", "a database"),
        ("SELECT DISTINCT TABLE_SCHEMA FROM information_schema.tables", "a table"),
        ("SELECT DISTINCT USER FROM information_schema.processlist", "a session"),
    ] {
        let mut found: Vec<String> = session.query(list).await?;
        found.retain(|name| !of_all.contains(&name.as_str()));
        assert_eq!(found, [user], "{wanted}");
    }
    Ok(())
}

#[tokio::test]
async fn no_tenant_gets_into_anothers_database_or_at_it() -> Result<()> {
    let mariadb = MariaDb::start().await?;
    let store = operator(&mariadb)?;
    let accounts: Vec<Account> = NAMES.iter().map(|name| account(name, name)).collect();
    for account in &accounts {
        store.ensure(account).await?;
        let mut own = tenant(&mariadb, account).await?;
        own.query_drop("CREATE TABLE kine (value varchar(64))").await?;
        own.query_drop("INSERT INTO kine VALUES ('precious')").await?;
        own.disconnect().await?;
    }
    let mut refusals = 0;
    for own in &accounts {
        let user = own.user.as_str();
        let others = NAMES.iter().copied().filter(|name| *name != user);
        for database in others.clone().chain(["mysql", "_kamaji", "sys"]) {
            let refused = mariadb.connect(user, &password_of(user), Some(database)).await;
            assert_eq!(code(refused), Some(1044), "{user} connects to {database}");
        }
        // Nor as another, with one's own password.
        for other in others.clone().chain(["root", "kamaji-operator"]) {
            let refused = mariadb.connect(other, &password_of(user), None).await;
            assert_eq!(code(refused), Some(1045), "{user} as {other}");
        }
        let mut session = tenant(&mariadb, own).await?;
        for other in others {
            for statement in FORBIDDEN {
                let statement = statement
                    .replace("{own}", &format!("`{user}`"))
                    .replace("{other}", &format!("`{other}`"));
                let code = code(session.query_drop(&statement).await);
                assert!(code.is_some_and(|code| DENIED.contains(&code)), "{user}: {statement}: {code:?}");
                refusals += 1;
            }
            let victims: Vec<u64> = mariadb
                .superuser()
                .await?
                .query(format!("SELECT ID FROM information_schema.processlist WHERE USER <> '{user}'"))
                .await?;
            for victim in victims {
                let code = code(session.query_drop(format!("KILL {victim}")).await);
                assert!([Some(1095), Some(1094)].contains(&code), "{user} kills {victim}: {code:?}");
            }
        }
        assert_lists_its_own(&mut session, user).await?;
        store.prove_confined(own, b"", b"").await?;
    }
    assert_eq!(refusals, 5 * 4 * FORBIDDEN.len());
    for own in &accounts {
        assert!(!store.ensure(own).await?.changed(), "all are as they were");
        let rows: Vec<String> = tenant(&mariadb, own).await?.query("SELECT value FROM kine").await?;
        assert_eq!(rows, ["precious"]);
        store.remove(own).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_tenant_that_reaches_more_is_noticed() -> Result<()> {
    let mariadb = MariaDb::start().await?;
    let (store, mut root) = (operator(&mariadb)?, mariadb.superuser().await?);
    let (one, two) = (account("one", "one"), account("two", "two"));
    store.ensure(&one).await?;
    store.prove_confined(&one, b"", b"").await?;
    store.ensure(&two).await?;
    store.prove_confined(&one, b"", b"").await?;
    root.query_drop("CREATE ROLE more").await?;
    root.query_drop("GRANT SELECT ON two.* TO more").await?;
    for (damage, cure) in [
        ("GRANT SELECT ON two.* TO one@'%'", "REVOKE SELECT ON two.* FROM one@'%'"),
        ("GRANT SELECT ON `t%`.* TO one@'%'", "REVOKE SELECT ON `t%`.* FROM one@'%'"),
        ("GRANT SELECT ON _kamaji.* TO one@'%'", "REVOKE SELECT ON _kamaji.* FROM one@'%'"),
        ("GRANT SELECT ON mysql.* TO one@'%'", "REVOKE SELECT ON mysql.* FROM one@'%'"),
        ("GRANT PROCESS ON *.* TO one@'%'", "REVOKE PROCESS ON *.* FROM one@'%'"),
        ("GRANT SELECT ON two.* TO PUBLIC", "REVOKE SELECT ON two.* FROM PUBLIC"),
    ] {
        root.query_drop(damage).await?;
        let error = store.prove_confined(&one, b"", b"").await.expect_err(damage);
        assert_eq!(error.reason(), "NotConfined", "{damage}: {error}");
        root.query_drop(cure).await?;
        store.prove_confined(&one, b"", b"").await?;
    }
    root.query_drop("REVOKE ALL PRIVILEGES, GRANT OPTION FROM one@'%'").await?;
    assert_eq!(store.prove_confined(&one, b"", b"").await.expect_err("shut out").reason(), "Refused");
    Ok(())
}
