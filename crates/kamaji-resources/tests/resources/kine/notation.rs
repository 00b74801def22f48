//! What kine reads is what was meant, whatever characters there are. The readers below do what those of kine v0.17.5 do.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kamaji_api::v1alpha1::Driver;
use kamaji_resources::kine::{CONTEXT_FILE, Place, Told, Unsayable, tell};
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::{CLUSTER, HOSTILE};

/// What a driver of kine would use.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    user: String,
    password: String,
    schema: String,
    addresses: Vec<String>,
}

/// RFC 3986; `plus` is what a plus sign means.
fn decoded(text: &str, plus: char) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'%' => {
                let digits = std::str::from_utf8(&tail[..2]).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
                rest = &tail[2..];
            }
            b'+' => bytes.push(u8::try_from(plus).unwrap()),
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Login, authority, path and query.
type Parts<'a> = (Option<(String, String)>, &'a str, &'a str, Vec<(&'a str, String)>);

/// The parts of a URL behind its scheme.
fn split(url: &str) -> Parts<'_> {
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let (authority, path) = url.split_once('/').unwrap_or((url, ""));
    let (login, host) = match authority.rsplit_once('@') {
        Some((login, host)) => {
            let (user, password) = login.split_once(':').unwrap();
            (Some((decoded(user, '+'), decoded(password, '+'))), host)
        }
        None => (None, authority),
    };
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = pairs.map(|(name, value)| (name, decoded(value, ' '))).collect();
    (login, host, path, query)
}

fn read_postgres(endpoint: &str) -> Reading {
    let (login, host, path, query) = split(endpoint.strip_prefix("postgres://").unwrap());
    // The query is written anew before pgx reads it, and pgx takes a plus sign for a plus sign.
    let parameter =
        |name: &str| query.iter().find(|(found, _)| *found == name).map(|(_, value)| value.replace(' ', "+"));
    let (user, password) = login.unwrap();
    let addresses = match (parameter("host"), parameter("port")) {
        (Some(hosts), Some(ports)) => {
            assert_eq!(host, "");
            assert_eq!(parameter("target_session_attrs").as_deref(), Some("read-write"));
            hosts.split(',').zip(ports.split(',')).map(|(host, port)| bracketed(host, port)).collect()
        }
        _ => vec![host.to_owned()],
    };
    let schema = parameter("dbname").unwrap_or_else(|| decoded(path, '+').to_lowercase());
    Reading { user, password, schema, addresses }
}

fn bracketed(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn read_mysql(endpoint: &str) -> Reading {
    let (front, schema) = endpoint.strip_prefix("mysql://").unwrap().rsplit_once('/').unwrap();
    let (login, address) = front.rsplit_once('@').unwrap();
    let (user, password) = login.split_once(':').unwrap();
    assert!(!schema.contains('?'));
    let address = address.strip_prefix("tcp(").unwrap().strip_suffix(')').unwrap();
    Reading {
        user: user.to_owned(),
        password: password.to_owned(),
        schema: decoded(schema, '+'),
        addresses: vec![address.to_owned()],
    }
}

fn read_nats(told: &Told) -> Reading {
    let (bucket, rest) = told.endpoint.strip_prefix("nats://?bucket=").unwrap().split_once('&').unwrap();
    assert_eq!(rest, format!("noEmbed&contextFile={CONTEXT_FILE}"));
    let context: serde_json::Value = serde_json::from_str(told.context.as_ref().unwrap()).unwrap();
    let said = |name: &str| context[name].as_str().unwrap().to_owned();
    Reading {
        user: said("user"),
        password: resolved(&said("password")),
        schema: decoded(bucket, ' '),
        addresses: said("url")
            .split(',')
            .map(|url| url.strip_prefix("nats://").unwrap().to_owned())
            .collect(),
    }
}

/// What jsm.go takes for a reference it looks up, and then cuts the line breaks at its end.
fn resolved(text: &str) -> String {
    // Go's `url.Parse` refuses control characters; the first part of a path may hold a colon only behind a slash.
    let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
            && !text.bytes().any(|byte| byte.is_ascii_control())
    });
    match scheme.map(str::to_ascii_lowercase).as_deref() {
        Some("data") => {
            let encoded = text.strip_prefix("data:;base64,").unwrap();
            String::from_utf8(STANDARD.decode(encoded).unwrap())
                .unwrap()
                .trim_end_matches(['\r', '\n'])
                .to_owned()
        }
        Some("env" | "file" | "nsc" | "op") => "looked up elsewhere".to_owned(),
        _ => text.to_owned(),
    }
}

fn read(driver: Driver, told: &Told) -> Reading {
    match driver {
        Driver::PostgreSql => read_postgres(&told.endpoint),
        Driver::MySql => read_mysql(&told.endpoint),
        _ => read_nats(told),
    }
}

