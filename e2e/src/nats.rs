//! A real NATS with `JetStream`: TLS, passwords, and accounts, of which each sees nothing of the others.

use std::{fs, ops::Deref, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use async_nats::{Client, ConnectOptions};
use futures::StreamExt;
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::{config::Settings, store::Store};
use kamaji_pki::Pair;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
};
use xtask::programs::Program;

pub use crate::database::OPERATOR;
use crate::{
    api_server::{self, process::Process},
    database::{Change, Database, Host, Open, Site, attempt},
};

/// A user of the same account that may do everything in it.
pub const OWNER: &str = "owner";
/// A user of the same account that may only look.
pub const READER: &str = "reader";
/// A user of another account.
pub const NEIGHBOUR: &str = "neighbour";
/// A user of an account without `JetStream`.
pub const PLAIN: &str = "plain";
/// A user of an account with room for [`SMALL_BYTES`] only.
pub const SMALL: &str = "small";
/// How much room that account has, in bytes.
pub const SMALL_BYTES: u64 = 64 * 1024;
/// The password of all of them, where a test names no other: nothing that a URL, a shell or a file takes as it stands.
pub const PASSWORD: &str = "'\"$()\\`;%@:/?#,&=+[]{}|<>^~$(DB_USER)%41";

/// How long a client of a test waits for one answer.
const REQUEST_DEADLINE: Duration = Duration::from_mins(1);
/// What the operator and kine need. Source: the subjects that each of them publishes to.
pub const RIGHTS: &[&str] = &["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$SYS.REQ.USER.INFO"];

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// How clients come in.
    pub door: Door,
    /// Whether it keeps anything.
    pub jet_stream: JetStream,
    /// The password of all users.
    pub password: String,
}

/// How clients come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Over TLS, with a password.
    Password,
    /// Over TLS, with a password and a certificate of the server's authority.
    Both,
    /// Over TLS, with a certificate of the server's authority and nothing else, to the account of the operator.
    Certificate,
    /// Over TLS, with a password; and whoever gives none is taken for the operator.
    Open,
    /// In clear text, with a password.
    Clear,
}

/// Whether the server keeps anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JetStream {
    /// It does.
    On,
    /// It does not.
    Off,
    /// As many bytes as this in all.
    UpTo(u64),
}

/// One NATS with an authority of its own.
#[derive(Debug)]
pub struct Nats {
    host: Host,
    options: Options,
}

/// A message that a stream holds.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its subject.
    pub subject: String,
    /// What it does to the key of a bucket, if it does not write it.
    pub operation: Option<String>,
    /// What it says.
    pub payload: Vec<u8>,
}

/// A client of a test, that is not the operator.
pub struct Hand {
    client: Client,
}

/// What kine (as of v0.17.5) asks for when it starts. Source: `pkg/drivers/nats/new.go` of kine, and nats.go.
pub fn of_kine(bucket: &str) -> Value {
    bucket_of(bucket, "Holds kine key/values", 10)
}

/// What the Go operator makes. Source: `internal/datastore/nats.go` of Kamaji, and nats.go.
pub fn of_go(bucket: &str) -> Value {
    bucket_of(bucket, "", 1)
}

fn bucket_of(bucket: &str, description: &str, history: u32) -> Value {
    json!({
        "name": format!("KV_{bucket}"), "description": description, "subjects": [format!("$KV.{bucket}.>")],
        "retention": "limits", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "discard": "new", "max_age": 0,
        "max_msgs_per_subject": history, "max_msg_size": -1, "storage": "file", "num_replicas": 1,
        "duplicate_window": 120_000_000_000_u64, "sealed": false, "deny_delete": true, "deny_purge": false,
        "allow_rollup_hdrs": true, "allow_direct": true, "mirror_direct": false,
    })
}

impl Hand {
    /// The answer to a request; of `JetStream` also one that is an error.
    pub async fn ask(&self, subject: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = self.client.request(subject.to_owned(), body.into()).await?;
        Ok(serde_json::from_slice(&answer.payload)?)
    }

