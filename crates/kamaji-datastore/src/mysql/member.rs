//! One server of a datastore, and the sessions with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{ClientIdentity, Conn, Opts, OptsBuilder, Params, Row, SslOpts};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::config::{BasicAuth, Deadlines, Endpoint, Settings, Tls};
use crate::connection;
use crate::error::{Cause, Error};
use crate::mysql::quote;
use crate::refusal::{Fault, Refusal, words};
use crate::tls;

/// TCP asks an idle peer for a sign of life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What a failure to open a session interrupts.
const DOING: &str = "log in";
/// The longest packet that we read or write, in bytes. No answer is as long; the server's own limit is not asked for.
const PACKET: usize = 16 * 1024 * 1024;
/// What the client takes for the server's limit of silence, in seconds; nothing follows from it for us.
const WAIT: usize = 28_800;
/// What asks for TLS: length, number, abilities (`CLIENT_PROTOCOL_41`, `CLIENT_SSL`, `CLIENT_SECURE_CONNECTION`), longest
/// packet, character set, and nothing. Source: "Protocol: SSL Request".
const TLS_REQUEST: [u8; 36] = {
    let mut request = [0; 36];
    request[0] = 32;
    request[3] = 1;
    request[5] = 0x02 | 0x08 | 0x80;
    request[11] = 1;
    request[12] = 45;
    request
};

/// The connection of one datastore, to the server that takes writes.
pub(crate) type Connection = connection::Connection<Member>;

/// Where a server is, and how a session with it is opened.
#[derive(Clone)]
pub(crate) struct Member {
    endpoint: Endpoint,
    name: String,
    ours: Opts,
    /// With our name, and without our password and our certificate.
    stranger: Opts,
    tls: Option<Arc<ClientConfig>>,
    deadlines: Deadlines,
}

/// Which of the two kinds of server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    MariaDb,
    MySql,
}

/// A connection that works, as far as is known.
pub(crate) struct Session {
    client: Mutex<Conn>,
    pub(crate) flavour: Flavour,
    /// What the server calls its version.
    pub(crate) version: String,
    /// How the same server is reached by others.
    member: Member,
}

/// The answers to several questions, and why the one after them was refused, if one was.
pub(crate) struct Answers {
    answers: VecDeque<Vec<Row>>,
    refused: Option<mysql_async::Error>,
}

impl Answers {
    /// The answer to the next question. After one that was refused there are none any more.
    pub(crate) fn take<T: FromRow>(&mut self) -> Result<Vec<T>, mysql_async::Error> {
        match (self.answers.pop_front(), self.refused.take()) {
            (Some(rows), refused) => {
                self.refused = refused;
                Ok(rows.into_iter().map(mysql_async::from_row).collect())
            }
            (None, Some(refused)) => Err(refused),
            (None, None) => Ok(Vec::new()),
        }
    }
}

impl Flavour {
    /// The longest name of a user, in characters.
    pub(crate) fn longest_user(self) -> usize {
        match self {
            Self::MariaDb => 80,
            Self::MySql => quote::LONGEST_USER,
        }
    }
}

