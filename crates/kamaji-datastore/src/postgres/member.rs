//! One server of a datastore, and the sessions with it.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{BasicAuth, Deadlines, Endpoint, Settings, Tls};
use crate::connection::{self, Session as _};
use crate::error::{Cause, Error};
use crate::postgres::refusal;
use crate::refusal::{Fault, Refusal, words};
use crate::tls;

/// TCP asks an idle peer for a sign of life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What a failure to open a session interrupts.
const DOING: &str = "log in";
/// What asks for TLS before anything else is said. Source: "Message Formats" of PostgreSQL's protocol 3.0, `SSLRequest`.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The connection to one database of a datastore, at the server that takes writes.
pub(crate) type Connection = connection::Connection<Member>;

/// How a server looks for rows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plans {
    /// As it thinks best.
    Any,
    /// In the order of an index wherever there is one. A table that was just filled has no statistics, and without them
    /// the server reads and sorts all of it for each page. It takes what is discouraged for so expensive that it would
    /// compile each statement, which takes longer than all else.
    ByIndex,
}

impl Plans {
    fn options(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::ByIndex => " -c enable_seqscan=off -c enable_bitmapscan=off -c enable_sort=off -c jit=off",
        }
    }
}

/// Where a server is, and how a session with it is opened.
#[derive(Clone)]
pub(crate) struct Member {
    endpoint: Endpoint,
    name: String,
    database: String,
    plans: Plans,
    login: BasicAuth,
    tls: Option<Handshakes>,
    deadlines: Deadlines,
}

/// How TLS is begun.
#[derive(Clone)]
struct Handshakes {
    ours: Arc<ClientConfig>,
    /// Without our certificate.
    stranger: Arc<ClientConfig>,
}

/// A connection that works, as far as is known.
pub(crate) struct Session {
    pub(crate) client: Client,
    /// How the same server is reached by others.
    member: Member,
    /// What carries the connection; it ends with the session.
    _carrier: JoinSet<()>,
}

/// A connection to this database, at the server that takes writes.
///
/// # Errors
/// [`Error::Settings`] if there is none, or no session could ever be opened with these settings.
pub(crate) fn connection(settings: &Settings, database: &str, plans: Plans) -> Result<Connection, Error> {
    let unusable = |what: &str| Error::Settings { what: what.to_owned(), source: None };
    if settings.endpoints.is_empty() {
        return Err(unusable("no endpoint is given"));
    }
    let Some(login) = &settings.basic_auth else {
        return Err(unusable(
            "no user name is given; PostgreSQL asks for one, with a client certificate too",
        ));
    };
    if login.username.is_empty() || login.username.contains('\0') || login.password.contains('\0') {
        return Err(unusable("the user name is empty, or it or the password holds a zero byte"));
    }
    let tls = settings.tls.as_ref().map(handshakes).transpose()?;
    let member = |endpoint: &Endpoint| Member {
        endpoint: endpoint.clone(),
        name: endpoint.to_string(),
        database: database.to_owned(),
        plans,
        login: login.clone(),
        tls: tls.clone(),
        deadlines: settings.deadlines,
    };
    Ok(Connection::new(settings.endpoints.iter().map(member).collect(), settings.deadlines))
}

impl connection::Member for Member {
    type Session = Session;

    /// A server answers a session in order.
    const ROOM: u32 = 1;

    fn endpoint(&self) -> &str {
        &self.name
    }

    async fn open(&self) -> Result<Session, Error> {
        let mut config = self.config();
        if !self.login.password.is_empty() {
            config.password(self.login.password.as_bytes());
        }
        let opened = self.connect(&config, self.tls.as_ref().map(|tls| &tls.ours)).await;
        let (client, carrier) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(self.complaint(&error).await),
        };
        let session = Session { client, member: self.clone(), _carrier: carrier };
        session.takes_writes().await?;
        Ok(session)
    }
}

