//! How kine writes a key as a subject, and a value as a message.
//!
//! Of a key every part between two slashes is one token of a subject, in base58; a key that does not begin with a slash
//! has `meta` before it. A message is JSON, packed.
//!
//! Source: `pkg/drivers/nats/codec.go`, `backend.go` of kine v0.17.5.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::nats::s2;

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
/// What stands before a key without a slash.
const META: &str = "meta";
/// The longest subject that kine and a server agree on, in bytes. A server's own limit is 4096 for a whole line.
const LONGEST: usize = 3_000;

/// What a message is to kine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Vec<u8>,
    /// In how many seconds after it was written it expires; 0 if never.
    pub(crate) lease: i64,
}

/// The tokens of a key. An error says why kine could not keep it.
pub(crate) fn subject(key: &str) -> Result<String, &'static str> {
    let (rooted, parts) = match key.strip_prefix('/') {
        Some(parts) => (true, parts),
        None => (false, key),
    };
    let mut subject = if rooted { String::new() } else { META.to_owned() };
    for part in parts.split('/') {
        if !subject.is_empty() {
            subject.push('.');
        }
        let token = encode(if part.is_empty() { b"/" } else { part.as_bytes() });
        if token == META {
            return Err("kine leaves out one of its parts in NATS");
        }
        subject.push_str(&token);
    }
    if subject.len() > LONGEST { Err("it is too long for a subject in NATS") } else { Ok(subject) }
}

/// The key of these tokens; nothing if kine has not written them.
pub(crate) fn key(subject: &str) -> Option<Vec<u8>> {
    let (mut key, tokens) = match subject.strip_prefix("meta.") {
        Some(tokens) => (Vec::new(), tokens),
        None => (vec![b'/'], subject),
    };
    for (index, token) in tokens.split('.').enumerate() {
        if index > 0 {
            key.push(b'/');
        }
        let part = decode(token)?;
        if part != b"/" {
            key.extend(part);
        }
    }
    Some(key)
}

/// The message of a key that is made.
pub(crate) fn message(key: &str, value: &[u8], lease: i64) -> Vec<u8> {
    let record = json!({
        "KV": {
            "Key": key, "Value": STANDARD.encode(value), "Version": 0, "CreateRevision": 0, "ModRevision": 0,
            "Lease": lease,
        },
        "PrevRevision": 0, "Create": true, "Delete": false,
    });
    let mut packer = snap::write::FrameEncoder::new(Vec::new());
    packer.write_all(record.to_string().as_bytes()).expect("memory takes everything");
    packer.into_inner().expect("memory takes everything")
}

/// What a message says; nothing if it says that its key was deleted. An error if kine has not written it.
pub(crate) fn entry(message: &[u8]) -> Result<Option<Entry>, ()> {
    let record: Value = serde_json::from_slice(&s2::unpack(message).ok_or(())?).map_err(drop)?;
    if record["Delete"] == Value::Bool(true) {
        return Ok(None);
    }
    let kept = record["KV"].as_object().ok_or(())?;
    let value = match kept.get("Value") {
        None | Some(Value::Null) => Vec::new(),
        Some(value) => STANDARD.decode(value.as_str().ok_or(())?).map_err(drop)?,
    };
    Ok(Some(Entry { value, lease: kept.get("Lease").and_then(Value::as_i64).unwrap_or(0) }))
}

fn encode(bytes: &[u8]) -> String {
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = low(carry % 58);
            carry /= 58;
        }
        while carry > 0 {
            digits.push(low(carry % 58));
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).map(|_| 0);
    zeros.chain(digits.into_iter().rev()).map(|digit| char::from(ALPHABET[usize::from(digit)])).collect()
}

fn decode(token: &str) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::new();
    for character in token.bytes() {
        let mut carry = u32::try_from(ALPHABET.iter().position(|digit| *digit == character)?).ok()?;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = low(carry & 0xff);
            carry >>= 8;
        }
        while carry > 0 {
            bytes.push(low(carry & 0xff));
            carry >>= 8;
        }
    }
    let zeros = token.bytes().take_while(|digit| *digit == b'1').map(|_| 0);
    Some(zeros.chain(bytes.into_iter().rev()).collect())
}

/// A number that is less than 256.
fn low(number: u32) -> u8 {
    number.to_le_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_subject_that_kine_makes_of_it() {
        for (key_of, tokens) in [
            ("/registry/health", "L8nZchjdPLL.tzCUBDXD"),
            ("/registry/a\0b//c", "L8nZchjdPLL.ZzXw.p.3"),
            ("compact_rev_key", "meta."),
        ] {
            let written = subject(key_of).expect("it can be kept");
            assert!(written.starts_with(tokens) || key_of.contains('\0'), "{key_of:?}: {written}");
            assert_eq!(key(&written).as_deref(), Some(key_of.as_bytes()), "{written}");
        }
        for part in ["\0\0x", "\u{fc}ml\u{e4}ut \u{1f600}", "z", "a.b*>c d", "\x7f\t"] {
            let whole = format!("/registry/{part}");
            let written = subject(&whole).expect("it can be kept");
            assert!(written.bytes().all(|byte| byte == b'.' || byte.is_ascii_alphanumeric()), "{written}");
            assert_eq!(key(&written), Some(whole.into_bytes()));
        }
        assert_eq!(key("L8nZchjdPLL.0OIl"), None);
        assert!(subject(&format!("/registry/{}", "x".repeat(LONGEST))).is_err());
    }

    #[test]
    fn a_part_that_kine_takes_for_its_own_word_is_refused() {
        let part = String::from_utf8(decode(META).expect("it is base58")).ok();
        if let Some(part) = part {
            assert!(subject(&format!("/registry/{part}")).is_err());
        }
    }

    #[test]
    fn a_message_is_read_as_it_was_written() {
        let long = vec![7; 100_000];
        for (value, lease) in [(b"".as_slice(), 0), (b"k8s\0\xff\xfe", 3600), (&long, 0)] {
            let packed = message("/registry/a", value, lease);
            assert_eq!(entry(&packed), Ok(Some(Entry { value: value.to_vec(), lease })));
        }
        assert!(message("/registry/a", &long, 0).len() < 20_000, "it is packed");
        let mut packer = snap::write::FrameEncoder::new(Vec::new());
        packer.write_all(br#"{"KV":{"Key":"/a","Value":"eA=="},"Delete":true}"#).expect("memory");
        assert_eq!(entry(&packer.into_inner().expect("memory")), Ok(None));
        for odd in [b"x".as_slice(), b"", b"{}"] {
            assert_eq!(entry(odd), Err(()));
        }
    }
}
