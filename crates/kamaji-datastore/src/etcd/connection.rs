//! One connection to one member of an etcd cluster, made anew at another when it fails.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::config::{Deadlines, Settings};
use crate::error::{Cause, Error};
use crate::etcd::member::{self, Member, Session};
use crate::etcd::refusal::{self, Refusal};
use crate::pause::Pause;

/// How many requests may be under way at once.
const ROOM: u32 = 16;
/// How often a request is sent again because users or roles changed under it.
const OLD_REVISIONS: u32 = 10;

/// The connection of one datastore, and the rules for using it.
pub(crate) struct Connection {
    members: Vec<Member>,
    /// Whether there is a log-in that can run out.
    has_login: bool,
    deadlines: Deadlines,
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
    pub(crate) fn new(settings: &Settings) -> Result<Self, Error> {
        let members = member::all(settings)?;
        let line = Mutex::new(Line { pause: Pause::up_to(settings.deadlines.pause), ..Line::default() });
        let has_login = settings.basic_auth.is_some();
        Ok(Self {
            members,
            has_login,
            deadlines: settings.deadlines,
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
            let failure = match timeout(self.deadlines.request, Box::pin(request(Arc::clone(&session)))).await
            {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => Failure::of(&error, doing, &session.endpoint),
                Err(_) => Failure::late(doing, self.deadlines.request),
            };
            let not_carried_out = matches!(failure.refusal, Refusal::OldRevision | Refusal::LoginExpired);
            // A new session logs in again: an old log-in carries the old revision.
            if failure.refusal.leaves_doubt() || (not_carried_out && self.has_login) {
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
        if let Some(cause) = line.pause.cause(Instant::now()).filter(|_| patience == Patience::Keep) {
            return Err(Error::Unreachable { endpoints: self.endpoints(), source: cause.clone() });
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
        let endpoints: Vec<_> = self.members.iter().map(Member::endpoint).collect();
        endpoints.join(", ")
    }

    /// Tries the members in turn, and reports the failure that says most if none will do.
    async fn dial(&self, first: usize, number: u64) -> Result<(usize, Session), Error> {
        let mut failures = Vec::new();
        for index in (0..self.members.len()).map(|step| (first + step) % self.members.len()) {
            let (member, deadline) = (&self.members[index], self.deadlines.connect);
            match timeout(deadline, Box::pin(member.open(number))).await {
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

    async fn room(&self, effect: Effect, doing: &str) -> Result<SemaphorePermit<'_>, Failure> {
        let wanted = if effect == Effect::Accounts { ROOM } else { 1 };
        let deadline = self.deadlines.request;
        match timeout(deadline, self.room.acquire_many(wanted)).await {
            Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
            Err(_) => Err(Failure { refusal: Refusal::Other, ..Failure::late(doing, deadline) }),
        }
    }

    async fn give_up(&self, session: &Session) {
        let mut line = self.line.lock().await;
        if line.session.as_ref().is_some_and(|current| current.number == session.number) {
            line.session = None;
            line.first = (line.first + 1) % self.members.len();
        }
    }
}

impl Failure {
    pub(crate) fn of(error: &etcd_client::Error, doing: &str, endpoint: &str) -> Self {
        let refusal = Refusal::of(error);
        Self { refusal, error: refusal.report(doing, endpoint, refusal::cause(error)) }
    }

    fn late(doing: &str, after: Duration) -> Self {
        Self { refusal: Refusal::Lost, error: Error::Timeout { doing: doing.to_owned(), after } }
    }
}

impl From<Error> for Failure {
    /// The failure of a request that was not sent.
    fn from(error: Error) -> Self {
        Self { refusal: Refusal::Other, error }
    }
}

/// The error that says most about why no member would do; several that were not reached are told together.
fn worst(mut failures: Vec<Error>) -> Error {
    if let Some(telling) = failures.iter().position(|error| !matches!(error, Error::Unreachable { .. })) {
        return failures.swap_remove(telling);
    }
    let told = |error: &Error| match error {
        Error::Unreachable { endpoints, source } => (endpoints.clone(), format!("{endpoints}: {source}")),
        other => (String::new(), other.to_string()),
    };
    let (endpoints, causes): (Vec<_>, Vec<_>) = failures.iter().map(told).unzip();
    Error::Unreachable { endpoints: endpoints.join(", "), source: Cause(causes.join("; ")) }
}
