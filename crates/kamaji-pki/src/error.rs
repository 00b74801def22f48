//! What can go wrong with keys and certificates.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

/// What was being read when something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Material {
    /// An X.509 certificate.
    Certificate,
    /// A private key.
    PrivateKey,
}

impl fmt::Display for Material {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
        })
    }
}

/// Why a key or certificate could not be read, judged or made. No variant holds secret bytes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PEM block of the kind looked for.
    #[error("no {0} found: the data holds no PEM block of that kind")]
    NoBlock(Material),
    /// A PEM block that has no end, or holds something else than base64.
    #[error("{0} cannot be read: its PEM block is cut off or damaged, restore it from a backup")]
    DamagedBlock(Material),
    /// PEM is text, this is not.
    #[error("{0} cannot be read: the data is not text, PEM is needed")]
    NotText(Material),
    /// The bytes inside the PEM block are not the structure that its label promises.
    #[error("{material} cannot be read: the content of its PEM block is malformed, restore it from a backup")]
    Malformed {
        /// What was being read.
        material: Material,
        /// Where the decoder stumbled.
        #[source]
        source: der::Error,
    },
    /// The key is locked with a password.
    #[error("private key cannot be read: it is encrypted, store it without a password")]
    EncryptedKey,
    /// A kind of key that is not in use here.
    #[error("private key of an unknown kind: use RSA of 2048 to 4096 bits, or ECDSA on P-256 or P-384")]
    UnknownKey,
    /// The key is well-formed, but weak or inconsistent.
    #[error("private key refused: use RSA of 2048 to 4096 bits, or ECDSA on P-256 or P-384")]
    RefusedKey(#[source] ring::error::KeyRejected),
    /// An elliptic curve key without its public point, which ring cannot compute.
    #[error("private key cannot be used: it lacks its public half, `openssl ec -in KEY` writes it with one")]
    KeyWithoutPoint,
    /// The private key belongs to another certificate.
    #[error("private key does not belong to the certificate of {common_name}: store the pair made together")]
    KeyMismatch {
        /// Common name of the certificate.
        common_name: String,
    },
    /// The certificate may not sign others.
    #[error(
        "certificate of {common_name} is no certificate authority and cannot sign: store one with CA:TRUE"
    )]
    NotAnAuthority {
        /// Common name of the certificate.
        common_name: String,
    },
    /// The authority has ended, nothing it signs would be valid.
    #[error("certificate authority {common_name} cannot sign any more, it expired at {not_after}: rotate it")]
    AuthorityExpired {
        /// Common name of the authority.
        common_name: String,
        /// Its last second.
        not_after: Timestamp,
    },
    /// [`renew`](crate::verdict::renew) was given another authority than the one wanted.
    #[error(
        "certificate for {common_name} is wanted from another certificate authority than the one at hand"
    )]
    WrongAuthority {
        /// Common name of the certificate wanted.
        common_name: String,
    },
    /// A period that is not positive, longer than allowed, or beyond the calendar.
    #[error(
        "certificate for {common_name} cannot be valid for {valid_for:#}: choose a period up to {limit:#}"
    )]
    Period {
        /// Common name of the certificate.
        common_name: String,
        /// What was asked for.
        valid_for: SignedDuration,
        /// The longest that may be asked for.
        limit: SignedDuration,
    },
    /// A name that cannot stand in a certificate.
    #[error(
        "{name:?} cannot be the name of anything in a certificate: use letters, digits, '-', '.', '_' and '*'"
    )]
    Name {
        /// The offending name.
        name: String,
    },
    /// A structure could not be encoded.
    #[error("certificate for {common_name} could not be encoded")]
    Encode {
        /// Common name of the certificate.
        common_name: String,
        /// What the encoder refused.
        #[source]
        source: der::Error,
    },
    /// The source of randomness, or the arithmetic on keys, failed; which of them is kept secret on purpose.
    #[error("could not {action}: the system's source of randomness or the key is unusable")]
    Crypto {
        /// What was being done.
        action: &'static str,
    },
}
