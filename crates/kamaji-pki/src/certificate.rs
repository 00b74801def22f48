//! X.509 certificates as they were read, with what the rest of the crate asks about them.

use std::{collections::BTreeSet, fmt, net::IpAddr, sync::Arc};

use der::{
    Decode as _, Encode as _, Sequence,
    asn1::{Any, AnyRef, BitStringRef, ObjectIdentifier},
    oid::db::{
        rfc4519::{COMMON_NAME, ORGANIZATION_NAME},
        rfc5912::{
            ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1,
            SECP_384_R_1, SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION,
            SHA_512_WITH_RSA_ENCRYPTION,
        },
    },
};
use jiff::Timestamp;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, UnparsedPublicKey,
    VerificationAlgorithm,
};
use x509_cert::{
    AlgorithmIdentifier, SubjectPublicKeyInfo, TbsCertificate,
    ext::pkix::{
        BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, SubjectKeyIdentifier,
        name::{DirectoryString, GeneralName},
    },
    name::{Name, RdnSequence},
    time::Time,
};

use crate::{
    error::{Error, Material},
    fingerprint::{fingerprint, key_identifier},
    leaf::{Names, Usage},
    pem,
};

/// A certificate together with the text it was read from. Two are equal when their certificates are, whatever
/// the text around them. Cloning is cheap.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    pem: String,
    /// What the signature is over, byte for byte as it came.
    signed: Vec<u8>,
    signature: Vec<u8>,
    tbs: TbsCertificate,
    signature_algorithm: AlgorithmIdentifier,
    common_name: String,
    organizations: Vec<String>,
    names: Names,
    not_before: Timestamp,
    not_after: Timestamp,
    purposes: Option<Vec<ObjectIdentifier>>,
    key_identifier: Vec<u8>,
    fingerprint: String,
    authority: bool,
}

/// The outer shell of a certificate, with the signed part left unread.
#[derive(Sequence)]
struct Envelope<'a> {
    signed: AnyRef<'a>,
    algorithm: AlgorithmIdentifier,
    signature: BitStringRef<'a>,
}

impl Certificate {
    /// The first certificate in `text`; a bundle is allowed and kept as text.
    ///
    /// # Errors
    /// Whatever the bytes are, an [`Error`] says what is wrong with them.
    pub fn from_pem(text: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(text).map_err(|_| Error::NotText(Material::Certificate))?;
        let block = pem::first(text, Material::Certificate, |label| label == "CERTIFICATE")?;
        let inner = Inner::read(text.to_owned(), &block.der)
            .map_err(|source| Error::Malformed { material: Material::Certificate, source })?;
        Ok(Self(Arc::new(inner)))
    }

    /// The text exactly as it was read, or as it was first made.
    pub fn pem(&self) -> &str {
        &self.0.pem
    }

    /// The subject's common name, empty when there is none. For a client certificate this is the user.
    pub fn common_name(&self) -> &str {
        &self.0.common_name
    }

    /// The subject's organisations. For a client certificate these are the user's groups.
    pub fn organizations(&self) -> &[String] {
        &self.0.organizations
    }

    /// The names and addresses it speaks for, names in lower case.
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// The DNS names it speaks for, in lower case.
    pub fn dns_names(&self) -> &BTreeSet<String> {
        &self.0.names.dns
    }

    /// The addresses it speaks for.
    pub fn ip_addresses(&self) -> &BTreeSet<IpAddr> {
        &self.0.names.ips
    }

    /// Its first second.
    pub fn not_before(&self) -> Timestamp {
        self.0.not_before
    }

    /// Its last second.
    pub fn not_after(&self) -> Timestamp {
        self.0.not_after
    }

    /// SHA-256 of the public key (`SubjectPublicKeyInfo`) in lowercase hexadecimal.
    pub fn fingerprint(&self) -> String {
        self.0.fingerprint.clone()
    }

    /// Whether it may sign certificates.
    pub fn is_authority(&self) -> bool {
        self.0.authority
    }

    /// Whether it may be used for `usage`: it says so, or does not restrict its use.
    pub fn serves(&self, usage: Usage) -> bool {
        self.0.purposes.as_ref().is_none_or(|purposes| purposes.contains(&usage.oid()))
    }

    /// Whether `usage` is the one thing it may be used for.
    pub fn serves_only(&self, usage: Usage) -> bool {
        self.0.purposes.as_deref() == Some(&[usage.oid()])
    }

    /// Whether `issuer` is named as the issuer and its key made the signature (RSA PKCS#1 v1.5 or ECDSA,
    /// P-256 or P-384, SHA-2). Neither looks at the clock nor at what the issuer was allowed to do.
    pub fn is_issued_by(&self, issuer: &Self) -> bool {
        let inner = &self.0;
        let key = issuer.public_key();
        inner.tbs.issuer() == issuer.0.tbs.subject()
            && inner.signature_algorithm == *inner.tbs.signature()
            && verification(&inner.signature_algorithm, &key.algorithm).is_some_and(|algorithm| {
                UnparsedPublicKey::new(algorithm, key.subject_public_key.raw_bytes())
                    .verify(&inner.signed, &inner.signature)
                    .is_ok()
            })
    }

