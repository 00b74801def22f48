//! One server of a NATS cluster, and the sessions with it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::Request;
use async_nats::{Auth, Client, ConnectOptions, Event, HeaderMap, Message, ServerError, StatusCode};
use futures::StreamExt as _;
use rustls::ClientConfig;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::{BasicAuth, Deadlines, Endpoint, Settings, Tls};
use crate::connection::{self, Failure};
use crate::error::Error;
use crate::nats::refusal::{self, Complaint};
use crate::refusal::{Refusal, words};
use crate::tls;

/// How often an idle server is asked for a sign of life.
const PING: Duration = Duration::from_secs(30);
/// What a failure to open a session interrupts.
const DOING: &str = "log in";
/// The longest greeting of a server that is waited for, in bytes.
const GREETING: u64 = 64 * 1024;

/// The connection of one datastore.
pub(crate) type Connection = connection::Connection<Member>;

/// Where a server is, and how a session with it is opened.
#[derive(Clone)]
pub(crate) struct Member {
    endpoint: Endpoint,
    name: String,
    login: Option<BasicAuth>,
    handshakes: Handshakes,
    deadlines: Deadlines,
}

/// How TLS is begun.
#[derive(Clone)]
struct Handshakes {
    transport: Transport,
    ours: Arc<ClientConfig>,
    /// Without our certificate.
    stranger: Arc<ClientConfig>,
}

/// How the settings say that the server is spoken to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tls,
    ClearText,
}

/// Whether we say who we are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guise {
    Ourselves,
    Stranger,
}

/// A connection that works, as far as is known.
pub(crate) struct Session {
    client: Client,
    /// How the same server is reached by others.
    member: Member,
    notices: watch::Receiver<Notice>,
}

/// What a server said without being asked, or that it says nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Notice {
    Nothing,
    Complains(String),
    Ended,
}

/// The connection of the datastore with these settings.
///
/// # Errors
/// [`Error::Settings`] if there is no endpoint, or no session could ever be opened with these settings.
pub(crate) fn connection(settings: &Settings) -> Result<Connection, Error> {
    let unusable = |what: &str| Error::Settings { what: what.to_owned(), source: None };
    if settings.endpoints.is_empty() {
        return Err(unusable("no endpoint is given"));
    }
    if settings.basic_auth.as_ref().is_some_and(|login| login.username.is_empty()) {
        return Err(unusable("the user name is empty"));
    }
    let handshakes = handshakes(settings.tls.as_ref())?;
    let member = |endpoint: &Endpoint| Member {
        endpoint: endpoint.clone(),
        name: endpoint.to_string(),
        login: settings.basic_auth.clone(),
        handshakes: handshakes.clone(),
        deadlines: settings.deadlines,
    };
    Ok(Connection::new(settings.endpoints.iter().map(member).collect(), settings.deadlines))
}

impl connection::Member for Member {
    type Session = Session;

    /// What a server says of its own accord is about the one request that is under way.
    const ROOM: u32 = 1;

    fn endpoint(&self) -> &str {
        &self.name
    }

    async fn open(&self) -> Result<Session, Error> {
        let session = match self.connect(Guise::Ourselves).await {
            Ok(session) => session,
            Err(error) => return Err(self.complaint(error).await),
        };
        // Whatever we want of it, it needs JetStream.
        let asked = session.ask("$JS.API.INFO", &Value::Null).await;
        asked.map_err(|complaint| Failure::of(&complaint, "ask for JetStream", &self.name).error)?;
        Ok(session)
    }
}

impl Member {
    async fn connect(&self, guise: Guise) -> Result<Session, async_nats::ConnectError> {
        let (sender, notices) = watch::channel(Notice::Nothing);
        let (tls, login) = match guise {
            Guise::Ourselves => (&self.handshakes.ours, self.login.clone()),
            Guise::Stranger => (&self.handshakes.stranger, None),
        };
        let options = ConnectOptions::with_auth_callback(once(login))
            .name("kamaji")
            .require_tls(self.handshakes.transport == Transport::Tls)
            .tls_client_config(ClientConfig::clone(tls))
            .connection_timeout(self.deadlines.connect)
            .request_timeout(None)
            .ping_interval(PING)
            .ignore_discovered_servers()
            .retain_servers_order()
            .max_reconnects(1)
            .event_callback(move |event| {
                let notice = Notice::of(&event);
                sender.send_if_modified(|last| last.is_followed_by(notice));
                std::future::ready(())
            });
        let client = options.connect(format!("nats://{}", self.endpoint)).await?;
        Ok(Session { client, member: self.clone(), notices })
    }

