//! The verbs, the same for every kind of datastore.

use std::fmt;

use crate::account::{Account, Credential, Owner, Schema, Seal, Standing, User};
use crate::config::Settings;
use crate::error::Error;
#[cfg(feature = "etcd")]
use crate::etcd::Etcd;
#[cfg(feature = "mysql")]
use crate::mysql::MySql;
#[cfg(feature = "nats")]
use crate::nats::Nats;
#[cfg(feature = "postgres")]
use crate::postgres::Postgres;
use crate::step::{self, Aim, Driver};

/// One datastore, reached lazily over one connection that is shared by all clones.
///
/// # Guarantees
/// Every verb may be repeated, and may be cut off at any moment: the next call goes on from what it finds.
/// Every verb ends: each connection and each request has a deadline. Nothing is altered that is not marked as the
/// account's, except what [`Standing::Recorded`] allows.
///
/// # Assumptions
/// Verbs are awaited within a tokio runtime. Names and owner are written down, in the tenant's status, before
/// [`ensure`](Self::ensure) is called for the first time.
#[derive(Clone, Debug)]
pub enum Store {
    /// An etcd cluster: a tenant has a user, a role and the keys below a prefix.
    #[cfg(feature = "etcd")]
    Etcd(Etcd),
    /// A MariaDB or MySQL server: a tenant has a user and a database that the user reads and writes.
    #[cfg(feature = "mysql")]
    MySql(MySql),
    /// A NATS account: one tenant has a bucket in it.
    #[cfg(feature = "nats")]
    Nats(Nats),
    /// A PostgreSQL server: a tenant has a role and a database that the role owns.
    #[cfg(feature = "postgres")]
    Postgres(Postgres),
}

/// What an account's data takes. Nothing stands for what the datastore keeps no count of, and for data that is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Room, in bytes. etcd tells of no single user how much that is.
    pub bytes: Option<u64>,
    /// Keys, without their earlier revisions. In a database kine's table would have to be read to count them.
    pub keys: Option<u64>,
}

/// What a healthy datastore said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The member that answered, `host:port`.
    pub endpoint: String,
    /// The version of the server's software.
    pub version: String,
    /// How much room its data takes, in bytes.
    pub used_bytes: u64,
    /// How much room it may take, in bytes; nothing if the server does not tell.
    pub quota_bytes: Option<u64>,
}

/// What had to be done until an account was as it should be. Empty if nothing had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ensured {
    /// The statements that were made, in order.
    pub changes: Vec<Change>,
}

/// One statement that was made for an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    /// The names were marked as this tenant's.
    Claimed,
    /// The user was made.
    UserAdded,
    /// The user was removed.
    UserDeleted,
    /// The role was made.
    RoleAdded,
    /// The role was removed.
    RoleDeleted,
    /// The role was given keys of the tenant, to write or only to read.
    RangeGranted,
    /// Keys that the role should not have, or no longer, were taken from it.
    RangeRevoked,
    /// The user was given the role.
    RoleGranted,
    /// A role that is not the tenant's was taken from the user.
    RoleRevoked,
    /// Some of the data was deleted.
    DataDeleted,
    /// The marks were removed.
    Released,
    /// The user was given its password, or lost one that it should not have.
    PasswordSet,
    /// Rights that no tenant's user may have were taken from the user.
    UserCurbed,
    /// The user may log in no more, because it is being removed.
    UserLocked,
    /// The user may log in again.
    UserUnlocked,
    /// The sessions of the user were ended.
    SessionsEnded,
    /// We became a member of the user's role, to act for it.
    Joined,
    /// The database was made.
    DatabaseAdded,
    /// The database was removed.
    DatabaseDeleted,
    /// The database was given to the user.
    DatabaseGiven,
    /// A table of the data was given to the user.
    DataGiven,
    /// What everyone could do with the database was taken from them.
    DatabaseConfined,
    /// The user was granted its database.
    DatabaseGranted,
    /// The database was opened for connections.
    DatabaseOpened,
    /// The place where marks lie was made; it stays.
    PlaceMade,
    /// The bucket was made.
    BucketAdded,
    /// The bucket was given the settings that kine asks for.
    BucketFitted,
    /// The bucket was removed, with all that was in it.
    BucketDeleted,
}

