//! The certificate of the webhooks, in a Secret that every replica reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::labels;
use kamaji_pki::verdict::{self, Held, NamesPolicy, Reissue, Wanted, deadline};
use kamaji_pki::{Authority, Leaf, Names, Usage};
use kube::ResourceExt;
use kube::core::ObjectMeta;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The value of [`labels::COMPONENT`] on the Secret: one without it is somebody else's.
const COMPONENT: &str = "webhook-certificate";
/// How long the authority lasts. It signs nothing else.
const AUTHORITY_VALIDITY: SignedDuration = SignedDuration::from_hours(5 * 365 * 24);
/// How long before its end it is replaced: longer than what it signs lasts.
const AUTHORITY_LEFT: SignedDuration = SignedDuration::from_hours(180 * 24);
/// How long the certificate lasts.
const VALIDITY: SignedDuration = SignedDuration::from_hours(90 * 24);
/// How long before its end it is replaced.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);

/// What the Secret is to be like.
#[derive(Debug)]
pub(super) struct Kept {
    /// What it is to hold.
    pub(super) data: BTreeMap<String, ByteString>,
    /// Whom the API server is to trust, in PEM.
    pub(super) authority: String,
    /// Why it must be written; nothing if it is as it should be.
    pub(super) reason: Option<Reissue>,
    /// When to look again.
    pub(super) renew_at: Timestamp,
}

/// What the Secret is to hold, given what it holds.
///
/// # Errors
/// When no key or certificate could be made.
pub(super) fn kept(held: Option<&Secret>, names: &Names, now: Timestamp) -> Result<Kept, kamaji_pki::Error> {
    let authority = match held.and_then(|secret| lasting_authority(secret, now)) {
        Some(authority) => authority,
        None => Authority::create("kamaji-webhook-ca", now, AUTHORITY_VALIDITY)?,
    };
    let leaf = Leaf {
        common_name: "kamaji-webhook".to_owned(),
        organizations: Vec::new(),
        usage: Usage::Server,
        names: names.clone(),
        valid_for: VALIDITY,
    };
    let wanted = Wanted {
        leaf: &leaf,
        authority: authority.certificate(),
        renew_before: RENEW_BEFORE,
        names: NamesPolicy::Exactly,
    };
    let found = held.map(|secret| Held {
        certificate: value(secret, "tls.crt"),
        key: value(secret, "tls.key"),
        requested: is_requested(secret),
    });
    let renewal = verdict::renew(found.as_ref(), &wanted, &authority, now)?;
    let ends = authority.certificate().not_after();
    let authority_ends = ends.checked_sub(AUTHORITY_LEFT).unwrap_or(ends);
    let pem = |text: &str| ByteString(text.as_bytes().to_vec());
    let data = [
        ("ca.crt", pem(authority.certificate().pem())),
        ("ca.key", pem(authority.key().pem())),
        ("tls.crt", pem(renewal.pair.certificate().pem())),
        ("tls.key", pem(renewal.pair.key().pem())),
    ];
    Ok(Kept {
        data: data.map(|(key, value)| (key.to_owned(), value)).into(),
        authority: authority.certificate().pem().to_owned(),
        reason: renewal.reason,
        renew_at: deadline(renewal.pair.certificate(), RENEW_BEFORE).min(authority_ends),
    })
}

fn lasting_authority(secret: &Secret, now: Timestamp) -> Option<Authority> {
    let authority = Authority::from_pem(value(secret, "ca.crt"), value(secret, "ca.key")).ok()?;
    let left = authority.certificate().not_after().duration_since(now);
    (left > AUTHORITY_LEFT).then_some(authority)
}

fn value<'a>(secret: &'a Secret, key: &str) -> &'a [u8] {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value.map(|bytes| bytes.0.as_slice()).unwrap_or_default()
}

/// As with the Secrets of tenants, an empty annotation asks for another certificate.
fn is_requested(secret: &Secret) -> bool {
    secret.annotations().get(labels::ROTATE).is_some_and(String::is_empty)
}

/// Whether we made it.
pub(super) fn is_ours(secret: &Secret) -> bool {
    secret.labels().get(labels::COMPONENT).is_some_and(|value| value == COMPONENT)
}