impl Member {
    async fn connect(
        &self,
        config: &Config,
        tls: Option<&Arc<ClientConfig>>,
    ) -> Result<(Client, JoinSet<()>), tokio_postgres::Error> {
        let mut carrier = JoinSet::new();
        // What ends a connection is told to whoever waits for an answer on it.
        let client = if let Some(tls) = tls {
            let tls = MakeRustlsConnect::new(ClientConfig::clone(tls));
            let (client, connection) = config.connect(tls).await?;
            carrier.spawn(async move { drop(connection.await) });
            client
        } else {
            let (client, connection) = config.connect(NoTls).await?;
            carrier.spawn(async move { drop(connection.await) });
            client
        };
        Ok((client, carrier))
    }

    fn config(&self) -> Config {
        let mut config = Config::new();
        // In the first message, so that no setting of a database or a role can differ: what a tenant calls like a
        // function of the server is never found, and no statement goes on for ever.
        let options = format!(
            "-c search_path=pg_catalog -c statement_timeout={}{}",
            self.deadlines.request.as_millis().max(1),
            self.plans.options()
        );
        config
            .host(self.endpoint.address())
            .port(self.endpoint.port())
            .user(self.login.username.as_str())
            .dbname(self.database.as_str())
            .application_name("kamaji")
            .options(options)
            .keepalives_idle(KEEP_ALIVE)
            .ssl_mode(if self.tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config
    }

    /// Why no session was opened; a server that hung up is asked whether it is for our certificate.
    async fn complaint(&self, error: &tokio_postgres::Error) -> Error {
        let refusal = error.refusal();
        if refusal == Refusal::Lost
            && let Some(complaint) = self.complaint_of_tls().await
        {
            let refusal = refusal::of_transport(&complaint);
            if refusal != Refusal::Lost {
                return refusal.report(DOING, &self.name, words(&complaint));
            }
        }
        let named = if error.as_db_error().is_none() && error.to_string() == "invalid configuration" {
            Cause("the server asks for a password, and none is given".to_owned())
        } else {
            error.cause()
        };
        refusal.report(DOING, &self.name, named)
    }

    async fn complaint_of_tls(&self) -> Option<std::io::Error> {
        let tls = self.tls.as_ref()?;
        let mut stream = TcpStream::connect((self.endpoint.address(), self.endpoint.port())).await.ok()?;
        stream.write_all(&TLS_REQUEST).await.ok()?;
        if stream.read_u8().await.ok()? != b'S' {
            return None;
        }
        tls::complaint_on(stream, &tls.ours, &self.endpoint).await
    }
}

impl connection::Session for Session {
    fn endpoint(&self) -> &str {
        &self.member.name
    }

    fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    fn is_spoilt_by(&self, refusal: Refusal) -> bool {
        refusal.leaves_doubt() || refusal == Refusal::ReadOnly
    }
}

impl Session {
    /// Whether the server lets in whoever gives our name, without a password or a certificate.
    pub(crate) async fn lets_strangers_in(&self) -> bool {
        let Member { tls, deadlines, .. } = &self.member;
        let config = self.member.config();
        let connected = self.member.connect(&config, tls.as_ref().map(|tls| &tls.stranger));
        timeout(deadlines.connect, Box::pin(connected)).await.is_ok_and(|connected| connected.is_ok())
    }

    /// The server takes writes from us: it is neither a standby nor set to refuse them.
    pub(crate) async fn takes_writes(&self) -> Result<(), Error> {
        let asked = self
            .client
            .query_typed_one(
                "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only') = 'on'",
                &[],
            )
            .await;
        let row = asked.map_err(|error| {
            error.refusal().report("ask whether it takes writes", self.endpoint(), error.cause())
        })?;
        let why = match (row.get(0), row.get(1)) {
            (true, _) => "it is a standby",
            (false, true) => "its transactions are read-only (default_transaction_read_only)",
            (false, false) => return Ok(()),
        };
        Err(Error::ReadOnly { endpoint: self.endpoint().to_owned(), source: Cause(why.to_owned()) })
    }
}

fn handshakes(tls: &Tls) -> Result<Handshakes, Error> {
    let stranger = Tls { ca_pem: tls.ca_pem.clone(), client: None };
    Ok(Handshakes { ours: Arc::new(tls::config(tls)?), stranger: Arc::new(tls::config(&stranger)?) })
}
