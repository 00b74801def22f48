//! The datastores of the installation, and what the Go operator had made in them.

use etcd_client::{Permission, UserAddOptions};
use kamaji_e2e::{
    digest::steady,
    operator::Lane,
    postgres::{CLEAR, PASSWORD, Postgres},
};
use kamaji_pki::{Authority, Leaf, Names, Pair, Usage};
use serde_json::json;

/// Whoever has a password may come in clear text: the installation's DataStore has no certificates.
const IN_CLEAR: &str = "host all all all scram-sha-256";

/// The three `DataStore`s of the installation.
pub(crate) async fn put(lane: &Lane, postgres: &Postgres) {
    let etcd = lane.etcd.endpoint().to_string();
    let credentials = lane.credentials().unwrap();
    let mut credentials = credentials.as_object().unwrap().clone();
    credentials.insert("username".to_owned(), json!(CLEAR));
    credentials.insert("password".to_owned(), json!(PASSWORD));
    lane.put_credentials(&credentials.into()).await.unwrap();
    let reference = |key: &str| lane.reference(key);
    let etcd = json!({ "driver": "etcd", "endpoints": [etcd], "tlsConfig": {
        "certificateAuthority": { "certificate": reference("ca.crt"), "privateKey": reference("ca.key") },
        "clientCertificate": { "certificate": reference("tls.crt"), "privateKey": reference("tls.key") },
    } });
    lane.put("default", &etcd).await.unwrap();
    lane.put("etcd-secondary", &etcd).await.unwrap();
    let basic = json!({ "username": reference("username"), "password": reference("password") });
    let pg = json!({
        "driver": "PostgreSQL", "endpoints": [postgres.endpoint().to_string()], "basicAuth": basic,
    });
    lane.put("pg", &pg).await.unwrap();
}

/// The PostgreSQL of the installation: it takes passwords in clear text.
pub(crate) async fn postgres() -> &'static Postgres {
    let postgres = Postgres::shared().await.unwrap();
    let root = postgres.superuser("postgres").await.unwrap();
    let file: String = root.query_one("SHOW hba_file", &[]).await.unwrap().get(0);
    let write = format!(
        "COPY (SELECT unnest(string_to_array(pg_read_file('{file}') || '{IN_CLEAR}', E'\\n'))) TO '{file}'; SELECT pg_reload_conf()"
    );
    root.batch_execute(&write).await.unwrap();
    postgres
}

/// The same in etcd.
pub(crate) async fn etcd_account(lane: &Lane, name: &str) {
    let root = lane.etcd.root().await.unwrap();
    let prefix = || Permission::read_write(format!("/{name}/")).with_prefix();
    let without = || UserAddOptions::new().with_no_pwd();
    steady(async || root.clone().role_add(name).await).await.unwrap();
    steady(async || root.clone().role_grant_permission(name, prefix()).await).await.unwrap();
    steady(async || root.clone().user_add(name, "", Some(without())).await).await.unwrap();
    steady(async || root.clone().user_grant_role(name, name).await).await.unwrap();
    let precious = format!("/{name}/registry/precious");
    steady(async || root.clone().put(precious.clone(), "x", None).await).await.unwrap();
}

/// A client certificate as the Go operator makes them for etcd.
pub(crate) fn client(authority: &Authority, user: &str) -> Pair {
    let leaf = Leaf {
        common_name: user.to_owned(),
        organizations: vec!["system:masters".to_owned()],
        usage: Usage::Client,
        names: Names::default(),
        valid_for: jiff::SignedDuration::from_hours(24),
    };
    authority.issue(&leaf, kamaji_e2e::etcd::now()).unwrap()
}
