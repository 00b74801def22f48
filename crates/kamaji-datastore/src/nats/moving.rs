//! A tenant's data in NATS, as kine keeps it and as a migration sees it.
//!
//! The fence is the stream's own: it takes messages elsewhere from then on, so that what a kine sends is kept by nobody,
//! over whatever connection it comes. A target is filled there, under the nonce of its mark; whoever knows only an
//! earlier one writes to nobody.
//!
//! What is copied is what is there now. `JetStream` numbers its messages itself, so the target's number is set above the
//! source's revision while it is empty. kine goes through all messages when it starts, and waits for the last number that
//! there is: the last message must be one that it can read, so how far it has forgotten is written last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::account::Account;
use crate::connection::{Effect, Failure, Patience};
use crate::error::{Cause, Error};
use crate::migrate::mark::{Mark, Stage};
use crate::migrate::place::{Batch, Edits, Kind, Look, Place, Trouble, Version};
use crate::migrate::plan::{Data, Door, Found, Presence};
use crate::migrate::record::{After, Record, Shape};
use crate::nats::exchange::{DELETED, Outgoing, PAGE, get, now, put, some};
use crate::nats::listing::{self, COMPACTED, Listed, PREFIX, Part};
use crate::nats::mark::{self, Mark as OwnMark, Underway};
use crate::nats::member::Connection;
use crate::nats::plan::{self, Observed, Step};
use crate::nats::refusal::Complaint;
use crate::nats::{bucket, codec, observe, statement};
use crate::refusal::Refusal;

/// How many keys are read at once, at most.
const KEYS: usize = 500;
/// How long the number of a bucket that is not empty is raised at a time.
const RAISING: Duration = Duration::from_secs(2);
/// How many messages raise it before one is waited for: a server drops what it cannot take in.
const RAISERS: i64 = 500;
/// Their key: kine takes it for one that was deleted.
const RAISED: &str = "_kamaji_raised";
/// A number that no message ever has: whoever expects it is refused, and nothing is kept.
const NEVER: u64 = i64::MAX.unsigned_abs();
/// Under this word a source is shut.
const FENCE: &str = "fence";
/// Under this word a target is shut that has nothing yet.
const NEW: &str = "new";

/// One account in one NATS.
pub(crate) struct Moving {
    connection: Arc<Connection>,
    account: Account,
    /// The keys that come next.
    part: Mutex<(Vec<u8>, Part)>,
}

/// What there is.
struct Seen {
    observed: Observed,
    /// What the server says of the bucket's stream.
    stream: Option<Value>,
}

impl Seen {
    /// The number of the message that holds the marks, and the migration's.
    fn mark(&self) -> (u64, Option<&Mark>) {
        match &self.observed.mark {
            OwnMark::Held { sequence, underway: Underway::Marked(mark), .. } => {
                (*sequence, Some(mark.as_ref()))
            }
            OwnMark::Held { sequence, .. } => (*sequence, None),
            OwnMark::Absent | OwnMark::Unreadable => (0, None),
        }
    }

    fn count(&self, of: &str) -> u64 {
        self.stream.as_ref().and_then(|stream| stream["state"][of].as_u64()).unwrap_or_default()
    }
}

impl Moving {
    pub(crate) fn new(connection: Arc<Connection>, account: Account) -> Self {
        Self { connection, account, part: Mutex::default() }
    }

    fn name(&self) -> &str {
        self.account.schema.as_str()
    }

    async fn see(&self) -> Result<Seen, Trouble> {
        let observed = observe::account(&self.connection, &self.account).await?;
        plan::ensure(&self.account, &observed).map_err(|what| Error::Foreign { what })?;
        if matches!(observed.mark, OwnMark::Held { underway: Underway::Unreadable, .. }) {
            return Err(Error::Moving { schema: self.account.schema.clone() }.into());
        }
        let stream = observe::stream(&self.connection, self.name()).await?;
        Ok(Seen { observed, stream })
    }

    fn door(&self, seen: &Seen) -> Door {
        let found = seen.stream.as_ref().and_then(|stream| bucket::word(self.name(), &stream["config"]));
        let is_shut = found.is_some() && found == seen.mark().1.map(word);
        let is_complete = plan::ensure(&self.account, &seen.observed).is_ok_and(|steps| steps.is_empty());
        match (is_shut, is_complete) {
            (true, _) => Door::Shut,
            (false, true) => Door::Open,
            (false, false) => Door::Ajar,
        }
    }