    /// The answer to a request to the API, which is no error.
    pub async fn api(&self, verb: &str, body: &Value) -> Result<Value> {
        let answer = self.ask(&format!("$JS.API.{verb}"), body).await?;
        anyhow::ensure!(answer.get("error").is_none(), "{verb}: {answer}");
        Ok(answer)
    }

    /// A stream with these settings was made, if it was not there just so.
    pub async fn make(&self, settings: &Value) -> Result<()> {
        let name = settings["name"].as_str().context("a stream has a name")?;
        self.api(&format!("STREAM.CREATE.{name}"), settings).await.map(drop)
    }

    /// A stream took this message.
    pub async fn put(&self, subject: &str, text: &str) -> Result<()> {
        let answer = self.client.request(subject.to_owned(), text.to_owned().into()).await?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        anyhow::ensure!(answer.get("error").is_none(), "{subject}: {answer}");
        Ok(())
    }

    /// Whether a stream took this message, which is the end of a key to whoever reads it.
    pub async fn end(&self, subject: &str) -> Result<bool> {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("KV-Operation", "DEL");
        let request = async_nats::Request::new().headers(headers).payload("".into());
        match self.client.send_request(subject.to_owned(), request).await {
            Ok(answer) => Ok(serde_json::from_slice::<Value>(&answer.payload)?["seq"].is_u64()),
            Err(error) if error.kind() == async_nats::RequestErrorKind::NoResponders => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A stream took the bytes that another one holds at this subject.
    pub async fn copy(&self, stream: &str, from: &str, to: &str) -> Result<()> {
        let verb = format!("$JS.API.DIRECT.GET.{stream}.{from}");
        let found = self.client.request(verb, Vec::new().into()).await?;
        anyhow::ensure!(found.status.is_none(), "{from}: nothing is there");
        let answer = self.client.request(to.to_owned(), found.payload).await?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        anyhow::ensure!(answer["seq"].is_u64(), "{to}: {answer}");
        Ok(())
    }

    /// All that a stream holds, in order.
    pub async fn messages(&self, stream: &str) -> Result<Vec<Kept>> {
        let (verb, mut from, mut messages) = (format!("$JS.API.DIRECT.GET.{stream}"), 1, Vec::new());
        loop {
            let next = json!({ "seq": from, "next_by_subj": ">" }).to_string();
            let found = self.client.request(verb.clone(), next.into()).await?;
            if found.status.is_some() {
                return Ok(messages);
            }
            let headers = found.headers.context("the server tells what it found")?;
            let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
            from = header("Nats-Sequence").context("it is numbered")?.parse::<u64>()? + 1;
            messages.push(Kept {
                subject: header("Nats-Subject").context("it has a subject")?,
                operation: header("KV-Operation"),
                payload: found.payload.to_vec(),
            });
        }
    }

    /// A stream took this message, at another subject.
    pub async fn keep(&self, kept: &Kept, subject: &str) -> Result<()> {
        let mut request = async_nats::Request::new().payload(kept.payload.clone().into());
        if let Some(operation) = &kept.operation {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert("KV-Operation", operation.as_str());
            request = request.headers(headers);
        }
        let answer = self.client.send_request(subject.to_owned(), request).await?;
        let answer: Value = serde_json::from_slice(&answer.payload)?;
        anyhow::ensure!(answer["seq"].is_u64(), "{subject}: {answer}");
        Ok(())
    }

    /// Everything that is said in the account while `work` is done.
    pub async fn overhear(&self, work: impl Future<Output = Result<()>>) -> Result<Vec<String>> {
        let mut ear = self.client.subscribe(">").await?;
        self.client.flush().await?;
        work.await?;
        // What was said before this is heard before it.
        self.client.publish("the.end", "".into()).await?;
        let mut heard = Vec::new();
        while let Some(message) = ear.next().await {
            if message.subject.as_str() == "the.end" {
                break;
            }
            heard.push(message.subject.to_string());
        }
        Ok(heard)
    }

    /// All streams of the account by name, with their settings and how many messages they hold.
    pub async fn streams(&self) -> Result<Vec<(String, Value, u64)>> {
        let list = self.api("STREAM.LIST", &Value::Null).await?;
        let streams = list["streams"].as_array().into_iter().flatten();
        let mut found: Vec<_> = streams
            .map(|stream| {
                let mut settings = stream["config"].clone();
                let name = settings["name"].as_str().unwrap_or_default().to_owned();
                settings.as_object_mut().map(|settings| settings.remove("metadata"));
                (name, settings, stream["state"]["messages"].as_u64().unwrap_or_default())
            })
            .collect();
        found.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(found)
    }

    /// The last message on a subject of a stream, if there is one.
    pub async fn last(&self, stream: &str, subject: &str) -> Result<Option<String>> {
        let verb = format!("$JS.API.DIRECT.GET.{stream}.{subject}");
        let answer = self.client.request(verb, Vec::new().into()).await?;
        let found = answer.status.is_none();
        Ok(found.then(|| String::from_utf8_lossy(&answer.payload).into_owned()))
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { door: Door::Password, jet_stream: JetStream::On, password: PASSWORD.to_owned() }
    }
}

impl Deref for Nats {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Database for Nats {
    const DRIVER: Driver = Driver::Nats;
    const OPEN: Open = Store::nats;

    async fn start() -> Result<Self> {
        // So little that it is soon full.
        Self::start_with(Options { jet_stream: JetStream::UpTo(SMALL_BYTES), ..Options::default() }).await
    }

    fn settings(&self) -> Settings {
        self.settings_as(OPERATOR)
    }

    async fn change(&self, change: Change) -> Result<()> {
        match change {
            Change::Shows(shown) => self.write_certificate(shown)?,
            Change::Password(password) => {
                let options = Options { password: password.to_owned(), ..self.options.clone() };
                write_configuration(&self.file(""), self.endpoint().port(), &options)?;
            }
            Change::Full => return self.fill().await,
            Change::Roomy => {
                let hand = self.connect(OWNER).await?;
                return hand.api("STREAM.DELETE.FILLER", &Value::Null).await.map(drop);
            }
            Change::ReadOnly | Change::Writable => bail!("NATS has no such setting"),
        }
        self.reload(self.process_id())
    }
}

impl Nats {
    /// Starts a server of one's own and waits until it answers: less than a second on an idle machine.
    ///
    /// # Errors
    /// When it has not been built yet (the text says how), or does not answer.
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::default()).await
    }

    /// Starts a server of one's own with these options.
    pub async fn start_with(options: Options) -> Result<Self> {
        attempt(async || launch(&options).await).await
    }

    /// What the operator needs, and no pause after a failure.
    pub fn settings(&self) -> Settings {
        self.settings_as(OPERATOR)
    }

    /// What the user of this name needs.
    pub fn settings_as(&self, user: &str) -> Settings {
        let settings = self.host.settings_as(user, &self.options.password);
        let tls = settings.tls.filter(|_| self.options.door != Door::Clear);
        Settings { tls, ..settings }
    }

    /// A client certificate that the server accepts.
    pub fn certificate(&self) -> Result<Pair> {
        self.certificate_of("kamaji")
    }

    /// A connection of the user of this name, which speaks the protocol as any client does.
    ///
    /// # Panics
    /// Never: ring has what TLS 1.3 needs.
    pub async fn connect(&self, user: &str) -> Result<Hand> {
        let mut roots = RootCertStore::empty();
        let anchors = CertificateDer::pem_slice_iter(self.authority().certificate().pem().as_bytes());
        roots.add_parsable_certificates(anchors.filter_map(Result::ok));
        let tls = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("the provider has TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = ConnectOptions::with_user_and_password(user.to_owned(), self.options.password.clone())
            .tls_client_config(tls)
            .request_timeout(Some(REQUEST_DEADLINE))
            .connect(format!("nats://{}", self.endpoint()))
            .await?;
        Ok(Hand { client })
    }

    /// It has no room for one more small message.
    async fn fill(&self) -> Result<()> {
        let hand = self.connect(OWNER).await?;
        hand.make(&json!({ "name": "FILLER", "subjects": ["filler"], "storage": "file" })).await?;
        for size in [8000, 1] {
            while hand.put("filler", &"x".repeat(size)).await.is_ok() {}
        }
        Ok(())
    }

    /// A server says who it is as soon as it is ready.
    async fn greets(&self) -> Result<()> {
        let stream = TcpStream::connect((self.endpoint().address(), self.endpoint().port())).await?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await?;
        anyhow::ensure!(line.starts_with("INFO "), "{line}");
        Ok(())
    }
}

async fn launch(options: &Options) -> Result<Nats> {
    let program = api_server::program(Program::Nats)?;
    let site = Site::new("nats")?;
    let file = write_configuration(&site.folder, site.port, options)?;
    let process = Process::start("NATS", &program, &site.folder, &["-c".to_owned(), file])?;
    let nats = Nats { host: site.host(process)?, options: options.clone() };
    nats.until(async || nats.greets().await).await?;
    Ok(nats)
}

/// The server's configuration says this; returns where it is.
fn write_configuration(folder: &Path, port: u16, options: &Options) -> Result<String> {
    let file = folder.join("nats.conf");
    fs::write(&file, serde_json::to_string_pretty(&configuration(folder, port, options))?)?;
    Ok(file.display().to_string())
}

/// The server reads JSON as its own format.
fn configuration(folder: &Path, port: u16, options: &Options) -> Value {
    let mut configuration = json!({
        "listen": format!("127.0.0.1:{port}"),
        "accounts": accounts(options),
        "system_account": "SYSTEM",
        // What an etcd takes in one request fits into one message of kine's, in base64.
        "max_payload": 4 << 20,
    });
    if options.door != Door::Clear {
        let file = |name: &str| folder.join(name).display().to_string();
        configuration["tls"] = json!({
            "cert_file": file("server.crt"),
            "key_file": file("server.key"),
            "ca_file": file("ca.crt"),
            "verify": matches!(options.door, Door::Both | Door::Certificate),
        });
    }
    if matches!(options.door, Door::Open | Door::Certificate) {
        configuration["no_auth_user"] = json!(OPERATOR);
    }
    let room = match options.jet_stream {
        JetStream::Off => return configuration,
        JetStream::On => 1 << 30,
        JetStream::UpTo(bytes) => bytes,
    };
    configuration["jetstream"] =
        json!({ "store_dir": folder.join("data"), "max_file_store": room, "max_memory_store": 1 << 20 });
    configuration
}

fn accounts(options: &Options) -> Value {
    let user = |name: &str| json!({ "user": name, "password": options.password });
    let limited = |name: &str, rights: &[&str]| {
        let mut user = user(name);
        user["permissions"] = json!({ "publish": rights, "subscribe": ["_INBOX.>"] });
        user
    };
    let looks = ["$JS.API.INFO", "$JS.API.STREAM.INFO.>", "$JS.API.STREAM.NAMES", "$SYS.REQ.USER.INFO"];
    let shared = [limited(OPERATOR, RIGHTS), user(OWNER), limited(READER, &looks)];
    if options.jet_stream == JetStream::Off {
        return json!({ "TENANTS": { "users": shared }, "SYSTEM": { "users": [user("system")] } });
    }
    json!({
        "TENANTS": { "jetstream": "enabled", "users": shared },
        "NEIGHBOURS": { "jetstream": "enabled", "users": [user(NEIGHBOUR)] },
        "PLAIN": { "users": [user(PLAIN)] },
        "SMALL": { "jetstream": { "max_file": SMALL_BYTES, "max_memory": 1024 }, "users": [user(SMALL)] },
        "SYSTEM": { "users": [user("system")] },
    })
}