/// A connection to the server that takes writes.
///
/// # Errors
/// [`Error::Settings`] if no endpoint is named, or no session could ever be opened with these settings.
pub(crate) fn connection(settings: &Settings) -> Result<Connection, Error> {
    let unusable = |what: &str| Error::Settings { what: what.to_owned(), source: None };
    if settings.endpoints.is_empty() {
        return Err(unusable("no endpoint is given"));
    }
    let Some(login) = &settings.basic_auth else {
        return Err(unusable("no user name is given; MySQL asks for one, with a client certificate too"));
    };
    if login.username.is_empty() || login.username.contains('\0') || login.password.contains('\0') {
        return Err(unusable("the user name is empty, or it or the password holds a zero byte"));
    }
    let tls = settings.tls.as_ref().map(tls::config).transpose()?.map(Arc::new);
    if tls.is_some() {
        // The client takes the process's own provider, and ends the process if there is a choice and none was made.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let member = |endpoint: &Endpoint| {
        let nobody = BasicAuth { password: String::new().into(), ..login.clone() };
        let without = |tls: &Tls| Tls { ca_pem: tls.ca_pem.clone(), client: None };
        Ok(Member {
            endpoint: endpoint.clone(),
            name: endpoint.to_string(),
            ours: options(endpoint, login, settings.tls.as_ref(), settings.deadlines)?,
            stranger: options(
                endpoint,
                &nobody,
                settings.tls.as_ref().map(without).as_ref(),
                settings.deadlines,
            )?,
            tls: tls.clone(),
            deadlines: settings.deadlines,
        })
    };
    let members = settings.endpoints.iter().map(member).collect::<Result<_, Error>>()?;
    Ok(Connection::new(members, settings.deadlines))
}

impl connection::Member for Member {
    type Session = Session;

    /// A server answers a session in order.
    const ROOM: u32 = 1;

    fn endpoint(&self) -> &str {
        &self.name
    }

    async fn open(&self) -> Result<Session, Error> {
        let mut client = match Conn::new(self.ours.clone()).await {
            Ok(client) => client,
            Err(error) => return Err(self.complaint(&error).await),
        };
        let asked =
            client.exec_first("SELECT VERSION(), @@global.read_only OR @@global.innodb_read_only", ());
        let asked: Option<(String, bool)> = asked.await.map_err(|error| {
            error.refusal().report("ask whether it takes writes", &self.name, error.cause())
        })?;
        let (version, is_read_only) = asked.unwrap_or_default();
        if is_read_only {
            return Err(self.read_only());
        }
        let flavour = if version.contains("MariaDB") { Flavour::MariaDb } else { Flavour::MySql };
        Ok(Session { client: Mutex::new(client), flavour, version, member: self.clone() })
    }
}

impl Member {
    /// What is said of a server that takes no writes.
    fn read_only(&self) -> Error {
        let source = Cause("read_only or innodb_read_only is set".to_owned());
        Error::ReadOnly { endpoint: self.name.clone(), source }
    }

    /// Why no session was opened; a server that hung up is asked whether it is for our certificate.
    async fn complaint(&self, error: &mysql_async::Error) -> Error {
        let refusal = match error.refusal() {
            Refusal::Forbidden => Refusal::Unauthenticated,
            refusal => refusal,
        };
        if refusal == Refusal::Lost
            && let Some(complaint) = self.complaint_of_tls().await
            && let Some(refusal) = Refusal::of_handshake(&complaint)
        {
            return refusal.report(DOING, &self.name, words(&complaint));
        }
        refusal.report(DOING, &self.name, error.cause())
    }

    async fn complaint_of_tls(&self) -> Option<std::io::Error> {
        let tls = self.tls.as_ref()?;
        let mut stream = TcpStream::connect((self.endpoint.address(), self.endpoint.port())).await.ok()?;
        // Its greeting comes first: three bytes of its length, one of its number, and the rest.
        let length = usize::try_from(stream.read_u32_le().await.ok()? & 0x00ff_ffff).ok()?;
        stream.read_exact(&mut vec![0; length.min(PACKET)]).await.ok()?;
        stream.write_all(&TLS_REQUEST).await.ok()?;
        tls::complaint_on(stream, tls, &self.endpoint).await
    }
}

impl connection::Session for Session {
    fn endpoint(&self) -> &str {
        &self.member.name
    }

    /// It is too if somebody broke off in the middle of a request.
    fn is_closed(&self) -> bool {
        self.client.try_lock().is_ok_and(|client| client.is_disconnected())
    }

    fn is_spoilt_by(&self, refusal: Refusal) -> bool {
        refusal.leaves_doubt() || refusal == Refusal::ReadOnly
    }
}

