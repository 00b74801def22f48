//! The real CoreDNS with our Corefile: it serves, and a tenant's additions come and go without a restart.

use std::{
    fs,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use kamaji_addons::{Object, coredns};
use kamaji_api::v1alpha1::AddonImage;
use kamaji_apply::Cluster;
use kamaji_e2e::api_server::ApiServer;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use xtask::programs::{self, Program};

use crate::{MANAGER, interior};

/// How long a change may take to be answered for; CoreDNS looks every two or three seconds here.
const DEADLINE: Duration = Duration::from_mins(1);
/// How often it is asked.
const INTERVAL: Duration = Duration::from_millis(200);

/// A running CoreDNS in a folder of its own, which ends with it.
struct CoreDns {
    folder: PathBuf,
    port: u16,
    _process: Child,
}

/// The answer to a question for an IPv4 address.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Address(Ipv4Addr),
    /// The code is that of RFC 1035, 4.1.1.
    Refusal(u8),
}

fn free_port() -> u16 {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

/// The text with one part of it replaced, which must be there.
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?} in:\n{text}");
    text.replace(from, to)
}

/// Our Corefile, in another place and more eager; what it says of a tenant's additions stays.
fn elsewhere(corefile: &str, folder: &Path, port: u16, kubeconfig: &Path) -> String {
    let local = |port: u16| format!("127.0.0.1:{port}");
    let text = replaced(corefile, ".:53 {", &format!(".:{port} {{\n    bind 127.0.0.1"));
    let text = replaced(&text, "health {", &format!("health {} {{", local(free_port())));
    let text = replaced(&text, "lameduck 5s", "lameduck 0s");
    let text = replaced(&text, "    ready\n", &format!("    ready {}\n", local(free_port())));
    let text = replaced(&text, "prometheus :9153", &format!("prometheus {}", local(free_port())));
    let text = replaced(&text, "/etc/resolv.conf", &folder.join("resolv.conf").display().to_string());
    let text = replaced(&text, "    reload\n", "    reload 2s 1s\n");
    let kubernetes = format!("       kubeconfig {}\n       ttl 30\n", kubeconfig.display());
    let text = replaced(&text, "       ttl 30\n", &kubernetes);
    text.replace(coredns::corefile::CUSTOM_DIRECTORY, &folder.join("custom").display().to_string())
}

impl CoreDns {
    fn start(files: &Value, kubeconfig: &Path) -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("kamaji-coredns-{}", std::process::id()));
        fs::create_dir_all(folder.join("custom")).unwrap();
        // Nobody listens there: questions about the rest of the world fail at once.
        fs::write(folder.join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
        let text = |key: &str| files[key].as_str().unwrap();
        fs::write(folder.join("Corefile"), elsewhere(text("Corefile"), &folder, port, kubeconfig)).unwrap();
        // The same folder as in the Pods: what is ours, and what a tenant adds.
        for key in ["empty.override", "empty.server"] {
            fs::write(folder.join("custom").join(key), text(key)).unwrap();
        }
        let program = programs::path(Program::CoreDns).unwrap();
        assert!(program.is_file(), "{} is not built yet; `cargo xtask test` builds it", program.display());
        let log = fs::File::create(folder.join("log")).unwrap();
        let process = Command::new(program)
            .args(["-conf", &folder.join("Corefile").display().to_string()])
            .stdout(log.try_clone().unwrap())
            .stderr(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { folder, port, _process: process }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Puts a key of the tenant's own ConfigMap where the kubelet would.
    fn add(&self, key: &str, text: &str) {
        fs::write(self.folder.join(key), text).unwrap();
        fs::rename(self.folder.join(key), self.folder.join("custom").join(key)).unwrap();
    }

    fn remove(&self, key: &str) {
        fs::remove_file(self.folder.join("custom").join(key)).unwrap();
    }

    /// The address of this name, if anybody answers.
    async fn ask(&self, name: &str) -> Option<Answer> {
        let socket = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect((Ipv4Addr::LOCALHOST, self.port)).await.unwrap();
        socket.send(&question(name)).await.ok()?;
        let mut buffer = [0; 512];
        let received = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut buffer)).await;
        let answer = &buffer[..received.ok()?.ok()?];
        let (flags, answers) = (answer[3], u16::from_be_bytes([answer[6], answer[7]]));
        match flags & 0x0f {
            // The address is the last thing in the answer: nothing is appended without EDNS.
            0 if answers > 0 => {
                let address: [u8; 4] = answer[answer.len() - 4..].try_into().unwrap();
                Some(Answer::Address(address.into()))
            }
            code => Some(Answer::Refusal(code)),
        }
    }

    async fn wait_for_answer(&self, name: &str, wanted: &Answer) {
        let mut last = None;
        let asking = async {
            let mut tick = tokio::time::interval(INTERVAL);
            loop {
                tick.tick().await;
                last = self.ask(name).await;
                if last.as_ref() == Some(wanted) {
                    return;
                }
            }
        };
        let answered = tokio::time::timeout(DEADLINE, asking).await.is_ok();
        assert!(answered, "{name}: {last:?} instead of {wanted:?}; CoreDNS says:\n{}", self.log());
    }

    async fn wait_for_log(&self, wanted: &str) {
        let reading = async {
            let mut tick = tokio::time::interval(INTERVAL);
            while !self.log().contains(wanted) {
                tick.tick().await;
            }
        };
        let said = tokio::time::timeout(DEADLINE, reading).await.is_ok();
        assert!(said, "CoreDNS never says {wanted:?}:\n{}", self.log());
    }
}