/// The Secret as it is to be written, over the very one that was read.
pub(super) fn secret(
    name: &str,
    namespace: &str,
    held: Option<&Secret>,
    kept: &Kept,
    now: Timestamp,
) -> Secret {
    let before = held.and_then(|secret| secret.annotations().get(labels::ROTATE)).cloned();
    let rotated = before.map(|text| if text.is_empty() { now.to_string() } else { text });
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            uid: held.and_then(ResourceExt::uid),
            resource_version: held.and_then(ResourceExt::resource_version),
            labels: Some([(labels::COMPONENT.to_owned(), COMPONENT.to_owned())].into()),
            annotations: rotated.map(|text| [(labels::ROTATE.to_owned(), text)].into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(kept.data.clone()),
        ..Secret::default()
    }
}

/// The pair as the server shows it, from PEM.
///
/// # Errors
/// What is wrong with it.
pub(super) fn certified(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let chain: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| format!("the certificate cannot be read: {error}"))?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key cannot be read: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate".to_owned());
    }
    let pair = CertifiedKey::from_der(chain, key, &ring::default_provider());
    pair.map(Arc::new).map_err(|error| format!("certificate and key cannot be used: {error}"))
}

/// The pair that a Secret holds.
///
/// # Errors
/// What is wrong with it.
pub(super) fn of_secret(secret: &Secret) -> Result<Arc<CertifiedKey>, String> {
    certified(value(secret, "tls.crt"), value(secret, "tls.key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn names(host: &str) -> Names {
        Names { dns: [host.to_owned()].into(), ips: std::collections::BTreeSet::new() }
    }

    fn made(held: Option<&Secret>, now: &str) -> (Kept, Secret) {
        let kept = kept(held, &names("a.b.svc"), at(now)).unwrap();
        let secret = secret("name", "ns", held, &kept, at(now));
        (kept, secret)
    }

    #[test]
    fn what_is_sound_stays_and_what_is_not_is_made_anew() {
        let (first, secret) = made(None, "2026-11-23T00:00:00Z");
        assert_eq!(first.reason, Some(Reissue::Missing));
        assert!(is_ours(&secret) && of_secret(&secret).is_ok());
        assert_eq!(first.renew_at, at("2027-01-22T00:00:00Z"));
        let (same, _) = made(Some(&secret), "2027-01-21T00:00:00Z");
        assert_eq!((same.reason, same.data == first.data), (None, true));

        let (renewed, later) = made(Some(&secret), "2027-01-22T00:00:01Z");
        assert_eq!(renewed.reason, Some(Reissue::NearExpiry));
        assert_eq!(renewed.authority, first.authority, "whom to trust stays");
        let (late, _) = made(Some(&later), "2030-01-01T00:00:00Z");
        assert_eq!((late.reason, late.authority == first.authority), (Some(Reissue::NearExpiry), true));
        let (new, _) = made(Some(&later), "2031-09-01T00:00:00Z");
        assert!(new.authority != first.authority, "the authority ends soon");
        assert_eq!(new.reason, Some(Reissue::ForeignIssuer));

        let moved = kept(Some(&secret), &names("c.d.svc"), at("2026-11-23T00:00:00Z")).unwrap();
        assert_eq!(moved.reason, Some(Reissue::NamesDiffer));
    }

    #[test]
    fn garbage_is_replaced() {
        for key in ["ca.crt", "ca.key", "tls.crt", "tls.key"] {
            let (_, mut secret) = made(None, "2026-11-23T00:00:00Z");
            secret.data.as_mut().unwrap().insert(key.to_owned(), ByteString(b"garbage".to_vec()));
            let (kept, repaired) = made(Some(&secret), "2026-11-23T00:00:00Z");
            assert!(kept.reason.is_some() && of_secret(&repaired).is_ok(), "{key}");
        }
        assert!(of_secret(&Secret::default()).is_err());
    }

    #[test]
    fn another_is_made_on_request_once() {
        let (_, mut secret) = made(None, "2026-11-23T00:00:00Z");
        secret.metadata.annotations = Some([(labels::ROTATE.to_owned(), String::new())].into());
        let (kept, written) = made(Some(&secret), "2026-11-24T00:00:00Z");
        assert_eq!(kept.reason, Some(Reissue::Requested));
        assert_eq!(written.annotations()[labels::ROTATE], "2026-11-24T00:00:00Z");
        assert_eq!(made(Some(&written), "2026-11-24T00:00:00Z").0.reason, None);
    }
}
