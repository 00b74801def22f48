//! A [`kube::Client`] over one HTTP/2 connection, within bounds that the server cannot stretch.
//!
//! The client that `kube` makes speaks HTTP/1.1, where each open watch is a TLS connection of its own, and trusts the server
//! to be quick and brief. A controller that speaks to hundreds of API servers, some of them slow, broken or hostile, wants
//! neither. Here all requests and watches of a client share one connection (a server that speaks only HTTP/1.1 gets as many
//! as it needs), and [`Bounds`] say how long the server may take and how much it may answer.
//!
//! ```no_run
//! use kamaji_client::{Bounds, connect};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = kube::Config::infer().await?;
//! let client = connect(&config, Bounds::default())?;
//! println!("{}", client.apiserver_version().await?.git_version);
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//! - A request that is no watch ends within [`Bounds::answer`], from the first try to connect to the last byte.
//! - A watch has begun within [`Bounds::answer`], and fails when nothing comes for [`Bounds::silence`].
//! - A watch that ends within 5 s fails, so that a server which ends every watch at once is not asked without a pause.
//! - A connection whose peer is gone or stopped is noticed within 10 s, by HTTP/2 pings, also while only watches are open.
//! - A connection that is not there within [`Bounds::connect`], TLS included, is given up.
//! - An answer is at most [`Bounds::size`] bytes long (of a watch, an event is an answer), and all that have not ended yet are
//!   at most [`Bounds::together`].
//! - No more than [`Bounds::rate`] is read and no more than [`Bounds::requests`] are sent in the long run.
//! - Redirects are answers like any other, and no proxy is used.

mod body;
mod bounds;
mod connection;
mod held;
mod pace;

pub use bounds::{Bounds, Exceeded};
pub use connection::{Unconnectable, connect, connect_counted};
