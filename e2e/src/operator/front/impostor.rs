//! A server that holds a good certificate and has bad manners.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use jiff::SignedDuration;
use kamaji_pki::{Authority, Leaf, Names, Usage};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    server::TlsStream,
};

use crate::etcd;

/// From one byte to the next of one who drips.
const DRIP: Duration = Duration::from_secs(1);
/// How much is written at once where there is no end, in bytes.
const CHUNK: usize = 32 << 10;
/// How much one says who is asked for a list and has far too many objects, in bytes.
const FLOOD: usize = 1 << 20;
/// How many words a refusal has that nobody wants to read.
const WORDS: usize = 20_000;

/// How an impostor treats those who ask.
///
/// Those who only do so after the greeting let everybody in first: they are ready, and whatever is written is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// 503, each time with other words, and many of them.
    Unavailable,
    /// Everything is said to be here.
    Redirects(SocketAddr),
    /// One byte each second.
    Drips,
    /// After the greeting, lists are dripped.
    DripsLists,
    /// After the greeting, lists have no end.
    EndlessLists,
    /// After the greeting, lists are empty, and each watch tells of one object, whose name has no end.
    EndlessEvents,
    /// After the greeting, lists are no JSON.
    Garbage,
    /// After the greeting, lists are empty, and watches end as soon as they have begun.
    BriefWatches,
    /// After the greeting, lists are long and watches never pause; everything bears our label and is somebody else's.
    Flood,
    /// After the greeting, lists are empty and watches tell of nothing but how far they are, without a pause.
    Bookmarks,
}

/// A server in place of a tenant's API server.
pub struct Impostor {
    acceptor: TlsAcceptor,
    manners: Manners,
}

impl std::fmt::Debug for Impostor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Impostor").field("manners", &self.manners).finish_non_exhaustive()
    }
}

impl Impostor {
    /// One whose certificate is signed by `authority` and holds the name `host`.
    pub fn new(authority: &Authority, host: &str, manners: Manners) -> Result<Self> {
        let leaf = Leaf {
            common_name: "kube-apiserver".into(),
            organizations: Vec::new(),
            usage: Usage::Server,
            names: Names { dns: [host.to_owned()].into(), ..Names::default() },
            valid_for: SignedDuration::from_hours(1),
        };
        let pair = authority.issue(&leaf, etcd::now())?;
        let certificate = CertificateDer::from_pem_slice(pair.certificate().pem().as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(pair.key().pem().as_bytes())?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .context("a certificate for an impostor")?;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), manners })
    }

    /// Answers the requests of one connection, and counts them.
    pub(super) async fn serve(&self, client: TcpStream, requests: &AtomicUsize) -> io::Result<()> {
        let mut stream = BufReader::new(self.acceptor.accept(client).await?);
        while let Some(request) = Request::read(&mut stream).await? {
            let number = requests.fetch_add(1, Ordering::Relaxed);
            let mut answer = Answer { stream: stream.get_mut() };
            match self.manners {
                Manners::Unavailable => {
                    let words = format!("no {number} ").repeat(WORDS);
                    answer.whole("503 Service Unavailable", "Retry-After: 1\r\n", &words).await?;
                }
                Manners::Redirects(elsewhere) => {
                    let location = format!("Location: https://{elsewhere}{}\r\n", request.path);
                    answer.whole("302 Found", &location, "").await?;
                }
                Manners::Drips => answer.drip().await?,
                manners => match request.kind() {
                    Kind::Greeting => answer.whole("200 OK", "", "ok").await?,
                    Kind::Read => answer.whole("404 Not Found", "", &not_found()).await?,
                    Kind::Write => answer.whole("200 OK", "", &written(&request)).await?,
                    Kind::List => answer.list(manners).await?,
                    Kind::Watch => answer.watch(manners).await?,
                },
            }
        }
        Ok(())
    }
}