    pub(crate) fn subject(&self) -> &RdnSequence {
        self.0.tbs.subject().as_ref()
    }

    pub(crate) fn public_key(&self) -> &SubjectPublicKeyInfo {
        self.0.tbs.subject_public_key_info()
    }

    pub(crate) fn key_identifier(&self) -> &[u8] {
        &self.0.key_identifier
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.signed == other.0.signed && self.0.signature == other.0.signature
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Certificate")
            .field("common_name", &self.0.common_name)
            .field("organizations", &self.0.organizations)
            .field("names", &self.0.names)
            .field("not_before", &self.0.not_before)
            .field("not_after", &self.0.not_after)
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn read(pem: String, certificate: &[u8]) -> Result<Self, der::Error> {
        let envelope = Envelope::from_der(certificate)?;
        let signed = envelope.signed.to_der()?;
        let tbs = TbsCertificate::from_der(&signed)?;
        let key_identifier = match tbs.get_extension::<SubjectKeyIdentifier>()? {
            Some((_, identifier)) => identifier.0.as_bytes().to_vec(),
            None => key_identifier(tbs.subject_public_key_info()),
        };
        Ok(Self {
            pem,
            signature: envelope.signature.raw_bytes().to_vec(),
            signature_algorithm: envelope.algorithm,
            common_name: attributes(tbs.subject(), COMMON_NAME).pop().unwrap_or_default(),
            organizations: attributes(tbs.subject(), ORGANIZATION_NAME),
            names: alternative_names(&tbs)?,
            not_before: instant(tbs.validity().not_before),
            not_after: instant(tbs.validity().not_after),
            purposes: tbs.get_extension::<ExtendedKeyUsage>()?.map(|(_, usage)| usage.0),
            key_identifier,
            fingerprint: fingerprint(&tbs.subject_public_key_info().to_der()?),
            authority: may_sign(&tbs)?,
            signed,
            tbs,
        })
    }
}

fn attributes(name: &Name, oid: ObjectIdentifier) -> Vec<String> {
    name.iter()
        .filter(|attribute| attribute.oid == oid)
        .filter_map(|attribute| text(&attribute.value))
        .collect()
}

fn text(value: &Any) -> Option<String> {
    DirectoryString::try_from(value).ok().map(|string| string.value().into_owned())
}

fn alternative_names(tbs: &TbsCertificate) -> Result<Names, der::Error> {
    let mut names = Names::default();
    let Some((_, alternatives)) = tbs.get_extension::<SubjectAltName>()? else {
        return Ok(names);
    };
    for alternative in alternatives.0 {
        match alternative {
            GeneralName::DnsName(name) => {
                names.dns.insert(name.as_str().to_ascii_lowercase());
            }
            GeneralName::IpAddress(octets) => names.ips.extend(address(octets.as_bytes())),
            _ => {}
        }
    }
    Ok(names)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let short = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    let long = || <[u8; 16]>::try_from(octets).map(|octets| IpAddr::from(octets).to_canonical());
    short.or_else(|_| long()).ok()
}

/// jiff ends some hours before the year 9999 does, which X.509 uses for "never".
fn instant(time: Time) -> Timestamp {
    i64::try_from(time.to_unix_duration().as_secs())
        .ok()
        .and_then(|second| Timestamp::from_second(second).ok())
        .unwrap_or(Timestamp::MAX)
}

fn may_sign(tbs: &TbsCertificate) -> Result<bool, der::Error> {
    let authority = tbs.get_extension::<BasicConstraints>()?.is_some_and(|(_, constraints)| constraints.ca);
    let signs = tbs.get_extension::<KeyUsage>()?.is_none_or(|(_, usage)| usage.key_cert_sign());
    Ok(authority && signs)
}

/// How to check a signature made with `signature` by a key of the kind `key`.
fn verification(
    signature: &AlgorithmIdentifier,
    key: &AlgorithmIdentifier,
) -> Option<&'static dyn VerificationAlgorithm> {
    let curve =
        || key.parameters.as_ref().and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok());
    match (key.oid, signature.oid) {
        (RSA_ENCRYPTION, SHA_256_WITH_RSA_ENCRYPTION) => Some(&RSA_PKCS1_2048_8192_SHA256),
        (RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION) => Some(&RSA_PKCS1_2048_8192_SHA384),
        (RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION) => Some(&RSA_PKCS1_2048_8192_SHA512),
        (ID_EC_PUBLIC_KEY, hash) => match (curve()?, hash) {
            (SECP_256_R_1, ECDSA_WITH_SHA_256) => Some(&ECDSA_P256_SHA256_ASN1),
            (SECP_256_R_1, ECDSA_WITH_SHA_384) => Some(&ECDSA_P256_SHA384_ASN1),
            (SECP_384_R_1, ECDSA_WITH_SHA_256) => Some(&ECDSA_P384_SHA256_ASN1),
            (SECP_384_R_1, ECDSA_WITH_SHA_384) => Some(&ECDSA_P384_SHA384_ASN1),
            _ => None,
        },
        _ => None,
    }
}