impl Drop for CoreDns {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// A question for the IPv4 addresses of this name, as it goes over the wire (RFC 1035, 4.1).
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// A server block that answers every question about this zone with one address.
fn zone(name: &str, port: u16, address: &str) -> String {
    let answer = format!("answer \"{{{{ .Name }}}} 60 IN A {address}\"");
    format!("{name}:{port} {{\n    bind 127.0.0.1\n    template IN A {{\n        {answer}\n    }}\n}}\n")
}

async fn installed(api: &ApiServer) -> Vec<Object> {
    let network = json!({ "serviceCidrs": ["127.96.0.0/16"] });
    let objects = coredns::objects(&interior("v1.34.4", &network, "192.0.2.10"), &AddonImage::default());
    let cluster = Cluster::new(api.client().await.unwrap(), MANAGER);
    for object in &objects {
        cluster.settle_dynamic(&object.resource, &object.desired, None).await.unwrap();
    }
    objects
}

#[tokio::test]
async fn a_tenant_adds_to_the_corefile_while_it_is_in_use() {
    let api = ApiServer::start().await.unwrap();
    let objects = installed(&api).await;
    let files = objects.iter().find(|object| object.identity().plural == "configmaps").unwrap();
    let dns = CoreDns::start(&files.desired.data["data"], api.kubeconfig());
    let itself = "kube-dns.kube-system.svc.cluster.local";
    let address = Answer::Address(Ipv4Addr::new(127, 96, 0, 10));
    dns.wait_for_answer(itself, &address).await;
    assert!(!dns.log().contains("No files matching"), "{}", dns.log());

    // Inside the server block, and beside it.
    let stub = free_port();
    dns.add(
        "names.override",
        &format!(
            "hosts {{\n    192.0.2.7 gate.example\n    fallthrough\n}}\nforward stub.example 127.0.0.1:{stub}\n"
        ),
    );
    let zone = zone("corp.example", dns.port, "192.0.2.8") + &zone("stub.example", stub, "192.0.2.9");
    dns.add("zone.server", &zone);
    dns.wait_for_answer("gate.example", &Answer::Address(Ipv4Addr::new(192, 0, 2, 7))).await;
    dns.wait_for_answer("any.stub.example", &Answer::Address(Ipv4Addr::new(192, 0, 2, 9))).await;
    dns.wait_for_answer("any.corp.example", &Answer::Address(Ipv4Addr::new(192, 0, 2, 8))).await;
    dns.wait_for_answer(itself, &address).await;

    // What cannot be read is not taken, and what was there goes on.
    dns.add("broken.override", "no-such-plugin\n");
    dns.wait_for_log("no-such-plugin").await;
    dns.wait_for_answer("gate.example", &Answer::Address(Ipv4Addr::new(192, 0, 2, 7))).await;

    for key in ["broken.override", "names.override", "zone.server"] {
        dns.remove(key);
    }
    let gone = async |name: &str| {
        let answer = dns.ask(name).await;
        !matches!(answer, None | Some(Answer::Address(_)))
    };
    let both_gone = async {
        let mut tick = tokio::time::interval(INTERVAL);
        while !(gone("gate.example").await && gone("any.corp.example").await) {
            tick.tick().await;
        }
    };
    let are_gone = tokio::time::timeout(DEADLINE, both_gone).await.is_ok();
    assert!(are_gone, "what was added still answers; CoreDNS says:\n{}", dns.log());
    dns.wait_for_answer(itself, &address).await;
}
