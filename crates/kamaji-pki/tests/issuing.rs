//! What is issued keeps to the policy, and other verifiers agree with it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use der::Decode as _;
use jiff::{SignedDuration, Timestamp};
use kamaji_pki::{Authority, Certificate, Error, Leaf, Names, Pair, Usage, leaf::MAX_VALIDITY};
use ring::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyUsage, ring::RSA_PKCS1_2048_8192_SHA256};
use x509_cert::{
    TbsCertificate,
    ext::pkix::{AuthorityKeyIdentifier, ExtendedKeyUsage, SubjectKeyIdentifier},
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

fn now() -> Timestamp {
    "2026-11-23T02:00:00.987654321Z".parse().unwrap()
}

fn names(dns: &[&str], ips: &[&str]) -> Names {
    Names {
        dns: dns.iter().map(ToString::to_string).collect(),
        ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
    }
}

fn server(names: Names) -> Leaf {
    Leaf {
        common_name: "kube-apiserver".to_owned(),
        organizations: vec![],
        usage: Usage::Server,
        names,
        valid_for: MAX_VALIDITY,
    }
}

fn client(common_name: &str, organizations: &[&str]) -> Leaf {
    Leaf {
        common_name: common_name.to_owned(),
        organizations: organizations.iter().map(ToString::to_string).collect(),
        usage: Usage::Client,
        names: Names::default(),
        valid_for: MAX_VALIDITY,
    }
}

fn authority() -> Authority {
    Authority::create("kubernetes", now(), HOUR * 87_600).unwrap()
}

/// One authority for each kind of key.
fn authorities() -> [Authority; 4] {
    let from =
        |certificate: &str, key: &str| Authority::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    [
        authority(),
        from(include_str!("fixtures/rsa-ca.crt"), include_str!("fixtures/rsa.pkcs1.key")),
        from(include_str!("fixtures/rsa-ca.crt"), include_str!("fixtures/rsa.pkcs8.key")),
        from(include_str!("fixtures/p384-ca.crt"), include_str!("fixtures/p384.sec1.key")),
    ]
}

fn decoded(certificate: &Certificate) -> x509_cert::Certificate {
    let der = CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap();
    x509_cert::Certificate::from_der(&der).unwrap()
}

/// What webpki, the verifier inside rustls, thinks of `pair`.
fn accepted(
    pair: &Pair,
    authority: &Authority,
    usage: impl ExtendedKeyUsageValidator,
    server: Option<&str>,
    at: Timestamp,
) -> Result<(), webpki::Error> {
    accepted_behind(pair, &[], authority, usage, (server, at))
}

/// The same of a pair that is shown with these certificates.
fn accepted_behind(
    pair: &Pair,
    chain: &[Certificate],
    authority: &Authority,
    usage: impl ExtendedKeyUsageValidator,
    (server, at): (Option<&str>, Timestamp),
) -> Result<(), webpki::Error> {
    let root = CertificateDer::from_pem_slice(authority.certificate().pem().as_bytes()).unwrap();
    let anchors = [webpki::anchor_from_trusted_cert(&root).unwrap()];
    let der = CertificateDer::from_pem_slice(pair.certificate().pem().as_bytes()).unwrap();
    let certificate = EndEntityCert::try_from(&der)?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second().try_into().unwrap()));
    let algorithms =
        [webpki::ring::ECDSA_P256_SHA256, webpki::ring::ECDSA_P384_SHA384, RSA_PKCS1_2048_8192_SHA256];
    let chain: Vec<_> =
        chain.iter().map(|one| CertificateDer::from_pem_slice(one.pem().as_bytes()).unwrap()).collect();
    certificate.verify_for_usage(&algorithms, &anchors, &chain, time, usage, None, None)?;
    server.map_or(Ok(()), |name| {
        certificate.verify_is_valid_for_subject_name(&ServerName::try_from(name).unwrap())
    })
}