    /// Why no session was opened; a server that hung up is asked whether it is for our certificate.
    async fn complaint(&self, error: async_nats::ConnectError) -> Error {
        let mut complaint = Complaint::Connect(error);
        if refusal::Fault::refusal(&complaint) == Refusal::Lost
            && let Some(error) = self.complaint_of_tls().await
            && let Some(refusal) = Refusal::of_handshake(&error)
        {
            return refusal.report(DOING, &self.name, words(&error));
        }
        if self.handshakes.transport == Transport::ClearText
            && refusal::Fault::refusal(&complaint) == Refusal::Untrusted
        {
            complaint = Complaint::WantsTls;
        }
        Failure::of(&complaint, DOING, &self.name).error
    }

    /// The server greets in clear text before it begins TLS.
    async fn complaint_of_tls(&self) -> Option<std::io::Error> {
        if self.handshakes.transport == Transport::ClearText {
            return None;
        }
        let asked = async {
            let stream = TcpStream::connect((self.endpoint.address(), self.endpoint.port())).await.ok()?;
            let mut stream = BufReader::new(stream);
            let mut greeting = String::new();
            tokio::io::AsyncReadExt::take(&mut stream, GREETING).read_line(&mut greeting).await.ok()?;
            tls::complaint_on(stream.into_inner(), &self.handshakes.ours, &self.endpoint).await
        };
        timeout(self.deadlines.connect, asked).await.ok()?
    }
}

impl Session {
    /// The answer to a request of the `JetStream` API, and whatever else answers in JSON.
    pub(crate) async fn ask(&self, subject: &str, body: &Value) -> Result<Value, Complaint> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.request(subject, Request::new().payload(body.into())).await
    }

    /// The answer to a message for a stream, which takes it only if the last one on this subject has this number.
    pub(crate) async fn publish(
        &self,
        subject: &str,
        body: &str,
        last: Option<u64>,
    ) -> Result<Value, Complaint> {
        let mut request = Request::new().payload(body.to_owned().into());
        if let Some(last) = last {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Last-Subject-Sequence", last.to_string());
            request = request.headers(headers);
        }
        self.request(subject, request).await
    }

    /// The name of the NATS account that we are in, if the server tells.
    pub(crate) async fn nats_account(&self) -> Option<String> {
        let told = self.ask("$SYS.REQ.USER.INFO", &Value::Null).await.ok()?;
        told["data"]["account"].as_str().map(str::to_owned)
    }

    /// The version of the server's software.
    pub(crate) fn version(&self) -> String {
        self.client.server_info().version
    }

    /// Whether the server lets in whoever says nothing of himself, to where our data is.
    pub(crate) async fn lets_strangers_in(&self) -> bool {
        let asked = async {
            let Ok(stranger) = self.member.connect(Guise::Stranger).await else { return false };
            let (ours, theirs) = (self.nats_account().await, stranger.nats_account().await);
            // If it does not tell, it may be the same.
            ours.is_none() || theirs.is_none() || ours == theirs
        };
        timeout(self.member.deadlines.connect, Box::pin(asked)).await.unwrap_or(false)
    }

    /// The answer to a message for a stream, with these headers, of which none repeats.
    pub(crate) async fn put(
        &self,
        subject: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Value, Complaint> {
        let mut request = Request::new().payload(body.into());
        if !headers.is_empty() {
            request = request.headers(map(headers));
        }
        self.request(subject, request).await
    }

    /// A message was sent to a stream, and nobody waits until it is kept.
    pub(crate) async fn send(&self, subject: &str, headers: &[(&str, &str)]) -> Result<(), Complaint> {
        let sent =
            self.client.publish_with_headers(subject.to_owned(), map(headers), Vec::new().into()).await;
        sent.map_err(|_| Complaint::Ended)
    }

    /// The message of a stream with this number; nothing if there is none.
    pub(crate) async fn get(&self, stream: &str, sequence: u64) -> Result<Option<Message>, Complaint> {
        let body = json!({ "seq": sequence }).to_string();
        let request = Request::new().payload(body.into());
        let message = self.answer(&format!("$JS.API.DIRECT.GET.{stream}"), request).await?;
        match message.status {
            None => Ok(Some(message)),
            Some(StatusCode::NOT_FOUND) => Ok(None),
            Some(status) => Err(Complaint::Server(status.to_string())),
        }
    }

    /// The next messages of a consumer, so many that it is known to have.
    pub(crate) async fn fetch(
        &self,
        (stream, consumer): (&str, &str),
        messages: usize,
    ) -> Result<Vec<Message>, Complaint> {
        let inbox = self.client.new_inbox();
        let mut fetched = self.client.subscribe(inbox.clone()).await.map_err(|_| Complaint::Ended)?;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let body = json!({ "batch": messages, "no_wait": true }).to_string();
        let asked = self.client.publish_with_reply(subject, inbox, body.into()).await;
        asked.map_err(|_| Complaint::Ended)?;
        let mut found = Vec::with_capacity(messages);
        while found.len() < messages {
            match fetched.next().await {
                Some(message) if message.status.is_none() => found.push(message),
                Some(_) | None => return Err(Complaint::Ended),
            }
        }
        Ok(found)
    }

    /// The largest message that the server takes, in bytes.
    pub(crate) fn largest_message(&self) -> usize {
        self.client.server_info().max_payload
    }

    async fn request(&self, subject: &str, request: Request) -> Result<Value, Complaint> {
        let answer = self.answer(subject, request).await?;
        let answer: Value = serde_json::from_slice(&answer.payload).map_err(|_| Complaint::Unreadable)?;
        match answer.get("error") {
            Some(error) => Err(Complaint::of_answer(error)),
            None => Ok(answer),
        }
    }

    async fn answer(&self, subject: &str, request: Request) -> Result<Message, Complaint> {
        let mut notices = self.notices.clone();
        notices.mark_unchanged();
        if *notices.borrow() == Notice::Ended {
            return Err(Complaint::Ended);
        }
        let answer = self.client.send_request(subject.to_owned(), request.timeout(None));
        tokio::select! {
            answer = answer => answer.map_err(|error| Complaint::of_request(subject, error)),
            complaint = complaint(&mut notices) => Err(complaint),
        }
    }
}

