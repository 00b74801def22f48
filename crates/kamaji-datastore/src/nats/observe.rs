//! Reads what there is in a NATS account.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::account::{Account, Standing};
use crate::connection::Failure;
use crate::nats::bucket::{self, Shape};
use crate::nats::mark::{self, Mark};
use crate::nats::member::{Connection, Session};
use crate::nats::plan::{Observed, Place};
use crate::nats::refusal::Complaint;

/// The most buckets that are looked into for the data of another kine.
const MOST: usize = 256;

/// What there is for this account, as of a moment during this call.
pub(crate) async fn account(connection: &Connection, account: &Account) -> Result<Observed, Failure> {
    let schema = account.schema.as_str();
    let (place, mark) = mark(connection).await?;
    let bucket = stream(connection, schema).await?.map(|info| Shape::of(schema, &info["config"]));
    let is_new = mark == Mark::Absent && account.standing == Standing::Claimed;
    let neighbour = if is_new { neighbour(connection, schema).await? } else { None };
    let is_moving = mark.is_moving(account);
    Ok(Observed { place, mark, bucket, neighbour, is_moving })
}

/// The mark of the NATS account, and whether there is a stream that one can lie in.
pub(crate) async fn mark(connection: &Connection) -> Result<(Place, Mark), Failure> {
    let found = connection.ask("read the mark of the NATS account", |session| async move {
        message(&session, mark::STREAM, mark::SUBJECT).await
    });
    Ok(match found.await? {
        Found::NoStream => (Place::Missing, Mark::Absent),
        Found::NoMessage => (Place::Made, Mark::Absent),
        Found::Message { text, sequence } => (Place::Made, Mark::read(&text, sequence)),
    })
}

/// What the server tells of a bucket's stream, if there is one of that name.
pub(crate) async fn stream(connection: &Connection, name: &str) -> Result<Option<Value>, Failure> {
    let subject = format!("$JS.API.STREAM.INFO.{}", bucket::stream(name));
    let subject = subject.as_str();
    let doing = format!("look at bucket {name}");
    let info = connection.ask(&doing, |session| async move {
        match session.ask(subject, &Value::Null).await {
            Ok(info) => Ok(Some(info)),
            Err(complaint) if complaint.is_absence() => Ok(None),
            Err(complaint) => Err(complaint),
        }
    });
    info.await
}

/// Another bucket in which a kine keeps data.
pub(crate) async fn neighbour(connection: &Connection, own: &str) -> Result<Option<String>, Failure> {
    for name in buckets(connection).await?.into_iter().filter(|name| name != own).take(MOST) {
        let name = name.as_str();
        let doing = format!("look whether a kine uses bucket {name}");
        let found = connection.ask(&doing, |session| async move {
            message(&session, &bucket::stream(name), &bucket::health(name)).await
        });
        if matches!(found.await?, Found::Message { .. }) {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// All buckets but that of the marks.
async fn buckets(connection: &Connection) -> Result<Vec<String>, Failure> {
    let asked = connection.ask("list the buckets", |session| async move {
        session.ask("$JS.API.STREAM.NAMES", &json!({ "subject": "$KV.>" })).await
    });
    let answer = asked.await?;
    let names = answer["streams"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let names = names.filter_map(bucket::of_stream).filter(|name| *name != mark::BUCKET);
    Ok(names.map(str::to_owned).collect())
}

enum Found {
    NoStream,
    NoMessage,
    Message { text: Vec<u8>, sequence: u64 },
}

/// The last message on a subject, from the leader of its stream.
async fn message(session: &Session, stream: &str, subject: &str) -> Result<Found, Complaint> {
    let asked =
        session.ask(&format!("$JS.API.STREAM.MSG.GET.{stream}"), &json!({ "last_by_subj": subject })).await;
    match asked {
        Ok(answer) => {
            let message = &answer["message"];
            let text = message["data"].as_str().unwrap_or_default();
            let sequence = message["seq"].as_u64().ok_or(Complaint::Unreadable)?;
            let text = STANDARD.decode(text).map_err(|_| Complaint::Unreadable)?;
            Ok(Found::Message { text, sequence })
        }
        Err(Complaint::Answer { code: 10037, .. }) => Ok(Found::NoMessage),
        Err(complaint) if complaint.is_absence() => Ok(Found::NoStream),
        Err(complaint) => Err(complaint),
    }
}
