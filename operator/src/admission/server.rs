//! Serves the webhooks over HTTPS. Nothing of what comes in is trusted: connections, bodies and waiting are bounded.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kamaji_api::admission::Hook;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::Admission;
use super::follower::{Shown, follow};
use super::review::Question;

/// So many connections at once; others are closed. An API server has a few.
const CONNECTIONS: usize = 64;
/// So many questions are read at once; others wait.
const READERS: usize = 4;
/// The longest question, in bytes: an object and what it was before, each as long as etcd takes.
const LONGEST: usize = 4 << 20;
/// How long a handshake or a question may take to come in.
const ARRIVAL: Duration = Duration::from_secs(5);
/// How long a connection may be idle. API servers close theirs after 90 s.
const IDLE: Duration = Duration::from_mins(2);
/// How long nobody is let in after a connection could not be accepted.
const BREATH: Duration = Duration::from_millis(200);

/// Serves the webhooks until the process ends.
///
/// # Errors
/// When the address cannot be listened on.
pub(crate) async fn serve(admission: Arc<Admission>) -> std::io::Result<()> {
    let listener = TcpListener::bind(admission.options.address).await?;
    let shown = Arc::new(Shown::of(&admission.options));
    let acceptor = TlsAcceptor::from(Arc::new(config(&shown).map_err(std::io::Error::other)?));
    let server = Arc::new(Server {
        admission: Arc::clone(&admission),
        connections: Arc::new(Semaphore::new(CONNECTIONS)),
        readers: Semaphore::new(READERS),
    });
    let mut tasks = JoinSet::new();
    tasks.spawn(follow(admission.cluster.client().clone(), admission.options.clone(), shown));
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    if let Ok(place) = Arc::clone(&server.connections).try_acquire_owned() {
                        let (server, acceptor) = (Arc::clone(&server), acceptor.clone());
                        tasks.spawn(async move {
                            server.talk(acceptor, stream).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the webhooks could not be accepted");
                    tokio::time::sleep(BREATH).await;
                }
            },
            Some(_) = tasks.join_next() => {}
        }
    }
}

/// TLS 1.2 or 1.3, HTTP/1.1; every connection sees the certificate of the moment, for none is resumed.
fn config(shown: &Arc<Shown>) -> Result<ServerConfig, rustls::Error> {
    let resolver: Arc<Shown> = Arc::clone(shown);
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

struct Server {
    admission: Arc<Admission>,
    connections: Arc<Semaphore>,
    readers: Semaphore,
}

impl Server {
    /// One connection, from its handshake to its end. Whoever does not keep to the rules is not told why.
    async fn talk(&self, acceptor: TlsAcceptor, stream: TcpStream) {
        let Ok(Ok(stream)) = tokio::time::timeout(ARRIVAL, acceptor.accept(stream)).await else { return };
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), service_fn(|request| self.respond(request)));
        if let Err(error) = served.await {
            tracing::debug!(error = crate::error::chain(&error), "a connection to the webhooks ended early");
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let hook = Hook::ALL.into_iter().find(|hook| hook.path() == request.uri().path());
        let Some(hook) = hook else { return Ok(text(StatusCode::NOT_FOUND, "there is no such webhook")) };
        if request.method() != Method::POST {
            return Ok(text(StatusCode::METHOD_NOT_ALLOWED, "send an AdmissionReview with POST"));
        }
        let question = match self.read(request.into_body()).await {
            Ok(question) => question,
            Err(problem) => return Ok(text(StatusCode::BAD_REQUEST, &problem)),
        };
        let answer = Box::pin(self.admission.answer(hook, &question)).await;
        if !answer.complaints.is_empty() {
            tracing::debug!(webhook = hook.name(), complaints = %answer.complaints, "refused");
        }
        let body = answer.write(&question.uid).to_string();
        let mut response = Response::new(Full::new(Bytes::from(body)));
        let json = header::HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(response)
    }

    async fn read(&self, body: Incoming) -> Result<Question, String> {
        // It is never closed.
        let _place = self.readers.acquire().await;
        let collected = tokio::time::timeout(ARRIVAL, Limited::new(body, LONGEST).collect()).await;
        let collected = collected.map_err(|_| "the question did not come in time".to_owned())?;
        let bytes = collected.map_err(|error| format!("the question cannot be read: {error}"))?.to_bytes();
        Question::read(&bytes).map_err(|problem| format!("this is no AdmissionReview: {problem}"))
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
}
