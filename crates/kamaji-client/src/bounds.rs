//! How long a server may take, and how much it may answer.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::body::Watched;
use crate::held::{Held, Share};
use crate::pace::Pace;

/// How long a server may take, and how much it may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Until there is a connection, TLS included.
    pub connect: Duration,
    /// From the first try to connect until the last byte of an answer; of a watch, until it has begun.
    pub answer: Duration,
    /// The longest that a watch may be silent. An API server sends a bookmark about once a minute.
    pub silence: Duration,
    /// The largest answer, in bytes; of a watch, the largest event.
    pub size: usize,
    /// How much all answers that have not ended yet may be together, in bytes.
    pub together: usize,
    /// How much is read in the long run, in bytes each second; [`Bounds::together`] at once.
    pub rate: usize,
    /// How many requests are sent in the long run, each second; ten times as many at once.
    pub requests: usize,
}

impl Default for Bounds {
    /// 5 s, 30 s, 2 min, 8 MiB, 64 MiB, 8 MiB each second, and 100 requests each second.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            silence: Duration::from_mins(2),
            size: 8 << 20,
            together: 64 << 20,
            rate: 8 << 20,
            requests: 100,
        }
    }
}

/// What the server overstepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// There was no connection in time.
    #[error("there was no connection within {0:?}")]
    Connection(Duration),
    /// No complete answer came in time.
    #[error("no complete answer came within {0:?}")]
    Answer(Duration),
    /// A watch was silent for too long.
    #[error("nothing was heard of the watch for {0:?}")]
    Silence(Duration),
    /// An answer was too large, or an event of a watch.
    #[error("an answer is larger than {0} bytes")]
    Size(usize),
    /// All answers that had not ended yet were too large together.
    #[error("the unfinished answers are larger than {0} bytes")]
    Together(usize),
    /// A watch ended although it had just begun.
    #[error("the watch ended {0:?} after it had begun")]
    Brief(Duration),
}

impl Bounds {
    /// How long to rest after so many bytes have come in.
    pub(crate) fn rest_after(&self, bytes: usize, pace: &Pace) -> Duration {
        pace.take(bytes, self.together, self.rate)
    }
}

impl<S> Layer<S> for Bounds {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Bounded { inner, bounds: *self, held: Held::default(), reading: Pace::new(), asking: Pace::new() }
    }
}

/// Keeps a service within its [`Bounds`].
#[derive(Clone, Debug)]
pub struct Bounded<S> {
    inner: S,
    bounds: Bounds,
    held: Held,
    reading: Pace,
    asking: Pace,
}

impl<S, B> Service<Request<Body>> for Bounded<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Each request waits for its own readiness, within its own deadline.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (bounds, unfinished, pace) = (self.bounds, self.held.clone(), self.reading.clone());
        let rest = self.asking.take(1, bounds.requests.saturating_mul(10), bounds.requests);
        let is_watch = is_watch(&request);
        let sent = self.inner.clone().oneshot(request);
        let exchange = async move {
            let (head, body) = sent.await.map_err(Into::into)?.into_parts();
            let body = if is_watch && head.status.is_success() {
                Watched::new(body, &bounds, &unfinished, &pace).boxed_unsync()
            } else {
                let answer = gathered(body, unfinished.share(), (bounds, pace)).await?;
                Full::new(answer).map_err(Into::into).boxed_unsync()
            };
            Ok(Response::from_parts(head, body))
        };
        Box::pin(async move {
            tokio::time::sleep(rest).await;
            let in_time = tokio::time::timeout(bounds.answer, exchange).await;
            in_time.unwrap_or_else(|_| Err(Exceeded::Answer(bounds.answer).into()))
        })
    }
}

/// All of the body.
async fn gathered<B>(body: B, mut share: Share, (bounds, pace): (Bounds, Pace)) -> Result<Bytes, BoxError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let mut body = pin!(body);
    let mut whole = BytesMut::new();
    while let Some(data) = next(body.as_mut()).await? {
        share.add(data.len(), &bounds)?;
        whole.extend_from_slice(&data);
        tokio::time::sleep(bounds.rest_after(data.len(), &pace)).await;
    }
    Ok(whole.freeze())
}

/// The next piece of a body, empty if it is no data.
async fn next<B>(mut body: Pin<&mut B>) -> Result<Option<Bytes>, BoxError>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let frame = body.frame().await.transpose().map_err(Into::into)?;
    Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

