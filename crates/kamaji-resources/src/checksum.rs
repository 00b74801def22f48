//! Checksums of data: they tell whether a Pod has read what its Secrets hold now.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::labels;
use md5::{Digest, Md5};
use ring::digest::{Context, SHA256};

/// Hexadecimal digits of a checksum: it must fit a label value, and the Go operator's have 32.
pub const DIGITS: usize = 40;

/// Hexadecimal digits of a checksum of the Go operator's.
const GO_DIGITS: usize = 32;

/// The checksum of a Secret's data.
pub fn of_secret(secret: &Secret) -> String {
    secret.data.as_ref().map_or_else(String::new, of_data)
}

/// The checksum of named values. Names and lengths count, so different data never concatenates to the same bytes.
pub fn of_data(data: &BTreeMap<String, ByteString>) -> String {
    digest(data.iter().map(|(name, value)| (name.as_bytes(), value.0.as_slice())))
}

/// The checksum of named texts.
pub fn of_texts(data: &BTreeMap<String, String>) -> String {
    digest(data.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
}

/// The checksum that the Go operator writes of a Secret's data: MD5 over the values in the order of their keys.
///
/// It tells whether what it made is still as it made it, and is worth nothing against forgery.
pub fn of_go(data: &BTreeMap<String, ByteString>) -> String {
    let mut sum = Md5::new();
    for value in data.values() {
        sum.update(&value.0);
    }
    hexadecimal(&sum.finalize())
}

/// The checksum that stands for a Secret in the status: the Go operator's where that stands on the Secret, for it compares
/// the two when it comes back.
pub fn reported(secret: &Secret) -> String {
    let annotation = secret.metadata.annotations.as_ref().and_then(|all| all.get(labels::CHECKSUM));
    annotation.filter(|sum| is_of_go(sum)).cloned().unwrap_or_else(|| of_secret(secret))
}

/// True of a checksum that the Go operator has written.
pub fn is_of_go(sum: &str) -> bool {
    sum.len() == GO_DIGITS && sum.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn digest<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> String {
    let mut context = Context::new(&SHA256);
    for part in fields.flat_map(|(name, value)| [name, value]) {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    hexadecimal(&context.finish().as_ref()[..DIGITS / 2])
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(fields: &[(&str, &str)]) -> String {
        of_texts(&fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_checksum_fits_a_label_value() {
        assert_eq!(of(&[("a", "b")]).len(), DIGITS);
    }

    #[test]
    fn the_go_operators_checksum_is_that_of_the_values() {
        let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
        assert_eq!(of_go(&BTreeMap::new()), "d41d8cd98f00b204e9800998ecf8427e");
        let data = [("b".to_owned(), bytes("c")), ("a".to_owned(), bytes("ab"))];
        assert_eq!(of_go(&data.into()), "900150983cd24fb0d6963f7d28e17f72", "of abc");
        assert!(is_of_go("900150983cd24fb0d6963f7d28e17f72") && !is_of_go(&of(&[])));
    }

    #[test]
    fn no_two_shapes_share_a_checksum() {
        let shapes =
            [of(&[]), of(&[("a", "bc")]), of(&[("ab", "c")]), of(&[("a", "b"), ("c", "")]), of(&[("a", "")])];
        for (index, shape) in shapes.iter().enumerate() {
            assert!(!shapes[..index].contains(shape));
        }
    }
}
