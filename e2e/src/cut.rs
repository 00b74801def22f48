//! A wire to an API server that can be cut at any request.
//!
//! The cut stands between the client and its connections, above the client's own retries, so what is counted is what
//! the program asked for, and what is refused is what the program sees.

use std::{
    collections::BTreeSet,
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use anyhow::Result;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt, BodyStream, Full, StreamBody, combinators::UnsyncBoxBody};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
};
use serde_json::json;
use tokio::sync::watch;
use tower::{BoxError, Layer, Service};

/// A request that changes something, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// `POST`, `PUT`, `PATCH` or `DELETE`.
    pub method: String,
    /// The path, as in `/api/v1/namespaces/default/secrets/ca`.
    pub path: String,
    /// What follows the question mark; empty without one.
    pub query: String,
}

/// On which side of the server's work the wire is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The request is never sent.
    Before,
    /// The server carries the request out, and its answer is lost.
    After,
}

/// What a request gets instead of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is reset before the request is sent.
    Reset,
    /// The server refuses.
    Refusal {
        /// The HTTP status.
        code: u16,
        /// The reason in the answer's `Status`, as in `Conflict`.
        reason: &'static str,
        /// The header `Retry-After`, in seconds.
        retry_after: Option<u32>,
    },
}

/// A wire that can be cut. Clones are the same wire; any number of clients may share it.
#[derive(Clone)]
pub struct Wire(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    is_cut: watch::Sender<bool>,
    is_frozen: watch::Sender<bool>,
}

struct State {
    plan: Plan,
    unnumbered: &'static [&'static str],
    writes: Vec<Write>,
    requests: usize,
}

enum Plan {
    Intact,
    CutAt { number: usize, moment: Moment },
    EachOnce { fault: Fault, seen: BTreeSet<String> },
}

/// What becomes of one request.
enum Fate {
    Pass,
    Lost,
    AnswerLost,
    Answered(Fault),
}

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

impl Wire {
    /// An intact wire that numbers every write.
    pub fn new() -> Self {
        Self::without(&[])
    }

