//! What PostgreSQL keeps instead of a password, computed here so that no password is ever in a statement.
//!
//! Source of the verifier's form: `pg_authid.rolpassword` in PostgreSQL's "System Catalogs"; RFC 5802 and RFC 7677.
//! Passwords are plain ASCII, which `SASLprep` leaves as it is.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use zeroize::Zeroizing;

use crate::error::{Cause, Error};

/// As often as PostgreSQL itself does.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).expect("not zero");
const SALT: usize = 16;
/// Enough to tell passwords apart, in bytes.
const TAG: usize = 8;

/// A password, salted and hashed.
pub(crate) struct Verifier {
    salt: [u8; SALT],
    salted: Zeroizing<[u8; digest::SHA256_OUTPUT_LEN]>,
}

/// Whereby a password is known again. It is in a comment that everyone in the server can read: to guess a password
/// from it takes as long as to guess it from what PostgreSQL keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    salt: [u8; SALT],
    tag: [u8; TAG],
}

impl Verifier {
    /// Of this password, with a salt of its own.
    pub(crate) fn new(password: &str) -> Result<Self, Error> {
        let mut salt = [0; SALT];
        SystemRandom::new().fill(&mut salt).map_err(|error| Error::Refused {
            doing: "take a random salt from this system".to_owned(),
            source: Cause(error.to_string()),
        })?;
        Ok(Self::with_salt(password, salt))
    }

    pub(crate) fn with_salt(password: &str, salt: [u8; SALT]) -> Self {
        let mut salted = Zeroizing::new([0; digest::SHA256_OUTPUT_LEN]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, password.as_bytes(), &mut *salted);
        Self { salt, salted }
    }

    /// What `PASSWORD` takes and stores as it is.
    pub(crate) fn text(&self) -> String {
        let stored = digest::digest(&digest::SHA256, self.key(b"Client Key").as_ref());
        let server = self.key(b"Server Key");
        let [salt, stored, server] =
            [&self.salt[..], stored.as_ref(), server.as_ref()].map(|bytes| STANDARD.encode(bytes));
        format!("SCRAM-SHA-256${ITERATIONS}:{salt}${stored}:{server}")
    }

    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut tag = [0; TAG];
        tag.copy_from_slice(&self.key(b"Kamaji Mark").as_ref()[..TAG]);
        Fingerprint { salt: self.salt, tag }
    }

    fn key(&self, name: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*self.salted), name)
    }
}

impl Fingerprint {
    /// Reads what its `Display` wrote.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (salt, tag) = text.split_once(':')?;
        let salt = STANDARD.decode(salt).ok()?.try_into().ok()?;
        let tag = STANDARD.decode(tag).ok()?.try_into().ok()?;
        Some(Self { salt, tag })
    }

    /// Whether it is that of this password. Takes about a millisecond, unless it was so before.
    pub(crate) fn is_of(&self, password: &str) -> bool {
        KNOWN.is_of(self, password)
    }
}

/// What was found to belong together in this process. An account is looked at time after time, with the same password.
static KNOWN: LazyLock<Known> = LazyLock::new(Known::new);
/// How many pairs are remembered before all are forgotten.
const REMEMBERED: usize = 10_000;

/// Fingerprints and the passwords that they are of, as digests under a key that nobody else has and that ends with the
/// process.
struct Known {
    /// Nothing is remembered without random numbers.
    key: Option<hmac::Key>,
    pairs: Mutex<HashSet<[u8; digest::SHA256_OUTPUT_LEN]>>,
}

impl Known {
    fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        Self { key, pairs: Mutex::default() }
    }

    fn is_of(&self, fingerprint: &Fingerprint, password: &str) -> bool {
        let pair = self.key.as_ref().and_then(|key| pair(key, fingerprint, password));
        if pair.is_some_and(|pair| self.pairs().contains(&pair)) {
            return true;
        }
        let is_of = Verifier::with_salt(password, fingerprint.salt).fingerprint() == *fingerprint;
        if let Some(pair) = pair.filter(|_| is_of) {
            let mut pairs = self.pairs();
            if pairs.len() >= REMEMBERED {
                pairs.clear();
            }
            pairs.insert(pair);
        }
        is_of
    }

    fn pairs(&self) -> MutexGuard<'_, HashSet<[u8; digest::SHA256_OUTPUT_LEN]>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pair(key: &hmac::Key, of: &Fingerprint, password: &str) -> Option<[u8; digest::SHA256_OUTPUT_LEN]> {
    let mut context = hmac::Context::with_key(key);
    for part in [&of.salt[..], &of.tag, password.as_bytes()] {
        context.update(part);
    }
    context.sign().as_ref().try_into().ok()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", STANDARD.encode(self.salt), STANDARD.encode(self.tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3: its salt, and the server's signature is made with the server key.
    #[test]
    fn the_servers_key_is_that_of_the_rfc() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let verifier = Verifier::with_salt("pencil", salt.try_into().expect("16 bytes"));
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let key = hmac::Key::new(hmac::HMAC_SHA256, verifier.key(b"Server Key").as_ref());
        let signature = STANDARD.encode(hmac::sign(&key, message.as_bytes()));
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        assert!(verifier.text().starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"));
    }

    #[test]
    fn a_fingerprint_knows_its_password() {
        let verifier = Verifier::new("right").expect("random");
        let fingerprint = Fingerprint::parse(&verifier.fingerprint().to_string()).expect("as written");
        assert!(fingerprint.is_of("right") && !fingerprint.is_of("wrong"));
        assert!(fingerprint.is_of("right") && !fingerprint.is_of("wrong"), "and remembers it");
        let other = Verifier::new("right").expect("random").fingerprint();
        let forged = Fingerprint { tag: other.tag, ..fingerprint };
        assert!(!forged.is_of("right"));
        assert_ne!(Verifier::new("right").expect("random").text(), verifier.text());
        for text in ["", ":", "a:b", "AAAA:AAAA"] {
            assert_eq!(Fingerprint::parse(text), None, "{text}");
        }
    }
}
