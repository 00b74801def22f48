//! Whatever kind of datastore is on either side.

use crate::account::Account;
use crate::error;
#[cfg(feature = "etcd")]
use crate::etcd::Moving as EtcdPlace;
use crate::migrate::Home;
use crate::migrate::error::Side;
use crate::migrate::mark::Mark;
use crate::migrate::place::{Batch, Edits, Kind, Look, Place, Trouble, Version};
use crate::migrate::record::{After, Record, Shape};
#[cfg(feature = "mysql")]
use crate::mysql::Moving as MySqlPlace;
#[cfg(feature = "nats")]
use crate::nats::Moving as NatsPlace;
#[cfg(feature = "postgres")]
use crate::postgres::Moving as PostgresPlace;
use crate::store::Store;

/// One side of a migration.
pub(crate) struct Sided {
    pub(crate) side: Side,
    pub(crate) place: AnyPlace,
    /// What stands before every key of what is live.
    pub(crate) prefix: String,
}

impl Sided {
    pub(crate) fn new(side: Side, place: AnyPlace, account: &Account) -> Self {
        let prefix = match place.kind() {
            Kind::Keys => format!("/{}/", account.schema),
            Kind::Rows | Kind::Bucket => "/registry/".to_owned(),
        };
        Self { side, place, prefix }
    }
}

/// An account in a datastore of any kind.
pub(crate) enum AnyPlace {
    #[cfg(feature = "etcd")]
    Etcd(EtcdPlace),
    #[cfg(feature = "mysql")]
    MySql(MySqlPlace),
    #[cfg(feature = "nats")]
    Nats(NatsPlace),
    #[cfg(feature = "postgres")]
    Postgres(PostgresPlace),
}

macro_rules! each {
    ($self:ident, $place:ident => $verb:expr) => {
        match $self {
            #[cfg(feature = "etcd")]
            Self::Etcd($place) => $verb,
            #[cfg(feature = "mysql")]
            Self::MySql($place) => $verb,
            #[cfg(feature = "nats")]
            Self::Nats($place) => $verb,
            #[cfg(feature = "postgres")]
            Self::Postgres($place) => $verb,
        }
    };
}

/// The constant of a place's own type.
fn kind_of<P: Place>(_: &P) -> (Kind, Batch) {
    (P::KIND, P::BATCH)
}

impl AnyPlace {
    pub(crate) fn new(home: &Home) -> Result<Self, error::Error> {
        Ok(match &home.store {
            #[cfg(feature = "etcd")]
            Store::Etcd(etcd) => Self::Etcd(etcd.moving(&home.account, home.proof.clone())),
            #[cfg(feature = "mysql")]
            Store::MySql(mysql) => Self::MySql(mysql.moving(&home.account)?),
            #[cfg(feature = "nats")]
            Store::Nats(nats) => Self::Nats(nats.moving(&home.account)),
            #[cfg(feature = "postgres")]
            Store::Postgres(postgres) => Self::Postgres(postgres.moving(&home.account)?),
            #[allow(
                unreachable_patterns,
                reason = "a driver that takes no part in migrations may be built in or not"
            )]
            _ => {
                let what = "no tenant can be moved to or from this kind of datastore yet".to_owned();
                return Err(error::Error::Settings { what, source: None });
            }
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        each!(self, place => kind_of(place).0)
    }

    pub(crate) fn batch(&self) -> Batch {
        each!(self, place => kind_of(place).1)
    }

    pub(crate) async fn look(&self) -> Result<Look, Trouble> {
        each!(self, place => place.look().await)
    }

    pub(crate) async fn found(&self) -> Result<bool, Trouble> {
        each!(self, place => place.found().await)
    }

    pub(crate) async fn mark(&self, version: &Version, mark: Option<&Mark>) -> Result<Version, Trouble> {
        each!(self, place => place.mark(version, mark).await)
    }

    pub(crate) async fn shut(&self) -> Result<(), Trouble> {
        each!(self, place => place.shut().await)
    }

    pub(crate) async fn unshut(&self) -> Result<(), Trouble> {
        each!(self, place => place.unshut().await)
    }

    pub(crate) async fn refuses_writes(&self) -> Result<bool, Trouble> {
        each!(self, place => place.refuses_writes().await)
    }

    pub(crate) async fn prepare(&self) -> Result<(), Trouble> {
        each!(self, place => place.prepare().await)
    }

    pub(crate) async fn raise(&self, to: i64) -> Result<(), Trouble> {
        each!(self, place => place.raise(to).await)
    }

    pub(crate) async fn page(&self, shape: Shape, after: &After) -> Result<Vec<Record>, Trouble> {
        each!(self, place => place.page(shape, after).await)
    }

    pub(crate) async fn write(&self, shape: Shape, version: &Version, edits: &Edits) -> Result<(), Trouble> {
        each!(self, place => place.write(shape, version, edits).await)
    }

    pub(crate) async fn settle(&self, shape: Shape, source: i64) -> Result<(), Trouble> {
        each!(self, place => place.settle(shape, source).await)
    }
}