/// Whether the answer goes on until one side ends it: [a watch](https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes).
fn is_watch(request: &Request<Body>) -> bool {
    let parameters = request.uri().query().unwrap_or_default().split('&');
    parameters.into_iter().any(|parameter| matches!(parameter, "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::{StreamExt, TryStreamExt};
    use http_body_util::StreamBody;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{Api, ListParams, WatchParams};
    use kube::client::ClientBuilder;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        connect: Duration::from_secs(1),
        answer: Duration::from_secs(10),
        silence: Duration::from_mins(1),
        size: 1000,
        together: 3000,
        rate: 100,
        requests: 100,
    };

    type Chunk = Result<http_body::Frame<Bytes>, BoxError>;

    /// A server that answers everything with this chunk, again and again, with a pause before each.
    fn config_maps(chunk: &'static str, pause: Duration) -> Api<ConfigMap> {
        let server = tower::service_fn(move |_: Request<Body>| async move {
            let chunks = futures::stream::unfold((), move |()| async move {
                tokio::time::sleep(pause).await;
                Some((Chunk::Ok(http_body::Frame::data(Bytes::from_static(chunk.as_bytes()))), ()))
            });
            Ok::<_, BoxError>(Response::new(StreamBody::new(Box::pin(chunks))))
        });
        Api::default_namespaced(ClientBuilder::new(server, "default").with_layer(&BOUNDS).build())
    }

    fn excess(error: &(dyn std::error::Error + 'static)) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        text
    }

    async fn first_event(chunk: &'static str, pause: Duration) -> String {
        let events = config_maps(chunk, pause).watch(&WatchParams::default(), "0").await.unwrap();
        match Box::pin(events).try_next().await {
            Ok(event) => format!("{event:?}"),
            Err(error) => excess(&error),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drip_ends_at_the_deadline() {
        let error = config_maps(" ", Duration::from_secs(1)).list(&ListParams::default()).await.unwrap_err();
        assert!(excess(&error).contains("within 10s"), "{}", excess(&error));
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_answer_ends_at_the_limit() {
        let error = config_maps("        ", Duration::ZERO).list(&ListParams::default()).await.unwrap_err();
        assert!(excess(&error).contains("larger than 1000 bytes"), "{}", excess(&error));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_may_last_but_not_be_silent() {
        let event = first_event("\n", Duration::from_secs(59));
        let outcome = tokio::time::timeout(Duration::from_hours(1), event).await;
        assert!(outcome.is_err(), "ended after {outcome:?}");
        let text = first_event("\n", Duration::from_secs(61)).await;
        assert!(text.contains("for 60s"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_endless_event_ends_at_the_limit() {
        let text = first_event("        ", Duration::from_millis(1)).await;
        assert!(text.contains("larger than 1000 bytes"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn many_endless_answers_end_together() {
        // 500 bytes each by the deadline, which none of them would live to see.
        let (api, params) = (config_maps("          ", Duration::from_millis(200)), ListParams::default());
        let lists = (0..10).map(|_| async { excess(&api.list(&params).await.unwrap_err()) });
        let errors = futures::future::join_all(lists).await;
        let together = errors.iter().filter(|error| error.contains("larger than 3000 bytes")).count();
        assert_eq!(together, 4, "{errors:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_talks_too_much_is_read_slowly() {
        let said = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&said);
        let server = tower::service_fn(move |_: Request<Body>| {
            let count = Arc::clone(&count);
            // Empty lines are no events, so nothing ever comes of them. It gives up at last, or we would never return.
            let lines = futures::stream::iter(0..1000).map(move |_| {
                count.fetch_add(10, Ordering::Relaxed);
                Chunk::Ok(http_body::Frame::data(Bytes::from_static(b"\n\n\n\n\n\n\n\n\n\n")))
            });
            async { Ok::<_, BoxError>(Response::new(StreamBody::new(lines))) }
        });
        let client = ClientBuilder::new(server, "default").with_layer(&BOUNDS).build();
        let events =
            Api::<ConfigMap>::default_namespaced(client).watch(&WatchParams::default(), "0").await.unwrap();
        let event = tokio::time::timeout(Duration::from_secs(30), Box::pin(events).try_next()).await;
        assert!(event.is_err(), "{event:?}");
        let said = said.load(Ordering::Relaxed);
        assert!((3000..=3000 + 30 * 110).contains(&said), "{said} bytes");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_answered_at_once_does_not_ask_without_a_pause() {
        let server =
            tower::service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(Response::new(Body::empty())) });
        let client = ClientBuilder::new(server, "default").with_layer(&BOUNDS).build();
        let begin = tokio::time::Instant::now();
        for _ in 0..1100 {
            client.request_text(http::Request::get("/readyz").body(Vec::new()).unwrap()).await.unwrap();
        }
        assert_eq!(begin.elapsed().as_secs(), 1, "a thousand at once, and the others within a second");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_ends_at_once_fails() {
        let server =
            tower::service_fn(|_: Request<Body>| async { Ok::<_, BoxError>(Response::new(Body::empty())) });
        let client = ClientBuilder::new(server, "default").with_layer(&BOUNDS).build();
        let events =
            Api::<ConfigMap>::default_namespaced(client).watch(&WatchParams::default(), "0").await.unwrap();
        let error = Box::pin(events).try_next().await.unwrap_err();
        assert!(excess(&error).contains("after it had begun"), "{}", excess(&error));
    }
}