    /// An intact wire that neither logs nor numbers writes of these resources (plural names, as in paths), for writes
    /// that come by the clock: `leases`, `events`. A cut stops them like all others.
    pub fn without(unnumbered: &'static [&'static str]) -> Self {
        let state = State { plan: Plan::Intact, unnumbered, writes: Vec::new(), requests: 0 };
        let (is_cut, is_frozen) = (watch::Sender::new(false), watch::Sender::new(false));
        Self(Arc::new(Shared { state: Mutex::new(state), is_cut, is_frozen }))
    }

    /// A client over this wire.
    pub fn client(&self, config: Config) -> Result<Client> {
        Ok(ClientBuilder::try_from(config)?.with_layer(self).build())
    }

    /// Cuts the wire at the write of this number from now on, counted from 0. From then on every request is lost, and
    /// every watch ends, until [`Wire::restore`].
    pub fn cut_at(&self, number: usize, moment: Moment) {
        let mut state = self.state();
        let number = state.writes.len() + number;
        state.plan = Plan::CutAt { number, moment };
    }

    /// Cuts the wire now.
    pub fn cut_now(&self) {
        self.0.is_cut.send_replace(true);
    }

    /// Gives each request (method, path, whether it watches) this fault the first time it is made from now on.
    pub fn fail_each_once(&self, fault: Fault) {
        self.state().plan = Plan::EachOnce { fault, seen: BTreeSet::new() };
    }

    /// Makes the wire whole: everything passes from now on. The log stays.
    pub fn restore(&self) {
        self.state().plan = Plan::Intact;
        self.0.is_cut.send_replace(false);
    }

    /// Holds every request from now on, until [`Wire::thaw`]: it is neither sent nor counted meanwhile, and never if whoever
    /// made it gives up. What is on its way arrives, and watches go on.
    pub fn freeze(&self) {
        self.0.is_frozen.send_replace(true);
    }

    /// Sends what was held, if somebody still wants it.
    pub fn thaw(&self) {
        self.0.is_frozen.send_replace(false);
    }

    /// Whether the wire is cut.
    pub fn is_cut(&self) -> bool {
        *self.0.is_cut.borrow()
    }

    /// Waits until the wire is cut.
    pub async fn until_cut(&self) {
        cut(self.0.is_cut.subscribe()).await;
    }

    /// The writes that were sent, in order.
    pub fn writes(&self) -> Vec<Write> {
        self.state().writes.clone()
    }

    /// How many requests were made, reads and watches among them, whatever became of them.
    pub fn requests(&self) -> usize {
        self.state().requests
    }

    /// Forgets the writes and the count of requests.
    pub fn clear(&self) {
        let mut state = self.state();
        state.writes.clear();
        state.requests = 0;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked elsewhere leaves the log as it was.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides what becomes of a request, and notes it.
    fn judge(&self, request: &Request<Body>) -> Fate {
        let mut state = self.state();
        state.requests += 1;
        if self.is_cut() {
            return Fate::Lost;
        }
        let write = numbered_write(request, state.unnumbered);
        let next = state.writes.len();
        let fate = match &mut state.plan {
            Plan::CutAt { number, moment } if write.is_some() && *number == next => {
                self.0.is_cut.send_replace(true);
                match moment {
                    Moment::Before => Fate::Lost,
                    Moment::After => Fate::AnswerLost,
                }
            }
            Plan::EachOnce { fault, seen } if !seen.contains(&call(request)) => {
                seen.insert(call(request));
                Fate::Answered(*fault)
            }
            _ => Fate::Pass,
        };
        if matches!(fate, Fate::Pass | Fate::AnswerLost) {
            state.writes.extend(write);
        }
        fate
    }
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("is_cut", &self.is_cut()).finish_non_exhaustive()
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// The request as a write, if it changes something that is stored and worth a number.
fn numbered_write(request: &Request<Body>, unnumbered: &[&str]) -> Option<Write> {
    let path = request.uri().path();
    let changes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(request.method());
    // Reviews are questions in the shape of a POST.
    let is_question = path.ends_with("reviews");
    let is_unnumbered = path.split('/').any(|segment| unnumbered.contains(&segment));
    (changes && !is_question && !is_unnumbered).then(|| Write {
        method: request.method().to_string(),
        path: path.to_owned(),
        query: request.uri().query().unwrap_or_default().to_owned(),
    })
}

/// What makes two requests the same call.
fn call(request: &Request<Body>) -> String {
    let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
    format!("{} {} {}", request.method(), request.uri().path(), if is_watch { "watch" } else { "" })
}

impl<S> Layer<S> for Wire {
    type Service = Cut<S>;

    fn layer(&self, inner: S) -> Cut<S> {
        Cut { wire: self.clone(), inner, thaw: None }
    }
}

/// A service behind a [`Wire`].
pub struct Cut<S> {
    wire: Wire,
    inner: S,
    /// What a held request waits for.
    thaw: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S, B> Service<Request<Body>> for Cut<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let is_frozen = &self.wire.0.is_frozen;
        if self.thaw.is_none() && *is_frozen.borrow() {
            let mut is_frozen = is_frozen.subscribe();
            // The sender is the wire's, which we hold.
            self.thaw = Some(Box::pin(async move { drop(is_frozen.wait_for(|is_frozen| !is_frozen).await) }));
        }
        if let Some(thaw) = &mut self.thaw {
            ready!(thaw.as_mut().poll(cx));
            self.thaw = None;
        }
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match self.wire.judge(&request) {
            Fate::Lost => Box::pin(async { Err(reset()) }),
            Fate::Answered(fault) => Box::pin(async move { fault.answer() }),
            Fate::AnswerLost => {
                let sent = self.inner.call(request);
                Box::pin(async move {
                    // The server has done its work once its answer begins, whatever it says.
                    drop(sent.await.map_err(Into::into)?);
                    Err(reset())
                })
            }
            Fate::Pass => {
                let sent = self.inner.call(request);
                let is_cut = self.wire.0.is_cut.subscribe();
                Box::pin(async move {
                    let answer = sent.await.map_err(Into::into)?;
                    if *is_cut.borrow() {
                        return Err(reset());
                    }
                    Ok(answer.map(|body| severable(body, is_cut)))
                })
            }
        }
    }
}

impl Fault {
    fn answer(self) -> Result<Answer, BoxError> {
        let Self::Refusal { code, reason, retry_after } = self else { return Err(reset()) };
        let status = json!({
            "apiVersion": "v1",
            "kind": "Status",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": "refused by the test",
        });
        let body = Full::new(Bytes::from(status.to_string())).map_err(BoxError::from).boxed_unsync();
        let mut answer = Response::new(body);
        *answer.status_mut() = StatusCode::from_u16(code)?;
        if let Some(seconds) = retry_after {
            answer.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        Ok(answer)
    }
}

/// The body, until the wire is cut.
fn severable<B>(body: B, is_cut: watch::Receiver<bool>) -> UnsyncBoxBody<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    let frames = BodyStream::new(body);
    let severed = stream::unfold((frames, is_cut), |(mut frames, is_cut)| async move {
        let frame = tokio::select! {
            biased;
            () = cut(is_cut.clone()) => Some(Err(reset())),
            frame = frames.next() => frame.map(|frame| frame.map_err(Into::into)),
        };
        frame.map(|frame| (frame, (frames, is_cut)))
    });
    StreamBody::new(severed).boxed_unsync()
}

/// Waits for the cut; for ever, when nobody is left to make it.
async fn cut(mut is_cut: watch::Receiver<bool>) {
    if is_cut.wait_for(|is_cut| *is_cut).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn reset() -> BoxError {
    io::Error::new(io::ErrorKind::ConnectionReset, "the wire was cut by the test").into()
}
