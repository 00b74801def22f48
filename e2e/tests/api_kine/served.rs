//! Over kine a real store serves etcd's protocol, to whoever knows the password and trusts the right authority.

use std::time::Duration;

use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::account::{Account, Credential, Owner, Password, Schema, Seal, Standing, User};
use kamaji_datastore::store::Store;
use kamaji_e2e::mariadb::MariaDb;
use kamaji_e2e::nats::{self, Nats};
use kamaji_e2e::postgres::Postgres;
use kamaji_pki::Authority;
use mysql_async::prelude::Queryable;
use tokio::io::AsyncWriteExt;
use xtask::programs::{self, Program};

use crate::rendered::{self, Place};
use crate::{DEADLINE, HOSTILE, Kine};

/// All that is printable and means something somewhere; the datastore takes no other password.
const PRINTABLE: &str = "'\"$()\\`;%@:/?#,&=+[]{}|<>^~$(DB_USER)%41";

fn account_of(name: &str) -> Account {
    Account {
        schema: Schema::parse(name).unwrap(),
        user: User::parse(name).unwrap(),
        owner: Owner::parse("4746b6dc-a96d-4b56-9a1c-e561fad1fc10").unwrap(),
        standing: Standing::Claimed,
        seal: Seal::Open,
        credential: Credential::Password(Password::parse(PRINTABLE.to_owned()).unwrap()),
    }
}

async fn account(postgres: &Postgres, name: &str) -> Account {
    let account = account_of(name);
    Store::postgres(postgres.settings()).unwrap().ensure(&account).await.unwrap();
    account
}

