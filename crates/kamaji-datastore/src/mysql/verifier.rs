//! What a server keeps instead of a password, computed here so that no password is ever in a statement.
//!
//! Source: `mysql_native_password` in MariaDB's "Authentication Plugins", and of `caching_sha2_password` the `README` of
//! MySQL's plugin, which is Ulrich Drepper's "Unix crypt using SHA-256" with a salt of 20 characters.

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{Cause, Error};
use crate::mysql::member::Flavour;

/// What a server asks of whoever says to be a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verifier {
    /// The kind of proof.
    pub(crate) plugin: &'static str,
    /// What the server keeps. Plain ASCII without quotes or backslashes.
    pub(crate) text: String,
}

const NATIVE: &str = "mysql_native_password";
const SHA2: &str = "caching_sha2_password";

/// What a text of [`SHA2`] begins with: the kind of digest, and how many thousand rounds, in hexadecimal.
const SHA2_BEGINNING: &str = "$A$005$";
const ROUNDS: usize = 5_000;
const SALT: usize = 20;
/// The digits of a digest and of our salts.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl Verifier {
    /// What a server of this flavour is given for this password.
    ///
    /// # Errors
    /// [`Error::Settings`] if the machine has no random numbers to give.
    pub(crate) fn new(flavour: Flavour, password: &str) -> Result<Self, Error> {
        Ok(match flavour {
            Flavour::MariaDb => Self { plugin: NATIVE, text: native(password) },
            Flavour::MySql => Self { plugin: SHA2, text: sha2(password, &salt()?) },
        })
    }

    /// Whether a server that keeps `text` for `plugin` asks for this password, in the way that we ask of this flavour.
    pub(crate) fn is_of(flavour: Flavour, plugin: &str, text: &str, password: &str) -> bool {
        match flavour {
            Flavour::MariaDb => plugin == NATIVE && text == native(password),
            Flavour::MySql => {
                let salt = text.strip_prefix(SHA2_BEGINNING).and_then(|rest| rest.get(..SALT));
                plugin == SHA2 && salt.is_some_and(|salt| text == sha2(password, salt))
            }
        }
    }
}

fn native(password: &str) -> String {
    let twice =
        digest(&SHA1_FOR_LEGACY_USE_ONLY, digest(&SHA1_FOR_LEGACY_USE_ONLY, password.as_bytes()).as_ref());
    let halves = twice.as_ref().iter().flat_map(|byte| [usize::from(byte >> 4), usize::from(byte & 15)]);
    let digits: String = halves.map(|half| char::from(b"0123456789ABCDEF"[half])).collect();
    format!("*{digits}")
}

fn sha2(password: &str, salt: &str) -> String {
    format!("{SHA2_BEGINNING}{salt}{}", crypt(password.as_bytes(), salt.as_bytes()))
}

fn salt() -> Result<String, Error> {
    let mut bytes = [0; SALT];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Settings {
        what: "no salt for a password can be made".to_owned(),
        source: Some(Cause("the system gives no random numbers".to_owned())),
    })?;
    Ok(bytes.iter().map(|byte| digit(usize::from(*byte))).collect())
}

fn digit(value: usize) -> char {
    char::from(ALPHABET[value % ALPHABET.len()])
}

/// The digest of "Unix crypt using SHA-256", in its 43 digits.
fn crypt(password: &[u8], salt: &[u8]) -> String {
    let p = repeated(&repeatedly(password, password.len()), password.len());
    let s_turns = 16 + usize::from(first(password, salt)[0]);
    let s = repeated(&repeatedly(salt, s_turns), salt.len());
    let mut last = first(password, salt);
    for round in 0..ROUNDS {
        let mut context = Context::new(&SHA256);
        context.update(if round % 2 == 1 { &p } else { &last });
        if round % 3 != 0 {
            context.update(&s);
        }
        if round % 7 != 0 {
            context.update(&p);
        }
        context.update(if round % 2 == 1 { &last } else { &p });
        last = context.finish().as_ref().to_vec();
    }
    digits(&last)
}

/// Digest A of the specification.
fn first(password: &[u8], salt: &[u8]) -> Vec<u8> {
    let b = digest(&SHA256, &[password, salt, password].concat());
    let mut context = Context::new(&SHA256);
    context.update(password);
    context.update(salt);
    context.update(&repeated(b.as_ref(), password.len()));
    let mut bits = password.len();
    while bits > 0 {
        context.update(if bits & 1 == 1 { b.as_ref() } else { password });
        bits >>= 1;
    }
    context.finish().as_ref().to_vec()
}

/// The digest of `part`, so many times.
fn repeatedly(part: &[u8], times: usize) -> Vec<u8> {
    digest(&SHA256, &part.repeat(times)).as_ref().to_vec()
}

/// `bytes` again and again, up to this length.
fn repeated(bytes: &[u8], length: usize) -> Vec<u8> {
    bytes.iter().copied().cycle().take(length).collect()
}

/// The digits of a digest: three bytes from afar make four digits, the least first.
fn digits(digest: &[u8]) -> String {
    let mut digits = String::new();
    for group in 0..10_usize {
        // Each group begins where the one before it had its second byte.
        let start = (group * 21) % 30;
        let bytes = [start, (start + 10) % 30, (start + 20) % 30].map(|index| usize::from(digest[index]));
        push(&mut digits, (bytes[0] << 16) | (bytes[1] << 8) | bytes[2], 4);
    }
    push(&mut digits, (usize::from(digest[31]) << 8) | usize::from(digest[30]), 3);
    digits
}

fn push(digits: &mut String, value: usize, count: u32) {
    digits.extend((0..count).map(|place| digit(value >> (6 * place))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_those_of_the_specification() {
        assert_eq!(native("password"), "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
        // As of glibc's `crypt` for "$5$rounds=5000$<salt>$".
        for (password, salt, digits) in [
            ("Hello world!", "saltstring", "5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
            ("This is just a test", "toolongsaltstrin", "Un/5jzAHMgOGZ5.mWJpuVolil07guHPvOW8mGRcvxa5"),
            (&"a".repeat(70), "0123456789abcdef", "X6Sxoeo85Sv.Uw1p6PhssXp.SDurT6SG1dRqDVlMDs4"),
        ] {
            assert_eq!(crypt(password.as_bytes(), salt.as_bytes()), digits, "{password}");
        }
    }

    #[test]
    fn a_password_is_known_again_and_no_other_is() {
        for flavour in [Flavour::MariaDb, Flavour::MySql] {
            let Verifier { plugin, text } = Verifier::new(flavour, "secret").expect("random");
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && !b"'\"`\\".contains(&byte)), "{text}");
            assert!(Verifier::is_of(flavour, plugin, &text, "secret"));
            assert!(!Verifier::is_of(flavour, plugin, &text, "Secret"));
            assert!(!Verifier::is_of(flavour, "auth_socket", &text, "secret"));
            assert!(!Verifier::is_of(flavour, plugin, "$A$005$", "secret"));
        }
        assert_eq!(Verifier::new(Flavour::MySql, "secret").expect("random").text.len(), 70);
    }
}
