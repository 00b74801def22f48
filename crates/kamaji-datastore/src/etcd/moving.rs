//! A tenant's data in etcd, as a migration sees it.
//!
//! The fence takes all rights from the role: a tenant that cannot read does not show anyone revisions that grow while
//! its data is copied. The revision is everybody's and grows by one with every write, and by nothing else: it is raised
//! by writing one key again and again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::account::Account;
use crate::config::Settings;
use crate::connection::{Effect, Failure};
use crate::error::{Cause, Error};
use crate::etcd::confinement;
use crate::etcd::keys::{self, Range};
use crate::etcd::mark::Mark as OwnMark;
use crate::etcd::member::{Connection, Session};
use crate::etcd::plan::{self, Observed, Step};
use crate::etcd::{observe, statement};
use crate::migrate::Proof;
use crate::migrate::mark::Mark;
use crate::migrate::place::{Batch, Edits, Kind, Look, Place, Trouble, Version};
use crate::migrate::plan::{Data, Door, Found, Presence};
use crate::migrate::record::{After, Record, Shape};
use crate::refusal::Refusal;

/// How much is read at once, in bytes, about.
const PAGE: i64 = 1024 * 1024;
/// How many keys are read at once, at most.
const KEYS: i64 = 500;
/// How many keys are read at first, before it is known how large they are.
const FIRST_KEYS: i64 = 8;
/// Leases are granted for keys that expire within the same so many seconds: none expires early, and none later than this.
const BUCKET: u64 = 10;
/// How many writers raise the revision at once.
const RAISERS: usize = 64;
/// How long they do at a time.
const RAISING: Duration = Duration::from_secs(2);

/// One account in one etcd.
pub(crate) struct Moving {
    connection: Arc<Connection>,
    settings: Arc<Settings>,
    account: Account,
    proof: Option<Proof>,
    /// How many keys the next page has.
    keys: AtomicI64,
    begun: Instant,
    /// When the leases expire that were read here, in seconds since the beginning.
    read: Mutex<HashMap<i64, u64>>,
    /// The leases that were granted here, by their bucket.
    granted: Mutex<HashMap<u64, i64>>,
}

impl Moving {
    pub(crate) fn new(
        connection: Arc<Connection>,
        settings: Arc<Settings>,
        account: Account,
        proof: Option<Proof>,
    ) -> Self {
        let (keys, begun) = (AtomicI64::new(FIRST_KEYS), Instant::now());
        let (read, granted) = (Mutex::default(), Mutex::default());
        Self { connection, settings, account, proof, keys, begun, read, granted }
    }

    async fn observe(&self) -> Result<Observed, Trouble> {
        Ok(observe::account(&self.connection, &self.account).await?)
    }

    async fn make(&self, step: &Step) -> Result<(), Trouble> {
        statement::make(&self.connection, &self.account, step).await?;
        Ok(())
    }

    /// The next statement that takes a right to write from the tenant; nothing if it has none.
    fn next_to_shut(&self, observed: &Observed) -> Option<Step> {
        let foreign =
            observed.user.iter().flatten().find(|role| role.as_str() != self.account.schema.as_str());
        let grant = observed.role.iter().flatten().next();
        let revoke = grant.map(|grant| Step::RevokeRange(grant.range.clone()));
        revoke.or_else(|| foreign.cloned().map(Step::RevokeRole))
    }

    fn door(&self, observed: &Observed) -> Door {
        if self.next_to_shut(observed).is_none() {
            Door::Shut
        } else if plan::ensure(&self.account, observed).is_ok_and(|steps| steps.is_empty()) {
            Door::Open
        } else {
            Door::Ajar
        }
    }

    /// All that holds while nobody has changed the marks.
    fn unchanged(&self, version: &Version) -> [Compare; 2] {
        let (mark, owner) = version.revisions();
        [(keys::migration_of(&self.account.schema), mark), (keys::owner_of(&self.account.schema), owner)]
            .map(|(key, revision)| Compare::mod_revision(key, CompareOp::Equal, revision))
    }

    async fn change(&self, doing: &str, version: &Version, ops: Vec<TxnOp>) -> Result<i64, Trouble> {
        let transaction = Txn::new().when(self.unchanged(version)).and_then(ops);
        let done = self.connection.tell(doing, Effect::None, |session| {
            let transaction = transaction.clone();
            async move { session.client().txn(transaction).await }
        });
        let done = done.await?;
        if done.succeeded() {
            return Ok(done.header().map_or(0, etcd_client::ResponseHeader::revision));
        }
        let source = Cause("it was changed meanwhile".to_owned());
        let error = Error::Refused { doing: doing.to_owned(), source };
        Err(Failure { refusal: Refusal::Raced, error }.into())
    }

