//! A certificate that is not signed yet.

use std::net::IpAddr;

use der::{
    DateTime, Encode, Sequence, Tag,
    asn1::{Any, BitString, Ia5String, ObjectIdentifier, OctetString},
    flagset::FlagSet,
    oid::{
        AssociatedOid,
        db::rfc4519::{COMMON_NAME, ORGANIZATION_NAME},
    },
};
use jiff::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use x509_cert::{
    AlgorithmIdentifier, SubjectPublicKeyInfo, Version,
    attr::AttributeTypeAndValue,
    ext::{
        Extension, Extensions,
        pkix::{
            AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
            SubjectKeyIdentifier, name::GeneralName,
        },
    },
    name::{RdnSequence, RelativeDistinguishedName},
    serial_number::SerialNumber,
    time::{Time, Validity},
};

use crate::{
    error::Error,
    fingerprint::key_identifier,
    key::PrivateKey,
    leaf::{Certificate, Names, Usage},
    pem,
};

/// Random bits in a serial number.
const SERIAL_BYTES: usize = 16;

/// Everything that goes into a certificate and differs from one to the next.
pub(crate) struct Draft<'a> {
    pub(crate) common_name: &'a str,
    pub(crate) organizations: &'a [String],
    pub(crate) names: &'a Names,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) public: &'a SubjectPublicKeyInfo,
    pub(crate) role: Role<'a>,
}

/// What the certificate is for.
pub(crate) enum Role<'a> {
    /// It signs others, and itself.
    Authority,
    /// It serves one purpose and is signed by `issuer`.
    Leaf { usage: Usage, issuer: &'a Certificate },
    /// It is `subject` over again, signed by `issuer`.
    Vouched { subject: &'a Certificate, issuer: &'a Certificate },
}

/// `TBSCertificate` of RFC 5280, without the parts that nobody uses.
#[derive(Sequence)]
struct Unsigned {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial: SerialNumber,
    algorithm: AlgorithmIdentifier,
    issuer: RdnSequence,
    validity: Validity,
    subject: RdnSequence,
    public: SubjectPublicKeyInfo,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Extensions,
}

/// `Certificate` of RFC 5280 around bytes that are signed already.
#[derive(Sequence)]
struct Signed {
    unsigned: Any,
    algorithm: AlgorithmIdentifier,
    signature: BitString,
}

impl Draft<'_> {
    /// The certificate, signed with `key`, which is that of the issuer.
    pub(crate) fn sign(&self, key: &PrivateKey) -> Result<Certificate, Error> {
        let serial = serial_number()?;
        let unsigned = self.unsigned(&serial, key).map_err(|source| self.encode(source))?;
        let signature = key.sign(&unsigned)?;
        let der = envelope(&unsigned, key.signature_algorithm(), &signature)
            .map_err(|source| self.encode(source))?;
        Certificate::from_pem(pem::encode("CERTIFICATE", &der).as_bytes())
    }

    fn encode(&self, source: der::Error) -> Error {
        Error::Encode { common_name: self.common_name.to_owned(), source }
    }

    fn unsigned(&self, serial: &[u8], key: &PrivateKey) -> Result<Vec<u8>, der::Error> {
        // To the byte as the authority has it, since what it signs names it so.
        let subject = match self.role {
            Role::Vouched { subject, .. } => subject.subject().clone(),
            _ => distinguished_name(self.common_name, self.organizations)?,
        };
        let issuer = match self.role {
            Role::Authority => subject.clone(),
            Role::Leaf { issuer, .. } | Role::Vouched { issuer, .. } => issuer.subject().clone(),
        };
        Unsigned {
            version: Version::V3,
            serial: SerialNumber::new(serial)?,
            algorithm: key.signature_algorithm(),
            issuer,
            validity: Validity::new(time(self.not_before)?, time(self.not_after)?),
            subject,
            public: self.public.clone(),
            extensions: self.extensions()?,
        }
        .to_der()
    }

    fn extensions(&self) -> Result<Extensions, der::Error> {
        let own = match self.role {
            Role::Vouched { subject, .. } => OctetString::new(subject.key_identifier())?,
            _ => OctetString::new(key_identifier(self.public))?,
        };
        let mut extensions = match self.role {
            Role::Authority => authority_extensions()?,
            Role::Leaf { usage, issuer } => leaf_extensions(usage, issuer)?,
            Role::Vouched { issuer, .. } => {
                let mut extensions = authority_extensions()?;
                extensions.push(extension(&identifier_of(issuer)?, Critical::No)?);
                extensions
            }
        };
        extensions.push(extension(&SubjectKeyIdentifier(own), Critical::No)?);
        let alternatives = general_names(self.names)?;
        if !alternatives.is_empty() {
            extensions.push(extension(&SubjectAltName(alternatives), Critical::No)?);
        }
        Ok(extensions)
    }
}

