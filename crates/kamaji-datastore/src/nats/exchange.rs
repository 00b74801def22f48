//! Many messages at once, to and from a stream.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;

use crate::nats::listing::Listed;
use crate::nats::member::Session;
use crate::nats::refusal::Complaint;

/// How much is read at once, in bytes, about.
pub(crate) const PAGE: usize = 2 * 1024 * 1024;
/// How many requests are under way at once.
const AT_ONCE: usize = 32;

/// What kine takes for the end of a key.
pub(crate) const DELETED: [(&str, &str); 1] = [("KV-Operation", "DEL")];

/// A message for a stream.
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) body: Vec<u8>,
    pub(crate) is_deletion: bool,
}

/// So many keys as may be read at once.
pub(crate) fn some(keys: &mut VecDeque<Listed>) -> Vec<Listed> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while some.len() < AT_ONCE
        && let Some(next) = keys.pop_front_if(|next| bytes == 0 || bytes + next.bytes <= PAGE)
    {
        bytes += next.bytes;
        some.push(next);
    }
    some
}

/// The messages of these numbers, in their order; nothing for one that is gone.
pub(crate) async fn get(
    session: Arc<Session>,
    stream: &str,
    listed: &[Listed],
) -> Result<Vec<Option<Vec<u8>>>, Complaint> {
    let mut getters = JoinSet::new();
    for (index, sequence) in listed.iter().map(|listed| listed.sequence).enumerate() {
        let (session, stream) = (Arc::clone(&session), stream.to_owned());
        getters.spawn(async move { (index, session.get(&stream, sequence).await) });
    }
    let mut found = vec![None; listed.len()];
    while let Some(got) = getters.join_next().await {
        let Ok((index, message)) = got else { return Err(Complaint::Ended) };
        found[index] = message?.map(|message| message.payload.to_vec());
    }
    Ok(found)
}

/// Every message was kept.
pub(crate) async fn put(session: Arc<Session>, messages: &Arc<Vec<Outgoing>>) -> Result<(), Complaint> {
    let (mut putters, mut next) = (JoinSet::new(), 0);
    while next < messages.len() || !putters.is_empty() {
        if next < messages.len() && putters.len() < AT_ONCE {
            let (session, messages, index) = (Arc::clone(&session), Arc::clone(messages), next);
            putters.spawn(async move {
                let Outgoing { subject, body, is_deletion } = &messages[index];
                let headers = if *is_deletion { DELETED.as_slice() } else { &[] };
                session.put(subject, headers, body.clone()).await.map(drop)
            });
            next += 1;
        } else if let Some(put) = putters.join_next().await {
            put.unwrap_or(Err(Complaint::Ended))?;
        }
    }
    Ok(())
}

/// The time, in seconds since 1970: what a server says of a message is when it was written.
#[allow(
    clippy::disallowed_methods,
    reason = "how old a message is changes while it is copied, and no caller knows"
)]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
