//! One connection to the server of a datastore that takes writes, made anew at another when it fails.

use std::future::Future;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config::{Deadlines, Settings};
use crate::error::{Cause, Error};
use crate::pause::Pause;
use crate::postgres::member::{self, Member, Session};
use crate::postgres::refusal::{self, Refusal};

/// The connection of one datastore, and the rules for using it.
pub(crate) struct Connection {
    members: Vec<Member>,
    database: String,
    deadlines: Deadlines,
    line: Mutex<Line>,
    /// One request at a time: a server answers a session in order, and the deadline is for one's own answer.
    turn: Mutex<()>,
}

/// What is known of the connection at a moment.
#[derive(Default)]
struct Line {
    session: Option<Arc<Session>>,
    /// Counts the sessions, so that a session that failed is given up once, not its successor too.
    sessions: u64,
    /// The server to try first.
    first: usize,
    pause: Pause,
}

/// Whether an unreachable datastore is tried although it is in its pause.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// No: fail at once.
    Keep,
    /// Yes.
    Lose,
}

/// Why a request failed.
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    pub(crate) error: Error,
}

impl Connection {
    /// A connection to this database.
    ///
    /// # Errors
    /// [`Error::Settings`] if no connection could ever be made with these settings.
    pub(crate) fn new(settings: &Settings, database: &str) -> Result<Self, Error> {
        let members = member::all(settings)?;
        let line = Mutex::new(Line { pause: Pause::up_to(settings.deadlines.pause), ..Line::default() });
        let database = database.to_owned();
        Ok(Self { members, database, deadlines: settings.deadlines, line, turn: Mutex::new(()) })
    }

    /// The answer to a question, which is asked again elsewhere if the connection fails.
    pub(crate) async fn ask<T, F>(
        &self,
        doing: &str,
        request: impl Fn(Arc<Session>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.tell(doing, &request).await {
                Err(failure) if failure.refusal == Refusal::Lost && tries <= self.members.len() => {
                    // A connection that lay idle may have died unnoticed; a pause is only for those that were dialled.
                    tracing::debug!(error = %failure.error, doing, "asking again");
                }
                answer => return answer,
            }
        }
    }

    /// What came of a statement, which is sent once.
    pub(crate) async fn tell<T, F>(
        &self,
        doing: &str,
        request: impl Fn(Arc<Session>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, tokio_postgres::Error>>,
    {
        let _turn = self.turn.lock().await;
        let session = self.session(Patience::Keep).await.map_err(Failure::from)?;
        let deadline = self.deadlines.request;
        let failure = match timeout(deadline, Box::pin(request(Arc::clone(&session)))).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => self.failure(&error, doing, &session.endpoint),
            Err(_) => self.late(doing),
        };
        if failure.refusal.leaves_doubt() || failure.refusal == Refusal::ReadOnly {
            self.give_up(&session).await;
        }
        Err(failure)
    }

    /// A session with a server that takes writes.
    pub(crate) async fn session(&self, patience: Patience) -> Result<Arc<Session>, Error> {
        let mut line = self.line.lock().await;
        if let Some(session) = line.session.as_ref().filter(|session| !session.client.is_closed()) {
            return Ok(Arc::clone(session));
        }
        if let Some(cause) = line.pause.cause(Instant::now()).filter(|_| patience == Patience::Keep) {
            return Err(Error::Unreachable { endpoints: self.endpoints(), source: cause.clone() });
        }
        line.session = None;
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

    /// This session is used no more; the next one is looked for at the next server first.
    pub(crate) async fn give_up(&self, session: &Session) {
        let mut line = self.line.lock().await;
        if line.session.as_ref().is_some_and(|current| current.number == session.number) {
            line.session = None;
            line.first = (line.first + 1) % self.members.len();
        }
    }

    /// Whether the server of this session lets in whoever gives our name.
    pub(crate) async fn lets_strangers_in(&self, session: &Session) -> bool {
        let member = self.members.iter().find(|member| member.endpoint() == session.endpoint);
        let Some(member) = member else { return false };
        timeout(self.deadlines.connect, Box::pin(member.lets_strangers_in(&self.database)))
            .await
            .unwrap_or(false)
    }

    fn endpoints(&self) -> String {
        let endpoints: Vec<_> = self.members.iter().map(Member::endpoint).collect();
        endpoints.join(", ")
    }

    /// Tries the servers in turn, and reports the failure that says most if none will do.
    async fn dial(&self, first: usize, number: u64) -> Result<(usize, Session), Error> {
        let mut failures = Vec::new();
        for index in (0..self.members.len()).map(|step| (first + step) % self.members.len()) {
            let (member, deadline) = (&self.members[index], self.deadlines.connect);
            match timeout(deadline, Box::pin(member.open(number, &self.database))).await {
                Ok(Ok(session)) => return Ok((index, session)),
                Ok(Err(error)) => failures.push(error),
                Err(_) => failures.push(Error::Unreachable {
                    endpoints: member.endpoint().to_owned(),
                    source: Cause(format!("no answer within {deadline:?}")),
                }),
            }
        }
        Err(worst(failures))
    }

    fn failure(&self, error: &tokio_postgres::Error, doing: &str, endpoint: &str) -> Failure {
        match Refusal::of(error) {
            // The server ended it itself, by the deadline that it was given.
            Refusal::Late => self.late(doing),
            refusal => Failure { refusal, error: refusal.report(doing, endpoint, refusal::cause(error)) },
        }
    }

    fn late(&self, doing: &str) -> Failure {
        let error = Error::Timeout { doing: doing.to_owned(), after: self.deadlines.request };
        Failure { refusal: Refusal::Late, error }
    }
}

impl From<Error> for Failure {
    /// The failure of a request that was not sent.
    fn from(error: Error) -> Self {
        Self { refusal: Refusal::Other, error }
    }
}

/// The error that says most about why no server would do; several that were not reached are told together.
fn worst(mut failures: Vec<Error>) -> Error {
    let silent = |error: &Error| matches!(error, Error::Unreachable { .. });
    let standby = |error: &Error| matches!(error, Error::ReadOnly { .. });
    let telling = failures.iter().position(|error| !silent(error) && !standby(error));
    if let Some(telling) = telling.or_else(|| failures.iter().position(standby)) {
        return failures.swap_remove(telling);
    }
    let told = |error: &Error| match error {
        Error::Unreachable { endpoints, source } => (endpoints.clone(), format!("{endpoints}: {source}")),
        other => (String::new(), other.to_string()),
    };
    let (endpoints, causes): (Vec<_>, Vec<_>) = failures.iter().map(told).unzip();
    Error::Unreachable { endpoints: endpoints.join(", "), source: Cause(causes.join("; ")) }
}