impl Session {
    /// The rows of an answer. One statement, for the server takes no more as one that is prepared.
    pub(crate) async fn rows<T: FromRow + Send + 'static>(
        &self,
        statement: &str,
        values: impl Into<Params> + Send,
    ) -> Result<Vec<T>, mysql_async::Error> {
        self.client.lock().await.exec(statement, values).await
    }

    /// The answers to several questions, asked in one message and carried out in order until one is refused.
    pub(crate) async fn answers(&self, questions: &[String]) -> Result<Answers, mysql_async::Error> {
        let mut client = self.client.lock().await;
        let mut told = client.query_iter(questions.join("; ")).await?;
        let mut answers = VecDeque::with_capacity(questions.len());
        for _ in questions {
            match told.collect().await {
                Ok(rows) => answers.push_back(rows),
                Err(refused @ mysql_async::Error::Server(_)) => {
                    return Ok(Answers { answers, refused: Some(refused) });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Answers { answers, refused: None })
    }

    /// What came of a statement that has no answer: how many rows it changed.
    pub(crate) async fn run(
        &self,
        statement: &str,
        values: impl Into<Params> + Send,
    ) -> Result<u64, mysql_async::Error> {
        let mut client = self.client.lock().await;
        client.exec_drop(statement, values).await?;
        Ok(client.affected_rows())
    }

    /// Whether the server lets in whoever gives our name, without a password or a certificate.
    pub(crate) async fn lets_strangers_in(&self) -> bool {
        let connected = Conn::new(self.member.stranger.clone());
        timeout(self.member.deadlines.connect, connected).await.is_ok_and(|connected| connected.is_ok())
    }

    /// That it takes no writes any more.
    pub(crate) fn read_only(&self) -> Error {
        self.member.read_only()
    }
}

fn options(
    endpoint: &Endpoint,
    login: &BasicAuth,
    tls: Option<&Tls>,
    deadlines: Deadlines,
) -> Result<Opts, Error> {
    let seconds = deadlines.request.as_secs().max(1);
    // Whatever is set for all sessions of the server; no statement goes on for ever, nor waits so for another's locks.
    let set = format!(
        "SET SESSION autocommit = 1, sql_mode = 'STRICT_ALL_TABLES', lock_wait_timeout = {seconds}, \
         innodb_lock_wait_timeout = {seconds} /*M! , max_statement_time = {seconds} */"
    );
    let options = OptsBuilder::default()
        .ip_or_hostname(endpoint.address())
        .tcp_port(endpoint.port())
        .user(Some(login.username.as_str()))
        .pass(Some(login.password.as_str()).filter(|password| !password.is_empty()))
        // It would else look for a socket by which a server on the same machine may be another one.
        .prefer_socket(false)
        .max_allowed_packet(Some(PACKET))
        .wait_timeout(Some(WAIT))
        // What is put out of the memory of statements is closed, and what was never in it is not.
        .stmt_cache_size(1)
        .tcp_keepalive(Some(KEEP_ALIVE))
        .setup(vec![set]);
    let options = match tls {
        Some(tls) => options.ssl_opts(handshake(endpoint, tls)?),
        None => options,
    };
    Ok(options.into())
}

fn handshake(endpoint: &Endpoint, tls: &Tls) -> Result<SslOpts, Error> {
    let anchors = tls::anchors(tls)?.into_iter().map(|anchor| anchor.to_vec().into()).collect();
    let identity = |(chain, key): &(Vec<u8>, zeroize::Zeroizing<Vec<u8>>)| {
        ClientIdentity::new(chain.clone().into(), key.to_vec().into())
    };
    Ok(SslOpts::default()
        .with_root_certs(anchors)
        .with_disable_built_in_roots(true)
        .with_client_identity(tls.client.as_ref().map(identity))
        .with_danger_tls_hostname_override(Some(endpoint.address().to_owned())))
}
