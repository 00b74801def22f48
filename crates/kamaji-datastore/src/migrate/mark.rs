//! What a datastore itself says of a migration: a JSON object beside the account's own mark.
//!
//! | member | meaning |
//! |---|---|
//! | `token` | whose migration it is |
//! | `stage` | how far it is, see [`Stage`] |
//! | `nonce` | new with every change, so that whoever looked before the change is refused afterwards |
//! | `fence` | at the target: the nonce of the fence under which its copy was made |
//! | `read` | at the target: how much of the source has been read at this stage, as `[records, bytes]` |
//! | `of` | at the target: how much of it there is, once that is known |

use std::fmt;

use serde_json::{Value, json};

use crate::error::{Cause, Error, NameProblem};

/// The longest token, in bytes.
const LONGEST: usize = 64;

/// Names one try to migrate one tenant. Once aborted, it is spent: the next try needs another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(String);

/// The mark of a migration in one datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) token: Token,
    pub(crate) stage: Stage,
    pub(crate) nonce: String,
    pub(crate) fence: Option<String>,
    pub(crate) read: Option<Amount>,
    pub(crate) of: Option<Amount>,
}

/// How much of a tenant's data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Keys; between two tables of kine rows, with all history.
    pub records: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// How far a migration is, as one of its datastores tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// At the source: nobody writes any more.
    Fenced,
    /// At the source: the target has taken over; nobody ever writes here again.
    Left,
    /// At the source: the tenant stayed, and this token never fences it again.
    Aborted,
    /// At the target: whatever is there is to be wiped.
    Claimed,
    /// At the target: an empty place, or a part of the copy.
    Copying,
    /// At the target: the copy, not compared yet.
    Copied,
    /// At the target: the copy, found to be equal to the source.
    Verified,
}

const STAGES: [(&str, Stage); 7] = [
    ("fenced", Stage::Fenced),
    ("left", Stage::Left),
    ("aborted", Stage::Aborted),
    ("claimed", Stage::Claimed),
    ("copying", Stage::Copying),
    ("copied", Stage::Copied),
    ("verified", Stage::Verified),
];

impl Token {
    /// Reads a token.
    ///
    /// # Errors
    /// [`Error::Name`] if it is empty, longer than 64 bytes, or holds anything but ASCII letters, digits, `_` and `-`.
    pub fn parse(token: &str) -> Result<Self, Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let problem = if token.is_empty() {
            NameProblem::Empty
        } else if token.len() > LONGEST {
            NameProblem::TooLong { longest: LONGEST }
        } else if !token.bytes().all(plain) {
            NameProblem::Characters
        } else {
            return Ok(Self(token.to_owned()));
        };
        Err(Error::name("token", token, problem))
    }

    /// The token as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Mark {
    /// A mark that was never there before.
    ///
    /// # Errors
    /// [`Error::Refused`] if this system has no random numbers.
    pub(crate) fn new(token: &Token, stage: Stage) -> Result<Self, Error> {
        Ok(Self { token: token.clone(), stage, nonce: nonce()?, fence: None, read: None, of: None })
    }

    /// The same under a nonce that was never there before.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(crate) fn renewed(&self) -> Result<Self, Error> {
        Ok(Self { nonce: nonce()?, ..self.clone() })
    }

    /// Whether whoever has the account must not write.
    pub(crate) fn shuts(&self) -> bool {
        self.stage != Stage::Aborted
    }

    pub(crate) fn to_json(&self) -> Value {
        let stage = STAGES.iter().find(|(_, stage)| *stage == self.stage).map_or("", |(word, _)| word);
        let mut mark = json!({ "token": self.token.as_str(), "stage": stage, "nonce": self.nonce });
        if let Some(fence) = &self.fence {
            mark["fence"] = fence.as_str().into();
        }
        for (name, amount) in [("read", self.read), ("of", self.of)] {
            if let Some(Amount { records, bytes }) = amount {
                mark[name] = json!([records, bytes]);
            }
        }
        mark
    }

    /// Nothing if it cannot be read.
    pub(crate) fn from_json(mark: &Value) -> Option<Self> {
        let word = mark["stage"].as_str()?;
        Some(Self {
            token: Token::parse(mark["token"].as_str()?).ok()?,
            stage: STAGES.iter().find(|(known, _)| *known == word)?.1,
            nonce: mark["nonce"].as_str()?.to_owned(),
            fence: mark["fence"].as_str().map(str::to_owned),
            read: amount(&mark["read"]),
            of: amount(&mark["of"]),
        })
    }
}

fn amount(pair: &Value) -> Option<Amount> {
    Some(Amount { records: pair[0].as_u64()?, bytes: pair[1].as_u64()? })
}

fn nonce() -> Result<String, Error> {
    let mut bytes = [0; 8];
    let filled = rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|error| Error::Refused {
        doing: "take a random number from this system".to_owned(),
        source: Cause(format!("{error:?}")),
    })?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let token = Token::parse("try-1").expect("plain");
        for (_, stage) in STAGES {
            let plain = Mark::new(&token, stage).expect("random");
            let (read, of) = (Some(Amount { records: 3, bytes: 1 << 40 }), Some(Amount::default()));
            let mark = Mark { fence: Some("f".to_owned()), read, of, ..plain.clone() };
            assert_eq!(Mark::from_json(&plain.to_json()), Some(plain));
            assert_eq!(Mark::from_json(&mark.to_json()), Some(mark));
        }
        assert_ne!(
            Mark::new(&token, Stage::Left).expect("random"),
            Mark::new(&token, Stage::Left).expect("random")
        );
    }

    #[test]
    fn anything_else_is_no_mark() {
        for text in [
            "null",
            "{}",
            "[]",
            r#"{"token":"t","stage":"gone","nonce":"n"}"#,
            r#"{"token":"a b","stage":"left","nonce":"n"}"#,
        ] {
            assert_eq!(Mark::from_json(&serde_json::from_str(text).expect("JSON")), None, "{text}");
        }
    }

    #[test]
    fn tokens_are_plain() {
        assert_eq!(Token::parse("4746b6dc-a96d_1").expect("plain").to_string(), "4746b6dc-a96d_1");
        for token in ["", "a b", "a\"b", "\u{e9}", "x".repeat(65).as_str()] {
            assert!(Token::parse(token).is_err(), "{token:?}");
        }
    }
}
