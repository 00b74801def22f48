//! What kine is told of a store, so that its own parser reads back what was meant.
//!
//! Each driver of kine (as of v0.17.5) reads its endpoint in its own way:
//!
//! - PostgreSQL: `net/url`, then pgx's reader of connection strings. User, password and database are percent-decoded; kine
//!   puts the path into lower case, so other names stand in the query, which goes before the path.
//! - MySQL: go-sql-driver's DSN. User and password stand as they are: the user ends at the first `:`, the password at the
//!   last `@` before the last `/`. Only the database is percent-decoded.
//! - NATS: split at every comma, then `net/url`. Credentials are decoded, but given to the server encoded again. So they
//!   stand in a file beside it, a context of the `nats` program (jsm.go's `natscontext`), and with them the addresses.
//!   There a password with a colon may be taken for a reference to one, unless it is a reference itself.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kamaji_api::v1alpha1::Driver;
use serde_json::json;
use zeroize::Zeroizing;

use super::CONTEXT_FILE;

/// Where a tenant's data is, and who its kine is there.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Kind of store.
    pub driver: Driver,
    /// Addresses of the store, as `host:port`. kine's driver for MySQL takes one, the others take all.
    pub endpoints: &'a [String],
    /// Database or bucket.
    pub schema: &'a str,
    /// User and password, if the store asks for any.
    pub login: Option<(&'a str, &'a str)>,
}

/// All that kine has to be told. Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Told {
    /// The endpoint, as the drivers of kine read it.
    pub endpoint: Zeroizing<String>,
    /// What has to be in [`CONTEXT_FILE`], if the endpoint names it.
    pub context: Option<Zeroizing<String>>,
}

/// Why kine cannot be told of a store. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsayable {
    /// The store is reached without kine.
    #[error("etcd is reached without kine")]
    Etcd,
    /// There is no endpoint.
    #[error("the DataStore has no endpoint: add one to spec.endpoints")]
    NoEndpoint,
    /// An endpoint is no address.
    #[error("endpoint {0:?} of the DataStore is not host:port: correct spec.endpoints")]
    Endpoint(String),
    /// The name to log in with is empty.
    #[error("the user for {driver} is empty: name one in the DataStore's basicAuth, or leave basicAuth out")]
    NoUser {
        /// Kind of store.
        driver: &'static str,
    },
    /// A name or password holds what the driver's notation cannot express.
    #[error("the {what} for {driver} holds a character that kine cannot be told: use {allowed}")]
    Character {
        /// User, password or schema.
        what: &'static str,
        /// Kind of store.
        driver: &'static str,
        /// What may be used instead.
        allowed: &'static str,
    },
}

/// All that the drivers of kine need to reach the store.
///
/// # Errors
/// [`Unsayable`] if kine would read something else than what is meant.
pub fn tell(place: &Place<'_>) -> Result<Told, Unsayable> {
    let addresses: Vec<Address<'_>> =
        place.endpoints.iter().map(|endpoint| Address::parse(endpoint)).collect::<Result<_, _>>()?;
    let first = addresses.first().ok_or(Unsayable::NoEndpoint)?;
    let endpoint = match place.driver {
        Driver::Etcd => return Err(Unsayable::Etcd),
        Driver::PostgreSql => postgres(place, &addresses)?,
        Driver::MySql => mysql(place, first)?,
        Driver::Nats => return nats(place, &addresses),
    };
    Ok(Told { endpoint: Zeroizing::new(endpoint), context: None })
}

/// Whether kine was told of a NATS.
pub(crate) fn is_of_nats(endpoint: &[u8]) -> bool {
    endpoint.starts_with(b"nats://")
}

/// A sound `host:port`.
struct Address<'a> {
    host: &'a str,
    port: &'a str,
    whole: &'a str,
}

impl<'a> Address<'a> {
    /// Neither brackets nor anything that ends a host in a URL or a DSN can be in a host, so none needs encoding.
    fn parse(whole: &'a str) -> Result<Self, Unsayable> {
        let refused = || Unsayable::Endpoint(whole.chars().take(80).collect());
        let (host, port) = whole.rsplit_once(':').ok_or_else(refused)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host_is_sound = match bare {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(plain),
        };
        let is_number = port.bytes().all(|digit| digit.is_ascii_digit());
        let port_is_sound = is_number && port.parse::<u16>().is_ok_and(|port| port != 0);
        if host_is_sound && port_is_sound {
            Ok(Self { host: bare.unwrap_or(host), port, whole })
        } else {
            Err(refused())
        }
    }
}

