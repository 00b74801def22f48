//! What a tenant's identity hangs on: two authorities and the key that signs service-account tokens.
//!
//! They are born once. One that is gone or unreadable is never replaced silently, because every node, token and kubeconfig
//! of the tenant would die with it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{Child, TenantId};
use kamaji_pki::{Authority, PrivateKey};

use crate::rotation::{self, Overlap};
use crate::secret::{self, HeldSecrets};
use crate::{Error, checksum};

/// How long an authority lasts: ten years, as kubeadm has it.
const AUTHORITY_VALIDITY: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// The anchors, read and usable.
#[derive(Clone, Debug)]
pub struct Anchors {
    /// The cluster's authority.
    pub ca: Authority,
    /// The front proxy's authority.
    pub front_proxy_ca: Authority,
    /// The key that signs service-account tokens.
    pub service_accounts: PrivateKey,
    overlaps: BTreeMap<Child, Overlap>,
}

/// The three children that hold the anchors.
pub const ANCHORS: [Child; 3] = [Child::Ca, Child::FrontProxyCa, Child::ServiceAccountKey];

/// Why an anchor cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It was there, and is gone.
    Lost(Child),
    /// It cannot be read; the text says why.
    Broken(Child, String),
    /// It is not the one that the status remembers.
    Replaced(Child),
}

impl Unusable {
    /// Reason of the condition: one of a closed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Lost(_) => "TrustAnchorMissing",
            Self::Broken(..) => "TrustAnchorUnreadable",
            Self::Replaced(_) => "TrustAnchorReplaced",
        }
    }

    /// What happened, and what to do.
    pub fn message(&self, tenant: &TenantId) -> String {
        let name = |child: &Child| child.name(&tenant.name);
        match self {
            Self::Lost(child) => format!(
                "Secret {} is gone: restore it from a backup; a new one would cut off every node and kubeconfig, so none is made \
                 unless the annotation {} asks for it",
                name(child),
                rotation::request(*child)
            ),
            Self::Broken(child, problem) => {
                format!("Secret {} cannot be used ({problem}): restore it from a backup", name(child))
            }
            Self::Replaced(child) => format!(
                "Secret {} holds other data than the tenant was made with: restore it from a backup",
                name(child)
            ),
        }
    }
}

/// What to do about one anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Birth {
    /// It is there.
    Held,
    /// It was never there: make it.
    Due,
    /// It was there: do not replace it.
    Over,
}

/// Whether an anchor may be made: only once in a tenant's life.
pub fn birth(held: &HeldSecrets, child: Child, recorded: Option<&str>) -> Birth {
    match (held.contains_key(&child), recorded) {
        (true, _) => Birth::Held,
        (false, None) => Birth::Due,
        (false, Some(_)) => Birth::Over,
    }
}

/// A new anchor, to be created and never applied over another one.
pub fn create(tenant: &TenantId, child: Child, now: Timestamp) -> Result<Secret, Error> {
    let issue = |source| Error::Issue { child, source };
    let key = || PrivateKey::generate().map_err(issue);
    let authority = |name| Authority::create(name, now, AUTHORITY_VALIDITY).map_err(issue);
    Ok(match child {
        Child::FrontProxyCa => {
            let ca = authority("front-proxy-ca")?;
            let data =
                [("front-proxy-ca.crt", ca.certificate().pem()), ("front-proxy-ca.key", ca.key().pem())];
            secret::build(tenant, child, &data)
        }
        Child::ServiceAccountKey => {
            let key = key()?;
            secret::build(tenant, child, &[("sa.key", key.pem()), ("sa.pub", &key.public_pem())])
        }
        _ => {
            let ca = authority("kubernetes")?;
            secret::build(tenant, child, &authority_data(&ca))
        }
    })
}

/// An anchor that is there, with the labels, the owner and the keys that it should have. Its data is never changed, but
/// what the Cluster API provider needs is added.
pub fn kept(tenant: &TenantId, child: Child, held: &Secret) -> Secret {
    let mut data = held.data.clone().unwrap_or_default();
    for (copy, original) in [("tls.crt", "ca.crt"), ("tls.key", "ca.key")] {
        if let Some(value) = data.get(original).filter(|_| child == Child::Ca).cloned() {
            data.insert(copy.into(), value);
        }
    }
    let mut secret = secret::with_data(tenant, child, data, held.type_.clone());
    // The status may remember no other one.
    secret::keep_foreign_checksum(&mut secret, held);
    secret
}