impl Kine {
    /// Started for this place, and until it has said something of the kind.
    async fn saying(words: &str, place: &Place<'_>) -> Self {
        let kine = Self::start(&rendered::container(place), place.ca_pem);
        let reading = async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            while !kine.log().contains(words) {
                tick.tick().await;
            }
        };
        let said = tokio::time::timeout(DEADLINE, reading).await;
        assert!(said.is_ok(), "kine never says {words:?}:\n{}", kine.log());
        assert!(!kine.log().contains(place.password) && !kine.command_line().contains(place.password));
        kine
    }

    /// What an API server does first works: it creates only where nothing is, and reads it back.
    async fn serves(&self) {
        let create = "mod(\"/registry/pods/a/b\") = \"0\"\n\nput /registry/pods/a/b served\n\n\n";
        assert!(self.etcdctl(&["txn"], create).await.contains("SUCCESS"));
        assert!(self.etcdctl(&["txn"], create).await.contains("FAILURE"), "it is there now");
        let got = self.etcdctl(&["get", "--print-value-only", "/registry/pods/a/b"], "").await;
        assert_eq!(got.trim(), "served");
    }

    /// What etcd's own client is answered over the socket.
    async fn etcdctl(&self, arguments: &[&str], input: &str) -> String {
        let mut process = tokio::process::Command::new(programs::path(Program::Etcdctl).unwrap())
            .arg(format!("--endpoints=unix://{}/kine", self.folder.display()))
            .args(arguments)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        process.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        let output = tokio::time::timeout(DEADLINE, process.wait_with_output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}; kine says:\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The authority of nobody.
fn stranger(name: &str) -> String {
    let stranger = Authority::create(name, kamaji_e2e::etcd::now(), jiff::SignedDuration::from_hours(1));
    stranger.unwrap().certificate().pem().to_owned()
}

#[tokio::test]
async fn an_account_of_postgres_is_served_over_tls_with_any_password() {
    let postgres = Postgres::start().await.unwrap();
    let account = account(&postgres, "Blue_Data").await;
    let (address, ca) = (postgres.endpoint().to_string(), postgres.authority().certificate().pem());
    let place = Place {
        driver: Driver::PostgreSql,
        address: &address,
        user: "Blue_Data",
        password: PRINTABLE,
        schema: "Blue_Data",
        ca_pem: Some(ca),
    };
    Kine::saying("Kine available", &place).await.serves().await;
    let session = postgres.connect(account.user.as_str(), PRINTABLE, "Blue_Data").await.unwrap();
    let rows = session.query("SELECT value FROM kine WHERE name = '/registry/pods/a/b'", &[]).await.unwrap();
    let values: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(values, [b"served".to_vec()], "in the database of that name, capitals included");
}

#[tokio::test]
async fn postgres_serves_nobody_who_does_not_know_the_password_or_the_server() {
    let postgres = Postgres::start().await.unwrap();
    account(&postgres, "green").await;
    let (address, ca) = (postgres.endpoint().to_string(), postgres.authority().certificate().pem());
    let place = Place {
        driver: Driver::PostgreSql,
        address: &address,
        user: "green",
        password: "not-the-password",
        schema: "green",
        ca_pem: Some(ca),
    };
    Kine::saying("password authentication failed", &place).await;
    let ca = stranger("postgres-ca");
    let place = Place { password: PRINTABLE, ca_pem: Some(&ca), ..place };
    Kine::saying("certificate signed by unknown authority", &place).await;
}

#[tokio::test]
async fn an_account_of_mariadb_is_served_over_tls_with_any_password() {
    let mariadb = MariaDb::start().await.unwrap();
    let (address, ca) = (mariadb.endpoint().to_string(), mariadb.authority().certificate().pem());
    Store::mysql(mariadb.settings()).unwrap().ensure(&account_of("Blue_Data")).await.unwrap();
    let place = Place {
        driver: Driver::MySql,
        address: &address,
        user: "Blue_Data",
        password: PRINTABLE,
        schema: "Blue_Data",
        ca_pem: Some(ca),
    };
    Kine::saying("Kine available", &place).await.serves().await;
    let mut session = mariadb.superuser().await.unwrap();
    let query = "SELECT value FROM Blue_Data.kine WHERE name = '/registry/pods/a/b'";
    let values: Vec<Vec<u8>> = session.query(query).await.unwrap();
    assert_eq!(values, [b"served".to_vec()], "in the database of that name, capitals included");
}

#[tokio::test]
async fn mariadb_serves_nobody_who_does_not_know_the_password_or_the_server() {
    let mariadb = MariaDb::start().await.unwrap();
    Store::mysql(mariadb.settings()).unwrap().ensure(&account_of("green")).await.unwrap();
    let (address, ca) = (mariadb.endpoint().to_string(), mariadb.authority().certificate().pem());
    let place = Place {
        driver: Driver::MySql,
        address: &address,
        user: "green",
        password: "not-the-password",
        schema: "green",
        ca_pem: Some(ca),
    };
    Kine::saying("Access denied for user", &place).await;
    let ca = stranger("mariadb-ca");
    let place = Place { password: PRINTABLE, ca_pem: Some(&ca), ..place };
    Kine::saying("certificate signed by unknown authority", &place).await;
}

/// kine goes on only with a bucket that is just as it asks for: one that we made, and one of the Go operator's that we took
/// over.
#[tokio::test]
async fn a_bucket_of_nats_is_served_over_tls_with_any_password() {
    for (password, is_old) in [(nats::PASSWORD, false), (HOSTILE, true), ("env:HOME", false)] {
        let options = nats::Options { password: password.to_owned(), ..nats::Options::default() };
        let nats = Nats::start_with(options).await.unwrap();
        let mut account = account_of("Blue_Data");
        if is_old {
            account.standing = Standing::Recorded;
            nats.connect(nats::OWNER).await.unwrap().make(&nats::of_go("Blue_Data")).await.unwrap();
        }
        let store = Store::nats(nats.settings()).unwrap();
        store.ensure(&account).await.unwrap();
        let (address, ca) = (nats.endpoint().to_string(), nats.authority().certificate().pem());
        let place = Place {
            driver: Driver::Nats,
            address: &address,
            user: nats::OPERATOR,
            password,
            schema: "Blue_Data",
            ca_pem: Some(ca),
        };
        Kine::saying("bucket initialized: Blue_Data", &place).await.serves().await;
        assert!(!store.ensure(&account).await.unwrap().changed(), "kine left it as it was");
        store.prove_confined(&account, b"", b"").await.unwrap();
        store.remove(&account).await.unwrap();
        assert!(store.residue(&account).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn nats_serves_nobody_who_does_not_know_the_password_or_the_server() {
    let nats = Nats::start().await.unwrap();
    let (address, ca) = (nats.endpoint().to_string(), nats.authority().certificate().pem());
    let place = Place {
        driver: Driver::Nats,
        address: &address,
        user: nats::OPERATOR,
        password: "not-the-password",
        schema: "green",
        ca_pem: Some(ca),
    };
    Kine::saying("Authorization Violation", &place).await;
    let ca = stranger("nats-ca");
    let place = Place { password: nats::PASSWORD, ca_pem: Some(&ca), ..place };
    Kine::saying("certificate signed by unknown authority", &place).await;
}