    /// A statement on the bucket's stream was made.
    async fn tell(&self, doing: &str, verb: &str, body: &Value) -> Result<Value, Failure> {
        let subject = format!("$JS.API.STREAM.{verb}.{}", bucket::stream(self.name()));
        let subject = subject.as_str();
        self.connection
            .tell(doing, Effect::Accounts, |session| async move { session.ask(subject, body).await })
            .await
    }

    /// The bucket is shut under this word, and what was sent to it before is kept or refused.
    async fn close(&self, verb: &str, word: &str) -> Result<(), Trouble> {
        let doing = format!("shut bucket {}", self.name());
        self.tell(&doing, verb, &bucket::shut(self.name(), word)).await?;
        // What waits in the stream is handled in order: once this is answered nothing older is left.
        let last = format!("{}.{RAISED}", bucket::aside(self.name(), word));
        if self.takes(&last).await? { Ok(()) } else { Err(self.raced(&doing)) }
    }

    /// Whether a stream takes messages on this subject. None is kept.
    async fn takes(&self, subject: &str) -> Result<bool, Failure> {
        let doing = format!("write to bucket {}", self.name());
        let tried = self.connection.ask(&doing, |session| async move {
            match session.publish(subject, "", Some(NEVER)).await {
                Ok(_) | Err(Complaint::Answer { .. }) => Ok(true),
                Err(Complaint::NoStream) => Ok(false),
                Err(complaint) => Err(complaint),
            }
        });
        tried.await
    }

    fn raced(&self, doing: &str) -> Trouble {
        let source = Cause(format!("bucket {} was changed meanwhile", self.name()));
        let error = Error::Refused { doing: doing.to_owned(), source };
        Failure { refusal: Refusal::Raced, error }.into()
    }

    /// The next keys after this one; those that were listed already, if they are.
    async fn keys(&self, after: &[u8]) -> Result<Part, Trouble> {
        let (known, part) = std::mem::take(&mut *lock(&self.part));
        if !after.is_empty() && known == after && (part.is_last || !part.keys.is_empty()) {
            return Ok(part);
        }
        listing::next(&self.connection, self.name(), after).await
    }

    /// What there is at these keys.
    async fn read(&self, listed: Vec<Listed>) -> Result<Vec<Record>, Trouble> {
        let (doing, stream) = (format!("read bucket {}", self.name()), bucket::stream(self.name()));
        let (listed, stream) = (Arc::new(listed), stream.as_str());
        let found = self.connection.ask(&doing, |session| {
            let listed = Arc::clone(&listed);
            async move { get(session, stream, &listed).await }
        });
        let (found, now) = (found.await?, now());
        let mut records = Vec::with_capacity(found.len());
        for (listed, message) in listed.iter().zip(found) {
            let Some(message) = message else { continue };
            let entry = codec::entry(&message).map_err(|()| {
                let key = String::from_utf8_lossy(&listed.key).chars().take(200).collect::<String>();
                Trouble::Odd(format!("what it holds at {PREFIX}{key} is not of kine"))
            })?;
            let Some(entry) = entry else { continue };
            let left = (entry.lease - (now - listed.written)).clamp(1, entry.lease.max(1));
            records.push(Record {
                id: i64::try_from(listed.sequence).unwrap_or(i64::MAX),
                key: listed.key.clone(),
                value: Some(entry.value),
                ttl: (entry.lease > 0).then_some(left),
                row: None,
            });
        }
        Ok(records)
    }

    /// These messages were kept by the bucket that is shut under this word.
    async fn put(&self, messages: Vec<Outgoing>) -> Result<(), Trouble> {
        let doing = format!("write to bucket {}", self.name());
        let messages = Arc::new(messages);
        let put = self.connection.tell(&doing, Effect::None, |session| {
            let messages = Arc::clone(&messages);
            async move { put(session, &messages).await }
        });
        Ok(put.await?)
    }

