//! How long a server may take, and how much it may answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited};
use kube::client::Body;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::body::Watched;

/// How long a server may take, and how much it may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Until there is a connection, before TLS.
    pub connect: Duration,
    /// From the first try to connect until the last byte of an answer; of a watch, until it has begun.
    pub answer: Duration,
    /// The longest that a watch may be silent. An API server sends a bookmark about once a minute.
    pub silence: Duration,
    /// The largest answer, in bytes; of a watch, the largest event.
    pub size: usize,
}

impl Default for Bounds {
    /// 5 s, 30 s, 2 min, and 8 MiB.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            silence: Duration::from_mins(2),
            size: 8 << 20,
        }
    }
}

/// What the server overstepped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// No complete answer came in time.
    #[error("no complete answer came within {0:?}")]
    Answer(Duration),
    /// A watch was silent for too long.
    #[error("nothing was heard of the watch for {0:?}")]
    Silence(Duration),
    /// An event of a watch was too large.
    #[error("an event is larger than {0} bytes")]
    Size(usize),
}

impl<S> Layer<S> for Bounds {
    type Service = Bounded<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Bounded { inner, bounds: *self }
    }
}

/// Keeps a service within its [`Bounds`].
#[derive(Clone, Debug)]
pub struct Bounded<S> {
    inner: S,
    bounds: Bounds,
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
        let bounds = self.bounds;
        let is_watch = is_watch(&request);
        let sent = self.inner.clone().oneshot(request);
        let exchange = async move {
            let (head, body) = sent.await.map_err(Into::into)?.into_parts();
            let body = if is_watch && head.status.is_success() {
                Watched::new(body, &bounds).boxed_unsync()
            } else {
                let answer = Limited::new(body, bounds.size).collect().await?.to_bytes();
                Full::new(answer).map_err(Into::into).boxed_unsync()
            };
            Ok(Response::from_parts(head, body))
        };
        Box::pin(async move {
            let in_time = tokio::time::timeout(bounds.answer, exchange).await;
            in_time.unwrap_or_else(|_| Err(Exceeded::Answer(bounds.answer).into()))
        })
    }
}

/// Whether the answer goes on until one side ends it: [a watch](https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes).
fn is_watch(request: &Request<Body>) -> bool {
    let parameters = request.uri().query().unwrap_or_default().split('&');
    parameters.into_iter().any(|parameter| matches!(parameter, "watch=true" | "watch=1"))
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;
    use http_body_util::StreamBody;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::{Api, ListParams, WatchParams};
    use kube::client::ClientBuilder;

    use super::*;

    const BOUNDS: Bounds =
        Bounds { connect: Duration::from_secs(1), answer: Duration::from_secs(10), silence: Duration::from_mins(1), size: 1000 };

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
        assert!(excess(&error).contains("length limit exceeded"), "{}", excess(&error));
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
}
