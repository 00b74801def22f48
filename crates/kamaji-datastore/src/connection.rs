//! One connection to one member of a datastore, made anew at another when it fails.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use crate::config::Deadlines;
use crate::error::{Cause, Error};
use crate::pause::Pause;
use crate::refusal::{Fault, Refusal};

/// How often a request is sent again that was certainly not carried out.
const TRIES: u32 = 10;

/// One server of a datastore, as a driver reaches it.
pub(crate) trait Member: Send + Sync {
    /// What a connection to it is, once it is made.
    type Session: Session;

    /// How many requests may be under way at once.
    const ROOM: u32;
    /// What it means that no answer came in time. [`Refusal::Lost`] where all members answer the same, so that another
    /// one is worth asking.
    const LATE: Refusal = Refusal::Late;

    /// Where it is, `host:port`.
    fn endpoint(&self) -> &str;

    /// A new session, in which the member has answered once and will do what we need.
    fn open(&self) -> impl Future<Output = Result<Self::Session, Error>> + Send;
}

/// A connection that works, as far as is known.
pub(crate) trait Session: Send + Sync {
    /// The member at its other end, `host:port`.
    fn endpoint(&self) -> &str;

    /// Whether it is known to have ended.
    fn is_closed(&self) -> bool {
        false
    }

    /// Whether it is not to be used again after a request was refused so.
    fn is_spoilt_by(&self, refusal: Refusal) -> bool {
        refusal.leaves_doubt()
    }
}

/// The connection of one datastore, and the rules for using it.
pub(crate) struct Connection<M: Member> {
    members: Vec<M>,
    deadlines: Deadlines,
    line: Mutex<Line<M::Session>>,
    /// Whoever has no room waits for it here, and not on the line: the deadline is for one's own answer.
    room: Semaphore,
}

/// What is known of the connection at a moment.
struct Line<S> {
    session: Option<Arc<S>>,
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
    /// Changes them: it takes all the room, for requests that are under way with it could fail.
    Accounts,
}

/// Why a request failed.
pub(crate) struct Failure {
    pub(crate) refusal: Refusal,
    pub(crate) error: Error,
}

impl<M: Member> Connection<M> {
    /// A connection to one of these members. Nothing is sent yet.
    pub(crate) fn new(members: Vec<M>, deadlines: Deadlines) -> Self {
        let line = Line { session: None, first: 0, pause: Pause::up_to(deadlines.pause) };
        Self { members, deadlines, line: Mutex::new(line), room: Semaphore::new(M::ROOM as usize) }
    }

    /// The answer to a question, which is asked again elsewhere if the connection fails.
    pub(crate) async fn ask<T, E: Fault, F>(
        &self,
        doing: &str,
        request: impl Fn(Arc<M::Session>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, E>>,
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
    pub(crate) async fn tell<T, E: Fault, F>(
        &self,
        doing: &str,
        effect: Effect,
        request: impl Fn(Arc<M::Session>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut refused = 0;
        loop {
            match self.send(doing, effect, &request).await {
                Err(failure) if failure.refusal.allows_another_try() && refused < TRIES => {
                    tokio::time::sleep(Duration::from_millis(1 << refused)).await;
                    refused += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// A session with a member that answers.
    pub(crate) async fn session(&self, patience: Patience) -> Result<Arc<M::Session>, Error> {
        let mut line = self.line.lock().await;
        if let Some(session) = line.session.as_ref().filter(|session| !session.is_closed()) {
            return Ok(Arc::clone(session));
        }
        if let Some(cause) = line.pause.cause(Instant::now()).filter(|_| patience == Patience::Keep) {
            return Err(Error::Unreachable { endpoints: self.endpoints(), source: cause.clone() });
        }
        line.session = None;
        match self.dial(line.first).await {
            Ok((member, session)) => {
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

    /// This session is used no more, if it still is; the next one is looked for at the next member first.
    pub(crate) async fn give_up(&self, session: &Arc<M::Session>) {
        let mut line = self.line.lock().await;
        if line.session.as_ref().is_some_and(|current| Arc::ptr_eq(current, session)) {
            line.session = None;
            line.first = (line.first + 1) % self.members.len();
        }
    }

    /// Sends a request once, in its turn.
    async fn send<T, E: Fault, F>(
        &self,
        doing: &str,
        effect: Effect,
        request: impl Fn(Arc<M::Session>) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, E>>,
    {
        let _room = self.room(effect).await;
        let session = self.session(Patience::Keep).await?;
        let deadline = self.deadlines.request;
        let failure = match timeout(deadline, Box::pin(request(Arc::clone(&session)))).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(fault)) if fault.refusal() != Refusal::Late => {
                Failure::of(&fault, doing, session.endpoint())
            }
            // If it is the server that ended it, then by the deadline that it was given.
            Ok(Err(_)) | Err(_) => {
                let error = Error::Timeout { doing: doing.to_owned(), after: deadline };
                Failure { refusal: M::LATE, error }
            }
        };
        if session.is_spoilt_by(failure.refusal) {
            self.give_up(&session).await;
        }
        Err(failure)
    }

    async fn room(&self, effect: Effect) -> SemaphorePermit<'_> {
        let wanted = if effect == Effect::Accounts { M::ROOM } else { 1 };
        self.room.acquire_many(wanted).await.expect("the semaphore is never closed")
    }

    fn endpoints(&self) -> String {
        let endpoints: Vec<_> = self.members.iter().map(Member::endpoint).collect();
        endpoints.join(", ")
    }

    /// Tries the members in turn, and reports the failure that says most if none will do.
    async fn dial(&self, first: usize) -> Result<(usize, M::Session), Error> {
        let mut failures = Vec::new();
        for index in (0..self.members.len()).map(|step| (first + step) % self.members.len()) {
            let (member, deadline) = (&self.members[index], self.deadlines.connect);
            match timeout(deadline, Box::pin(member.open())).await {
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
}

impl Failure {
    /// What a client said while we were `doing` something at `endpoint`.
    pub(crate) fn of(fault: &impl Fault, doing: &str, endpoint: &str) -> Self {
        let refusal = fault.refusal();
        Self { refusal, error: refusal.report(doing, endpoint, fault.cause()) }
    }
}

impl From<Error> for Failure {
    /// The failure of a request that was not sent.
    fn from(error: Error) -> Self {
        Self { refusal: Refusal::Other, error }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// The error that says most about why no member would do; several that were not reached are told together.
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
