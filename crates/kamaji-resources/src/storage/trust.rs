//! Which stores the API server trusts. It is given one file of authorities for all of them.

use jiff::Timestamp;
use kamaji_api::{Child, Tenant};

use super::StorageCredentials;
use crate::overrides::Override;
use crate::secret::{self, HeldSecrets};

/// How a certificate ends in PEM.
const END: &str = "-----END CERTIFICATE-----";

/// Whether every store is known that keeps some kinds of a tenant's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Nothing but what is given is trusted.
    Whole,
    /// Some are not known yet: what was trusted so far stays, so that no Pod that starts anew loses a store.
    Partial,
}

impl StorageCredentials {
    /// The same, for an API server that reaches these stores too. Where all of them have one authority, nothing changes.
    #[must_use]
    pub fn trusting(
        self,
        tenant: &Tenant,
        (overrides, extent): (&[Override], Extent),
        held: &HeldSecrets,
        now: Timestamp,
    ) -> Self {
        let child = Child::DatastoreCertificate;
        let held = held.get(&child).map(AsRef::as_ref);
        let text = |key| {
            let bytes = secret::value(&self.certificate, key).unwrap_or_default();
            String::from_utf8_lossy(bytes).into_owned()
        };
        let own = text("ca.crt");
        let trusted = held.and_then(|held| secret::value(held, "ca.crt")).unwrap_or_default();
        let trusted = String::from_utf8_lossy(trusted);
        let kept = (extent == Extent::Partial).then_some(trusted.as_ref());
        let bundle = bundle(&own, overrides.iter().map(|place| place.authority.as_str()).chain(kept));
        if bundle == own {
            return self;
        }
        let (certificate, key) = (text("server.crt"), text("server.key"));
        let data = [("ca.crt", bundle.as_str()), ("server.crt", &certificate), ("server.key", &key)];
        let certificate = secret::renewed(secret::build(&tenant.id, child, &data), held, now);
        Self { certificate, ..self }
    }
}

/// The certificates of `own`, then those of `others` that are not among them, each once.
fn bundle<'a>(own: &str, others: impl Iterator<Item = &'a str>) -> String {
    let mut bundle = own.to_owned();
    for certificate in others.flat_map(certificates) {
        if !certificates(&bundle).any(|known| known == certificate) {
            if !bundle.is_empty() && !bundle.ends_with('\n') {
                bundle.push('\n');
            }
            bundle.push_str(certificate);
            bundle.push('\n');
        }
    }
    bundle
}

/// Each certificate of a bundle, without what stands around it.
fn certificates(pem: &str) -> impl Iterator<Item = &str> {
    pem.split_inclusive(END).filter_map(|part| {
        let start = part.find("-----BEGIN CERTIFICATE-----")?;
        part.ends_with(END).then(|| &part[start..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(name: &str) -> String {
        format!("-----BEGIN CERTIFICATE-----\n{name}\n{END}\n")
    }

    #[test]
    fn each_authority_is_trusted_once_and_the_own_first() {
        let (a, b, c) = (pem("a"), pem("b"), pem("c"));
        let commented = format!("# of the second\n{b}\n\n{c}{a}");
        let others = [a.as_str(), &commented, &b];
        assert_eq!(bundle(&a, others.into_iter()), [a, b, c].concat());
    }

    #[test]
    fn one_authority_changes_no_byte() {
        let own = pem("a").trim_end().to_owned();
        assert_eq!(bundle(&own, [pem("a").as_str(), "no certificate"].into_iter()), own);
    }
}
