//! The keys of a bucket in their own order, a part at a time.
//!
//! NATS knows an order of messages and one of subjects, and kine's subjects are not ordered as keys are. So all subjects
//! are gone through, without their values, and the first keys are kept that come next: memory is that of this part,
//! whatever the size, at the price of going through again for the next part.

use std::collections::{BTreeMap, VecDeque};

use async_nats::{HeaderValue, Message};
use serde_json::{Value, json};

use crate::connection::{Effect, Failure};
use crate::migrate::place::Trouble;
use crate::nats::bucket;
use crate::nats::codec;
use crate::nats::member::Connection;

/// Below it lie all keys of an API server that uses kine.
pub(crate) const PREFIX: &str = "/registry/";
/// What kine keeps beside them: how far it has forgotten. API servers have the other name for it.
pub(crate) const COMPACTED: &str = "compact_rev_key_apiserver";
const OF_KINE: [&str; 2] = [COMPACTED, "compact_rev_key"];

/// How many keys a part has, at most.
const PART: usize = 20_000;
/// How many messages are asked for at once.
const BATCH: usize = 500;
/// How long a consumer is kept of which nobody asks anything, in nanoseconds.
const IDLE: u64 = 60_000_000_000;

/// One key, as far as it is known without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// What follows the prefix.
    pub(crate) key: Vec<u8>,
    /// The number of its last message.
    pub(crate) sequence: u64,
    /// When that was written, in seconds since 1970.
    pub(crate) written: i64,
    /// How long it is, in bytes.
    pub(crate) bytes: usize,
}

/// The keys that come next.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) keys: VecDeque<Listed>,
    /// Whether no others follow.
    pub(crate) is_last: bool,
}

/// The next keys after this one, or the first.
pub(crate) async fn next(connection: &Connection, name: &str, after: &[u8]) -> Result<Part, Trouble> {
    let stream = bucket::stream(name);
    let Some((consumer, pending)) = consumer(connection, name).await? else {
        return Ok(Part { is_last: true, ..Part::default() });
    };
    let (stream, consumer) = (stream.as_str(), consumer.as_str());
    let doing = format!("list the keys of bucket {name}");
    let (mut keys, mut left, mut is_last) = (BTreeMap::new(), pending, true);
    while left > 0 {
        let batch = left.min(BATCH);
        let fetched = connection.tell(&doing, Effect::None, |session| async move {
            session.fetch((stream, consumer), batch).await
        });
        for message in fetched.await? {
            let Some(listed) = listed(name, &message)?.filter(|listed| listed.key.as_slice() > after) else {
                continue;
            };
            keys.insert(listed.key.clone(), listed);
            is_last &= keys.len() <= PART;
            if keys.len() > PART {
                keys.pop_last();
            }
        }
        left -= batch;
    }
    forget(connection, stream, consumer).await;
    Ok(Part { keys: keys.into_values().collect(), is_last })
}

/// Who tells the last message of every subject, and how many there are; nothing if there is no bucket.
async fn consumer(connection: &Connection, name: &str) -> Result<Option<(String, usize)>, Failure> {
    let stream = bucket::stream(name);
    let wanted = json!({ "stream_name": stream, "config": {
        "deliver_policy": "last_per_subject", "filter_subject": format!("$KV.{name}.>"), "ack_policy": "none",
        "headers_only": true, "mem_storage": true, "num_replicas": 1, "inactive_threshold": IDLE,
    }});
    let (subject, wanted) = (format!("$JS.API.CONSUMER.CREATE.{stream}"), &wanted);
    let subject = subject.as_str();
    let doing = format!("go through bucket {name}");
    let made = connection.ask(&doing, |session| async move {
        match session.ask(subject, wanted).await {
            Ok(made) => Ok(Some(made)),
            Err(complaint) if complaint.is_absence() => Ok(None),
            Err(complaint) => Err(complaint),
        }
    });
    let made = made.await?;
    Ok(made.map(|made| {
        let pending = made["num_pending"].as_u64().and_then(|pending| usize::try_from(pending).ok());
        (made["name"].as_str().unwrap_or_default().to_owned(), pending.unwrap_or_default())
    }))
}

/// What is not forgotten now is forgotten by the server itself.
async fn forget(connection: &Connection, stream: &str, consumer: &str) {
    let subject = format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}");
    let subject = subject.as_str();
    let gone = connection
        .ask("forget a consumer", |session| async move { session.ask(subject, &Value::Null).await });
    if let Err(failure) = gone.await {
        tracing::debug!(error = %failure.error, "left a consumer to expire");
    }
}

/// The key of a message; nothing if it was deleted, or is kine's own.
fn listed(name: &str, message: &Message) -> Result<Option<Listed>, Trouble> {
    let headers = message.headers.as_ref();
    let header = |name: &str| headers.and_then(|headers| headers.get(name)).map(HeaderValue::as_str);
    if header("KV-Operation").is_some_and(|operation| operation != "PUT") {
        return Ok(None);
    }
    let tokens = message.subject.strip_prefix(&format!("$KV.{name}.")).unwrap_or_default();
    let whole = codec::key(tokens)
        .ok_or_else(|| Trouble::Odd("it holds keys that kine has not written".to_owned()))?;
    if OF_KINE.iter().any(|own| own.as_bytes() == whole) {
        return Ok(None);
    }
    let key = whole.strip_prefix(PREFIX.as_bytes());
    let key = key.ok_or_else(|| Trouble::Odd(format!("it holds keys outside {PREFIX}")))?.to_vec();
    let place = message.reply.as_deref().and_then(place);
    let (sequence, written) =
        place.ok_or_else(|| Trouble::Odd("its server numbers no messages".to_owned()))?;
    let bytes = header("Nats-Msg-Size").and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
    Ok(Some(Listed { key, sequence, written, bytes }))
}

/// The number of a message and when it was written, as the subject tells at which it is acknowledged:
/// `$JS.ACK.[<domain>.<account>.]<stream>.<consumer>.<delivered>.<number>.<number for the consumer>.<nanoseconds>.<pending>`,
/// and maybe one more. Source: ADR-15 of NATS.
fn place(acknowledge: &str) -> Option<(u64, i64)> {
    let tokens: Vec<&str> = acknowledge.split('.').collect();
    let delivered = match tokens.len() {
        9 => 4,
        11.. => 6,
        _ => return None,
    };
    let nanoseconds: i64 = tokens[delivered + 3].parse().ok()?;
    Some((tokens[delivered + 1].parse().ok()?, nanoseconds / 1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_a_message_is_read_from_both_forms() {
        let plain = "$JS.ACK.KV_t.JxT2d4GV.1.5002.7.1795436368739989655.1";
        assert_eq!(place(plain), Some((5002, 1_795_436_368)));
        let whole = "$JS.ACK.hub.hash.KV_t.JxT2d4GV.1.5002.7.1795436368739989655.1.random";
        assert_eq!(place(whole), Some((5002, 1_795_436_368)));
        assert_eq!(place("_INBOX.x"), None);
    }
}
