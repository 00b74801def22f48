//! Makes the account of one tenant exist or vanish in a shared datastore.
//!
//! Many Kubernetes control planes can share one etcd, or one PostgreSQL, MariaDB or MySQL behind kine, if each API server has a user of its
//! own that reaches its own data and nothing else. This crate makes such accounts, keeps them as they should be, and removes them without a trace. It
//! knows nothing of Kubernetes: a controller of any kind can use it.
//!
//! # Use
//! Reach the datastore once, keep the [`Store`](store::Store) and clone it freely: all clones share one connection, made
//! when it is first needed and made anew, at another member, when it fails.
//!
//! ```no_run
//! use kamaji_datastore::account::{Account, Credential, Owner, Schema, Seal, Standing, User};
//! use kamaji_datastore::config::{Endpoint, Settings, Tls};
//! use kamaji_datastore::error::Error;
//! use kamaji_datastore::store::Store;
//!
//! # struct Widget { uid: String, deleted: bool, was_set_up: bool }
//! # struct Secrets { ca: Vec<u8>, certificate: Vec<u8>, key: Vec<u8> }
//! fn reach(secrets: Secrets) -> Result<Store, Error> {
//!     Store::etcd(Settings {
//!         endpoints: vec![Endpoint::parse("etcd-0.etcd:2379")?, Endpoint::parse("etcd-1.etcd:2379")?],
//!         // The identity of an etcd user with the role `root`.
//!         tls: Some(Tls { ca_pem: secrets.ca, client: Some((secrets.certificate, secrets.key.into())) }),
//!         ..Settings::default()
//!     })
//! }
//!
//! /// One pass of a controller. Whatever happens in it, and wherever it is cut off, the next one goes on from there.
//! async fn reconcile(widget: &Widget, store: &Store) -> Result<(), Error> {
//!     let account = Account {
//!         // Write both names, and a finalizer, to the widget before the first pass gets here: a widget that is deleted
//!         // in the middle of it must still know what to remove.
//!         schema: Schema::parse(&widget.uid)?,
//!         user: User::parse(&widget.uid)?,
//!         owner: Owner::parse(&widget.uid)?,
//!         standing: if widget.was_set_up { Standing::Recorded } else { Standing::Claimed },
//!         seal: Seal::Open,
//!         credential: Credential::Certificate,
//!     };
//!     if widget.deleted {
//!         return store.remove(&account).await;
//!     }
//!     let ensured = store.ensure(&account).await?;
//!     if ensured.changed() {
//!         println!("set up: {:?}", ensured.changes);
//!     }
//!     Ok(())
//! }
//!
//! /// What to tell people when a pass fails: a word of a closed set, and a sentence that says what to do.
//! fn condition(error: &Error) -> (&'static str, String) {
//!     (error.reason(), error.to_string())
//! }
//! ```
//!
//! With etcd the API server then gets a client certificate whose common name is the user, signed by the authority that etcd trusts
//! for clients, and the flags `--etcd-prefix=/<schema>` and `--etcd-compaction-interval=0`.
//!
//! # What is there afterwards
//! | in etcd | what |
//! |---|---|
//! | user `<user>` | without a password: it is known by its certificate; has the role `<schema>` and no other |
//! | role `<schema>` | may read and write from `/<schema>/` up to and without `/<schema>0`, and nothing else |
//! | key `/_kamaji/owners/<schema>` | the mark: `{"owner": "<uid>", "user": "<user>"}` |
//! | key `/_kamaji/users/<user>` | the mark: `{"owner": "<uid>", "schema": "<schema>"}` |
//!
//! | in PostgreSQL | what |
//! |---|---|
//! | role `<user>` | logs in with the account's password, or with a certificate alone; may do nothing that concerns others |
//! | comment on the role | the mark: `kamaji/1 {"owner": "<uid>", "schema": "<schema>", "password": "<fingerprint>"}` |
//! | database `<schema>` | is the role's; nobody else may connect to it |
//! | comment on the database | the mark: `kamaji/1 {"owner": "<uid>", "user": "<user>"}` |
//!
//! | in MariaDB and MySQL | what |
//! |---|---|
//! | user `<user>`@`%` | logs in with the account's password, over TLS if we come so ourselves |
//! | database `<schema>` | the user may read and write it, and make and alter tables and indexes in it |
//! | row of `_kamaji.owners` | the mark: the database, the user and the tenant's UID |
//!
//! The password is never sent: PostgreSQL is given the SCRAM-SHA-256 verifier that it would make of it. The fingerprint is a
//! salt and eight bytes that take as long to make of a password as the verifier does; it tells whether the password has
//! to be set anew, and everyone in the server can read it. MariaDB is given the hash that `mysql_native_password` keeps, which
//! takes no time to compute and only administrators can read; MySQL is given that of `caching_sha2_password`. Give tenants
//! long random passwords.
//!
//! | in a NATS account | what |
//! |---|---|
//! | bucket `<schema>`, a stream `KV_<schema>` | has the settings that kine asks for |
//! | message on `$KV._kamaji.owner`, in the stream `KV__kamaji` | the mark: `{"owner": "<uid>", "schema": "<schema>", "user": "<user>"}` |
//!
//! # Whose it is
//! The marks are put first, both at once, and removed last. What bears a mark of the account is the account's
//! own, and is completed or repaired from whatever state it is found in. Everything else of the same name is foreign: it is
//! never altered, granted on or deleted, and [`ensure`](store::Store::ensure) fails with
//! [`Error::Foreign`](error::Error::Foreign). The one exception is [`Standing::Recorded`](account::Standing::Recorded), for
//! accounts that an operator without marks has made: they are marked, if they look as that operator leaves them.
//!
//! A role in PostgreSQL is made together with its mark. A database cannot be: it is made shut, as that role's, and is the
//! account's because the account's marked role holds it, until it has its own mark and is opened. A tenant can change the
//! comment on its own database, and gains nothing by it: what counts is the role's, which it cannot change.
//!
//! MariaDB and MySQL let users and databases bear no text of ours in all versions, so their marks are rows of a table of our
//! own, which the first account makes and no tenant can read.
//!
//! [`audit`](store::Store::audit) lists the marks, so that accounts can be found whose owner is no more.
//!
//! # Moving
//! [`migrate`] moves a tenant's data from one datastore to another. While it does, and in the one that was left, the account
//! bears a second mark: the key `/_kamaji/migrations/<schema>` in etcd, the member `migration` of the role's comment in
//! PostgreSQL. [`ensure`](store::Store::ensure) opens no such account.
//!
//! # What etcd itself leaves open
//! Any user may compact the history of all keys, and may fill the database for all. Neither shows or changes another's
//! data: the first makes watches start over, the second is told as [`Error::NoSpace`](error::Error::NoSpace). An
//! administrator of etcd can do everything.
//!
//! # What PostgreSQL itself leaves open
//! Every role may connect to the databases `postgres` and `template1`, make temporary tables there, and take locks, until
//! an administrator says, once for each server:
//!
//! ```sql
//! REVOKE ALL PRIVILEGES ON DATABASE postgres, template1 FROM PUBLIC;
//! GRANT CONNECT ON DATABASE postgres TO "<the DataStore's user>";
//! ```
//!
//! Every role may read the names of all databases and roles, with their comments. All share the room on the disk, the
//! connections and the memory of one server. The DataStore's user needs no more than `LOGIN CREATEROLE CREATEDB`; it
//! becomes a member of each tenant's role. It is tested with PostgreSQL 15, and needs 14 at least.
//!
//! # What MariaDB and MySQL themselves leave open
//! A privilege of the role `PUBLIC`, or of a user without a name, is everyone's: `prove_confined` tells of those that reach
//! another tenant. All share the room on the disk, the connections and the memory of one server. The DataStore's user needs
//! this and no more:
//!
//! ```sql
//! GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, INDEX, ALTER, CREATE USER, PROCESS, CONNECTION ADMIN
//!     ON *.* TO '<the DataStore's user>'@'%' WITH GRANT OPTION;
//! ```
//!
//! (`CONNECTION_ADMIN` in MySQL.) The rights that tenants get can only be granted by who has them everywhere. A user's name has
//! at most 32 characters in MySQL and 80 in MariaDB; [`longest_user`](store::Store::longest_user) says what fits both. It is
//! tested with MariaDB 10.11. What it asks of MySQL 8 follows its documentation and was not run against it.
//!
//! # What NATS leaves open
//! NATS has no users that could be made over its protocol: a tenant's kine logs in as the DataStore itself does. What that
//! user may do, the tenant may do, to the mark too. So tenants are kept apart by **NATS accounts**, which share no subject and
//! no stream unless the server's administrator says so, and a NATS account holds one tenant. The first one marks it, and
//! of several at once one succeeds. The next is refused with [`Foreign::Occupied`](error::Foreign::Occupied), through
//! whichever DataStore it comes. A new tenant is refused as well where another kine keeps data in the same NATS account.
//! Streams of other programs are neither looked into nor touched, but the tenant can read and change them: give each tenant an
//! account of its own.
//!
//! ```text
//! accounts {
//!   BLUE {
//!     jetstream: { max_file: 2G }
//!     users: [{ user: blue, password: "…", permissions: {
//!       publish: ["$JS.API.>", "$JS.ACK.>", "$JS.FC.>", "$KV.>", "$SYS.REQ.USER.INFO"]
//!       subscribe: ["_INBOX.>"]
//!     }}]
//!   }
//! }
//! jetstream { sync_interval: always }
//! ```
//!
//! Those are all the rights that this crate and kine need. **`sync_interval: always`** matters: without it a server confirms
//! what it has not yet brought to its disk, two minutes' worth by default, and a machine that loses power loses writes that
//! the API server has confirmed; no client can see the setting. A bucket has one replica, as kine asks for, so it is there
//! as long as its server is. It is tested with nats-server 2.15.
//!
//! # Features
//! `etcd` (default) is the etcd driver; its build needs `protoc`. `mysql` is the driver of MariaDB and MySQL, `nats` the NATS
//! driver, `postgres` the PostgreSQL driver.

#[cfg(not(any(feature = "etcd", feature = "mysql", feature = "nats", feature = "postgres")))]
compile_error!("choose at least one kind of datastore: the feature `etcd`, `mysql`, `nats` or `postgres`");

pub mod account;
pub mod config;
mod connection;
pub mod error;
#[cfg(feature = "etcd")]
mod etcd;
// NATS takes no part in it.
#[cfg(any(feature = "etcd", feature = "postgres"))]
pub mod migrate;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "nats")]
mod nats;
mod pause;
#[cfg(feature = "postgres")]
mod postgres;
#[allow(dead_code, reason = "each kind of datastore uses its part of it, and not every kind is compiled in")]
mod refusal;
mod step;
pub mod store;
mod tls;

#[cfg(feature = "etcd")]
pub use etcd::Etcd;
#[cfg(feature = "mysql")]
pub use mysql::MySql;
#[cfg(feature = "nats")]
pub use nats::Nats;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
