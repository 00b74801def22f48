//! One connection to one member of an etcd cluster, made anew at another when it fails.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Channel, Client, ConnectOptions};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::config::{Endpoint, Settings, Tls};
use crate::error::{Cause, Error};
use crate::etcd::pause::Pause;
use crate::etcd::refusal::{self, Refusal};
use crate::tls;

/// How many requests may be under way at once.
const ROOM: u32 = 16;
/// How often a request is sent again because users or roles changed under it.
const OLD_REVISIONS: u32 = 10;
/// TCP asks an idle peer for a sign of life this often.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The connection of one datastore, and the rules for using it.
pub(crate) struct Connection {
    settings: Settings,
    members: Vec<tonic::transport::Endpoint>,
    line: Mutex<Line>,
    /// A change of users or roles takes all the room: requests that are under way with it would fail for their
    /// old auth revision.
    room: Semaphore,
}

/// What is known of the connection at a moment.
#[derive(Default)]
struct Line {
    session: Option<Arc<Session>>,
    /// Counts the sessions, so that a session that failed is given up once, not its successor too.
    sessions: u64,
    /// The member to try first.
    first: usize,
    pause: Pause,
}

/// A connection that works, as far as is known.
pub(crate) struct Session {
    number: u64,
    pub(crate) endpoint: String,
    client: Client,
    /// What `client` sends over, for the one call that it lacks.
    pub(crate) channel: tonic::transport::Channel,
    /// The log-in of that call.
    pub(crate) token: Option<String>,
}

/// Whether an unreachable datastore is tried although it is in its pause.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// No: fail at once.
    Keep,
    /// Yes.
    Lose,
}

/// What a request does to users and roles.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// Changes them.
    Accounts,
}

/// Why a request failed.
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    pub(crate) error: Error,
}

impl Connection {
    /// # Errors
    /// [`Error::Settings`] if no connection could ever be made with these settings.
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let tls = settings.tls.as_ref().map(tls_config).transpose()?;
        let member = |endpoint| member(endpoint, &settings, tls.as_ref());
        let members = settings
            .endpoints
            .iter()
            .map(member)
            .collect::<Result<Vec<_>, _>>()?;
        if members.is_empty() {
            return Err(Error::Settings {
                what: "no endpoint is given".to_owned(),
                source: None,
            });
        }
        let pause = Pause::up_to(settings.deadlines.pause);
        let line = Mutex::new(Line {
            pause,
            ..Line::default()
        });
        Ok(Self {
            settings,
            members,
            line,
            room: Semaphore::new(ROOM as usize),
        })
    }

    /// The answer to a question, which is asked again elsewhere if the connection fails.
    pub(crate) async fn ask<T, F>(
        &self,
        doing: &str,
        request: impl Fn(Arc<Session>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.tell(doing, Effect::None, &request).await {
                Err(failure) if failure.refusal == Refusal::Lost && tries <= self.members.len() => {
                    // A connection that lay idle may have died unnoticed; a pause is only for those that were dialled.
                    tracing::debug!(error = %failure.error, doing, "asking again");
                }
                answer => return answer,
            }
        }
    }

    /// What came of a statement, which is sent again only if it was certainly not carried out.
    pub(crate) async fn tell<T, F>(
        &self,
        doing: &str,
        effect: Effect,
        request: impl Fn(Arc<Session>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, etcd_client::Error>>,
    {
        let mut refused = 0;
        loop {
            let session = self.session(Patience::Keep).await.map_err(Failure::from)?;
            let _room = self.room(effect, doing).await?;
            let failure = match timeout(
                self.settings.deadlines.request,
                Box::pin(request(Arc::clone(&session))),
            )
            .await
            {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Failure::of(&error, doing, &session.endpoint),
                Err(_) => Failure::late(doing, self.settings.deadlines.request),
            };
            let not_carried_out = matches!(failure.refusal, Refusal::OldRevision | Refusal::LoginExpired);
            // A new session logs in again: an old log-in carries the old revision.
            if failure.refusal.leaves_doubt() || (not_carried_out && self.settings.basic_auth.is_some()) {
                self.give_up(&session).await;
            }
            if !not_carried_out || refused == OLD_REVISIONS {
                return Err(failure);
            }
            tokio::time::sleep(Duration::from_millis(1 << refused)).await;
            refused += 1;
        }
    }

    /// A session with a member that answers.
    pub(crate) async fn session(&self, patience: Patience) -> Result<Arc<Session>, Error> {
        let mut line = self.line.lock().await;
        if let Some(session) = &line.session {
            return Ok(Arc::clone(session));
        }
        if let Some(cause) = line
            .pause
            .cause(Instant::now())
            .filter(|_| patience == Patience::Keep)
        {
            return Err(Error::Unreachable {
                endpoints: self.endpoints(),
                source: cause.clone(),
            });
        }
        match self.dial(line.first, line.sessions + 1).await {
            Ok((member, session)) => {
                line.sessions = session.number;
                line.first = member;
                line.pause.end();
                Ok(Arc::clone(line.session.insert(Arc::new(session))))
            }
            Err(error) => {
                if let Error::Unreachable { source, .. } = &error {
                    line.pause.begin(Instant::now(), source.clone());
                }
                Err(error)
            }
        }
    }

    fn endpoints(&self) -> String {
        let endpoints: Vec<_> = self.settings.endpoints.iter().map(ToString::to_string).collect();
        endpoints.join(", ")
    }

    /// Tries the members in turn, and reports the failure that says most if none will do.
    async fn dial(&self, first: usize, number: u64) -> Result<(usize, Session), Error> {
        let mut failures = Vec::new();
        for member in (0..self.members.len()).map(|step| (first + step) % self.members.len()) {
            let endpoint = self.settings.endpoints[member].to_string();
            let deadline = self.settings.deadlines.connect;
            match timeout(deadline, Box::pin(self.open(member, &endpoint, number))).await {
                Ok(Ok(session)) => return Ok((member, session)),
                Ok(Err(error)) => failures.push((endpoint, error)),
                Err(_) => {
                    let source = Cause(format!("no answer within {deadline:?}"));
                    failures.push((
                        endpoint.clone(),
                        Error::Unreachable {
                            endpoints: endpoint,
                            source,
                        },
                    ));
                }
            }
        }
        Err(worst(failures))
    }

    async fn open(&self, member: usize, endpoint: &str, number: u64) -> Result<Session, Error> {
        let doing = "log in";
        let refused = |error: &etcd_client::Error| Failure::of(error, doing, endpoint).error;
        let channel = self.members[member].connect().await.map_err(|error| {
            let refusal = Refusal::of_transport(&error).unwrap_or(Refusal::Lost);
            refusal.report(doing, endpoint, refusal::cause(&error))
        })?;
        let options = self.options();
        let client = Client::from_channel(Channel::Tonic(channel.clone()), Some(options)).await;
        let mut client = client.map_err(|error| refused(&error))?;
        let token = match &self.settings.basic_auth {
            None => None,
            Some(login) => {
                let password = login.password.as_str().to_owned();
                let login = client
                    .auth_client()
                    .authenticate(login.username.clone(), password)
                    .await;
                Some(login.map_err(|error| refused(&error))?.token().to_owned())
            }
        };
        // Whether a client certificate is accepted shows only in the first answer.
        let status = client.status().await.map_err(|error| refused(&error))?;
        if status.leader() == 0 {
            let source = Cause(format!("{endpoint} knows no leader"));
            return Err(Error::NoQuorum {
                doing: doing.to_owned(),
                source,
            });
        }
        Ok(Session {
            number,
            endpoint: endpoint.to_owned(),
            client,
            channel,
            token,
        })
    }

    fn options(&self) -> ConnectOptions {
        let options = ConnectOptions::new().with_require_leader(true);
        match &self.settings.basic_auth {
            Some(login) => options.with_user(login.username.as_str(), login.password.as_str()),
            None => options,
        }
    }

    async fn room(&self, effect: Effect, doing: &str) -> Result<SemaphorePermit<'_>, Failure> {
        let wanted = if effect == Effect::Accounts { ROOM } else { 1 };
        let deadline = self.settings.deadlines.request;
        match timeout(deadline, self.room.acquire_many(wanted)).await {
            Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
            Err(_) => Err(Failure {
                refusal: Refusal::Other,
                ..Failure::late(doing, deadline)
            }),
        }
    }

    async fn give_up(&self, session: &Session) {
        let mut line = self.line.lock().await;
        if line
            .session
            .as_ref()
            .is_some_and(|current| current.number == session.number)
        {
            line.session = None;
            line.first = (line.first + 1) % self.members.len();
        }
    }
}

