//! Reads the PEM of a datastore's settings before a connection does, to say what is wrong with which part.

use std::io;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::config::{Endpoint, Tls};
use crate::error::{Cause, Error};

/// What a handshake with these settings needs.
///
/// # Errors
/// [`Error::Settings`] if a certificate or the key cannot be read, or the key is not that of the certificate.
pub(crate) fn config(tls: &Tls) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    // One that is odd does not spoil a bundle, as with every other TLS client.
    let (usable, _) = roots.add_parsable_certificates(certificates(&tls.ca_pem, "certificate authority")?);
    if usable == 0 {
        let what = "the certificate authority holds no usable certificate".to_owned();
        return Err(Error::Settings { what, source: None });
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unreadable("TLS set-up", &error))?
        .with_root_certificates(roots);
    let Some((chain, key)) = &tls.client else { return Ok(config.with_no_client_auth()) };
    let chain = certificates(chain, "client certificate")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| unreadable("client key", &error))?;
    config.with_client_auth_cert(chain, key).map_err(|error| unreadable("client certificate and key", &error))
}

/// What a server says of our certificate, if it says that it does not accept it, or if it is not trusted itself.
///
/// With TLS 1.3 a client is done before the server has looked at its certificate, and what it sends at once can cost it
/// the server's answer: this handshake sends nothing and listens.
pub(crate) async fn complaint(config: &Arc<ClientConfig>, endpoint: &Endpoint) -> Option<io::Error> {
    let name = ServerName::try_from(endpoint.address().to_owned()).ok()?;
    let stream = TcpStream::connect((endpoint.address(), endpoint.port())).await.ok()?;
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
    fn an_error_shows_nothing_of_the_key() {
        let key =
            Zeroizing::new(b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n".to_vec());
        let error = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unreadable("client key", &error));
        let shown = format!("{:?}", error.map(|_| ()));
        assert!(!shown.contains("c2VjcmV0") && !shown.contains("secret"), "{shown}");
    }
}
