//! Counts what a client sends.

use http::Request;
use kube::Client;
use kube::client::Body;

/// The same client, which calls `count` before each request; a watch is one.
pub fn counted<F>(client: Client, count: F) -> Client
where
    F: Fn() + Clone + Send + 'static,
{
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request: Request<Body>| {
        count();
        let client = client.clone();
        async move { client.send(request).await }
    });
    Client::new(service, namespace)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use http::Response;

    use super::*;

    #[tokio::test]
    async fn every_request_counts_once() {
        let server = tower::service_fn(|_: Request<Body>| async {
            Ok::<_, std::io::Error>(Response::new(Body::from(b"{}".to_vec())))
        });
        let sum = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&sum);
        let client = counted(Client::new(server, "default"), move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        for _ in 0..3 {
            let _ = client.request_text(Request::get("/readyz").body(Vec::new()).unwrap()).await;
        }
        assert_eq!(sum.load(Ordering::Relaxed), 3);
    }
}