    /// At most `limit` keys after this one; nothing if they are too large for one answer.
    async fn read(&self, after: &[u8], limit: i64) -> Result<Option<Vec<etcd_client::KeyValue>>, Failure> {
        let all = Range::of(&self.account.schema);
        let start = if after.is_empty() { all.start } else { [&all.start, after, b"\0"].concat() };
        let doing = format!("read the keys below /{}/", self.account.schema);
        let found = self.connection.ask(&doing, |session| {
            let options = GetOptions::new().with_range(all.end.clone()).with_limit(limit);
            let start = start.clone();
            async move {
                match session.client().get(start, Some(options)).await {
                    Ok(mut found) => Ok(Some(found.take_kvs())),
                    Err(etcd_client::Error::GRpcStatus(status))
                        if status.code() == tonic::Code::OutOfRange =>
                    {
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            }
        });
        found.await
    }

    fn seconds(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    /// In how many seconds a lease that was found at a key expires.
    async fn time_left(&self, lease: i64) -> Result<Option<i64>, Failure> {
        if lease == 0 {
            return Ok(None);
        }
        let known = lock(&self.read).get(&lease).copied();
        let expires = if let Some(expires) = known {
            expires
        } else {
            let doing = format!("read how long a key below /{}/ lasts", self.account.schema);
            let asked = self
                .connection
                .ask(&doing, |session| async move { session.client().lease_time_to_live(lease, None).await });
            // One that has expired already takes its keys with it in a moment.
            let left = asked.await?.ttl().max(1);
            let expires = self.seconds() + 1 + u64::try_from(left).unwrap_or(1);
            lock(&self.read).insert(lease, expires);
            expires
        };
        let left = expires.saturating_sub(self.seconds()).max(1);
        Ok(Some(i64::try_from(left).unwrap_or(i64::MAX)))
    }

    /// A lease of ours that lasts at least so many seconds, and [`BUCKET`] longer at most.
    async fn lease(&self, left: i64) -> Result<i64, Failure> {
        let bucket = (self.seconds() + 1 + u64::try_from(left).unwrap_or(1)).div_ceil(BUCKET);
        if let Some(lease) = lock(&self.granted).get(&bucket) {
            return Ok(*lease);
        }
        let left = i64::try_from((bucket * BUCKET).saturating_sub(self.seconds()).max(1)).unwrap_or(i64::MAX);
        let doing = format!("grant a lease for keys below /{}/", self.account.schema);
        let granted = self
            .connection
            .ask(&doing, |session| async move { session.client().lease_grant(left, None).await });
        let lease = granted.await?.id();
        lock(&self.granted).insert(bucket, lease);
        Ok(lease)
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&Range::of(&self.account.schema).start, key].concat()
    }
}

impl Place for Moving {
    const KIND: Kind = Kind::Keys;
    /// Within etcd's own limits for one transaction, 128 operations and 1.5 MiB.
    const BATCH: Batch = Batch { records: 100, bytes: 1024 * 1024 };

    async fn look(&self) -> Result<Look, Trouble> {
        let observed = self.observe().await?;
        plan::ensure(&self.account, &observed).map_err(|what| Error::Foreign { what })?;
        let mark = observed.migration.as_ref();
        if mark.is_some_and(|found| found.mark.is_none()) {
            return Err(Error::Moving { schema: self.account.schema.clone() }.into());
        }
        let version = Version::Revisions {
            mark: mark.map_or(0, |found| found.revision),
            owner: observed.schema_mark.revision(),
        };
        let found = Found {
            presence: if observed.schema_mark == OwnMark::Absent {
                Presence::Absent
            } else {
                Presence::Present
            },
            mark: mark.and_then(|found| found.mark.clone()),
            door: self.door(&observed),
            data: if observed.has_keys { Data::Some } else { Data::None },
            odd: None,
            revision: observed.revision,
        };
        Ok(Look { found, version })
    }

    async fn found(&self) -> Result<bool, Trouble> {
        let observed = self.observe().await?;
        let steps = plan::ensure(&self.account, &observed).map_err(|what| Error::Foreign { what })?;
        match steps.first() {
            Some(claim @ Step::Claim { .. }) => self.make(claim).await.map(|()| true),
            _ => Ok(false),
        }
    }

    async fn mark(&self, version: &Version, mark: Option<&Mark>) -> Result<Version, Trouble> {
        let (key, (_, owner)) = (keys::migration_of(&self.account.schema), version.revisions());
        let op = match mark {
            Some(mark) => TxnOp::put(key, mark.to_json().to_string(), None),
            None => TxnOp::delete(key, None),
        };
        let doing = format!("mark the migration of schema {}", self.account.schema);
        let revision = self.change(&doing, version, vec![op]).await?;
        Ok(Version::Revisions { mark: if mark.is_some() { revision } else { 0 }, owner })
    }

    async fn shut(&self) -> Result<(), Trouble> {
        match self.next_to_shut(&self.observe().await?) {
            Some(step) => self.make(&step).await,
            None => Ok(()),
        }
    }

    /// Rights are granted anew with the account.
    async fn unshut(&self) -> Result<(), Trouble> {
        std::future::ready(Ok(())).await
    }

    async fn refuses_writes(&self) -> Result<bool, Trouble> {
        if self.next_to_shut(&self.observe().await?).is_some() {
            return Ok(false);
        }
        let Some(proof) = &self.proof else { return Ok(true) };
        let (certificate, key) = (&proof.certificate_pem, &proof.key_pem);
        Ok(!confinement::may_write(&self.settings, &self.account, certificate, key).await?)
    }

    async fn prepare(&self) -> Result<(), Trouble> {
        loop {
            let observed = self.observe().await?;
            if let Some(step) = self.next_to_shut(&observed) {
                self.make(&step).await?;
            } else if observed.has_keys {
                self.make(&Step::DeleteKeys { mark: observed.schema_mark.revision() }).await?;
            } else {
                return Ok(());
            }
        }
    }

    async fn raise(&self, to: i64) -> Result<(), Trouble> {
        let left = Arc::new(AtomicI64::new(to - self.observe().await?.revision));
        let raised = self.connection.tell("raise the revision", Effect::None, |session| {
            let left = Arc::clone(&left);
            async move {
                let mut raisers = JoinSet::new();
                for _ in 0..RAISERS {
                    raisers.spawn(raise(Arc::clone(&session), Arc::clone(&left)));
                }
                // The first that fails tells why; the others end with the set.
                while let Some(raised) = raisers.join_next().await {
                    raised.unwrap_or(Ok(()))?;
                }
                Ok::<_, etcd_client::Error>(())
            }
        });
        Ok(raised.await?)
    }

    async fn page(&self, _: Shape, after: &After) -> Result<Vec<Record>, Trouble> {
        loop {
            let limit = self.keys.load(Ordering::Relaxed);
            let Some(found) = self.read(&after.key, limit).await? else {
                self.keys.store((limit / 4).max(1), Ordering::Relaxed);
                continue;
            };
            let prefix = Range::of(&self.account.schema).start.len();
            let mut records = Vec::with_capacity(found.len());
            for pair in found {
                let ttl = self.time_left(pair.lease()).await?;
                let (id, key) = (pair.mod_revision(), pair.key()[prefix..].to_vec());
                records.push(Record { id, key, value: Some(pair.into_key_value().1), ttl, row: None });
            }
            let bytes: usize = records.iter().map(Record::size).sum();
            if let Ok(each @ 1..) = i64::try_from(bytes / records.len().max(1)) {
                self.keys.store((PAGE / each).clamp(1, KEYS), Ordering::Relaxed);
            }
            return Ok(records);
        }
    }

    async fn write(&self, _: Shape, version: &Version, edits: &Edits) -> Result<(), Trouble> {
        let mut ops = Vec::with_capacity(edits.len());
        for gone in &edits.deletes {
            ops.push(TxnOp::delete(self.key(&gone.key), None::<DeleteOptions>));
        }
        for put in &edits.puts {
            let options = match put.ttl {
                Some(left) => Some(PutOptions::new().with_lease(self.lease(left).await?)),
                None => None,
            };
            ops.push(TxnOp::put(self.key(&put.key), put.value.clone().unwrap_or_default(), options));
        }
        let doing = format!("write keys below /{}/", self.account.schema);
        self.change(&doing, version, ops).await.map(drop)
    }

    /// Whoever watches from an older revision of the source must start over: what was deleted since is not in the
    /// history here. etcd refuses them once it has forgotten that history, as it does every few minutes.
    async fn settle(&self, _: Shape, source: i64) -> Result<(), Trouble> {
        let compacted = self.connection.tell(
            "forget the revisions before the migration",
            Effect::None,
            |session| async move {
                match session.client().compact(source + 1, None).await {
                    Err(etcd_client::Error::GRpcStatus(status))
                        if status.message().contains("has been compacted") =>
                    {
                        Ok(())
                    }
                    compacted => compacted.map(drop),
                }
            },
        );
        compacted.await?;
        let cleared =
            self.connection.tell("remove what raised the revision", Effect::None, |session| async move {
                session.client().delete(keys::RAISED, None).await
            });
        cleared.await?;
        Ok(())
    }
}

/// Writes until nothing is left to raise, or time is up.
async fn raise(session: Arc<Session>, left: Arc<AtomicI64>) -> Result<(), etcd_client::Error> {
    let (mut client, begun) = (session.client(), Instant::now());
    while begun.elapsed() < RAISING && left.fetch_sub(1, Ordering::Relaxed) > 0 {
        client.put(keys::RAISED, "", None).await?;
    }
    Ok(())
}

/// A table that a panic elsewhere left as it was.
fn lock<T>(table: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}