/// The same parts, as far as this driver takes them, or whether it should have refused them.
fn expected(place: &Place<'_>) -> Option<Reading> {
    let (user, password) = place.login.unwrap();
    let nul = [user, password, place.schema].iter().any(|text| text.contains('\0'));
    let refused = match place.driver {
        Driver::MySql => nul || user.contains(':'),
        Driver::Nats => place.schema.contains('\0'),
        _ => nul || (place.schema.contains(' ') && place.schema.to_lowercase() != place.schema),
    };
    let count = if place.driver == Driver::MySql { 1 } else { place.endpoints.len() };
    (!refused).then(|| Reading {
        user: user.to_owned(),
        password: password.to_owned(),
        schema: place.schema.to_owned(),
        addresses: place.endpoints[..count].to_vec(),
    })
}

/// Letters, everything that means something somewhere, and noise.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z0-9_-]{1,64}",
        "[-A-Za-z0-9._~$&+,;=]{1,40}",
        "[ -~]{1,40}",
        "[@:/?#%\\[\\]()&+,;=$' \n\"\\\\]{1,12}",
        ".{1,12}",
        Just(HOSTILE.to_owned()),
        Just("%41%00://tcp(@".to_owned()),
        Just("a\0".to_owned()),
        "(data|file|FILE|env|op|nsc|Nsc):[/;a-z0-9]{0,12}[\n]{0,1}",
    ]
}

const DRIVERS: [Driver; 3] = [Driver::PostgreSql, Driver::MySql, Driver::Nats];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn kine_reads_what_was_meant_or_is_not_told(
        user in hostile(), password in hostile(), schema in hostile(), endpoints in subsequence(CLUSTER.to_vec(), 1..=3),
    ) {
        let endpoints: Vec<String> = endpoints.into_iter().map(str::to_owned).collect();
        for driver in DRIVERS {
            let place = Place { driver, endpoints: &endpoints, schema: &schema, login: Some((&user, &password)) };
            let told = tell(&place);
            let reading = told.as_ref().ok().map(|told| read(driver, told));
            prop_assert_eq!(reading, expected(&place), "{:?}", told.map(|told| told.endpoint));
        }
    }
}

#[test]
fn the_most_hostile_password_can_be_told_to_every_store() {
    for driver in DRIVERS {
        let endpoints = ["db:1".to_owned()];
        let place = Place { driver, endpoints: &endpoints, schema: "s", login: Some(("u", HOSTILE)) };
        assert_eq!(read(driver, &tell(&place).ok().unwrap()).password, HOSTILE);
    }
}

#[test]
fn without_a_login_nats_is_told_by_its_addresses_alone() {
    let endpoints = CLUSTER.map(str::to_owned);
    let place = Place { driver: Driver::Nats, endpoints: &endpoints, schema: "b", login: None };
    let told = tell(&place).ok().unwrap();
    let expected = "nats://a.stores:1?bucket=b&noEmbed,nats://10.0.0.2:2,nats://[fd00::3]:3";
    assert_eq!((told.endpoint.as_str(), told.context), (expected, None));
}

#[test]
fn what_is_no_address_is_refused_by_name() {
    for bad in [
        "", "db", "db:", ":1", "db:0", "db:65536", "db:+1", "a@b:1", "a/b:1", "a)b:1", "::1:1", "[x]:1",
        "a,b:1", "\u{e9}:1",
    ] {
        for driver in DRIVERS {
            let endpoints = ["db:1".to_owned(), bad.to_owned()];
            let place = Place { driver, endpoints: &endpoints, schema: "s", login: None };
            assert_eq!(refusal(&place), Some(Unsayable::Endpoint(bad.to_owned())));
        }
    }
    let place = Place { driver: Driver::MySql, endpoints: &[], schema: "s", login: None };
    assert_eq!(refusal(&place), Some(Unsayable::NoEndpoint));
    let endpoints = ["etcd:2379".to_owned()];
    let place = Place { driver: Driver::Etcd, endpoints: &endpoints, ..place };
    assert_eq!(refusal(&place), Some(Unsayable::Etcd));
}

fn refusal(place: &Place<'_>) -> Option<Unsayable> {
    tell(place).err()
}

#[test]
fn a_refusal_says_what_to_do() {
    let endpoints = ["db:1".to_owned()];
    let said = |driver, user| {
        let place = Place { driver, endpoints: &endpoints, schema: "b", login: Some((user, "p@ss")) };
        refusal(&place).unwrap().to_string()
    };
    assert_eq!(
        said(Driver::MySql, "a:b"),
        "the user for MySQL holds a character that kine cannot be told: use any character but a colon"
    );
    assert_eq!(
        said(Driver::Nats, ""),
        "the user for NATS is empty: name one in the DataStore's basicAuth, or leave basicAuth out"
    );
}
