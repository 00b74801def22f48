//! How a datastore is reached, and as whom.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::Error;

/// Everything needed to reach one datastore. Its `Debug` shows no secret, and secrets are wiped from memory when dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The members of one datastore, in order of preference. At least one.
    pub endpoints: Vec<Endpoint>,
    /// Without it the connection is in clear text; there is never a fallback from one to the other.
    pub tls: Option<Tls>,
    /// The user and password to log in with, for a datastore that does not tell its users by their certificates.
    pub basic_auth: Option<BasicAuth>,
    /// How long to wait for what.
    pub deadlines: Deadlines,
}

/// Where one member of a datastore listens: `host:port`, or `[address]:port` for IPv6.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// Whom to trust, and which certificate to show.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM certificates of the authorities that may have signed the server's certificate. No others are trusted.
    pub ca_pem: Vec<u8>,
    /// PEM certificate chain and PEM private key of the client.
    pub client: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
}

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct BasicAuth {
    /// The name.
    pub username: String,
    /// The password.
    pub password: Zeroizing<String>,
}

/// How long to wait for what, before an error says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For one endpoint to accept a connection and to answer its first question. 5 s by default.
    pub connect: Duration,
    /// For one request on a connection. 10 s by default, longer than etcd's own 7 s for a missing quorum.
    pub request: Duration,
    /// The longest pause during which a datastore that could not be reached is not tried again: the first pause is
    /// a 32nd of this, each further one twice the last. 30 s by default.
    /// [`check`](crate::store::Store::check) tries all the same.
    pub pause: Duration,
}

impl Endpoint {
    /// Reads `host:port`.
    ///
    /// # Errors
    /// [`Error::Settings`] if the host is empty or holds what no host name has, or the port is not in 1..=65535.
    pub fn parse(endpoint: &str) -> Result<Self, Error> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let refused = || Error::Settings {
            what: format!("endpoint {:?} is not host:port", endpoint.chars().take(80).collect::<String>()),
            source: None,
        };
        let (host, port) = endpoint.rsplit_once(':').ok_or_else(refused)?;
        let digits = Some(port).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
        let port = digits.and_then(|port| port.parse().ok()).filter(|port| *port != 0).ok_or_else(refused)?;
        let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let sound = match address {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(plain),
        };
        if sound { Ok(Self { host: host.to_owned(), port }) } else { Err(refused()) }
    }

    /// The host name or address, the latter in brackets if it is IPv6.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host name or address as a resolver or a certificate has it: without brackets.
    pub fn address(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            request: Duration::from_secs(10),
            pause: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let client = if self.client.is_some() { "present" } else { "absent" };
        f.debug_struct("Tls").field("client", &client).finish_non_exhaustive()
    }
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth").field("username", &self.username).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_host_and_port() {
        for endpoint in
            ["etcd-0.etcd.kamaji-system.svc.cluster.local:2379", "10.0.0.1:1", "[::1]:65535", "etcd:2379"]
        {
            assert_eq!(Endpoint::parse(endpoint).expect(endpoint).to_string(), endpoint);
        }
    }

    #[test]
    fn other_endpoints_are_refused() {
        for endpoint in [
            "",
            "etcd",
            ":2379",
            "etcd:",
            "etcd:0",
            "etcd:65536",
            "etcd:x",
            "http://etcd:2379",
            "etcd:2379/",
            "::1:2379",
            "[::1:2379",
            "[x]:2379",
            "a b:1",
            "a@b:1",
            "a?b:1",
            "etcd:+1",
        ] {
            let error = Endpoint::parse(endpoint).expect_err(endpoint);
            assert_eq!(error.reason(), "InvalidSettings");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let settings = Settings {
            endpoints: vec![Endpoint::parse("etcd:2379").expect("sound")],
            tls: Some(Tls {
                ca_pem: b"anchor".to_vec(),
                client: Some((b"shown".to_vec(), Zeroizing::new(b"hidden".to_vec()))),
            }),
            basic_auth: Some(BasicAuth {
                username: "root".to_owned(),
                password: Zeroizing::new("hidden".to_owned()),
            }),
            ..Settings::default()
        };
        let shown = format!("{settings:?}");
        let bytes = format!("{:?}", b"hidden");
        assert!(shown.contains("root") && shown.contains("etcd"), "{shown}");
        assert!(!shown.contains("hidden") && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }
}
