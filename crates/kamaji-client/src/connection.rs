//! The connection itself.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Uri};
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use rustls::client::Resumption;
use rustls::pki_types::InvalidDnsNameError;
use tower::util::MapRequestLayer;
use tower::{BoxError, Service, ServiceExt};

use crate::{Bounds, Exceeded};

/// How often the peer is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// How long it may take to say so.
const PING_PATIENCE: Duration = Duration::from_secs(4);
/// What a server may send on one stream before we have read it, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// What a server may send on all streams before we have read it, in bytes.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// What the kernel may hold of one connection before we have read it, in bytes. Left to itself it takes tens of MiB from a
/// server that sends faster than [`Bounds::rate`], and long after that server is gone we would still be reading them.
const RECEIVE_BUFFER: usize = 256 << 10;

/// Why there is no client. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum Unconnectable {
    /// The configuration's certificates, keys or credentials cannot be used.
    #[error("the configuration of the client cannot be used")]
    Configuration(#[source] Box<kube::Error>),
    /// The name that the server's certificate must hold is none.
    #[error("the server cannot have this name")]
    ServerName(#[source] InvalidDnsNameError),
}

/// A client for the API server of `config`, within `bounds`. It connects when it is first used, and again after a failure.
///
/// Of `config`, the deadlines and the proxy are not used: [`Bounds`] are what counts, and API servers are near.
pub fn connect(config: &Config, bounds: Bounds) -> Result<Client, Unconnectable> {
    connect_counted(config, bounds, || ())
}

/// The same, which calls `count` before each request; a watch is one.
pub fn connect_counted<F>(config: &Config, bounds: Bounds, count: F) -> Result<Client, Unconnectable>
where
    F: Fn() + Clone + Send + 'static,
{
    let unusable = |error| Unconnectable::Configuration(Box::new(error));
    let mut tls = config.rustls_client_config().map_err(unusable)?;
    // A cache of sessions takes more memory than all else that an idle connection needs.
    tls.resumption = Resumption::disabled();
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(bounds.connect));
    connector.set_recv_buffer_size(Some(RECEIVE_BUFFER));
    let mut https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name = name.clone().try_into().map_err(Unconnectable::ServerName)?;
        https = https.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    let https =
        Timely { inner: https.enable_all_versions().wrap_connector(connector), limit: bounds.connect };
    let http: legacy::Client<_, Body> = legacy::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_PATIENCE)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .build(https);
    let http = http.map_err(BoxError::from);
    let stack = ClientBuilder::new(http, config.default_namespace.clone())
        .with_layer(&config.base_uri_layer())
        .with_layer(&tower::util::option_layer(config.auth_layer().map_err(unusable)?))
        .with_layer(&config.extra_headers_layer().map_err(unusable)?)
        .with_layer(&bounds)
        .with_layer(&MapRequestLayer::new(move |request: Request<Body>| {
            count();
            request
        }));
    Ok(stack.build())
}

/// Makes connections, or gives up in time: a peer that is stopped accepts connections and never says hello.
#[derive(Clone)]
struct Timely<C> {
    inner: C,
    limit: Duration,
}

impl<C> Service<Uri> for Timely<C>
where
    C: Service<Uri>,
    C::Future: Send + 'static,
    C::Response: 'static,
    C::Error: Into<BoxError>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (limit, made) = (self.limit, self.inner.call(uri));
        Box::pin(async move {
            let in_time = tokio::time::timeout(limit, made).await;
            in_time.map_err(|_| Exceeded::Connection(limit))?.map_err(Into::into)
        })
    }
}