/// No environment variable can hold one.
fn refuse_nul(place: &Place<'_>) -> Result<(), Unsayable> {
    let (user, password) = place.login.unwrap_or_default();
    [("user", user), ("password", password), ("schema", place.schema)]
        .into_iter()
        .find(|(_, text)| text.contains('\0'))
        .map_or(Ok(()), |(what, _)| Err(unsayable(place, what, "any character but NUL")))
}

fn postgres(place: &Place<'_>, addresses: &[Address<'_>]) -> Result<String, Unsayable> {
    refuse_nul(place)?;
    let login = place.login.map(|(user, password)| format!("{}:{}@", encoded(user), encoded(password)));
    let (authority, mut query) = match addresses {
        [only] => (only.whole, Vec::new()),
        several => ("", in_query(several)),
    };
    if place.schema != place.schema.to_lowercase() {
        // kine writes the query anew, with `+` for a space, which pgx reads as `+`.
        if place.schema.contains(' ') {
            return Err(unsayable(place, "schema", "no space beside capital letters"));
        }
        query.push(format!("dbname={}", encoded(place.schema)));
    }
    let mark = if query.is_empty() { "" } else { "?" };
    let (login, path, query) = (login.unwrap_or_default(), encoded(place.schema), query.join("&"));
    Ok(format!("postgres://{login}{authority}/{path}{mark}{query}"))
}

/// Several servers stand in the query: `net/url` refuses a second colon in a host. Of a primary and its standbys the one is
/// meant that takes writes.
fn in_query(addresses: &[Address<'_>]) -> Vec<String> {
    let joined =
        |part: fn(&Address<'_>) -> String| encoded(&addresses.iter().map(part).collect::<Vec<_>>().join(","));
    vec![
        format!("host={}", joined(|address| address.host.to_owned())),
        format!("port={}", joined(|address| address.port.to_owned())),
        "target_session_attrs=read-write".to_owned(),
    ]
}

fn mysql(place: &Place<'_>, address: &Address<'_>) -> Result<String, Unsayable> {
    refuse_nul(place)?;
    let login = match place.login {
        Some((user, _)) if user.contains(':') => {
            return Err(unsayable(place, "user", "any character but a colon"));
        }
        Some((user, password)) => format!("{user}:{password}@"),
        None => String::new(),
    };
    Ok(format!("mysql://{login}tcp({})/{}", address.whole, encoded(place.schema)))
}

fn nats(place: &Place<'_>, addresses: &[Address<'_>]) -> Result<Told, Unsayable> {
    if place.schema.contains('\0') {
        return Err(unsayable(place, "schema", "any character but NUL"));
    }
    let urls: Vec<String> = addresses.iter().map(|address| format!("nats://{}", address.whole)).collect();
    let query = format!("?bucket={}&noEmbed", encoded(place.schema));
    let Some((user, password)) = place.login else {
        let (first, others) = urls.split_first().ok_or(Unsayable::NoEndpoint)?;
        let endpoint = [&[format!("{first}{query}")], others].concat().join(",");
        return Ok(Told { endpoint: Zeroizing::new(endpoint), context: None });
    };
    if user.is_empty() {
        return Err(Unsayable::NoUser { driver: place.driver.as_str() });
    }
    let password = literal(password);
    let context = json!({ "url": urls.join(","), "user": user, "password": password.as_str() });
    Ok(Told {
        endpoint: Zeroizing::new(format!("nats://{query}&contextFile={CONTEXT_FILE}")),
        context: Some(Zeroizing::new(context.to_string())),
    })
}

/// A password that is read as itself. What Go takes for a URL with a scheme may be looked up elsewhere, which a control
/// character rules out; and of what was looked up, the line breaks at its end are lost, which are control characters.
fn literal(password: &str) -> Zeroizing<String> {
    let may_be_a_reference = password.contains(':') && !password.bytes().any(|byte| byte.is_ascii_control());
    Zeroizing::new(if may_be_a_reference {
        format!("data:;base64,{}", STANDARD.encode(password))
    } else {
        password.to_owned()
    })
}

fn unsayable(place: &Place<'_>, what: &'static str, allowed: &'static str) -> Unsayable {
    Unsayable::Character { what, driver: place.driver.as_str(), allowed }
}

/// Percent-encoded, all but what RFC 3986 calls unreserved.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if is_unreserved(byte) {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
        encoded
    })
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}
