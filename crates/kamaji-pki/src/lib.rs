//! Keys and certificates in memory, and the verdict whether one must be reissued.
//!
//! Everything a controller needs to run a small PKI out of Kubernetes Secrets, or out of anything else that
//! holds two strings: read what is there, decide whether it may stay, issue what must be replaced. The crate
//! touches no file, no Kubernetes type and no clock; the time is an argument, so a test can stand at any
//! second it likes.
//!
//! # Use
//! A controller calls [`verdict::renew`] in every pass. It answers with the pair that is held for as long as
//! that will do, and with a new one and the reason for it when it will not. Writing only when there is a
//! reason makes a second pass a pass without writes.
//!
//! ```
//! use jiff::{SignedDuration, Timestamp};
//! use kamaji_pki::{Authority, Leaf, Names, Usage};
//! use kamaji_pki::verdict::{Held, NamesPolicy, Reissue, Wanted, deadline, renew};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now: Timestamp = "2026-11-23T02:00:00Z".parse()?; // the reconciler's clock
//! let day = SignedDuration::from_hours(24);
//!
//! // The anchor: made once and stored; `Authority::from_pem` reads it back, RSA ones of other tools too.
//! let authority = Authority::create("widgets", now, day * 3650)?;
//!
//! // What there should be.
//! let leaf = Leaf {
//!     common_name: "widget-server".to_owned(),
//!     organizations: vec![],
//!     usage: Usage::Server,
//!     names: Names { dns: ["widgets.example.com".to_owned()].into(), ips: ["10.0.0.7".parse()?].into() },
//!     valid_for: day * 90,
//! };
//! let wanted = Wanted {
//!     leaf: &leaf,
//!     authority: authority.certificate(),
//!     renew_before: day * 30,
//!     names: NamesPolicy::Exactly,
//! };
//!
//! // First pass: the Secret is not there.
//! let first = renew(None, &wanted, &authority, now)?;
//! assert_eq!(first.reason, Some(Reissue::Missing));
//! let (certificate, key) = (first.pair.certificate().pem(), first.pair.key().pem());
//!
//! // Every later pass: `held` is what the Secret holds.
//! let held = Held { certificate: certificate.as_bytes(), key: key.as_bytes(), requested: false };
//! let second = renew(Some(&held), &wanted, &authority, now + day)?;
//! assert_eq!(second.reason, None);
//!
//! // When to look again, if nothing else happens before.
//! let due = deadline(second.pair.certificate(), wanted.renew_before);
//! assert_eq!(due, now + day * 60);
//! assert_eq!(renew(Some(&held), &wanted, &authority, due)?.reason, Some(Reissue::NearExpiry));
//! # Ok(())
//! # }
//! ```
//!
//! # Policy
//! - New keys are ECDSA on P-256. RSA keys (2048 to 4096 bits, PKCS#1 and PKCS#8) and P-384 keys that exist
//!   already are read, kept to the letter and signed with.
//! - A leaf has one purpose, a random serial number of 128 bits, lasts at most a year and never longer than
//!   its authority, and begins five minutes early for machines whose clock is late.
//! - An anchor is never replaced here: what to do about an authority that is gone or unreadable is for people
//!   to decide, and [`Authority::from_pem`] tells them what is wrong with it. Its
//!   [`fingerprint`](Certificate::fingerprint) names the key, so that a changed one can be noticed.
//! - No input panics. What Go's PEM reader refuses is refused, since that is what will read the Secret next.
//!
//! # Memory
//! The text of a private key is overwritten when its last owner goes, and no `Debug` output shows one. ring
//! keeps its own copy of the numbers for signing, which is freed but not overwritten.

pub mod authority;
mod certificate;
mod draft;
pub mod error;
mod fingerprint;
pub mod key;
pub mod leaf;
mod pem;
pub mod verdict;

pub use authority::Authority;
pub use error::Error;
pub use key::PrivateKey;
pub use leaf::{Certificate, Leaf, Names, Pair, Usage};
