//! Reads the PEM of a datastore's settings before a connection does, to say what is wrong with which part.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::config::{Endpoint, Tls};
use crate::error::{Cause, Error};

/// Whose certificate a failed handshake is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Ours: the server does not accept it.
    Ours,
    /// The server's: we do not trust it.
    Theirs,
}

/// What a server says that does not accept our certificate.
const OUR_CERTIFICATE: &[AlertDescription] = &[
    AlertDescription::NoCertificate,
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::UnknownCA,
    AlertDescription::AccessDenied,
    AlertDescription::CertificateRequired,
];

/// Whose certificate an error is about, if TLS is to blame for it at all.
pub(crate) fn blame(error: &(dyn StdError + 'static)) -> Option<Blame> {
    match tls_error(error)? {
        rustls::Error::AlertReceived(alert) if OUR_CERTIFICATE.contains(alert) => Some(Blame::Ours),
        _ => Some(Blame::Theirs),
    }
}

fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // An I/O error names the source of what it wraps as its own source, and skips what it wraps.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped as &'a (dyn StdError + 'static)),
            None => error.source(),
        };
    }
    None
}

/// What a handshake with these settings needs.
///
/// # Errors
/// [`Error::Settings`] if a certificate or the key cannot be read, or the key is not that of the certificate.
pub(crate) fn config(tls: &Tls) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(anchors(tls)?);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unreadable("TLS set-up", &error))?
        .with_root_certificates(roots);
    let Some((chain, key)) = &tls.client else { return Ok(config.with_no_client_auth()) };
    let chain = certificates(chain, "client certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unreadable("client key", &error))?;
    config.with_client_auth_cert(chain, key).map_err(|error| unreadable("client certificate and key", &error))
}

/// What a handshake needs that trusts nobody: it fails, and says so.
#[cfg(feature = "nats")]
pub(crate) fn trusting_nobody() -> Result<ClientConfig, Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unreadable("TLS set-up", &error))?;
    Ok(config.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// The certificates of the authorities that are trusted: one that is odd does not spoil a bundle, as with every other TLS
/// client.
///
/// # Errors
/// [`Error::Settings`] if none can be used.
pub(crate) fn anchors(tls: &Tls) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut anchors = certificates(&tls.ca_pem, "certificate authority")?;
    anchors.retain(|anchor| RootCertStore::empty().add(anchor.clone()).is_ok());
    if anchors.is_empty() {
        let what = "the certificate authority holds no usable certificate".to_owned();
        return Err(Error::Settings { what, source: None });
    }
    Ok(anchors)
}

/// What a server says of our certificate, if it says that it does not accept it, or if it is not trusted itself.
///
/// With TLS 1.3 a client is done before the server has looked at its certificate, and what it sends at once can cost it
/// the server's answer: this handshake sends nothing and listens.
#[cfg(feature = "etcd")]
pub(crate) async fn complaint(config: &Arc<ClientConfig>, endpoint: &Endpoint) -> Option<io::Error> {
    let stream = TcpStream::connect((endpoint.address(), endpoint.port())).await.ok()?;
    complaint_on(stream, config, endpoint).await
}

/// The same, on a connection on which the server expects the handshake next.
pub(crate) async fn complaint_on(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
    endpoint: &Endpoint,
) -> Option<io::Error> {
    let name = ServerName::try_from(endpoint.address().to_owned()).ok()?;
    match tokio_rustls::TlsConnector::from(Arc::clone(config)).connect(name, stream).await {
        Ok(mut stream) => stream.read_u8().await.err(),
        Err(error) => Some(error),
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let certificates = certificates.map_err(|error| unreadable(what, &error))?;
    if certificates.is_empty() {
        return Err(Error::Settings { what: format!("the {what} holds no PEM certificate"), source: None });
    }
    Ok(certificates)
}

fn unreadable(what: &str, error: &dyn std::error::Error) -> Error {
    Error::Settings { what: format!("the {what} cannot be used"), source: Some(Cause(error.to_string())) }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn what_is_not_pem_is_refused_by_name() {
        for ca_pem in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "-----BEGIN CERTIFICATE-----\n",
        ] {
            let tls = Tls { ca_pem: ca_pem.into(), client: None };
            let error = config(&tls).expect_err(ca_pem);
            assert_eq!(error.reason(), "InvalidSettings");
            assert!(error.to_string().contains("certificate authority"), "{error}");
        }
    }

    #[test]
    fn a_tls_error_is_found_below_an_io_error() {
        let distrust = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        let below =
            |error: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(blame(&below(distrust)), Some(Blame::Theirs));
        assert_eq!(blame(&below(alert)), Some(Blame::Ours));
        assert_eq!(blame(&io::Error::other("refused")), None);
    }

    #[test]
    fn an_error_shows_nothing_of_the_key() {
        let key =
            Zeroizing::new(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n".to_vec());
        let error = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unreadable("client key", &error));
        let shown = format!("{:?}", error.map(|_| ()));
        assert!(!shown.contains("c2VjcmV0") && !shown.contains("secret"), "{shown}");
    }
}
