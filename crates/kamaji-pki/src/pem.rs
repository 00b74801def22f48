//! PEM as the consumers of our Secrets read it: Go's `encoding/pem` is the measure.
//!
//! Text around a block is skipped, either line ending serves, a block's last line must stand alone. One pass
//! over the input, so that a Secret full of beginnings without an end costs no more than its length.

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use crate::error::{Error, Material};

const LINE: usize = 64;

/// The content of one PEM block.
pub(crate) struct Block {
    /// The words between `BEGIN` and the dashes.
    pub(crate) label: String,
    /// The decoded bytes.
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// A block that has begun and not ended yet.
struct Open<'a> {
    label: &'a str,
    body: Zeroizing<String>,
    encrypted: bool,
}

/// The first block whose label `accepts` likes.
pub(crate) fn first(text: &str, material: Material, accepts: fn(&str) -> bool) -> Result<Block, Error> {
    let mut open: Option<Open<'_>> = None;
    for line in text.split('\n').map(|line| line.trim_end_matches([' ', '\t', '\r'])) {
        if let Some(label) = marker(line, "-----BEGIN ") {
            open = accepts(label).then(|| Open::new(label, text.len()));
        } else if let Some(block) = open.as_mut() {
            if marker(line, "-----END ") == Some(block.label) {
                return block.close(material);
            }
            block.push(line);
        }
    }
    Err(if open.is_some() { Error::DamagedBlock(material) } else { Error::NoBlock(material) })
}

/// `der` as one PEM block with lines of 64 characters.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(Base64::encode_string(der));
    // Sized once: growing would leave copies of a private key behind.
    let mut text =
        Zeroizing::new(String::with_capacity(body.len() + body.len() / LINE + 2 * label.len() + 40));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(LINE));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

impl<'a> Open<'a> {
    fn new(label: &'a str, capacity: usize) -> Self {
        Self { label, body: Zeroizing::new(String::with_capacity(capacity)), encrypted: false }
    }

    fn push(&mut self, line: &str) {
        // Base64 has no colon: such a line is a header of RFC 1421.
        if line.contains(':') {
            self.encrypted |= line.starts_with("Proc-Type:") && line.contains("ENCRYPTED");
        } else {
            self.body.extend(line.chars().filter(|character| !character.is_ascii_whitespace()));
        }
    }

    fn close(&self, material: Material) -> Result<Block, Error> {
        if self.encrypted {
            return Err(Error::EncryptedKey);
        }
        let der = Base64::decode_vec(&self.body).map_err(|_| Error::DamagedBlock(material))?;
        Ok(Block { label: self.label.to_owned(), der: Zeroizing::new(der) })
    }
}

fn marker<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}
