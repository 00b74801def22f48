//! A tenant in NATS: a bucket of `JetStream`, in a NATS account that holds no other tenant's.
//!
//! NATS has no users that we could make, so tenants are kept apart by NATS accounts, of which each DataStore logs in to
//! one. The first tenant marks it as its own; the next one is refused.

mod bucket;
mod codec;
mod confinement;
mod exchange;
mod listing;
mod mark;
mod member;
mod moving;
mod observe;
mod plan;
mod refusal;
mod rights;
mod s2;
mod statement;

use std::fmt;
use std::sync::Arc;

use crate::account::Account;
use crate::config::Settings;
use crate::connection::Failure;
use crate::error::{Error, Foreign, NameProblem};
use crate::nats::mark::Mark;
use crate::nats::member::Connection;
pub(crate) use crate::nats::moving::Moving;
use crate::nats::plan::{Observed, Step};
use crate::step::{Aim, Driver};
use crate::store::{Change, Health, Leftover, Marker, Residue, Usage};

/// The longest bucket name, in bytes: NATS takes 255 for a stream's, and `KV_` stands before it.
const LONGEST_BUCKET: usize = 252;

/// One NATS account, on one server or on several of one cluster.
#[derive(Clone)]
pub struct Nats {
    connection: Arc<Connection>,
    settings: Arc<Settings>,
}

impl Nats {
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let connection = Arc::new(member::connection(&settings)?);
        Ok(Self { connection, settings: Arc::new(settings) })
    }

    pub(crate) async fn check(&self) -> Result<Health, Error> {
        rights::prove(&self.connection).await
    }

    pub(crate) async fn pulse(&self) -> Result<(), Error> {
        rights::answers(&self.connection).await
    }

    /// There is nothing to make ready; whether the server asks who we are is seen on the way.
    pub(crate) async fn initialise(&self) -> Result<bool, Error> {
        self.check().await.map(|_| false)
    }

    pub(crate) async fn prove_confined(
        &self,
        account: &Account,
        certificate: &[u8],
        key: &[u8],
    ) -> Result<(), Error> {
        confinement::prove(&self.settings, account, certificate, key).await
    }

    pub(crate) fn moving(&self, account: &Account) -> Moving {
        Moving::new(Arc::clone(&self.connection), account.clone())
    }

    pub(crate) async fn audit(&self) -> Result<Vec<Marker>, Error> {
        let (_, mark) = observe::mark(&self.connection).await?;
        Ok(mark.marker().into_iter().collect())
    }

    pub(crate) async fn residue(&self, account: &Account) -> Result<Residue, Error> {
        let (_, mark) = observe::mark(&self.connection).await?;
        let stream = observe::stream(&self.connection, account.schema.as_str()).await?;
        let mark = matches!(&mark, Mark::Held { owner, schema, .. }
            if *owner == account.owner || *schema == account.schema);
        let bucket = stream.map(|_| Leftover::Bucket(account.schema.clone()));
        let mark = mark.then(|| Leftover::Mark(mark::SUBJECT.to_owned()));
        Ok(Residue { left: bucket.into_iter().chain(mark).collect() })
    }

    pub(crate) async fn usage(&self, account: &Account) -> Result<Usage, Error> {
        let info = observe::stream(&self.connection, account.schema.as_str()).await?.unwrap_or_default();
        let told = |what: &str| info["state"][what].as_u64();
        // No keys at all are not mentioned.
        let keys = told("num_subjects").or_else(|| told("bytes").map(|_| 0));
        Ok(Usage { bytes: told("bytes"), keys })
    }
}

impl Driver for Nats {
    type Observed = Observed;
    type Step = Step;

    fn fits(account: &Account) -> Result<(), Error> {
        let name = account.schema.as_str();
        if name.len() > LONGEST_BUCKET {
            return Err(Error::name("schema", name, NameProblem::TooLong { longest: LONGEST_BUCKET }));
        }
        Ok(())
    }

    async fn observe(&self, account: &Account, _: Aim) -> Result<Observed, Failure> {
        observe::account(&self.connection, account).await
    }

    fn is_moving(observed: &Observed) -> bool {
        observed.is_moving
    }

    fn footprint(&self, account: &Account) -> Residue {
        let mark = Leftover::Mark(mark::SUBJECT.to_owned());
        Residue { left: vec![Leftover::Bucket(account.schema.clone()), mark] }
    }

    fn ensure(account: &Account, observed: &Observed) -> Result<Vec<Step>, Foreign> {
        plan::ensure(account, observed)
    }

    fn remove(account: &Account, observed: &Observed) -> Vec<Step> {
        plan::remove(account, observed)
    }

    fn leaves_something(account: &Account, observed: &Observed) -> bool {
        plan::leaves_something(account, observed)
    }

    async fn make(&self, account: &Account, step: &Step) -> Result<Change, Failure> {
        statement::make(&self.connection, account, step).await
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats").field("endpoints", &self.settings.endpoints).finish_non_exhaustive()
    }
}
