//! Whether the server and our own rights in it are such that a tenant can be set up.

use serde_json::{Value, json};

use crate::connection::{Patience, Session as _};
use crate::error::Error;
use crate::nats::mark;
use crate::nats::member::{Connection, Session};
use crate::nats::refusal::Complaint;
use crate::store::Health;

/// A stream that is nobody's, and a body that is no request: whether it is refused as such, or before it is read, says
/// whether we may ask.
const NOTHING: &str = "KV__kamaji_nothing";
/// What is asked of streams.
const VERBS: &[&str] = &["CREATE", "UPDATE", "DELETE", "INFO", "MSG.GET", "MSG.DELETE"];

/// The server asks everyone who they are, keeps what it is given, has room, and lets us make and remove buckets.
pub(crate) async fn prove(connection: &Connection) -> Result<Health, Error> {
    let session = connection.session(Patience::Lose).await?;
    let info = connection.ask("ask how much room there is", |session| async move {
        session.ask("$JS.API.INFO", &Value::Null).await
    });
    let info = info.await?;
    let version = session.version();
    if session.lets_strangers_in().await {
        return Err(Error::AuthDisabled { endpoint: session.endpoint().to_owned() });
    }
    let (used_bytes, quota_bytes) = room(&info);
    if quota_bytes.is_some_and(|quota| used_bytes >= quota) {
        return Err(Error::NoSpace { doing: "keep a tenant's data".to_owned() });
    }
    for verb in VERBS {
        may_ask(connection, verb).await?;
    }
    takes_writes(connection).await?;
    Ok(Health { endpoint: session.endpoint().to_owned(), version, used_bytes, quota_bytes })
}

/// The server answers, and keeps what it is given.
pub(crate) async fn answers(connection: &Connection) -> Result<(), Error> {
    connection.session(Patience::Keep).await?;
    let info = connection.ask("ask how much room there is", |session| async move {
        session.ask("$JS.API.INFO", &Value::Null).await
    });
    Ok(info.await.map(drop)?)
}

/// How much is used of how much, in bytes; a negative limit is none. In tiers, of that for one replica.
fn room(info: &Value) -> (u64, Option<u64>) {
    let tier = info["tiers"].get("R1").unwrap_or(info);
    let limit = tier["limits"]["max_storage"].as_i64().and_then(|limit| u64::try_from(limit).ok());
    (info["storage"].as_u64().unwrap_or_default(), limit)
}

async fn may_ask(connection: &Connection, verb: &str) -> Result<(), Error> {
    let subject = format!("$JS.API.STREAM.{verb}.{NOTHING}");
    let subject = subject.as_str();
    let doing = format!("ask for {subject}");
    let asked = connection.ask(&doing, |session| async move {
        match session.ask(subject, &json!({ "name": "" })).await {
            Ok(_) => Ok(()),
            Err(complaint) if complaint.is_of_its_content() => Ok(()),
            Err(complaint) => Err(complaint),
        }
    });
    Ok(asked.await?)
}

/// A message is kept, and taken away at once. As long as there is no stream of ours, that we may send one is all that can
/// be known.
async fn takes_writes(connection: &Connection) -> Result<(), Error> {
    let doing = format!("keep a message on {}", mark::TRIAL);
    let kept = connection.ask(&doing, |session| async move { keep(&session).await });
    let Some(sequence) = kept.await? else { return Ok(()) };
    let gone = connection.ask("take a message away", |session| async move {
        let subject = format!("$JS.API.STREAM.MSG.DELETE.{}", mark::STREAM);
        match session.ask(&subject, &json!({ "seq": sequence })).await {
            // What it says against the message itself is that another examination was faster.
            Err(complaint) if !matches!(complaint, Complaint::Answer { .. }) => Err(complaint),
            Ok(_) | Err(_) => Ok(()),
        }
    });
    Ok(gone.await?)
}

async fn keep(session: &Session) -> Result<Option<u64>, Complaint> {
    match session.publish(mark::TRIAL, "", None).await {
        Ok(answer) => answer["seq"].as_u64().map(Some).ok_or(Complaint::Unreadable),
        Err(complaint) if complaint.is_absence() => Ok(None),
        Err(complaint) => Err(complaint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_that_of_the_account() {
        let plain = json!({ "storage": 5, "limits": { "max_storage": 10 } });
        assert_eq!(room(&plain), (5, Some(10)));
        assert_eq!(room(&json!({ "storage": 5, "limits": { "max_storage": -1 } })), (5, None));
        let tiers = json!({ "storage": 5, "tiers": { "R1": { "limits": { "max_storage": 7 } } } });
        assert_eq!(room(&tiers), (5, Some(7)));
        assert_eq!(room(&json!({})), (0, None));
    }
}
