//! One member of an etcd cluster, and the sessions with it.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions};
use rustls::ClientConfig;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::config::{BasicAuth, Endpoint, Settings, Tls};
use crate::connection::{self, Failure};
use crate::error::{Cause, Error};
use crate::etcd::refusal;
use crate::refusal::Refusal;
use crate::tls;

/// TCP asks an idle peer for a sign of life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// What a failure to open a session interrupts.
const DOING: &str = "log in";

/// The connection of one cluster.
pub(crate) type Connection = connection::Connection<Member>;

/// Where a member is, and how a session with it is opened.
pub(crate) struct Member {
    endpoint: Endpoint,
    name: String,
    transport: tonic::transport::Endpoint,
    tls: Option<Arc<ClientConfig>>,
    login: Option<BasicAuth>,
}

/// A connection that works, as far as is known.
pub(crate) struct Session {
    pub(crate) endpoint: String,
    client: Client,
    /// What `client` sends over, for the one call that it lacks.
    pub(crate) channel: tonic::transport::Channel,
    /// The log-in of that call.
    pub(crate) token: Option<String>,
}

/// A connection to one of the members that these settings name.
///
/// # Errors
/// [`Error::Settings`] if there is none, or no session could ever be opened with these settings.
pub(crate) fn connection(settings: &Settings) -> Result<Connection, Error> {
    if settings.endpoints.is_empty() {
        return Err(Error::Settings { what: "no endpoint is given".to_owned(), source: None });
    }
    let tls = settings.tls.as_ref().map(tls::config).transpose()?.map(Arc::new);
    let member = |endpoint: &Endpoint| {
        Ok(Member {
            endpoint: endpoint.clone(),
            name: endpoint.to_string(),
            transport: transport(endpoint, settings)?,
            tls: tls.clone(),
            login: settings.basic_auth.clone(),
        })
    };
    let members = settings.endpoints.iter().map(member).collect::<Result<_, Error>>()?;
    Ok(Connection::new(members, settings.deadlines))
}

impl connection::Member for Member {
    type Session = Session;

    /// A change of users or roles takes all of it: what is under way with it fails for its old auth revision.
    const ROOM: u32 = 16;
    const LATE: Refusal = Refusal::Lost;

    fn endpoint(&self) -> &str {
        &self.name
    }

    async fn open(&self) -> Result<Session, Error> {
        let channel = self.transport.connect().await.map_err(|error| {
            let refusal = Refusal::of_handshake(&error).unwrap_or(Refusal::Lost);
            refusal.report(DOING, &self.name, refusal::cause(&error))
        })?;
        match self.log_in(channel).await {
            Err(Failure { refusal: Refusal::Lost, error }) => Err(self.complaint().await.unwrap_or(error)),
            opened => opened.map_err(|failure| failure.error),
        }
    }
}

impl Member {
    async fn log_in(&self, channel: tonic::transport::Channel) -> Result<Session, Failure> {
        let refused = |error: etcd_client::Error| Failure::of(&error, DOING, &self.name);
        let mut options = ConnectOptions::new().with_require_leader(true);
        if let Some(login) = &self.login {
            options = options.with_user(login.username.as_str(), login.password.as_str());
        }
        let client = Client::from_channel(Channel::Tonic(channel.clone()), Some(options)).await;
        let mut client = client.map_err(refused)?;
        let token = match &self.login {
            None => None,
            Some(login) => {
                let (username, password) = (login.username.clone(), login.password.as_str().to_owned());
                let login = client.auth_client().authenticate(username, password).await;
                Some(login.map_err(refused)?.token().to_owned())
            }
        };
        // Whether a client certificate is accepted shows only in the first answer.
        let status = client.status().await.map_err(refused)?;
        if status.leader() == 0 {
            let source = Cause(format!("{} knows no leader", self.name));
            return Err(Error::NoQuorum { doing: DOING.to_owned(), source }.into());
        }
        Ok(Session { endpoint: self.name.clone(), client, channel, token })
    }

    /// Why the member hung up before it answered, if it is for a certificate.
    async fn complaint(&self) -> Option<Error> {
        let complaint = tls::complaint(self.tls.as_ref()?, &self.endpoint).await?;
        let refusal = Refusal::of_handshake(&complaint)?;
        Some(refusal.report(DOING, &self.name, refusal::cause(&complaint)))
    }
}

impl connection::Session for Session {
    fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A new session logs in again: an old log-in carries the old revision.
    fn is_spoilt_by(&self, refusal: Refusal) -> bool {
        refusal.leaves_doubt() || (refusal.allows_another_try() && self.token.is_some())
    }
}

impl Session {
    /// A client on this connection.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }
}

fn transport(endpoint: &Endpoint, settings: &Settings) -> Result<tonic::transport::Endpoint, Error> {
    let unusable = |error: tonic::transport::Error| Error::Settings {
        what: format!("no connection to {endpoint} can be made with these settings"),
        source: Some(refusal::cause(&error)),
    };
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let transport = tonic::transport::Endpoint::from_shared(format!("{scheme}://{endpoint}"))
        .map_err(unusable)?
        .connect_timeout(settings.deadlines.connect)
        .tcp_keepalive(Some(KEEP_ALIVE));
    match &settings.tls {
        // The address is named because an IPv6 one would else be looked for with its brackets.
        Some(tls) => transport.tls_config(handshake(tls).domain_name(endpoint.address())).map_err(unusable),
        None => Ok(transport),
    }
}

fn handshake(tls: &Tls) -> ClientTlsConfig {
    let handshake = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca_pem));
    match &tls.client {
        Some((certificate, key)) => handshake.identity(Identity::from_pem(certificate, key.as_slice())),
        None => handshake,
    }
}
