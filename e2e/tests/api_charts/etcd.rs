//! The etcd of the chart, run for real with the certificates and arguments that are rendered.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kamaji_datastore::{
    config::{Endpoint, Settings, Tls},
    store::Store,
};
use kamaji_operator::{Cli, Command as Task};
use kamaji_pki::{Authority, Certificate, Leaf, Names, PrivateKey, Usage};
use serde_json::Value;
use xtask::programs::{self, Program};

use super::{object, render, strings};

/// A folder with the rendered certificates, and the etcd that uses them. Both are gone once this is dropped.
struct Running {
    folder: PathBuf,
    etcd: Option<Child>,
    client_port: u16,
    metrics_port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(etcd) = &mut self.etcd {
            let _ = etcd.kill();
            let _ = etcd.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn data(objects: &[Value], name: &str) -> Vec<(String, ByteString)> {
    let secret: Secret = serde_json::from_value(object(objects, "Secret", name).clone()).unwrap();
    secret.data.unwrap().into_iter().collect()
}

/// Starts the container of the rendered `StatefulSet` on free ports of this machine.
fn start(objects: &[Value]) -> Running {
    let listeners: Vec<TcpListener> =
        (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let ports: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    drop(listeners);
    let folder = std::env::temp_dir().join(format!("kamaji-charts-{}-{}", std::process::id(), ports[0]));
    fs::create_dir_all(folder.join("certs")).unwrap();
    let secrets = ["kamaji-etcd-certs", "kamaji-etcd-root-client-certs"].map(|name| data(objects, name));
    for (key, value) in secrets.into_iter().flatten() {
        fs::write(folder.join("certs").join(key), value.0).unwrap();
    }
    let container =
        &object(objects, "StatefulSet", "kamaji-etcd")["spec"]["template"]["spec"]["containers"][0];
    let place = |argument: String| {
        argument
            .replace("$(POD_NAME)", "kamaji-etcd-0")
            .replace("kamaji-etcd-0.kamaji-etcd.kamaji-system.svc.cluster.local", "localhost")
            .replace("/etc/etcd/certs", &folder.join("certs").display().to_string())
            .replace("/var/lib/etcd", &folder.display().to_string())
            .replace("0.0.0.0", "127.0.0.1")
            .replace(":2379", &format!(":{}", ports[0]))
            .replace(":2380", &format!(":{}", ports[1]))
            .replace(":2381", &format!(":{}", ports[2]))
    };
    let etcd = Command::new(programs::path(Program::Etcd).unwrap())
        .args(strings(&container["args"]).into_iter().map(place))
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("log")).unwrap())
        .spawn()
        .unwrap();
    Running { folder, etcd: Some(etcd), client_port: ports[0], metrics_port: ports[2] }
}

impl Running {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join("certs").join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }

    /// Asks the way a probe of the kubelet does.
    fn probe(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.metrics_port)).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.lines().next().map(str::to_owned)
    }

    async fn wait_ready(&self) {
        let end = Instant::now() + Duration::from_mins(1);
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while !self.probe("/readyz").is_some_and(|line| line.contains(" 200 ")) {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "etcd is not ready:\n{log}");
            tick.tick().await;
        }
    }

    fn store(&self, certificate: Vec<u8>, key: Vec<u8>) -> Store {
        Store::etcd(Settings {
            endpoints: vec![Endpoint::parse(&format!("localhost:{}", self.client_port)).unwrap()],
            tls: Some(Tls { ca_pem: self.read("ca.crt"), client: Some((certificate, key.into())) }),
            ..Settings::default()
        })
        .unwrap()
    }

    /// Does what the rendered Job does, with the files that it names.
    async fn initialise(&self, job: &Value) {
        let mut words = vec!["kamaji".to_owned()];
        words.extend(strings(&job["spec"]["template"]["spec"]["containers"][0]["args"]));
        let Task::EtcdInit(args) = Cli::try_parse_from(words).unwrap().command else {
            panic!("not etcd-init")
        };
        let read = |file: &Path| self.read(file.strip_prefix("/certs").unwrap().to_str().unwrap());
        assert_eq!(read(&args.ca_file), self.read("ca.crt"));
        let root = self.store(read(&args.cert_file), read(&args.key_file));
        assert!(root.initialise().await.unwrap(), "authentication was on already");
        assert!(!root.initialise().await.unwrap(), "the second time there is nothing to do");
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates that a real server judges by the real time")]
fn now() -> Timestamp {
    Timestamp::now()
}

#[tokio::test]
async fn the_rendered_etcd_runs_and_becomes_a_data_store() {
    let objects = render(&["kamaji-etcd.extraArgs={--unsafe-no-fsync}"]);
    let etcd = start(&objects);
    etcd.wait_ready().await;
    assert!(etcd.probe("/livez").unwrap().contains(" 200 "));

    let root = etcd.store(etcd.read("tls.crt"), etcd.read("tls.key"));
    assert!(root.check().await.is_err(), "authentication is off before the Job has run");
    etcd.initialise(object(&objects, "Job", "kamaji-etcd-init-")).await;
    root.check().await.unwrap();

    // The authority in the Secret signs the tenants' certificates; one that nobody made an account for opens nothing.
    let authority = Authority::from_pem(&etcd.read("ca.crt"), &etcd.read("ca.key")).unwrap();
    let nobody = Leaf {
        common_name: "nobody".into(),
        organizations: Vec::new(),
        usage: Usage::Client,
        names: Names::default(),
        valid_for: SignedDuration::from_hours(1),
    };
    let nobody = authority.issue(&nobody, now()).unwrap();
    let stranger = etcd.store(nobody.certificate().pem().into(), nobody.key().pem().into());
    assert!(stranger.check().await.is_err(), "a stranger was let in");
}

fn certificate(data: &[(String, ByteString)], key: &str) -> Certificate {
    let (_, text) = data.iter().find(|(name, _)| name == key).unwrap();
    Certificate::from_pem(&text.0).unwrap()
}

#[test]
fn the_certificates_fit_their_use() {
    let objects = render(&["kamaji-etcd.replicas=3", "kamaji-etcd.clusterDomain=example.local"]);
    let certs = data(&objects, "kamaji-etcd-certs");
    let root = data(&objects, "kamaji-etcd-root-client-certs");
    let authority = certificate(&certs, "ca.crt");
    assert!(authority.is_authority());
    for key in ["server.crt", "peer.crt"] {
        let held = certificate(&certs, key);
        assert!(held.is_issued_by(&authority) && held.serves(Usage::Server), "{key}");
        let names: BTreeSet<&str> = held.dns_names().iter().map(String::as_str).collect();
        for name in [
            "localhost",
            "*.kamaji-etcd.kamaji-system.svc.example.local",
            "kamaji-etcd-client.kamaji-system.svc",
            "kamaji-etcd-client.kamaji-system.svc.example.local",
        ] {
            assert!(names.contains(name), "{key} lacks {name}: {names:?}");
        }
        assert!(held.ip_addresses().contains(&Ipv4Addr::LOCALHOST.into()), "{key}");
    }
    let held = certificate(&root, "tls.crt");
    assert_eq!((held.common_name(), held.organizations()), ("root", &[][..]));
    assert!(held.is_issued_by(&authority) && held.serves(Usage::Client));
    let (_, key) = root.iter().find(|(name, _)| name == "tls.key").unwrap();
    assert!(PrivateKey::from_pem(&key.0).unwrap().fits(&held));
}
