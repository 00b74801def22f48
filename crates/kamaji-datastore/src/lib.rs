//! Makes the account of one tenant exist or vanish in a shared datastore.

pub mod account;
pub mod config;
pub mod error;
#[cfg(feature = "etcd")]
mod etcd;
pub mod store;
mod tls;

#[cfg(feature = "etcd")]
pub use etcd::Etcd;
