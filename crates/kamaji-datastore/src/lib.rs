//! Makes the account of one tenant exist or vanish in a shared datastore.

#[cfg(not(feature = "etcd"))]
compile_error!("choose at least one kind of datastore: the feature `etcd`");

pub mod account;
pub mod config;
pub mod error;
#[cfg(feature = "etcd")]
mod etcd;
pub mod store;
mod tls;

#[cfg(feature = "etcd")]
pub use etcd::Etcd;
