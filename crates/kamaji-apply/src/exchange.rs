//! One request, one answer: address, deadline, size limit, verdict.

use std::time::Duration;

use http::{HeaderMap, Request, header::RETRY_AFTER};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use kube::{Client, client::Body, core::Status};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{ObjectId, error::Failure};

/// How long a write may take, from the first byte sent to the last byte read.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// How long a read may take.
pub(crate) const READ_DEADLINE: Duration = Duration::from_secs(10);
/// The largest answer that is read. etcd keeps no object above 1.5 MiB.
pub(crate) const ANSWER_LIMIT: usize = 8 << 20;
/// How much of a refusal that is no `Status` is worth repeating, in characters.
const REFUSAL_EXCERPT: usize = 300;

/// The path of the collection that holds `object`, once its name is known to be harmless in a path.
pub(crate) fn collection(object: &ObjectId) -> Result<String, Failure> {
    let namespace = object.namespace.as_deref();
    if !is_segment(&object.name) || !namespace.is_none_or(is_segment) {
        return Err(Failure::Unaddressable);
    }
    let ObjectId { api_version, plural, .. } = object;
    let root = if api_version.contains('/') { "/apis" } else { "/api" };
    Ok(match namespace {
        Some(namespace) => format!("{root}/{api_version}/namespaces/{namespace}/{plural}"),
        None => format!("{root}/{api_version}/{plural}"),
    })
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '%', '?', '#'])
}

/// What `object` looks like to the server.
pub(crate) fn body(object: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(object).map_err(Failure::build)
}

/// Sends a request and reads the object that comes back.
pub(crate) async fn read_object<K>(
    client: &Client,
    request: Request<Vec<u8>>,
    deadline: Duration,
) -> Result<K, Failure>
where
    K: DeserializeOwned,
{
    decode(&send(client, request, deadline).await?)
}

/// Reads the object in an answer.
pub(crate) fn decode<K: DeserializeOwned>(answer: &[u8]) -> Result<K, Failure> {
    // Not `Client::request`: it logs a body that it cannot read, and so would put a Secret into the log. The error's
    // own text may quote the body as well, therefore only its place is kept.
    serde_json::from_slice(answer).map_err(|source| Failure::Unreadable {
        category: source.classify(),
        line: source.line(),
        column: source.column(),
    })
}

/// Sends a request and returns the body of a successful answer.
pub(crate) async fn send(
    client: &Client,
    request: Request<Vec<u8>>,
    deadline: Duration,
) -> Result<Vec<u8>, Failure> {
    let exchange = async {
        let answer = client.send(request.map(Body::from)).await.map_err(Failure::transport)?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_LIMIT).collect().await.map_err(unread)?.to_bytes();
        if head.status.is_success() {
            Ok(body.to_vec())
        } else {
            Err(refused(head.status.as_u16(), &head.headers, &body))
        }
    };
    // Boxed, so that the futures of the callers, which hold whole objects, stay small.
    tokio::time::timeout(deadline, Box::pin(exchange)).await.unwrap_or(Err(Failure::Deadline(deadline)))
}

fn unread(source: Box<dyn std::error::Error + Send + Sync>) -> Failure {
    if source.is::<LengthLimitError>() {
        return Failure::TooLarge { limit: ANSWER_LIMIT };
    }
    Failure::transport(source)
}

fn refused(code: u16, headers: &HeaderMap, body: &[u8]) -> Failure {
    let mut status: Box<Status> = serde_json::from_slice(body).unwrap_or_else(|_| {
        let text: String = String::from_utf8_lossy(body).trim().chars().take(REFUSAL_EXCERPT).collect();
        Box::new(Status::failure(&text, ""))
    });
    // A `Status` of a proxy in between may lack the code or contradict it.
    status.code = code;
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let detail = status.details.as_ref().map(|details| u64::from(details.retry_after_seconds));
    let seconds = header.or(detail).filter(|seconds| *seconds > 0);
    Failure::Refused { status, retry_after: seconds.map(Duration::from_secs) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, Request, Response, header::RETRY_AFTER};
    use k8s_openapi::api::core::v1::Secret;
    use kube::{Client, client::Body};

    use super::{ANSWER_LIMIT, READ_DEADLINE, collection, read_object, refused};
    use crate::{ObjectId, error::Failure};

    #[test]
    fn names_that_would_change_the_address_are_refused() {
        for name in ["", ".", "..", "a/b", "a?dryRun=All", "a#b", "a%2fb"] {
            let object = ObjectId::new::<Secret>(Some("ns"), name);
            assert!(matches!(collection(&object), Err(Failure::Unaddressable)), "{name}");
            let object = ObjectId::new::<Secret>(Some(name), "ok");
            assert!(matches!(collection(&object), Err(Failure::Unaddressable)), "{name}");
        }
        let object = ObjectId::new::<Secret>(Some("ns"), "system:a.b-c");
        assert_eq!(collection(&object).unwrap(), "/api/v1/namespaces/ns/secrets");
    }

    #[test]
    fn a_refusal_in_plain_text_keeps_its_code_and_its_wish() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static("2"))]);
        let Failure::Refused { status, retry_after } = refused(429, &headers, b"Too many requests\n") else {
            panic!("not a refusal")
        };
        assert_eq!((status.code, status.message.as_str()), (429, "Too many requests"));
        assert_eq!(retry_after, Some(Duration::from_secs(2)));
    }

    #[tokio::test]
    async fn an_unreadable_answer_is_not_repeated() {
        let failure = ask(r#"{"metadata": "hunter2"}"#.to_owned()).await;
        assert!(matches!(failure, Failure::Unreadable { .. }), "{failure:?}");
        assert!(!format!("{failure:?} {failure}").contains("hunter2"));
    }

    #[tokio::test]
    async fn an_endless_answer_is_not_read_to_its_end() {
        let failure = ask(" ".repeat(ANSWER_LIMIT + 1)).await;
        assert!(matches!(failure, Failure::TooLarge { .. }), "{failure:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_at_the_deadline() {
        let service =
            tower::service_fn(|_: Request<Body>| std::future::pending::<std::io::Result<Response<Body>>>());
        let client = Client::new(service, "default");
        let failure = read_object::<Secret>(&client, Request::default(), READ_DEADLINE).await.unwrap_err();
        assert!(matches!(failure, Failure::Deadline(READ_DEADLINE)), "{failure:?}");
    }

    async fn ask(answer: String) -> Failure {
        let service = tower::service_fn(move |_: Request<Body>| {
            let answer = answer.clone();
            async move { Ok::<_, std::io::Error>(Response::new(Body::from(answer.into_bytes()))) }
        });
        let client = Client::new(service, "default");
        read_object::<Secret>(&client, Request::default(), READ_DEADLINE).await.unwrap_err()
    }
}
