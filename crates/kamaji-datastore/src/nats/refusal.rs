//! What the server, or the client, says when a request fails, and what it means for us.
//!
//! Source of the codes: `server/errors.json` of nats-server.

use async_nats::{ConnectError, ConnectErrorKind, RequestError, RequestErrorKind};
use serde_json::Value;

use crate::error::Cause;
pub(crate) use crate::refusal::Fault;
use crate::refusal::{Refusal, words};

/// What `JetStream`'s API is asked at.
const API: &str = "$JS.API.";

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Complaint {
    /// No connection was made.
    Connect(ConnectError),
    /// The server begins TLS, and we are to speak in clear text.
    WantsTls,
    /// The connection has ended.
    Ended,
    /// Nobody listens on `JetStream`'s subjects.
    NoJetStream,
    /// No stream takes messages on this subject.
    NoStream,
    /// What the server said without being asked.
    Server(String),
    /// What `JetStream` answered.
    Answer {
        /// Like those of HTTP.
        class: u64,
        /// What exactly.
        code: u64,
        /// In words.
        description: String,
    },
    /// The client's own complaint.
    Request(RequestError),
    /// The answer is not what was asked for.
    Unreadable,
}

impl Complaint {
    /// The client's complaint about a request to this subject.
    pub(crate) fn of_request(subject: &str, error: RequestError) -> Self {
        match error.kind() {
            RequestErrorKind::NoResponders if subject.starts_with(API) => Self::NoJetStream,
            RequestErrorKind::NoResponders => Self::NoStream,
            _ => Self::Request(error),
        }
    }

    /// The member `error` of an answer.
    pub(crate) fn of_answer(error: &Value) -> Self {
        Self::Answer {
            class: error["code"].as_u64().unwrap_or_default(),
            code: error["err_code"].as_u64().unwrap_or_default(),
            description: error["description"].as_str().unwrap_or_default().chars().take(300).collect(),
        }
    }

    /// Whether what was asked for is not there.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::NoStream | Self::Answer { code: NO_MESSAGE | NO_SEQUENCE | NO_STREAM, .. })
    }

    /// Whether the server looked at a request and found that it makes no sense, so that we are allowed to make it.
    pub(crate) fn is_of_its_content(&self) -> bool {
        matches!(self, Self::Answer { .. }) && matches!(self.refusal(), Refusal::Raced | Refusal::Other)
    }
}

const NO_MESSAGE: u64 = 10037;
const NO_SEQUENCE: u64 = 10043;
const NO_STREAM: u64 = 10059;

impl Fault for Complaint {
    fn refusal(&self) -> Refusal {
        match self {
            Self::Connect(error) => of_connect(error),
            Self::WantsTls => Refusal::Untrusted,
            Self::Ended | Self::Request(_) => Refusal::Lost,
            Self::NoJetStream => Refusal::JetStreamOff,
            Self::NoStream => Refusal::Raced,
            Self::Server(text) => of_server(text),
            Self::Answer { class, code, .. } => of_answer(*class, *code),
            Self::Unreadable => Refusal::Other,
        }
    }

    fn cause(&self) -> Cause {
        match self {
            Self::Connect(error) => words(error),
            Self::Request(error) => words(error),
            Self::Answer { code, description, .. } => Cause(format!("{description} ({code})")),
            Self::Server(text) => Cause(text.chars().take(300).collect()),
            Self::WantsTls => {
                Cause("it demands TLS, and the DataStore names no certificate authority".to_owned())
            }
            Self::Ended => Cause("the connection has ended".to_owned()),
            Self::NoJetStream => Cause("nobody answers for JetStream".to_owned()),
            Self::NoStream => Cause("no stream takes this message".to_owned()),
            Self::Unreadable => Cause("the answer is no JSON".to_owned()),
        }
    }
}

fn of_connect(error: &ConnectError) -> Refusal {
    if error.kind() == ConnectErrorKind::AuthorizationViolation {
        return Refusal::Unauthenticated;
    }
    Refusal::of_handshake(error).unwrap_or_else(|| match of_server(&words(error).0) {
        Refusal::Other => Refusal::Lost,
        told => told,
    })
}

/// What a server says of its own accord, in words alone. Source: `server/errors.go` of nats-server.
fn of_server(text: &str) -> Refusal {
    let text = text.to_ascii_lowercase();
    let says = |words: &str| text.contains(words);
    if says("permissions violation") {
        Refusal::Forbidden
    } else if says("authorization") || says("authentication") || says("account") {
        Refusal::Unauthenticated
    } else if says("maximum connections") || says("stale connection") || says("timeout") {
        Refusal::Lost
    } else {
        Refusal::Other
    }
}

fn of_answer(class: u64, code: u64) -> Refusal {
    match code {
        // Not enabled: in the server, for the account.
        10076 | 10039 | 10035 => Refusal::JetStreamOff,
        // Not available, not the leader, incomplete, no peers, offline, not ready.
        10008 | 10009 | 10004 | 10005 | 10118 | 10163 => Refusal::NoQuorum,
        // Resources of account, server, storage, memory; streams; storing; bytes of the account.
        10002 | 10023 | 10047 | 10028 | 10027 | 10077 | 10122 => Refusal::NoSpace,
        // The name is taken, the last number is another, or what is meant is gone.
        10058 | 10071 | 10164 | 10057 | NO_MESSAGE | NO_SEQUENCE | NO_STREAM => Refusal::Raced,
        _ if class == 503 => Refusal::NoQuorum,
        _ => Refusal::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_codes_are_understood() {
        let cases = [
            (503, 10076, Refusal::JetStreamOff),
            (503, 10039, Refusal::JetStreamOff),
            (503, 10008, Refusal::NoQuorum),
            (500, 10047, Refusal::NoSpace),
            (503, 10023, Refusal::NoSpace),
            (400, 10058, Refusal::Raced),
            (400, 10071, Refusal::Raced),
            (404, 10059, Refusal::Raced),
            (503, 99_999, Refusal::NoQuorum),
            (400, 10056, Refusal::Other),
        ];
        for (class, code, refusal) in cases {
            assert_eq!(of_answer(class, code), refusal, "{code}");
        }
    }

    #[test]
    fn the_servers_words_are_understood() {
        for (text, refusal) in [
            ("Permissions Violation for Publish to \"$JS.API.STREAM.CREATE.x\"", Refusal::Forbidden),
            ("Permissions Violation for Subscription to \"_INBOX.x\"", Refusal::Forbidden),
            ("Authorization Violation", Refusal::Unauthenticated),
            ("User Authentication Expired", Refusal::Unauthenticated),
            ("maximum connections exceeded", Refusal::Lost),
            ("Unknown Protocol Operation", Refusal::Other),
        ] {
            assert_eq!(of_server(text), refusal, "{text}");
        }
    }

    #[test]
    fn the_words_of_a_server_are_kept_short() {
        let error = serde_json::json!({ "code": 500, "err_code": 1, "description": "x".repeat(10_000) });
        assert!(Complaint::of_answer(&error).cause().0.len() < 400);
    }
}