    /// The subject of this key in the bucket that is shut under this word.
    fn subject(&self, word: &str, key: &str) -> Result<String, Trouble> {
        let unfit = |why| Trouble::Unfit { key: key.as_bytes().to_vec(), why };
        Ok(format!("{}.{}", bucket::aside(self.name(), word), codec::subject(key).map_err(unfit)?))
    }

    fn outgoing(&self, word: &str, put: &Record, largest: usize) -> Result<Outgoing, Trouble> {
        let unfit = |why| Trouble::Unfit { key: put.key.clone(), why };
        let key = whole(&put.key)?;
        let value = put.value.as_deref().unwrap_or_default();
        let body = codec::message(&key, value, put.ttl.unwrap_or(0));
        if body.len() > largest {
            return Err(unfit("kine's record of it is larger than max_payload of this NATS"));
        }
        Ok(Outgoing { subject: self.subject(word, &key)?, body, is_deletion: false })
    }

    /// Messages are kept that say nothing, until the number is this one or time is up.
    async fn push(&self, word: &str, mut left: i64) -> Result<(), Trouble> {
        let subject = self.subject(word, RAISED)?;
        let (subject, begun) = (subject.as_str(), Instant::now());
        while left > 0 && begun.elapsed() < RAISING {
            let some = left.min(RAISERS);
            let sent = self.connection.tell("raise the revision", Effect::None, |session| async move {
                for _ in 1..some {
                    session.send(subject, &DELETED).await?;
                }
                session.put(subject, &DELETED, Vec::new()).await
            });
            sent.await?;
            left -= some;
        }
        Ok(())
    }
}

impl Place for Moving {
    const KIND: Kind = Kind::Bucket;
    const BATCH: Batch = Batch { records: KEYS, bytes: PAGE };

    async fn look(&self) -> Result<Look, Trouble> {
        let seen = self.see().await?;
        let (sequence, mark) = seen.mark();
        let found = Found {
            presence: if sequence == 0 { Presence::Absent } else { Presence::Present },
            mark: mark.cloned(),
            door: self.door(&seen),
            data: if seen.count("messages") == 0 { Data::None } else { Data::Some },
            odd: None,
            revision: i64::try_from(seen.count("last_seq")).unwrap_or(i64::MAX),
        };
        let word = mark.map_or(NEW, word).to_owned();
        Ok(Look { found, version: Version::Message { sequence, word } })
    }