/// An account as its mark in the datastore tells it, for finding those whose tenant is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The schema that is marked.
    pub schema: String,
    /// The user and the owner in the mark; nothing if the mark cannot be read.
    pub holder: Option<(User, Owner)>,
}

/// What is in a datastore under the names of an account, or might be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Residue {
    /// Everything that is left; empty if the datastore is as if the account had never been.
    pub left: Vec<Leftover>,
}

/// One thing in a datastore that bears an account's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// The user.
    User(User),
    /// The role.
    Role(Schema),
    /// The keys below the schema's prefix.
    Keys {
        /// The schema.
        schema: Schema,
        /// How many, if they were counted.
        count: Option<u64>,
    },
    /// A mark: the key that it lies at, and of which table, if it is in one.
    Mark(String),
    /// The database.
    Database(Schema),
    /// The bucket.
    Bucket(Schema),
}

/// What comes of the same expression for every kind of datastore.
macro_rules! each {
    ($self:ident, $store:ident => $verb:expr) => {
        match $self {
            #[cfg(feature = "etcd")]
            Self::Etcd($store) => $verb,
            #[cfg(feature = "mysql")]
            Self::MySql($store) => $verb,
            #[cfg(feature = "nats")]
            Self::Nats($store) => $verb,
            #[cfg(feature = "postgres")]
            Self::Postgres($store) => $verb,
        }
    };
}

impl Store {
    /// An etcd cluster. Nothing is sent before the first verb.
    ///
    /// # Errors
    /// [`Error::Settings`] if there is no endpoint, or what should be PEM cannot be read as such.
    #[cfg(feature = "etcd")]
    pub fn etcd(settings: Settings) -> Result<Self, Error> {
        Etcd::new(settings).map(Self::Etcd)
    }

    /// A NATS account, on one server or on several of one cluster. Nothing is sent before the first verb.
    ///
    /// # Errors
    /// [`Error::Settings`] if there is no endpoint, the user name is empty, or what should be PEM cannot be read as such.
    #[cfg(feature = "nats")]
    pub fn nats(settings: Settings) -> Result<Self, Error> {
        Nats::new(settings).map(Self::Nats)
    }

    /// A PostgreSQL server, or several of which one takes writes. Nothing is sent before the first verb.
    ///
    /// The settings name a user in their basic auth, with an empty password if it is known by its client certificate alone.
    ///
    /// # Errors
    /// [`Error::Settings`] if there is no endpoint or no user name, or what should be PEM cannot be read as such.
    #[cfg(feature = "postgres")]
    pub fn postgres(settings: Settings) -> Result<Self, Error> {
        Postgres::new(settings).map(Self::Postgres)
    }

    /// A MariaDB or MySQL server, or several of which one takes writes. Nothing is sent before the first verb.
    ///
    /// The settings name a user in their basic auth, with an empty password if it is known by its client certificate alone.
    /// With TLS, the users of tenants must come over TLS too. A process that has no provider of cryptography for TLS yet gets
    /// ring's, because the client knows no other way to be given one.
    ///
    /// # Errors
    /// [`Error::Settings`] if there is no endpoint or no user name, or what should be PEM cannot be read as such.
    #[cfg(feature = "mysql")]
    pub fn mysql(settings: Settings) -> Result<Self, Error> {
        MySql::new(settings).map(Self::MySql)
    }

    /// The datastore is reached, knows us, asks everyone who they are, and lets us do what the other verbs need.
    ///
    /// Leaves no trace in the datastore. An unreachable datastore is tried at once, whatever the pause.
    pub async fn check(&self) -> Result<Health, Error> {
        each!(self, store => store.check().await)
    }

