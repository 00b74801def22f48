//! Private keys: made on P-256, read in every form that kubeadm, openssl and the Go implementation write.

use std::{fmt, sync::Arc};

use der::{
    Decode as _, Encode as _, Reader as _, Sequence, SliceReader,
    asn1::{Any, BitString, BitStringRef, ObjectIdentifier, OctetStringRef},
    oid::db::rfc5912::{
        ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1,
        SHA_256_WITH_RSA_ENCRYPTION,
    },
};
use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use x509_cert::{
    AlgorithmIdentifier, SubjectPublicKeyInfo,
    spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef},
};
use zeroize::Zeroizing;

use crate::{
    error::{Error, Material},
    fingerprint::fingerprint,
    leaf::Certificate,
    pem,
};

/// The kinds of private keys in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSA of 2048 to 4096 bits: read and signed with, never made.
    Rsa,
    /// ECDSA on P-256: what new keys are.
    EcdsaP256,
    /// ECDSA on P-384: read and signed with, never made.
    EcdsaP384,
}

/// A private key together with the text it was read from. Cloning shares the key; the text is overwritten
/// when the last clone goes.
#[derive(Clone)]
pub struct PrivateKey(Arc<Inner>);

struct Inner {
    pem: Zeroizing<String>,
    signer: Signer,
    public: SubjectPublicKeyInfo,
    public_der: Vec<u8>,
}

/// Settled once here: ring signs with RSA but cannot make RSA keys.
enum Signer {
    Rsa(RsaKeyPair),
    EcdsaP256(EcdsaKeyPair),
    EcdsaP384(EcdsaKeyPair),
}

/// `ECPrivateKey` of RFC 5915.
#[derive(Sequence)]
struct EcPrivateKey<'a> {
    version: u8,
    scalar: &'a OctetStringRef,
    #[asn1(context_specific = "0", optional = "true")]
    curve: Option<ObjectIdentifier>,
    #[asn1(context_specific = "1", optional = "true")]
    point: Option<BitStringRef<'a>>,
}