impl Session {
    /// A client on this connection.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }
}

impl Failure {
    fn of(error: &etcd_client::Error, doing: &str, endpoint: &str) -> Self {
        let refusal = Refusal::of(error);
        Self {
            refusal,
            error: refusal.report(doing, endpoint, refusal::cause(error)),
        }
    }

    fn late(doing: &str, after: Duration) -> Self {
        Self {
            refusal: Refusal::Lost,
            error: Error::Timeout {
                doing: doing.to_owned(),
                after,
            },
        }
    }
}

impl From<Error> for Failure {
    /// The failure of a request that was not sent.
    fn from(error: Error) -> Self {
        Self {
            refusal: Refusal::Other,
            error,
        }
    }
}

fn member(
    endpoint: &Endpoint,
    settings: &Settings,
    tls: Option<&ClientTlsConfig>,
) -> Result<tonic::transport::Endpoint, Error> {
    let unusable = |error: &tonic::transport::Error| Error::Settings {
        what: format!("no connection to {endpoint} can be made with these settings"),
        source: Some(refusal::cause(error)),
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let member = tonic::transport::Endpoint::from_shared(format!("{scheme}://{endpoint}"))
        .map_err(|error| unusable(&error))?
        .connect_timeout(settings.deadlines.connect)
        .tcp_keepalive(Some(KEEP_ALIVE));
    match tls {
        // Named here because an IPv6 address would else be looked for with its brackets.
        Some(tls) => {
            let name = endpoint.host().trim_matches(['[', ']']);
            member
                .tls_config(tls.clone().domain_name(name))
                .map_err(|error| unusable(&error))
        }
        None => Ok(member),
    }
}

fn tls_config(tls: &Tls) -> Result<ClientTlsConfig, Error> {
    tls::check(tls)?;
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca_pem));
    Ok(match &tls.client {
        Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key.as_slice())),
        None => config,
    })
}

/// The error that says most about why no member would do; several that were not reached are told together.
fn worst(mut failures: Vec<(String, Error)>) -> Error {
    let telling = failures
        .iter()
        .position(|(_, error)| !matches!(error, Error::Unreachable { .. }));
    if let Some(telling) = telling {
        return failures.swap_remove(telling).1;
    }
    let (endpoints, causes): (Vec<_>, Vec<_>) = failures
        .into_iter()
        .map(|(endpoint, error)| match error {
            Error::Unreachable { source, .. } => (endpoint.clone(), format!("{endpoint}: {source}")),
            other => (endpoint, other.to_string()),
        })
        .unzip();
    Error::Unreachable {
        endpoints: endpoints.join(", "),
        source: Cause(causes.join("; ")),
    }
}
