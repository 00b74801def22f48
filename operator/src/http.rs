//! Health and metrics over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::watch;

use crate::clock;
use crate::context::Caches;
use crate::metrics::Metrics;

/// Content type of the `OpenMetrics` text format.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves `/healthz` and `/readyz` until the process ends. Ready means: the management API server has answered.
pub(crate) async fn serve_health(address: SocketAddr, ready: watch::Receiver<bool>) -> std::io::Result<()> {
    let readiness = move || {
        let ready = *ready.borrow();
        async move { if ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") } }
    };
    let router = Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(readiness));
    axum::serve(tokio::net::TcpListener::bind(address).await?, router).await
}

/// Serves `/metrics` until the process ends.
pub(crate) async fn serve_metrics(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    caches: watch::Receiver<Option<Caches>>,
) -> std::io::Result<()> {
    let render = move || {
        let text = metrics.render(caches.borrow().as_ref(), clock::now());
        async move { rendered(text) }
    };
    let router = Router::new().route("/metrics", get(render));
    axum::serve(tokio::net::TcpListener::bind(address).await?, router).await
}

fn rendered(text: Result<String, std::fmt::Error>) -> Response {
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