/// The keys of the Secret that the Cluster API provider copies: `tls.*` repeats `ca.*`.
fn authority_data(ca: &Authority) -> [(&'static str, &str); 4] {
    let (certificate, key) = (ca.certificate().pem(), ca.key().pem());
    [("ca.crt", certificate), ("ca.key", key), ("tls.crt", certificate), ("tls.key", key)]
}

impl Anchors {
    /// Reads the anchors out of their Secrets, once all three are there.
    ///
    /// `recorded` is what the status remembers of each, if anything.
    pub fn read<'a>(
        held: &HeldSecrets,
        recorded: impl Fn(Child) -> Option<&'a str>,
    ) -> Result<Self, Unusable> {
        for child in ANCHORS {
            let secret = held.get(&child).ok_or(Unusable::Lost(child))?;
            if recorded(child).is_some_and(|sum| !is_recorded(secret, sum)) {
                return Err(Unusable::Replaced(child));
            }
        }
        let authority = |child: Child, certificate: &str, key: &str| {
            let secret = &held[&child];
            let pem = |key| secret::value(secret, key).unwrap_or_default();
            Authority::from_pem(pem(certificate), pem(key)).map_err(|problem| broken(child, &problem))
        };
        let service_accounts = secret::value(&held[&Child::ServiceAccountKey], "sa.key").unwrap_or_default();
        let overlaps =
            ANCHORS.into_iter().filter_map(|child| Some((child, rotation::overlap(child, &held[&child])?)));
        Ok(Self {
            overlaps: overlaps.collect(),
            ca: authority(Child::Ca, "ca.crt", "ca.key")?,
            front_proxy_ca: authority(Child::FrontProxyCa, "front-proxy-ca.crt", "front-proxy-ca.key")?,
            service_accounts: PrivateKey::from_pem(service_accounts)
                .map_err(|problem| broken(Child::ServiceAccountKey, &problem))?,
        })
    }
}

impl Anchors {
    /// Whom clients of the API server are to trust, in PEM: the cluster's authority, and while that is replaced the other one too.
    pub fn trusted(&self) -> &str {
        self.overlaps.get(&Child::Ca).map_or_else(|| self.ca.certificate().pem(), |overlap| &overlap.trusted)
    }

    /// Whether this anchor is being replaced, so that two are trusted.
    pub(crate) fn overlaps(&self, child: Child) -> bool {
        self.overlaps.contains_key(&child)
    }

    /// What stands behind a certificate that this anchor has signed.
    pub(crate) fn chain(&self, child: Child) -> &str {
        self.overlaps.get(&child).map_or("", |overlap| &overlap.chain)
    }
}

fn broken(child: Child, problem: &kamaji_pki::Error) -> Unusable {
    Unusable::Broken(child, problem.to_string())
}

/// A checksum of ours must fit the data. One of the Go operator's cannot be recomputed here, so the Secret's own
/// annotation must repeat it.
fn is_recorded(secret: &Secret, sum: &str) -> bool {
    let annotated =
        secret.metadata.annotations.as_ref().and_then(|all| all.get(kamaji_api::labels::CHECKSUM));
    checksum::of_secret(secret) == sum
        || (sum.len() != checksum::DIGITS && annotated.is_some_and(|annotated| annotated == sum))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::ByteString;

    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn tenant() -> TenantId {
        TenantId { namespace: "teams".into(), name: "blue".into(), uid: "1".into() }
    }

    fn held() -> HeldSecrets {
        ANCHORS.map(|child| (child, Arc::new(create(&tenant(), child, NOW).unwrap()))).into()
    }

    #[test]
    fn an_anchor_is_born_once() {
        assert_eq!(birth(&HeldSecrets::new(), Child::Ca, None), Birth::Due);
        assert_eq!(birth(&HeldSecrets::new(), Child::Ca, Some("sum")), Birth::Over);
        assert_eq!(birth(&held(), Child::Ca, None), Birth::Held);
    }

    #[test]
    fn what_was_created_can_be_read() {
        let held = held();
        let sums = held.clone();
        let sum =
            |child| Some(sums[&child].metadata.annotations.as_ref()?[kamaji_api::labels::CHECKSUM].as_str());
        let anchors = Anchors::read(&held, sum).unwrap();
        assert_eq!(anchors.ca.certificate().common_name(), "kubernetes");
        assert_eq!(secret::value(&held[&Child::Ca], "tls.key"), secret::value(&held[&Child::Ca], "ca.key"));
    }

    #[test]
    fn another_authority_under_the_same_name_is_noticed() {
        let before = checksum::of_secret(&held()[&Child::Ca]);
        let found = Anchors::read(&held(), |child| (child == Child::Ca).then_some(before.as_str()));
        assert_eq!(found.err(), Some(Unusable::Replaced(Child::Ca)));
    }

    #[test]
    fn a_checksum_of_the_go_operator_is_taken_from_the_annotation() {
        let mut held = held();
        let secret = Arc::make_mut(held.get_mut(&Child::Ca).unwrap());
        secret.metadata.annotations =
            Some([(kamaji_api::labels::CHECKSUM.into(), "d41d8cd98f00b204".into())].into());
        assert!(Anchors::read(&held, |child| (child == Child::Ca).then_some("d41d8cd98f00b204")).is_ok());
        assert!(Anchors::read(&held, |child| (child == Child::Ca).then_some("ffffffffffffffff")).is_err());
    }

    #[test]
    fn garbage_is_named_and_not_replaced() {
        let mut held = held();
        let secret = Arc::make_mut(held.get_mut(&Child::ServiceAccountKey).unwrap());
        secret.data.as_mut().unwrap().insert("sa.key".into(), ByteString(b"garbage".to_vec()));
        let problem = Anchors::read(&held, |_| None).unwrap_err();
        assert_eq!(problem.reason(), "TrustAnchorUnreadable");
        assert!(problem.message(&tenant()).contains("blue-sa-certificate"));
    }
}
