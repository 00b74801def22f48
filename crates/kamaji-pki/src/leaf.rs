//! What a certificate is issued for, and a certificate together with its key.

use std::{collections::BTreeSet, net::IpAddr};

use der::{
    asn1::ObjectIdentifier,
    oid::db::rfc5280::{ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH},
};
use jiff::SignedDuration;

pub use crate::certificate::Certificate;
use crate::{error::Error, key::PrivateKey};

/// The longest a leaf may be asked to last: 365 days.
pub const MAX_VALIDITY: SignedDuration = SignedDuration::from_hours(365 * 24);

/// The one purpose of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// It proves to clients who a server is.
    Server,
    /// It proves to servers who a client is.
    Client,
}

/// The names and addresses a server answers to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names; a leftmost `*` label is allowed. Case does not matter.
    pub dns: BTreeSet<String>,
    /// Addresses of either family.
    pub ips: BTreeSet<IpAddr>,
}

/// A certificate to be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Common name of the subject: the user, for a client.
    pub common_name: String,
    /// Organisations of the subject: the groups, for a client.
    pub organizations: Vec<String>,
    /// What it may be used for.
    pub usage: Usage,
    /// What a server answers to; empty for a client.
    pub names: Names,
    /// How long it lasts from now on, at most [`MAX_VALIDITY`] and never longer than its authority.
    pub valid_for: SignedDuration,
}

/// A certificate and the private key it certifies.
#[derive(Clone, Debug)]
pub struct Pair {
    certificate: Certificate,
    key: PrivateKey,
}

impl Usage {
    pub(crate) fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Server => ID_KP_SERVER_AUTH,
            Self::Client => ID_KP_CLIENT_AUTH,
        }
    }
}

impl Names {
    /// The same names as they stand in a certificate: lower case, IPv4 never dressed up as IPv6.
    #[must_use]
    pub fn normalized(&self) -> Self {
        Self {
            dns: self.dns.iter().map(|name| name.to_ascii_lowercase()).collect(),
            ips: self.ips.iter().map(IpAddr::to_canonical).collect(),
        }
    }

    /// Whether every one of `others` is among these. Both sides normalised.
    pub fn cover(&self, others: &Self) -> bool {
        self.dns.is_superset(&others.dns) && self.ips.is_superset(&others.ips)
    }
}

impl Pair {
    /// Both halves read from PEM.
    ///
    /// # Errors
    /// When either is unreadable, or the key is not the one that the certificate certifies.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, Error> {
        Self::new(Certificate::from_pem(certificate)?, PrivateKey::from_pem(key)?)
    }

    /// Both halves, if they belong together.
    pub fn new(certificate: Certificate, key: PrivateKey) -> Result<Self, Error> {
        if key.fits(&certificate) {
            Ok(Self { certificate, key })
        } else {
            Err(Error::KeyMismatch { common_name: certificate.common_name().to_owned() })
        }
    }

    /// The certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its private key.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }
}
