//! Over kine a real PostgreSQL serves etcd's protocol, to whoever knows the password and shows the right certificate.

use std::time::Duration;

use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::account::{Account, Credential, Owner, Password, Schema, Seal, Standing, User};
use kamaji_datastore::store::Store;
use kamaji_e2e::postgres::Postgres;
use kamaji_pki::Authority;
use tokio::io::AsyncWriteExt;
use xtask::programs::{self, Program};

use crate::rendered::{self, Place};
use crate::{DEADLINE, Kine};

/// All that is printable and means something somewhere; the datastore takes no other password.
const PRINTABLE: &str = "'\"$()\\`;%@:/?#,&=+[]{}|<>^~$(DB_USER)%41";

async fn account(postgres: &Postgres, name: &str) -> Account {
    let account = Account {
        schema: Schema::parse(name).unwrap(),
        user: User::parse(name).unwrap(),
        owner: Owner::parse("4746b6dc-a96d-4b56-9a1c-e561fad1fc10").unwrap(),
        standing: Standing::Claimed,
        seal: Seal::Open,
        credential: Credential::Password(Password::parse(PRINTABLE.to_owned()).unwrap()),
    };
    Store::postgres(postgres.settings()).unwrap().ensure(&account).await.unwrap();
    account
}

impl Kine {
    /// Started for this account, and until it has said something of the kind.
    async fn saying(words: &str, postgres: &Postgres, name: &str, password: &str, ca_pem: &str) -> Self {
        let address = postgres.endpoint().to_string();
        let place = Place {
            driver: Driver::PostgreSql,
            address: &address,
            user: name,
            password,
            schema: name,
            ca_pem: Some(ca_pem),
        };
        let kine = Self::start(name, &rendered::container(&place), Some(ca_pem));
        let reading = async {
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            while !kine.log().contains(words) {
                tick.tick().await;
            }
        };
        let said = tokio::time::timeout(DEADLINE, reading).await;
        assert!(said.is_ok(), "kine never says {words:?}:\n{}", kine.log());
        assert!(!kine.log().contains(password) && !kine.command_line().contains(password));
        kine
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

#[tokio::test]
async fn an_account_of_postgres_is_served_over_tls_with_any_password() {
    let postgres = Postgres::start().await.unwrap();
    let account = account(&postgres, "Blue_Data").await;
    let ca = postgres.authority().certificate().pem();
    let kine = Kine::saying("Kine available", &postgres, "Blue_Data", PRINTABLE, ca).await;
    // As an API server creates: only where nothing is.
    let create = "mod(\"/registry/pods/a/b\") = \"0\"\n\nput /registry/pods/a/b served\n\n\n";
    assert!(kine.etcdctl(&["txn"], create).await.contains("SUCCESS"));
    let got = kine.etcdctl(&["get", "--print-value-only", "/registry/pods/a/b"], "").await;
    assert_eq!(got.trim(), "served");
    let session = postgres.connect(account.user.as_str(), PRINTABLE, "Blue_Data").await.unwrap();
    let rows = session.query("SELECT value FROM kine WHERE name = '/registry/pods/a/b'", &[]).await.unwrap();
    let values: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(values, [b"served".to_vec()], "in the database of that name, capitals included");
}

#[tokio::test]
async fn whoever_does_not_know_the_password_or_the_server_is_not_served() {
    let postgres = Postgres::start().await.unwrap();
    account(&postgres, "green").await;
    let ca = postgres.authority().certificate().pem();
    Kine::saying("password authentication failed", &postgres, "green", "not-the-password", ca).await;
    let stranger =
        Authority::create("postgres-ca", kamaji_e2e::etcd::now(), jiff::SignedDuration::from_hours(1));
    let ca = stranger.unwrap().certificate().pem().to_owned();
    Kine::saying("certificate signed by unknown authority", &postgres, "green", PRINTABLE, &ca).await;
}