impl PrivateKey {
    /// A new ECDSA key on P-256. Its text is SEC1 (`EC PRIVATE KEY`), which is what kubeadm writes, and what
    /// Go's TLS, client-go and the service-account signer of kube-apiserver read.
    pub fn generate() -> Result<Self, Error> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .map_err(|_| Error::Crypto { action: "generate a private key" })?;
        let (_, inner) = unwrap_pkcs8(document.as_ref()).map_err(malformed)?;
        let key = EcPrivateKey::from_der(inner).map_err(malformed)?;
        let named = EcPrivateKey { curve: Some(SECP_256_R_1), ..key };
        let text = pem::encode("EC PRIVATE KEY", &Zeroizing::new(named.to_der().map_err(malformed)?));
        let signer = ec_signer(&named, None)?;
        Self::new(text, signer)
    }

    /// The first private key in `text`: PKCS#1 (`RSA PRIVATE KEY`), SEC1 (`EC PRIVATE KEY`) or PKCS#8
    /// (`PRIVATE KEY`).
    ///
    /// # Errors
    /// Whatever the bytes are, an [`Error`] says what is wrong with them.
    pub fn from_pem(text: &[u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(text).map_err(|_| Error::NotText(Material::PrivateKey))?;
        let block = pem::first(text, Material::PrivateKey, |label| label.ends_with("PRIVATE KEY"))?;
        let signer = match block.label.as_str() {
            "RSA PRIVATE KEY" => rsa_signer(&block.der),
            "EC PRIVATE KEY" => {
                EcPrivateKey::from_der(&block.der).map_err(malformed).and_then(|key| ec_signer(&key, None))
            }
            "PRIVATE KEY" => pkcs8_signer(&block.der),
            "ENCRYPTED PRIVATE KEY" => Err(Error::EncryptedKey),
            _ => Err(Error::UnknownKey),
        }?;
        Self::new(Zeroizing::new(text.to_owned()), signer)
    }

    /// The text exactly as it was read, or as it was first made.
    pub fn pem(&self) -> &str {
        &self.0.pem
    }

    /// The public half as PKIX (`PUBLIC KEY`), the form of kubeadm's `sa.pub`.
    pub fn public_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.0.public_der).to_string()
    }

    /// Whether `certificate` certifies this key.
    pub fn fits(&self, certificate: &Certificate) -> bool {
        self.0.public == *certificate.public_key()
    }

    /// SHA-256 of the public key (`SubjectPublicKeyInfo`) in lowercase hexadecimal; equals that of a
    /// certificate it fits.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.0.public_der)
    }

    /// Which kind of key this is.
    pub fn kind(&self) -> Kind {
        match self.0.signer {
            Signer::Rsa(_) => Kind::Rsa,
            Signer::EcdsaP256(_) => Kind::EcdsaP256,
            Signer::EcdsaP384(_) => Kind::EcdsaP384,
        }
    }

    pub(crate) fn public(&self) -> &SubjectPublicKeyInfo {
        &self.0.public
    }

    pub(crate) fn signature_algorithm(&self) -> AlgorithmIdentifier {
        let (oid, parameters) = match self.0.signer {
            Signer::Rsa(_) => (SHA_256_WITH_RSA_ENCRYPTION, Some(Any::null())),
            Signer::EcdsaP256(_) => (ECDSA_WITH_SHA_256, None),
            Signer::EcdsaP384(_) => (ECDSA_WITH_SHA_384, None),
        };
        AlgorithmIdentifier { oid, parameters }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        let signature = match &self.0.signer {
            Signer::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
            Signer::EcdsaP256(key) | Signer::EcdsaP384(key) => {
                key.sign(&random, message).map(|signature| signature.as_ref().to_vec())
            }
        };
        signature.map_err(|_| Error::Crypto { action: "sign a certificate" })
    }

    fn new(pem: Zeroizing<String>, signer: Signer) -> Result<Self, Error> {
        let public = signer.public().map_err(malformed)?;
        let public_der = public.to_der().map_err(malformed)?;
        Ok(Self(Arc::new(Inner { pem, signer, public, public_der })))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PrivateKey")
            .field("kind", &self.kind())
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

impl Signer {
    fn public(&self) -> Result<SubjectPublicKeyInfo, der::Error> {
        let (oid, parameters, bits) = match self {
            Self::Rsa(key) => (RSA_ENCRYPTION, Any::null(), key.public_key().as_ref()),
            Self::EcdsaP256(key) => (ID_EC_PUBLIC_KEY, Any::from(SECP_256_R_1), key.public_key().as_ref()),
            Self::EcdsaP384(key) => (ID_EC_PUBLIC_KEY, Any::from(SECP_384_R_1), key.public_key().as_ref()),
        };
        Ok(SubjectPublicKeyInfo {
            algorithm: AlgorithmIdentifierOwned { oid, parameters: Some(parameters) },
            subject_public_key: BitString::from_bytes(bits)?,
        })
    }
}

fn malformed(source: der::Error) -> Error {
    Error::Malformed { material: Material::PrivateKey, source }
}

fn rsa_signer(pkcs1: &[u8]) -> Result<Signer, Error> {
    RsaKeyPair::from_der(pkcs1).map(Signer::Rsa).map_err(Error::RefusedKey)
}

/// `curve` is what the envelope says, which counts; a bare key names its own.
fn ec_signer(key: &EcPrivateKey<'_>, curve: Option<ObjectIdentifier>) -> Result<Signer, Error> {
    let curve = curve.or(key.curve).ok_or(Error::UnknownKey)?;
    let (algorithm, wrap): (&'static EcdsaSigningAlgorithm, fn(EcdsaKeyPair) -> Signer) = match curve {
        SECP_256_R_1 => (&ECDSA_P256_SHA256_ASN1_SIGNING, Signer::EcdsaP256),
        SECP_384_R_1 => (&ECDSA_P384_SHA384_ASN1_SIGNING, Signer::EcdsaP384),
        _ => return Err(Error::UnknownKey),
    };
    // ring does not compute the public point; openssl, Go and kubeadm always store it.
    let point = key.point.and_then(|point| point.as_bytes()).ok_or(Error::KeyWithoutPoint)?;
    let scalar = key.scalar.as_bytes();
    EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, point, &SystemRandom::new())
        .map(wrap)
        .map_err(Error::RefusedKey)
}

fn pkcs8_signer(envelope: &[u8]) -> Result<Signer, Error> {
    let (algorithm, inner) = unwrap_pkcs8(envelope).map_err(malformed)?;
    match algorithm.oid {
        RSA_ENCRYPTION => rsa_signer(inner),
        ID_EC_PUBLIC_KEY => {
            let curve = algorithm.parameters_oid().map_err(|_| Error::UnknownKey)?;
            let key = EcPrivateKey::from_der(inner).map_err(malformed)?;
            ec_signer(&key, Some(curve))
        }
        _ => Err(Error::UnknownKey),
    }
}

/// The algorithm and the key inside a `PrivateKeyInfo` of RFC 5208; attributes after the key are passed over.
fn unwrap_pkcs8(envelope: &[u8]) -> Result<(AlgorithmIdentifierRef<'_>, &[u8]), der::Error> {
    let mut reader = SliceReader::new(envelope)?;
    let parts = reader.sequence(|fields| -> Result<_, der::Error> {
        let _version = u8::decode(fields)?;
        let algorithm = AlgorithmIdentifierRef::decode(fields)?;
        let key = <&OctetStringRef>::decode(fields)?;
        fields.drain(fields.remaining_len())?;
        Ok((algorithm, key.as_bytes()))
    })?;
    reader.finish()?;
    Ok(parts)
}