    /// The datastore answers, and takes writes: the little that is worth asking every few seconds.
    ///
    /// Leaves no trace in the datastore. Awaits an answer as long as any request does; whoever is in a hurry drops it.
    pub async fn pulse(&self) -> Result<(), Error> {
        each!(self, store => store.pulse().await)
    }

    /// A new datastore is ready for tenants: whoever asks must say who they are. True if something had to be done.
    ///
    /// MySQL and PostgreSQL need nothing; [`check`](Self::check) says whether it asks.
    pub async fn initialise(&self) -> Result<bool, Error> {
        each!(self, store => store.initialise().await)
    }

    /// The account exists, can reach its own data, and nothing else.
    ///
    /// # Errors
    /// [`Error::Foreign`] if any of its names is taken; nothing is altered then.
    pub async fn ensure(&self, account: &Account) -> Result<Ensured, Error> {
        let mut ensured = Ensured::default();
        for _ in 0..ROUNDS {
            match self.ensure_step(account).await? {
                None => return Ok(ensured),
                Some(change) => ensured.changes.push(change),
            }
        }
        Err(contended("set up", account))
    }

    /// At most one statement was made towards [`ensure`](Self::ensure); nothing if there is nothing to do.
    pub async fn ensure_step(&self, account: &Account) -> Result<Option<Change>, Error> {
        each!(self, store => step::towards(store, account, Aim::Ensured).await)
    }

    /// Nothing of the account is left: its user, its role, its data and its marks are gone.
    ///
    /// What bears the account's names and is not the account's stays, and is no error: of the account nothing is left.
    pub async fn remove(&self, account: &Account) -> Result<(), Error> {
        let mut rounds = 0;
        while let Some(change) = self.remove_step(account).await? {
            // Data goes in batches, as many as it takes: only other statements can be in vain.
            rounds += usize::from(change != Change::DataDeleted);
            if rounds > ROUNDS {
                return Err(contended("remove", account));
            }
        }
        Ok(())
    }

    /// At most one statement was made towards [`remove`](Self::remove); nothing if there is nothing to do.
    pub async fn remove_step(&self, account: &Account) -> Result<Option<Change>, Error> {
        each!(self, store => step::towards(store, account, Aim::Removed).await)
    }

    /// Whoever shows this client certificate, and the account's password if it has one, reads the account's data, and is
    /// denied everyone else's. Both PEM texts are empty for a tenant that shows no certificate.
    ///
    /// A tenant's own view of its datastore, over a connection of its own: worth asking once a tenant has its
    /// certificate, for it does not rest on anything that we believe of users and roles.
    ///
    /// # Errors
    /// [`Error::NotConfined`] if it reads more than its own, [`Error::Refused`] if it does not even read that.
    pub async fn prove_confined(
        &self,
        account: &Account,
        certificate_pem: &[u8],
        key_pem: &[u8],
    ) -> Result<(), Error> {
        each!(self, store => store.prove_confined(account, certificate_pem, key_pem).await)
    }

    /// All accounts that are marked in this datastore, ordered by schema.
    pub async fn audit(&self) -> Result<Vec<Marker>, Error> {
        each!(self, store => store.audit().await)
    }

    /// What is there under the names of the account, whoever owns it.
    pub async fn residue(&self, account: &Account) -> Result<Residue, Error> {
        each!(self, store => store.residue(account).await)
    }

    /// What the account's data takes, as far as the datastore keeps count of that.
    pub async fn usage(&self, account: &Account) -> Result<Usage, Error> {
        each!(self, store => store.usage(account).await)
    }

    /// The longest name that a new user should have in this kind of datastore, in bytes: 32 with MySQL, where a UID has
    /// its place only without its dashes.
    ///
    /// Accounts that are there already are not held to it, but to what their server takes.
    pub fn longest_user(&self) -> usize {
        each!(self, store => store.longest_user())
    }

