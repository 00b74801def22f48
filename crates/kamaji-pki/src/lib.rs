//! Keys and certificates in memory, and the verdict whether one must be reissued.

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
