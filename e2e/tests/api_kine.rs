//! The real kine, started with the arguments and the variable that a tenant's container gets, logs in as it is meant to.
//!
//! Some stores are impostors that only listen to how they are spoken to, so that the very bytes can be compared; the others
//! are real.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "api_kine/impostors.rs"]
mod impostors;
#[path = "api_kine/rendered.rs"]
mod rendered;
#[path = "api_kine/served.rs"]
mod served;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kamaji_api::v1alpha1::Driver;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use xtask::programs::{self, Program};

use impostors::Login;
use rendered::{Place, Rendered};

const DEADLINE: Duration = Duration::from_secs(30);
/// Everything that means something in a URL, a DSN, a shell or a Kubernetes variable.
const HOSTILE: &str = "'\"$()\\`;%@:/?# \u{e9},&=+[]{}|<>^~\n\u{1f600}$(DB_USER)%41";

/// kine, until it is dropped.
struct Kine {
    folder: PathBuf,
    process: Child,
}

impl Kine {
    /// As in the container, but for the folders of socket and certificates and the address of the metrics.
    fn start(rendered: &Rendered, ca_pem: Option<&str>) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let program = programs::path(Program::Kine).unwrap();
        assert!(program.is_file(), "{} is not built yet; `cargo xtask test` builds it", program.display());
        let name = format!("kamaji-kine-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        if let Some(pem) = ca_pem {
            fs::write(folder.join("ca.crt"), pem).unwrap();
        }
        if let Some(context) = &rendered.context {
            fs::write(folder.join("nats.json"), context).unwrap();
        }
        let here = folder.display().to_string();
        let elsewhere = |argument: &String| {
            let argument = argument.replace("/certs", &here).replace("/uds", &here);
            argument.replace("=:8135", "=127.0.0.1:0")
        };
        let process = Command::new(program)
            .args(rendered.arguments.iter().map(elsewhere))
            .env_clear()
            .env("KINE_ENDPOINT", rendered.endpoint.replace("=/login/", &format!("={here}/")))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.join("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { folder, process }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    fn command_line(&self) -> String {
        fs::read_to_string(format!("/proc/{}/cmdline", self.process.id().unwrap())).unwrap()
    }
}

impl Drop for Kine {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// What kine says to a store that is told to it like this.
async fn login(driver: Driver, user: &str, password: &str, schema: &str) -> Login {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let place = Place { driver, address: &address, user, password, schema, ca_pem: None };
    let rendered = rendered::container(&place);
    let kine = Kine::start(&rendered, None);
    let listening = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // It looks for its database in another one first, and ends a connection that it does not need.
            let heard = impostors::hear(driver, stream).await;
            if let Ok(heard) = heard
                && heard.schema == schema
            {
                return heard;
            }
        }
    };
    let heard = tokio::time::timeout(DEADLINE, listening).await.ok();
    assert!(heard.is_some(), "{driver:?} is never asked; kine says:\n{}", kine.log());
    for place in [kine.command_line(), kine.log()] {
        assert!(!place.contains(password) && !place.contains(&rendered.endpoint), "{place}");
    }
    heard.unwrap()
}

#[tokio::test]
async fn postgres_hears_the_password_that_was_meant() {
    let heard = login(Driver::PostgreSql, "Blue-User@x", HOSTILE, "Blue_Data").await;
    assert_eq!((heard.user.as_str(), heard.proof), ("Blue-User@x", HOSTILE.as_bytes().to_vec()));
}

#[tokio::test]
async fn mysql_hears_the_password_that_was_meant() {
    let heard = login(Driver::MySql, "Blue-User@x", HOSTILE, "Blue_Data").await;
    assert_eq!(heard.user, "Blue-User@x");
    assert_eq!(heard.proof, impostors::mysql_proof(HOSTILE));
}

#[tokio::test]
async fn nats_hears_the_password_that_was_meant() {
    for password in [HOSTILE, "file:///etc/hostname", "env:HOME", "data:;base64,eA==", "op://a/b"] {
        let heard = login(Driver::Nats, "Blue:User@$x", password, "blue_data").await;
        assert_eq!((heard.user.as_str(), heard.proof), ("Blue:User@$x", password.as_bytes().to_vec()));
    }
}
