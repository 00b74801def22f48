//! The name of a public key: what stays the same for as long as the key does.

use ring::digest::{SHA256, digest};
use x509_cert::SubjectPublicKeyInfo;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// SHA-256 over `public`, a `SubjectPublicKeyInfo` in DER, in lowercase hexadecimal.
pub(crate) fn fingerprint(public: &[u8]) -> String {
    digest(&SHA256, public)
        .as_ref()
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// The key identifier of RFC 7093, method 1: the left 160 bits of SHA-256 over the bits of the public key.
pub(crate) fn key_identifier(public: &SubjectPublicKeyInfo) -> Vec<u8> {
    digest(&SHA256, public.subject_public_key.raw_bytes()).as_ref()[..20].to_vec()
}
