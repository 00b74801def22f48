//! Certificate authorities: the anchors of trust, and what they issue.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use crate::{
    draft::{Draft, Role},
    error::Error,
    key::PrivateKey,
    leaf::{Certificate, Leaf, MAX_VALIDITY, Names, Pair},
};

/// How far a new certificate reaches into the past, for machines whose clock is late.
pub const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// The longest an authority may be asked to last: a hundred years.
const MAX_AUTHORITY_VALIDITY: SignedDuration = SignedDuration::from_hours(100 * 366 * 24);

/// A certificate that signs others, and its key.
#[derive(Clone, Debug)]
pub struct Authority(Pair);

impl Authority {
    /// A new authority with a key of its own, valid from five minutes before `now` until `valid_for` after
    /// it.
    pub fn create(common_name: &str, now: Timestamp, valid_for: SignedDuration) -> Result<Self, Error> {
        let not_after = end(common_name, now, valid_for, MAX_AUTHORITY_VALIDITY)?;
        check_common_name(common_name)?;
        let key = PrivateKey::generate()?;
        // kubeadm repeats the common name as a DNS name; one with other characters is left out.
        let dns = BTreeSet::from([common_name.to_ascii_lowercase()])
            .into_iter()
            .filter(|name| is_name(name))
            .collect();
        let certificate = Draft {
            common_name,
            organizations: &[],
            names: &Names { dns, ips: BTreeSet::new() },
            not_before: start(now),
            not_after,
            public: key.public(),
            role: Role::Authority,
        }
        .sign(&key)?;
        Ok(Self(Pair::new(certificate, key)?))
    }

    /// An existing authority, whatever its kind of key.
    ///
    /// # Errors
    /// When either half is unreadable, they do not belong together, or the certificate may not sign.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        let pair = Pair::from_pem(certificate, key)?;
        if pair.certificate().is_authority() {
            Ok(Self(pair))
        } else {
            Err(Error::NotAnAuthority { common_name: pair.certificate().common_name().to_owned() })
        }
    }

    /// A new certificate with a new key on P-256: one purpose, a random serial number of 128 bits, valid from
    /// five minutes before `now` until `leaf.valid_for` after it, or until the authority ends.
    pub fn issue(&self, leaf: &Leaf, now: Timestamp) -> Result<Pair, Error> {
        let names = leaf.names.normalized();
        check_common_name(&leaf.common_name)?;
        check_names(&names)?;
        let not_after =
            end(&leaf.common_name, now, leaf.valid_for, MAX_VALIDITY)?.min(self.certificate().not_after());
        self.check_alive(now)?;
        let key = PrivateKey::generate()?;
        let certificate = Draft {
            common_name: &leaf.common_name,
            organizations: &leaf.organizations,
            names: &names,
            not_before: start(now),
            not_after,
            public: key.public(),
            role: Role::Leaf { usage: leaf.usage, issuer: self.certificate() },
        }
        .sign(self.key())?;
        Pair::new(certificate, key)
    }

    /// The certificate of another authority over again, signed by this one, until the first of both ends.
    ///
    /// Behind what `other` has issued, it convinces whoever trusts only this authority.
    ///
    /// # Errors
    /// When this authority has ended.
    pub fn vouch(&self, other: &Certificate, now: Timestamp) -> Result<Certificate, Error> {
        self.check_alive(now)?;
        Draft {
            common_name: other.common_name(),
            organizations: other.organizations(),
            names: &Names::default(),
            not_before: start(now),
            not_after: other.not_after().min(self.certificate().not_after()),
            public: other.public_key(),
            role: Role::Vouched { subject: other, issuer: self.certificate() },
        }
        .sign(self.key())
    }

    /// The certificate that others trust.
    pub fn certificate(&self) -> &Certificate {
        self.0.certificate()
    }

    /// The key that signs.
    pub fn key(&self) -> &PrivateKey {
        self.0.key()
    }

    fn check_alive(&self, now: Timestamp) -> Result<(), Error> {
        let not_after = self.certificate().not_after();
        if now < not_after {
            return Ok(());
        }
        Err(Error::AuthorityExpired { common_name: self.certificate().common_name().to_owned(), not_after })
    }
}

fn start(now: Timestamp) -> Timestamp {
    now.checked_sub(BACKDATED).unwrap_or(Timestamp::MIN)
}

fn end(
    common_name: &str,
    now: Timestamp,
    valid_for: SignedDuration,
    limit: SignedDuration,
) -> Result<Timestamp, Error> {
    now.checked_add(valid_for)
        .ok()
        .filter(|_| valid_for.is_positive() && valid_for <= limit)
        .ok_or_else(|| Error::Period { common_name: common_name.to_owned(), valid_for, limit })
}

fn check_common_name(common_name: &str) -> Result<(), Error> {
    if common_name.is_empty() || common_name.contains('\0') {
        return Err(Error::Name { name: common_name.to_owned() });
    }
    Ok(())
}

fn check_names(names: &Names) -> Result<(), Error> {
    match names.dns.iter().find(|name| !is_name(name)) {
        Some(name) => Err(Error::Name { name: name.clone() }),
        None => Ok(()),
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-._*".contains(character);
    (1..=253).contains(&name.len()) && name.chars().all(allowed)
}