impl connection::Session for Session {
    fn endpoint(&self) -> &str {
        &self.member.name
    }

    fn is_closed(&self) -> bool {
        *self.notices.borrow() == Notice::Ended || self.notices.has_changed().is_err()
    }
}

impl Notice {
    /// What an event says, if it says anything of this.
    fn of(event: &Event) -> Option<Self> {
        match event {
            Event::ServerError(ServerError::AuthorizationViolation) => {
                Some(Self::Complains("Authorization Violation".to_owned()))
            }
            Event::ServerError(ServerError::Other(text)) => Some(Self::Complains(text.clone())),
            Event::Disconnected | Event::Closed => Some(Self::Ended),
            _ => None,
        }
    }

    /// Becomes the next one, if there is one and this is not the last. The same complaint may come twice.
    fn is_followed_by(&mut self, next: Option<Self>) -> bool {
        match next {
            Some(next) if *self != Self::Ended => {
                *self = next;
                true
            }
            _ => false,
        }
    }
}

fn map(headers: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    map
}

/// What the server says against the request that is under way.
async fn complaint(notices: &mut watch::Receiver<Notice>) -> Complaint {
    match notices.changed().await {
        Ok(()) => match &*notices.borrow_and_update() {
            Notice::Complains(text) => Complaint::Server(text.clone()),
            Notice::Nothing | Notice::Ended => Complaint::Ended,
        },
        Err(_) => Complaint::Ended,
    }
}

/// Says who we are, but only once: a client that has lost its server must not find it again by itself, and send there
/// what we have given up long since.
fn once(
    login: Option<BasicAuth>,
) -> impl Fn(Vec<u8>) -> std::future::Ready<Result<Auth, async_nats::AuthError>> + Send + Sync + 'static {
    let used = std::sync::atomic::AtomicBool::new(false);
    move |_| {
        if used.swap(true, std::sync::atomic::Ordering::Relaxed) {
            return std::future::ready(Err(async_nats::AuthError::new("this session has ended")));
        }
        let mut auth = Auth::new();
        auth.username = login.as_ref().map(|login| login.username.clone());
        auth.password = login.as_ref().map(|login| login.password.as_str().to_owned());
        std::future::ready(Ok(auth))
    }
}

/// Where we are to speak in clear text, a server that begins TLS is trusted by nobody; the client would else look for
/// authorities of its own.
fn handshakes(tls: Option<&Tls>) -> Result<Handshakes, Error> {
    let Some(tls) = tls else {
        let ours = Arc::new(tls::trusting_nobody()?);
        return Ok(Handshakes { transport: Transport::ClearText, stranger: Arc::clone(&ours), ours });
    };
    let stranger = Tls { ca_pem: tls.ca_pem.clone(), client: None };
    Ok(Handshakes {
        transport: Transport::Tls,
        ours: Arc::new(tls::config(tls)?),
        stranger: Arc::new(tls::config(&stranger)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_the_end_of_a_session() {
        let mut last = Notice::Nothing;
        let complaint = || Notice::of(&Event::ServerError(ServerError::Other("no".to_owned())));
        assert!(!last.is_followed_by(Notice::of(&Event::Connected)));
        assert!(last.is_followed_by(complaint()) && last.is_followed_by(complaint()));
        assert!(last.is_followed_by(Notice::of(&Event::Disconnected)));
        assert!(!last.is_followed_by(complaint()));
        assert_eq!(last, Notice::Ended);
    }

    #[tokio::test]
    async fn a_session_says_who_we_are_only_once() {
        let login = BasicAuth { username: "u".to_owned(), password: "p".to_owned().into() };
        let say = once(Some(login));
        let first = say(Vec::new()).await.expect("once");
        assert_eq!((first.username.as_deref(), first.password.as_deref()), (Some("u"), Some("p")));
        assert!(say(Vec::new()).await.is_err());
    }
}