#[test]
fn servers_are_accepted_under_each_of_their_names_and_no_other() {
    let wanted = names(&["localhost", "*.Example.com", "kubernetes.default.svc"], &["10.96.0.1", "fd00::1"]);
    for authority in authorities() {
        let pair = authority.issue(&server(wanted.clone()), now()).unwrap();
        let check = |name| accepted(&pair, &authority, KeyUsage::server_auth(), Some(name), now());
        for name in ["localhost", "www.example.com", "kubernetes.default.svc", "10.96.0.1", "fd00::1"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["example.org", "10.96.0.2", "fd00::2", "kube-apiserver"] {
            assert!(check(name).is_err(), "{name}");
        }
        assert!(pair.certificate().is_issued_by(authority.certificate()));
    }
}

/// Whatever kind of key each of them has: whoever trusts one authority believes what the other has issued.
#[test]
fn what_an_authority_vouches_for_convinces_those_who_trust_it_alone() {
    for old in authorities() {
        let others = authorities().into_iter();
        let is_old = |one: &Authority| one.certificate() == old.certificate();
        for new in others.filter(|other| !is_old(other)) {
            let leaf = new.issue(&server(names(&["localhost"], &[])), now()).unwrap();
            let vouched = old.vouch(new.certificate(), now()).unwrap();
            let check = |chain: &[Certificate], trusted| {
                accepted_behind(&leaf, chain, trusted, KeyUsage::server_auth(), (Some("localhost"), now()))
            };
            let chain = [vouched.clone()];
            assert_eq!((check(&chain, &old), check(&chain, &new)), (Ok(()), Ok(())));
            assert!(check(&[], &old).is_err(), "nobody has vouched for it");
            assert!(vouched.is_issued_by(old.certificate()) && leaf.certificate().is_issued_by(&vouched));
            assert!(vouched.not_after() <= old.certificate().not_after().min(new.certificate().not_after()));
        }
    }
}

#[test]
fn an_authority_that_has_ended_vouches_for_nobody() {
    let old = Authority::create("kubernetes", now(), SignedDuration::from_hours(1)).unwrap();
    let refused = old.vouch(authority().certificate(), now() + SignedDuration::from_hours(2));
    assert!(matches!(refused, Err(Error::AuthorityExpired { .. })));
}

#[test]
fn a_leaf_serves_one_purpose() {
    let authority = authority();
    let client = authority.issue(&client("kubernetes-admin", &["kubeadm:cluster-admins"]), now()).unwrap();
    let server = authority.issue(&server(names(&["localhost"], &[])), now()).unwrap();
    assert_eq!(accepted(&client, &authority, KeyUsage::client_auth(), None, now()), Ok(()));
    assert!(accepted(&client, &authority, KeyUsage::server_auth(), None, now()).is_err());
    assert!(accepted(&server, &authority, KeyUsage::client_auth(), None, now()).is_err());
    for pair in [&client, &server] {
        let usage =
            decoded(pair.certificate()).tbs_certificate().get_extension::<ExtendedKeyUsage>().unwrap();
        assert_eq!(usage.unwrap().1.0.len(), 1);
        assert!(!pair.certificate().is_authority());
    }
}

#[test]
fn the_user_and_groups_are_those_asked_for() {
    let pair = authority().issue(&client("Zoë", &["b", "a"]), now()).unwrap();
    assert_eq!(pair.certificate().common_name(), "Zoë");
    assert_eq!(pair.certificate().organizations(), ["b", "a"]);
    assert!(authority().issue(&client("x", &[]), now()).unwrap().certificate().organizations().is_empty());
}

#[test]
fn a_leaf_begins_five_minutes_ago_and_ends_in_time() {
    let authority = authority();
    let pair = authority.issue(&Leaf { valid_for: HOUR, ..client("x", &[]) }, now()).unwrap();
    assert_eq!(pair.certificate().not_before().to_string(), "2026-11-23T01:55:00Z");
    assert_eq!(pair.certificate().not_after().to_string(), "2026-11-23T03:00:00Z");
    let check = |at| accepted(&pair, &authority, KeyUsage::client_auth(), None, at);
    assert_eq!(check(now() + HOUR - SignedDuration::from_secs(1)), Ok(()));
    assert!(check(now() + HOUR + SignedDuration::from_secs(1)).is_err());
}

#[test]
fn a_leaf_does_not_outlive_its_authority() {
    let authority = Authority::create("short", now(), HOUR).unwrap();
    let pair = authority.issue(&client("x", &[]), now()).unwrap();
    assert_eq!(pair.certificate().not_after(), authority.certificate().not_after());
    let error = authority.issue(&client("x", &[]), now() + HOUR).unwrap_err();
    assert!(matches!(error, Error::AuthorityExpired { .. }), "{error:?}");
}

#[test]
fn a_leaf_lasts_a_year_at_most() {
    let second = SignedDuration::from_secs(1);
    for valid_for in
        [MAX_VALIDITY + second, SignedDuration::ZERO, -HOUR, SignedDuration::MAX, SignedDuration::MIN]
    {
        let error = authority().issue(&Leaf { valid_for, ..client("x", &[]) }, now()).unwrap_err();
        assert!(matches!(error, Error::Period { .. }), "{error:?}");
    }
}

#[test]
fn serial_numbers_are_random() {
    let authority = authority();
    let serial = |_| {
        let pair = authority.issue(&client("x", &[]), now()).unwrap();
        decoded(pair.certificate()).tbs_certificate().serial_number().as_bytes().to_vec()
    };
    let serials: BTreeSet<Vec<u8>> = (0..20).map(serial).collect();
    assert_eq!(serials.len(), 20);
    // 128 random bits, of which leading zeros and a sign byte may come off or on.
    assert!(serials.iter().all(|serial| (14..=17).contains(&serial.len())), "{serials:?}");
}

#[test]
fn identifiers_are_hashes_of_keys() {
    let authority = authority();
    let pair = authority.issue(&client("x", &[]), now()).unwrap();
    let child = decoded(pair.certificate());
    let child = child.tbs_certificate();
    let parent = decoded(authority.certificate());
    let parent = parent.tbs_certificate();
    let hash = |tbs: &TbsCertificate| {
        digest(&SHA256, tbs.subject_public_key_info().subject_public_key.raw_bytes()).as_ref()[..20].to_vec()
    };
    for tbs in [child, parent] {
        let (_, own) = tbs.get_extension::<SubjectKeyIdentifier>().unwrap().unwrap();
        assert_eq!(own.0.as_bytes(), hash(tbs));
    }
    let (_, issuer) = child.get_extension::<AuthorityKeyIdentifier>().unwrap().unwrap();
    assert_eq!(issuer.key_identifier.unwrap().as_bytes(), hash(parent));
}

#[test]
fn the_identifier_of_an_existing_authority_is_repeated_as_it_is() {
    let [_, rsa, ..] = authorities();
    let parent = decoded(rsa.certificate());
    let (_, own) = parent.tbs_certificate().get_extension::<SubjectKeyIdentifier>().unwrap().unwrap();
    let child = decoded(rsa.issue(&client("x", &[]), now()).unwrap().certificate());
    let (_, issuer) = child.tbs_certificate().get_extension::<AuthorityKeyIdentifier>().unwrap().unwrap();
    assert_eq!(issuer.key_identifier, Some(own.0));
}

#[test]
fn authorities_can_be_read_again_and_last_beyond_2050() {
    let authority = Authority::create("front-proxy-ca", now(), HOUR * 24 * 365 * 30).unwrap();
    let again =
        Authority::from_pem(authority.certificate().pem().as_bytes(), authority.key().pem().as_bytes())
            .unwrap();
    assert_eq!(again.certificate(), authority.certificate());
    assert_eq!(again.certificate().not_after().to_string(), "2056-11-15T02:00:00Z");
    assert_eq!(again.certificate().dns_names(), &BTreeSet::from(["front-proxy-ca".to_owned()]));
    assert!(again.certificate().is_issued_by(authority.certificate()));
    let pair = again.issue(&client("front-proxy-client", &[]), now()).unwrap();
    assert_eq!(accepted(&pair, &authority, KeyUsage::client_auth(), None, now()), Ok(()));
}

#[test]
fn many_and_odd_names_are_taken() {
    let mut wanted =
        names(&["Upper.Example", "upper.example", "*", "*.x.y"], &["::1", "::ffff:10.0.0.1", "10.0.0.1"]);
    wanted.dns.extend((0..60).map(|number| format!("n{number}.example.com")));
    let pair = authority().issue(&server(wanted.clone()), now()).unwrap();
    assert_eq!(pair.certificate().names(), &wanted.normalized());
    assert_eq!(pair.certificate().dns_names().len(), 63);
    let ips: BTreeSet<IpAddr> = ["::1".parse().unwrap(), "10.0.0.1".parse().unwrap()].into();
    assert_eq!(pair.certificate().ip_addresses(), &ips);
}

#[test]
fn names_that_cannot_be_are_refused() {
    for name in ["", "with space", "ünicode", "semi;colon", "a/b", "nul\0", &"x".repeat(254)] {
        let error = authority().issue(&server(names(&[name], &[])), now()).unwrap_err();
        assert!(matches!(&error, Error::Name { name: found } if found == name), "{error:?}");
    }
    for common_name in ["", "nul\0"] {
        assert!(matches!(authority().issue(&client(common_name, &[]), now()), Err(Error::Name { .. })));
        assert!(matches!(Authority::create(common_name, now(), HOUR), Err(Error::Name { .. })));
    }
}
