//! Secrets of a tenant: how they are built and read.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::{Child, TenantId, labels};
use kamaji_pki::verdict::{Held, NamesPolicy};

use crate::{checksum, object};

/// The Secrets that a tenant has now.
pub type HeldSecrets = BTreeMap<Child, Arc<Secret>>;

/// A Secret with these texts as its data, and their checksum as an annotation.
pub(crate) fn build(tenant: &TenantId, child: Child, data: &[(&str, &str)]) -> Secret {
    let data =
        data.iter().map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()))).collect();
    with_data(tenant, child, data, Some("Opaque".into()))
}

/// A Secret with this data, and its checksum as an annotation. The type of a Secret that is there cannot be changed.
pub(crate) fn with_data(
    tenant: &TenantId,
    child: Child,
    data: BTreeMap<String, ByteString>,
    type_: Option<String>,
) -> Secret {
    let annotations = BTreeMap::from([(labels::CHECKSUM.to_owned(), checksum::of_data(&data))]);
    Secret {
        metadata: ObjectMeta { annotations: Some(annotations), ..object::metadata(tenant, child) },
        type_,
        data: Some(data),
        ..Secret::default()
    }
}

/// `secret` with what must outlast a renewal of the one that is `held`.
///
/// The time of the last rotation stays, and a request for one becomes the time of it. A checksum of the Go operator's stays
/// as long as the data does: it tells who made them, see [`policy`].
pub(crate) fn renewed(mut secret: Secret, held: Option<&Secret>, now: Timestamp) -> Secret {
    let Some(held) = held else { return secret };
    if secret.data == held.data {
        keep_foreign_checksum(&mut secret, held);
    }
    if let Some(rotated) = annotation(held, labels::ROTATE) {
        let time = if rotated.is_empty() {
            now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
        } else {
            rotated.to_owned()
        };
        secret.metadata.annotations.get_or_insert_default().insert(labels::ROTATE.into(), time);
    }
    secret
}

/// The annotation stays where it is not one of ours.
pub(crate) fn keep_foreign_checksum(secret: &mut Secret, held: &Secret) {
    if let Some(sum) = annotation(held, labels::CHECKSUM).filter(|sum| is_foreign(sum)) {
        secret.metadata.annotations.get_or_insert_default().insert(labels::CHECKSUM.into(), sum.to_owned());
    }
}

/// The value under `key`.
pub(crate) fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice())
}

/// The certificate and key under these keys, as far as they are there.
pub(crate) fn held<'a>(secret: &'a Secret, certificate: &str, key: &str) -> Held<'a> {
    Held {
        certificate: value(secret, certificate).unwrap_or_default(),
        key: value(secret, key).unwrap_or_default(),
        requested: is_rotation_requested(secret),
    }
}

/// True when the rotation annotation is there and empty.
pub(crate) fn is_rotation_requested(secret: &Secret) -> bool {
    annotation(secret, labels::ROTATE).is_some_and(str::is_empty)
}

/// How strictly the certificates of a Secret are judged: the Go operator's hold more than ours would, and stay until
/// they must be renewed anyway.
pub(crate) fn policy(secret: Option<&Arc<Secret>>) -> NamesPolicy {
    match secret.and_then(|secret| annotation(secret, labels::CHECKSUM)) {
        Some(sum) if is_foreign(sum) => NamesPolicy::AtLeast,
        _ => NamesPolicy::Exactly,
    }
}

/// True of a checksum that another operator computed. What is no checksum at all is nobody's.
fn is_foreign(sum: &str) -> bool {
    sum.len() != checksum::DIGITS && !sum.is_empty() && sum.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn annotation<'a>(secret: &'a Secret, name: &str) -> Option<&'a str> {
    secret.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}