    async fn found(&self) -> Result<bool, Trouble> {
        let observed = self.see().await?.observed;
        let steps = plan::ensure(&self.account, &observed).map_err(|what| Error::Foreign { what })?;
        match steps.first() {
            Some(step @ (Step::MakePlace | Step::Claim)) => {
                statement::make(&self.connection, &self.account, step).await?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Whoever was faster meanwhile has changed the mark again before he shut the bucket under his word: looked at after
    /// ours, it tells.
    async fn mark(&self, version: &Version, mark: Option<&Mark>) -> Result<Version, Trouble> {
        let doing = format!("mark the migration of bucket {}", self.name());
        let (last, _) = version.message();
        if last == 0 {
            return Err(self.raced(&doing));
        }
        let text = mark::with_migration(&self.account, mark);
        let text = text.as_str();
        let told = self.connection.tell(&doing, Effect::Accounts, |session| async move {
            session.publish(mark::SUBJECT, text, Some(last)).await
        });
        let told = told.await?;
        let sequence = told["seq"].as_u64().ok_or_else(|| self.raced(&doing))?;
        let Some(mark) = mark else { return Ok(Version::Message { sequence, word: NEW.to_owned() }) };
        if is_filled(mark.stage) {
            self.close("UPDATE", word(mark)).await?;
            if self.see().await?.mark().0 != sequence {
                return Err(self.raced(&doing));
            }
        }
        Ok(Version::Message { sequence, word: word(mark).to_owned() })
    }

    async fn shut(&self) -> Result<(), Trouble> {
        let seen = self.see().await?;
        let Some(mark) = seen.mark().1.filter(|mark| mark.shuts()) else { return Ok(()) };
        self.close(if seen.stream.is_some() { "UPDATE" } else { "CREATE" }, word(mark)).await
    }

    /// It is all one lock, which is opened with the account: not before the mark says so.
    async fn unshut(&self) -> Result<(), Trouble> {
        std::future::ready(Ok(())).await
    }

    /// Every user of the NATS account comes to the same stream, so a message of ours tells for all of them.
    async fn refuses_writes(&self) -> Result<bool, Trouble> {
        Ok(!self.takes(&bucket::health(self.name())).await?)
    }

    async fn prepare(&self) -> Result<(), Trouble> {
        let doing = format!("make bucket {} anew", self.name());
        let seen = self.see().await?;
        if seen.mark().1.is_none_or(|mark| mark.stage != Stage::Claimed) {
            return Err(self.raced(&doing));
        }
        if seen.stream.is_some() {
            self.tell(&doing, "DELETE", &Value::Null).await?;
        }
        self.close("CREATE", NEW).await
    }

    /// The number of an empty bucket is set. What is not empty has been copied from a source whose revision goes on by
    /// others' writes; nothing of it may be lost, so its number is counted up.
    async fn raise(&self, to: i64) -> Result<(), Trouble> {
        let seen = self.see().await?;
        if seen.count("messages") == 0 {
            let doing = format!("raise the revision of bucket {}", self.name());
            self.tell(&doing, "PURGE", &json!({ "seq": to + 1 })).await?;
            return Ok(());
        }
        let left = to - i64::try_from(seen.count("last_seq")).unwrap_or(i64::MAX);
        self.push(seen.mark().1.map_or(NEW, word), left).await
    }

    async fn page(&self, _: Shape, after: &After) -> Result<Vec<Record>, Trouble> {
        let (mut after, mut records, mut bytes) = (after.key.clone(), Vec::new(), 0);
        let mut part = self.keys(&after).await?;
        while bytes < PAGE && records.len() < KEYS {
            if part.keys.is_empty() {
                if part.is_last {
                    break;
                }
                part = listing::next(&self.connection, self.name(), &after).await?;
                continue;
            }
            let some = some(&mut part.keys);
            if let Some(last) = some.last() {
                after.clone_from(&last.key);
            }
            let read = self.read(some).await?;
            bytes += read.iter().map(Record::size).sum::<usize>();
            records.extend(read);
        }
        // The next page is asked for after the last record; those that followed it were deleted.
        if let Some(last) = records.last() {
            *lock(&self.part) = (last.key.clone(), part);
        }
        Ok(records)
    }

    async fn write(&self, _: Shape, version: &Version, edits: &Edits) -> Result<(), Trouble> {
        let (_, word) = version.message();
        let largest = self.connection.session(Patience::Keep).await?.largest_message();
        let mut messages = Vec::with_capacity(edits.len());
        for gone in &edits.deletes {
            let subject = self.subject(word, &whole(&gone.key)?)?;
            messages.push(Outgoing { subject, body: Vec::new(), is_deletion: true });
        }
        for put in &edits.puts {
            messages.push(self.outgoing(word, put, largest)?);
        }
        self.put(messages).await
    }

    /// kine refuses whoever watches from before this.
    async fn settle(&self, _: Shape, source: i64) -> Result<(), Trouble> {
        let seen = self.see().await?;
        let subject = self.subject(seen.mark().1.map_or(NEW, word), COMPACTED)?;
        let forgotten = format!("1|{}", source + 2);
        let body = codec::message(COMPACTED, forgotten.as_bytes(), 0);
        self.put(vec![Outgoing { subject, body, is_deletion: false }]).await
    }
}

/// The word under which a bucket is shut that has this mark.
fn word(mark: &Mark) -> &str {
    match mark.stage {
        Stage::Fenced | Stage::Left | Stage::Aborted => FENCE,
        Stage::Claimed => NEW,
        Stage::Copying | Stage::Copied | Stage::Verified => &mark.nonce,
    }
}

/// Whether the bucket is being filled, or has been.
fn is_filled(stage: Stage) -> bool {
    matches!(stage, Stage::Copying | Stage::Copied | Stage::Verified)
}

/// The whole key, which kine's record holds as text.
fn whole(key: &[u8]) -> Result<String, Trouble> {
    let text = std::str::from_utf8(key);
    let unfit = |_| Trouble::Unfit { key: key.to_vec(), why: "kine's record of it in NATS holds text only" };
    Ok(format!("{PREFIX}{}", text.map_err(unfit)?))
}

/// A table that a panic elsewhere left as it was.
fn lock<T>(table: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