enum Kind {
    Greeting,
    Read,
    Write,
    List,
    Watch,
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

impl Request {
    /// The next request, if there is one.
    async fn read(stream: &mut BufReader<TlsStream<TcpStream>>) -> io::Result<Option<Self>> {
        let (mut first, mut length) = (String::new(), 0);
        if stream.read_line(&mut first).await? == 0 {
            return Ok(None);
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        Ok(Some(Self { method, path, body }))
    }

    fn kind(&self) -> Kind {
        match self.method.as_str() {
            "GET" if self.path.starts_with("/readyz") => Kind::Greeting,
            "GET" if self.path.contains("watch=true") => Kind::Watch,
            "GET" if self.path.contains("labelSelector=") => Kind::List,
            "GET" => Kind::Read,
            _ => Kind::Write,
        }
    }
}

fn not_found() -> String {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404 })
        .to_string()
}

/// What was written, as if it were stored.
fn written(request: &Request) -> String {
    let mut object: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    object["metadata"]["resourceVersion"] = "1".into();
    object.to_string()
}

/// Somebody else's object with our label, as dense as it gets.
fn stranger(number: usize) -> Value {
    let labels = json!({ "kamaji.clastix.io/project": "kamaji", "a": "", "b": "" });
    json!({ "metadata": {
        "name": format!("x{number}"), "namespace": "default", "resourceVersion": "1", "labels": labels,
    } })
}

fn items(length: usize) -> String {
    let one = stranger(0).to_string().len();
    let items: Vec<String> = (0..length / one).map(|number| stranger(number).to_string()).collect();
    items.join(",")
}

struct Answer<'a> {
    stream: &'a mut TlsStream<TcpStream>,
}

impl Answer<'_> {
    async fn whole(&mut self, status: &str, headers: &str, body: &str) -> io::Result<()> {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n");
        self.write(&head).await?;
        self.write(body).await
    }

    async fn list(&mut self, manners: Manners) -> io::Result<()> {
        match manners {
            Manners::DripsLists => self.drip().await,
            Manners::EndlessLists => {
                self.endless(
                    r#"{"metadata":{"resourceVersion":"1"},"items":["#,
                    &format!("{},", items(CHUNK)),
                )
                .await
            }
            Manners::Garbage => self.whole("200 OK", "", r#"{"items": 5, <html>"#).await,
            Manners::Flood => self.listed(&items(FLOOD)).await,
            _ => self.listed("").await,
        }
    }

    async fn listed(&mut self, items: &str) -> io::Result<()> {
        let list = format!(r#"{{"metadata":{{"resourceVersion":"1"}},"items":[{items}]}}"#);
        self.whole("200 OK", "", &list).await
    }

    async fn watch(&mut self, manners: Manners) -> io::Result<()> {
        let event = |kind: &str, object: Value| format!("{}\n", json!({ "type": kind, "object": object }));
        match manners {
            Manners::BriefWatches => self.whole("200 OK", "", "").await,
            Manners::EndlessEvents => {
                self.endless(r#"{"type":"ADDED","object":{"metadata":{"name":""#, &"x".repeat(CHUNK)).await
            }
            Manners::Flood => self.endless("", &event("MODIFIED", stranger(0)).repeat(100)).await,
            _ => {
                let object =
                    json!({ "kind": "x", "apiVersion": "v1", "metadata": { "resourceVersion": "1" } });
                self.endless("", &event("BOOKMARK", object).repeat(100)).await
            }
        }
    }

    async fn drip(&mut self) -> io::Result<()> {
        self.write("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").await?;
        loop {
            self.write(" ").await?;
            tokio::time::sleep(DRIP).await;
        }
    }

    /// The beginning, and then the same again and again for as long as somebody reads.
    async fn endless(&mut self, beginning: &str, again: &str) -> io::Result<()> {
        self.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n").await?;
        self.write(beginning).await?;
        loop {
            self.write(again).await?;
        }
    }

    async fn write(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.flush().await
    }
}