    /// Whether this is the same datastore as the `other`, however either is reached. Never of two drivers.
    ///
    /// Only etcd is compared: in it alone a tenant has places in several stores under the same names.
    #[cfg(feature = "etcd")]
    pub async fn is_same_as(&self, other: &Self) -> Result<bool, Error> {
        match (self, other) {
            (Self::Etcd(one), Self::Etcd(other)) => one.is_same_as(other).await,
            #[allow(unreachable_patterns, reason = "etcd may be the only driver that is compiled in")]
            _ => Ok(false),
        }
    }

    /// What [`ensure`](Self::ensure) may have made, without asking the datastore: for the message when one that is
    /// gone for good is given up.
    pub fn footprint(&self, account: &Account) -> Residue {
        each!(self, store => store.footprint(account))
    }
}

/// More statements than any account needs from any state it can be in.
const ROUNDS: usize = 64;

fn contended(verb: &str, account: &Account) -> Error {
    Error::Contended { doing: format!("{verb} the account of schema {}", account.schema), rounds: ROUNDS }
}

impl Ensured {
    /// Whether anything had to be done.
    pub fn changed(&self) -> bool {
        !self.changes.is_empty()
    }
}

impl Marker {
    /// The account that is marked, as far as it can be read; with it an orphan can be removed.
    pub fn account(&self) -> Option<Account> {
        let (user, owner) = self.holder.clone()?;
        let schema = Schema::parse(&self.schema).ok()?;
        Some(Account {
            schema,
            user,
            owner,
            standing: Standing::Claimed,
            seal: Seal::Open,
            credential: Credential::Certificate,
        })
    }
}

impl Residue {
    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }
}

impl fmt::Display for Residue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, leftover) in self.left.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{leftover}")?;
        }
        if self.is_empty() { f.write_str("nothing") } else { Ok(()) }
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user {user}"),
            Self::Role(schema) => write!(f, "role {schema}"),
            Self::Keys { schema, count: Some(count) } => write!(f, "{count} keys below /{schema}/"),
            Self::Keys { schema, count: None } => write!(f, "all keys below /{schema}/"),
            Self::Mark(key) => write!(f, "key {key}"),
            Self::Database(schema) => write!(f, "database {schema}"),
            Self::Bucket(schema) => write!(f, "bucket {schema}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Account {
        Account {
            schema: Schema::parse("x").expect("plain"),
            user: User::parse("y").expect("plain"),
            owner: Owner::parse("uid").expect("plain"),
            standing: Standing::Claimed,
            seal: Seal::Open,
            credential: Credential::Certificate,
        }
    }

    #[test]
    fn verbs_can_be_awaited_on_any_thread() {
        fn sent<T: Send>(_: impl FnOnce(&'static Store, &'static Account) -> T) {}
        sent(Store::ensure);
        sent(Store::remove);
        sent(Store::residue);
        sent(|store, _| store.check());
        sent(|store, _| store.audit());
    }

    #[test]
    fn residue_is_a_sentence() {
        let Account { schema, user, .. } = account();
        assert_eq!(Residue::default().to_string(), "nothing");
        let left = vec![
            Leftover::User(user),
            Leftover::Role(schema.clone()),
            Leftover::Keys { schema, count: Some(3) },
            Leftover::Mark("/_kamaji/owners/x".to_owned()),
        ];
        assert_eq!(Residue { left }.to_string(), "user y, role x, 3 keys below /x/, key /_kamaji/owners/x");
    }

    #[test]
    fn only_a_readable_marker_names_an_account() {
        let Account { schema, user, owner, .. } = account();
        let marker = Marker { schema: schema.to_string(), holder: Some((user, owner)) };
        assert_eq!(marker.account(), Some(account()));
        assert_eq!(Marker { schema: "a/b".to_owned(), ..marker.clone() }.account(), None);
        assert_eq!(Marker { holder: None, ..marker }.account(), None);
    }
}
