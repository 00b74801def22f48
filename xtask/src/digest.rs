//! SHA-256 in hexadecimal.

use ring::digest::{Digest, SHA256, digest};

/// The digest of these bytes.
pub(crate) fn of(content: &[u8]) -> String {
    hexadecimal(digest(&SHA256, content))
}

/// A digest, however it was computed, as text.
pub(crate) fn hexadecimal(digest: Digest) -> String {
    digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(value: u8) -> char {
    char::from_digit(u32::from(value), 16).expect("half a byte is below 16")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_digest_is_the_known_one() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(super::of(b"abc"), expected);
    }
}
