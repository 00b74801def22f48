//! Bootstrap tokens ([format](https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/)).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kamaji_addons::kubeadm::rbac::BOOTSTRAPPERS;
use kube::core::ObjectMeta;
use ring::rand::SecureRandom;

/// What tokens are made of.
const CHARACTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// The largest multiple of 36 that a byte can be less than: from here on a byte would favour the first characters.
const UNBIASED: u8 = 252;
/// Length of the part that is not secret.
const IDENTIFIER: usize = 6;
/// Length of the part that is.
const SECRET: usize = 16;

/// How long a token lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeToLive(Duration);

impl TimeToLive {
    /// Less is over before a machine has joined.
    pub const SHORTEST: Duration = Duration::from_mins(1);
    /// More is a standing invitation.
    pub const LONGEST: Duration = Duration::from_hours(24);

    /// This long, if that is from a minute to a day.
    pub fn new(duration: Duration) -> Option<Self> {
        (Self::SHORTEST..=Self::LONGEST).contains(&duration).then_some(Self(duration))
    }

    /// When a token that is made now ends, to the second.
    pub(super) fn from(self, now: Timestamp) -> Timestamp {
        let seconds = i64::try_from(self.0.as_secs()).unwrap_or(i64::MAX);
        let end = now.as_second().saturating_add(seconds);
        Timestamp::from_second(end).unwrap_or(Timestamp::MAX)
    }
}

/// With which a machine proves that it was invited. Nothing shows its secret but [`Token::text`].
pub(super) struct Token {
    identifier: String,
    secret: String,
}

impl Token {
    /// A token that nobody can guess.
    pub(super) fn new(random: &dyn SecureRandom) -> Result<Self, ring::error::Unspecified> {
        Ok(Self { identifier: characters(random, IDENTIFIER)?, secret: characters(random, SECRET)? })
    }

    /// Name of its Secret.
    pub(super) fn name(&self) -> String {
        format!("bootstrap-token-{}", self.identifier)
    }

    /// The key under which its signature of `cluster-info` stands.
    pub(super) fn signature_key(&self) -> String {
        format!("jws-kubeconfig-{}", self.identifier)
    }

    /// The token itself.
    pub(super) fn text(&self) -> String {
        format!("{}.{}", self.identifier, self.secret)
    }

    /// The Secret that makes the API server know it, and kube-controller-manager sign with it and remove it in the end.
    pub(super) fn object(&self, expiration: Timestamp) -> Secret {
        let data = [
            ("token-id", self.identifier.as_str()),
            ("token-secret", &self.secret),
            ("expiration", &expiration.to_string()),
            ("description", "Lets machines join; made by `kamaji join-command`."),
            ("usage-bootstrap-authentication", "true"),
            ("usage-bootstrap-signing", "true"),
            ("auth-extra-groups", BOOTSTRAPPERS),
        ];
        Secret {
            metadata: ObjectMeta {
                name: Some(self.name()),
                namespace: Some("kube-system".to_owned()),
                ..ObjectMeta::default()
            },
            type_: Some("bootstrap.kubernetes.io/token".to_owned()),
            string_data: Some(data.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..Secret::default()
        }
    }
}

fn characters(random: &dyn SecureRandom, length: usize) -> Result<String, ring::error::Unspecified> {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        let mut bytes = [0; 2 * SECRET];
        random.fill(&mut bytes)?;
        let unbiased = bytes.iter().filter(|byte| **byte < UNBIASED);
        let drawn = unbiased.map(|byte| char::from(CHARACTERS[usize::from(*byte) % CHARACTERS.len()]));
        text.extend(drawn.take(length - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ring::rand::SystemRandom;

    use super::*;

    fn token() -> Token {
        Token::new(&SystemRandom::new()).unwrap()
    }

    /// `BootstrapTokenPattern` of `k8s.io/cluster-bootstrap/token/api`.
    fn is_well_formed(text: &str) -> bool {
        let of =
            |part: &str, length| part.len() == length && part.bytes().all(|byte| CHARACTERS.contains(&byte));
        text.split_once('.').is_some_and(|(identifier, secret)| of(identifier, 6) && of(secret, 16))
    }

    #[test]
    fn tokens_are_well_formed_and_none_comes_twice() {
        let tokens: BTreeSet<String> = (0..1000).map(|_| token().text()).collect();
        assert_eq!(tokens.len(), 1000);
        assert!(tokens.iter().all(|token| is_well_formed(token)));
        assert!(!is_well_formed("abcdef.0123456789ABCDEF"));
    }

    #[test]
    fn every_character_is_as_likely_as_any_other() {
        let drawn = characters(&SystemRandom::new(), 360_000).unwrap();
        for expected in CHARACTERS {
            let count = drawn.bytes().filter(|byte| byte == expected).count();
            // 10 000, and ten standard deviations to either side.
            assert!((9_000..11_000).contains(&count), "{count} of {}", char::from(*expected));
        }
    }

    #[test]
    fn the_secret_says_what_the_token_may_do_and_until_when() {
        let token = Token { identifier: "abcdef".into(), secret: "0123456789abcdef".into() };
        let now: Timestamp = "2026-11-23T06:00:00.987654321Z".parse().unwrap();
        let end = TimeToLive::new(Duration::from_hours(1)).unwrap().from(now);
        let secret = serde_json::to_value(token.object(end)).unwrap();
        assert_eq!(
            secret,
            serde_json::json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": "bootstrap-token-abcdef", "namespace": "kube-system" },
                "type": "bootstrap.kubernetes.io/token",
                "stringData": {
                    "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
                    "description": "Lets machines join; made by `kamaji join-command`.",
                    "expiration": "2026-11-23T07:00:00Z",
                    "token-id": "abcdef",
                    "token-secret": "0123456789abcdef",
                    "usage-bootstrap-authentication": "true",
                    "usage-bootstrap-signing": "true",
                },
            })
        );
    }

    #[test]
    fn a_token_lasts_from_a_minute_to_a_day() {
        for (seconds, fits) in [(0, false), (59, false), (60, true), (86_400, true), (86_401, false)] {
            assert_eq!(TimeToLive::new(Duration::from_secs(seconds)).is_some(), fits, "{seconds} s");
        }
    }
}
