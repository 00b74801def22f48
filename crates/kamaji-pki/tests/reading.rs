//! Keys and certificates from elsewhere are read, kept to the letter, or refused with a reason.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use base64ct::{Base64, Encoding as _};
use der::{Decode as _, Encode as _, Tagged as _, asn1::Any};
use kamaji_pki::{Authority, Certificate, Error, Pair, PrivateKey, Usage, key::Kind};
use proptest::prelude::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("fixtures/", $name)).as_slice()
    };
}

const RSA: &[u8] = fixture!("rsa.pkcs1.key");
const RSA_CA: &[u8] = fixture!("rsa-ca.crt");
const P256: &[u8] = fixture!("p256.sec1.key");

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", Base64::encode_string(der)).into_bytes()
}

fn der(text: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(text).unwrap();
    let start = text.rfind("-----BEGIN").unwrap();
    let body: String = text[start..].lines().filter(|line| !line.starts_with('-')).collect();
    Base64::decode_vec(&body).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_form_of_a_key_is_read_and_kept_to_the_letter() {
    let table: [(&[u8], Kind); 6] = [
        (RSA, Kind::Rsa),
        (fixture!("rsa.pkcs8.key"), Kind::Rsa),
        (fixture!("go-datastore.key"), Kind::Rsa),
        (P256, Kind::EcdsaP256),
        (fixture!("p256.pkcs8.key"), Kind::EcdsaP256),
        (fixture!("p384.sec1.key"), Kind::EcdsaP384),
    ];
    for (bytes, kind) in table {
        let key = PrivateKey::from_pem(bytes).unwrap();
        assert_eq!(key.kind(), kind);
        assert_eq!(key.pem(), text(bytes));
    }
}

#[test]
fn one_key_has_one_fingerprint_in_every_form() {
    let fingerprint = |bytes| PrivateKey::from_pem(bytes).unwrap().fingerprint();
    assert_eq!(fingerprint(RSA), fingerprint(fixture!("rsa.pkcs8.key")));
    assert_eq!(fingerprint(P256), fingerprint(fixture!("p256.pkcs8.key")));
    assert_eq!(fingerprint(RSA), Certificate::from_pem(RSA_CA).unwrap().fingerprint());
    assert_ne!(fingerprint(RSA), fingerprint(P256));
}

#[test]
fn public_halves_are_those_that_openssl_writes() {
    assert_eq!(PrivateKey::from_pem(RSA).unwrap().public_pem(), text(fixture!("rsa.pub")));
    assert_eq!(PrivateKey::from_pem(P256).unwrap().public_pem(), text(fixture!("p256.pub")));
}

#[test]
fn a_new_key_can_be_read_again() {
    let key = PrivateKey::generate().unwrap();
    assert!(key.pem().starts_with("-----BEGIN EC PRIVATE KEY-----\n"));
    let again = PrivateKey::from_pem(key.pem().as_bytes()).unwrap();
    assert_eq!((again.fingerprint(), again.kind()), (key.fingerprint(), Kind::EcdsaP256));
    assert_ne!(PrivateKey::generate().unwrap().fingerprint(), key.fingerprint());
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let pair = Pair::from_pem(fixture!("go-datastore.crt"), fixture!("go-datastore.key")).unwrap();
    let shown = format!("{pair:?}");
    assert!(shown.contains("Rsa"), "{shown}");
    assert!(pair.key().pem().lines().all(|line| !shown.contains(line)), "{shown}");
}

#[test]
fn whatever_a_secret_may_hold_in_place_of_a_key_gets_a_reason() {
    let cut = &RSA[..RSA.len() / 2];
    let without_last_dash = &RSA[..RSA.len() - 2];
    let nul_in_last_line = [RSA.trim_ascii_end(), b"\0"].concat();
    let huge = [b"-----BEGIN PRIVATE KEY-----\n".as_slice(), &vec![b'A'; 900 * 1024]].concat();
    let beginnings = b"-----BEGIN PRIVATE KEY-----\n".repeat(900 * 1024 / 28);
    let other_end = text(RSA).replace("END RSA", "END EC");
    let bytes_after = pem("PRIVATE KEY", &[der(fixture!("p256.pkcs8.key")), vec![0]].concat());
    let table: [(&str, &[u8], &str); 21] = [
        ("another end than beginning", other_end.as_bytes(), "DamagedBlock(PrivateKey)"),
        ("bytes after the end", &bytes_after, "Malformed"),
        ("empty", b"", "NoBlock(PrivateKey)"),
        ("newline", b"\n", "NoBlock(PrivateKey)"),
        ("random", b"\x00\xff\x10\x80 random", "NotText(PrivateKey)"),
        ("words", b"not a key at all", "NoBlock(PrivateKey)"),
        ("truncated", cut, "DamagedBlock(PrivateKey)"),
        ("truncated in the last line", without_last_dash, "DamagedBlock(PrivateKey)"),
        ("NUL in the last line", &nul_in_last_line, "DamagedBlock(PrivateKey)"),
        ("DER", &der(RSA), "NotText(PrivateKey)"),
        ("a certificate", RSA_CA, "NoBlock(PrivateKey)"),
        ("a public key", fixture!("rsa.pub"), "NoBlock(PrivateKey)"),
        ("900 KiB", &huge, "DamagedBlock(PrivateKey)"),
        ("900 KiB of beginnings", &beginnings, "DamagedBlock(PrivateKey)"),
        ("PKCS#8 labelled PKCS#1", &pem("RSA PRIVATE KEY", &der(fixture!("rsa.pkcs8.key"))), "RefusedKey"),
        ("PKCS#1 labelled SEC1", &pem("EC PRIVATE KEY", &der(RSA)), "Malformed"),
        ("weak", fixture!("rsa-1024.key"), "RefusedKey"),
        ("another curve", fixture!("ed25519.key"), "UnknownKey"),
        ("without its point", fixture!("p256.no-point.key"), "KeyWithoutPoint"),
        ("encrypted PKCS#8", fixture!("p256.encrypted.key"), "EncryptedKey"),
        ("encrypted PKCS#1", fixture!("rsa.encrypted.key"), "EncryptedKey"),
    ];
    for (what, bytes, reason) in table {
        let error = PrivateKey::from_pem(bytes).expect_err(what);
        assert!(format!("{error:?}").starts_with(reason), "{what}: {error:?}");
    }
}

#[test]
fn whatever_a_secret_may_hold_in_place_of_a_certificate_gets_a_reason() {
    let trailing = pem("CERTIFICATE", &[der(RSA_CA), vec![0]].concat());
    let table: [(&str, &[u8], &str); 8] = [
        ("empty", b"", "NoBlock(Certificate)"),
        ("random", b"\xfe\xed", "NotText(Certificate)"),
        ("truncated", &RSA_CA[..RSA_CA.len() / 2], "DamagedBlock(Certificate)"),
        ("DER", &der(RSA_CA), "NotText(Certificate)"),
        ("a key", RSA, "NoBlock(Certificate)"),
        ("a key labelled certificate", &pem("CERTIFICATE", &der(RSA)), "Malformed"),
        ("bytes after the end", &trailing, "Malformed"),
        ("not base64", b"-----BEGIN CERTIFICATE-----\n%%%%\n-----END CERTIFICATE-----\n", "DamagedBlock"),
    ];
    for (what, bytes, reason) in table {
        let error = Certificate::from_pem(bytes).expect_err(what);
        assert!(format!("{error:?}").starts_with(reason), "{what}: {error:?}");
    }
}

#[test]
fn what_go_reads_is_read() {
    let crlf = text(RSA).replace('\n', "\r\n");
    let two = [RSA, P256].concat();
    let with_nul_after = [RSA, b"\0"].concat();
    let with_words_before = [b"Bag Attributes: none\n".as_slice(), RSA].concat();
    let without_last_newline = RSA.trim_ascii_end();
    for bytes in [crlf.as_bytes(), &two, &with_nul_after, &with_words_before, without_last_newline] {
        let key = PrivateKey::from_pem(bytes).unwrap();
        assert_eq!((key.kind(), key.pem().as_bytes()), (Kind::Rsa, bytes));
    }
    let bundle = [RSA_CA, fixture!("p384-ca.crt")].concat();
    let first = Certificate::from_pem(&bundle).unwrap();
    assert_eq!((first.common_name(), first.pem().as_bytes()), ("rsa-ca", bundle.as_slice()));
}

#[test]
fn a_certificate_of_the_go_implementation_is_understood() {
    let pair = Pair::from_pem(fixture!("go-datastore.crt"), fixture!("go-datastore.key")).unwrap();
    let certificate = pair.certificate();
    assert_eq!(certificate.common_name(), "4746b6dc-a96d-4b56-9a1c-e561fad1fc10");
    assert_eq!(certificate.organizations(), ["system:masters"]);
    assert_eq!(certificate.not_before().to_string(), "2026-11-23T01:25:04Z");
    assert_eq!(certificate.not_after().to_string(), "2036-11-23T01:25:04Z");
    assert!(certificate.serves(Usage::Server) && certificate.serves(Usage::Client));
    assert!(!certificate.serves_only(Usage::Client) && !certificate.is_authority());
    assert!(certificate.is_issued_by(&Certificate::from_pem(fixture!("go-datastore-ca.crt")).unwrap()));
}

#[test]
fn signatures_of_every_kind_are_verified() {
    for bytes in
        [RSA_CA, fixture!("rsa-sha384-ca.crt"), fixture!("rsa-sha512-ca.crt"), fixture!("p384-ca.crt")]
    {
        let authority = Certificate::from_pem(bytes).unwrap();
        assert!(authority.is_authority() && authority.is_issued_by(&authority), "{authority:?}");
    }
}

#[test]
fn a_forged_signature_or_name_is_noticed() {
    let authority = Certificate::from_pem(fixture!("go-datastore-ca.crt")).unwrap();
    let genuine = der(fixture!("go-datastore.crt"));
    let masters = genuine.windows(14).position(|window| window == b"system:masters").unwrap();
    for position in [masters, genuine.len() - 1] {
        let mut forged = genuine.clone();
        forged[position] ^= 1;
        let forged = Certificate::from_pem(&pem("CERTIFICATE", &forged)).unwrap();
        assert!(!forged.is_issued_by(&authority), "byte {position}");
    }
    assert!(!Certificate::from_pem(RSA_CA).unwrap().is_issued_by(&authority));
}

#[test]
fn a_signature_algorithm_that_was_swapped_is_noticed() {
    let genuine = der(RSA_CA);
    let [signed, algorithm, signature] =
        <[Any; 3]>::try_from(Vec::<Any>::from_der(&genuine).unwrap()).unwrap();
    // The parameters, a NULL, go: the signature itself remains right.
    let bare = Any::new(algorithm.tag(), &algorithm.value()[..algorithm.value().len() - 2]).unwrap();
    for (algorithm, genuine) in [(algorithm, true), (bare, false)] {
        let parts = vec![signed.clone(), algorithm, signature.clone()];
        let certificate = Certificate::from_pem(&pem("CERTIFICATE", &parts.to_der().unwrap())).unwrap();
        assert_eq!(certificate.is_issued_by(&Certificate::from_pem(RSA_CA).unwrap()), genuine);
    }
}

#[test]
fn the_same_key_under_another_name_is_another_issuer() {
    let authority = Certificate::from_pem(RSA_CA).unwrap();
    let other = Certificate::from_pem(fixture!("not-a-ca.crt")).unwrap();
    assert_eq!(authority.fingerprint(), other.fingerprint());
    assert!(!other.is_issued_by(&authority) && !authority.is_issued_by(&other));
}

#[test]
fn names_are_compared_without_their_dress() {
    let certificate = Certificate::from_pem(fixture!("odd-names.crt")).unwrap();
    assert_eq!(certificate.dns_names().iter().collect::<Vec<_>>(), ["upper.example"]);
    assert_eq!(certificate.ip_addresses().iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1"]);
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    for (certificate, key) in [(RSA_CA, P256), (RSA_CA, fixture!("go-datastore.key"))] {
        let error = Pair::from_pem(certificate, key).unwrap_err();
        assert!(matches!(&error, Error::KeyMismatch { common_name } if common_name == "rsa-ca"), "{error:?}");
    }
}

#[test]
fn only_an_authority_signs() {
    let error = Authority::from_pem(fixture!("not-a-ca.crt"), RSA).unwrap_err();
    assert!(matches!(error, Error::NotAnAuthority { .. }), "{error:?}");
}

/// Asks a certificate, if it is one, everything there is to ask.
fn interrogate(bytes: &[u8]) {
    let authority = Certificate::from_pem(fixture!("go-datastore-ca.crt")).unwrap();
    if let Ok(certificate) = Certificate::from_pem(bytes) {
        assert!(format!("{certificate:?}").len() + certificate.fingerprint().len() > 64);
        let _verdicts = (certificate.is_issued_by(&authority), authority.is_issued_by(&certificate));
    }
}

/// `bytes` with some of them replaced and the tail cut off.
fn damage(mut bytes: Vec<u8>, replaced: &[(prop::sample::Index, u8)], kept: prop::sample::Index) -> Vec<u8> {
    for (position, byte) in replaced {
        let position = position.index(bytes.len());
        bytes[position] = *byte;
    }
    bytes.truncate(kept.index(bytes.len() * 8).saturating_add(1));
    bytes
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
        let _key = PrivateKey::from_pem(&bytes);
        interrogate(&bytes);
        for label in ["RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY"] {
            prop_assert!(PrivateKey::from_pem(&pem(label, &bytes)).is_err());
        }
        interrogate(&pem("CERTIFICATE", &bytes));
    }

    #[test]
    fn no_damaged_text_panics(
        which in 0..5_usize,
        replaced in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        kept: prop::sample::Index,
    ) {
        let source = [RSA, P256, fixture!("rsa.pkcs8.key"), fixture!("p256.pkcs8.key"), RSA_CA][which];
        let damaged = damage(source.to_vec(), &replaced, kept);
        let _key = PrivateKey::from_pem(&damaged);
        interrogate(&damaged);
    }

    #[test]
    fn no_damaged_key_panics(
        which in 0..4_usize,
        replaced in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        kept: prop::sample::Index,
    ) {
        let (label, source) = [
            ("RSA PRIVATE KEY", RSA),
            ("EC PRIVATE KEY", P256),
            ("PRIVATE KEY", fixture!("rsa.pkcs8.key")),
            ("PRIVATE KEY", fixture!("p256.pkcs8.key")),
        ][which];
        let _key = PrivateKey::from_pem(&pem(label, &damage(der(source), &replaced, kept)));
    }

    #[test]
    fn no_damaged_certificate_panics(
        which in 0..3_usize,
        replaced in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        kept: prop::sample::Index,
    ) {
        let source = [RSA_CA, fixture!("p384-ca.crt"), fixture!("go-datastore.crt")][which];
        interrogate(&pem("CERTIFICATE", &damage(der(source), &replaced, kept)));
    }
}