/// Whether a reader that does not know an extension must refuse the certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Critical {
    Yes,
    No,
}

fn authority_extensions() -> Result<Extensions, der::Error> {
    // No keyEncipherment: RFC 5480 forbids it for the elliptic curve keys that authorities are made with
    // here.
    let usages = KeyUsages::KeyCertSign | KeyUsages::CRLSign | KeyUsages::DigitalSignature;
    Ok(vec![
        extension(&BasicConstraints { ca: true, path_len_constraint: None }, Critical::Yes)?,
        extension(&KeyUsage(usages), Critical::Yes)?,
    ])
}

fn leaf_extensions(usage: Usage, issuer: &Certificate) -> Result<Extensions, der::Error> {
    let authority = identifier_of(issuer)?;
    Ok(vec![
        extension(&BasicConstraints { ca: false, path_len_constraint: None }, Critical::Yes)?,
        extension(&KeyUsage(FlagSet::from(KeyUsages::DigitalSignature)), Critical::Yes)?,
        extension(&ExtendedKeyUsage(vec![usage.oid()]), Critical::No)?,
        extension(&authority, Critical::No)?,
    ])
}

fn identifier_of(issuer: &Certificate) -> Result<AuthorityKeyIdentifier, der::Error> {
    Ok(AuthorityKeyIdentifier {
        key_identifier: Some(OctetString::new(issuer.key_identifier())?),
        ..AuthorityKeyIdentifier::default()
    })
}

fn extension<T: AssociatedOid + Encode>(value: &T, critical: Critical) -> Result<Extension, der::Error> {
    Ok(Extension {
        extn_id: T::OID,
        critical: critical == Critical::Yes,
        extn_value: OctetString::new(value.to_der()?)?,
    })
}

fn general_names(names: &Names) -> Result<Vec<GeneralName>, der::Error> {
    let dns = names.dns.iter().map(|name| Ia5String::new(name).map(GeneralName::DnsName));
    let ips = names.ips.iter().copied().map(|ip: IpAddr| Ok(GeneralName::from(ip)));
    dns.chain(ips).collect()
}

/// Organisations first, then the common name, as kubeadm has it.
fn distinguished_name(common_name: &str, organizations: &[String]) -> Result<RdnSequence, der::Error> {
    let mut sequence = RdnSequence::default();
    for organization in organizations {
        sequence.push(relative_name(ORGANIZATION_NAME, organization)?);
    }
    sequence.push(relative_name(COMMON_NAME, common_name)?);
    Ok(sequence)
}

fn relative_name(oid: ObjectIdentifier, value: &str) -> Result<RelativeDistinguishedName, der::Error> {
    let mut name = RelativeDistinguishedName::default();
    name.insert(AttributeTypeAndValue { oid, value: Any::new(Tag::Utf8String, value.as_bytes())? })?;
    Ok(name)
}

fn serial_number() -> Result<[u8; SERIAL_BYTES], Error> {
    let mut bytes = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Crypto { action: "draw a serial number" })?;
    Ok(bytes)
}

/// `UTCTime` up to 2049, `GeneralizedTime` after, in whole seconds.
fn time(instant: Timestamp) -> Result<Time, der::Error> {
    let since_epoch = u64::try_from(instant.as_second()).map_err(|_| der::ErrorKind::DateTime)?;
    DateTime::from_unix_duration(std::time::Duration::from_secs(since_epoch)).map(Time::from)
}

fn envelope(
    unsigned: &[u8],
    algorithm: AlgorithmIdentifier,
    signature: &[u8],
) -> Result<Vec<u8>, der::Error> {
    let unsigned = <Any as der::Decode>::from_der(unsigned)?;
    Signed { unsigned, algorithm, signature: BitString::from_bytes(signature)? }.to_der()
}
