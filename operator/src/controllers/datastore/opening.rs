//! From what a DataStore says to a connection.

use std::sync::Arc;

use kamaji_api::v1alpha1::{DataStore, DataStoreSpec, Driver};
use kamaji_apply::Cluster;
use kamaji_datastore::config::{BasicAuth, Endpoint, Settings, Tls};
use kamaji_datastore::store::Store;
use kamaji_pki::{Authority, Certificate};
use kamaji_resources::storage::Access;
use zeroize::Zeroizing;

use super::material::Material;
use crate::context::Context;
use crate::error::chain;
use crate::stores::{Admission, OpenStore};

/// What is wrong with a DataStore before it is asked anything: one of a closed set, and what to do.
pub(super) type Problem = (&'static str, String);

/// Reason of what is wrong with certificates.
pub(super) const INVALID_TLS: &str = "TLSConfigurationValidationFailed";
/// Reason of what is wrong with a user name or password.
pub(super) const INVALID_LOGIN: &str = "BasicAuthValidationFailed";

/// The connection that the DataStore describes now; the last one if that is the same.
pub(super) async fn open(
    data_store: &DataStore,
    last: Option<&Arc<OpenStore>>,
    cx: &Context,
) -> Result<Arc<OpenStore>, Problem> {
    let spec = &data_store.spec;
    let material = Material::read(data_store, cx).await?;
    let settings = settings(spec, &material)?;
    let admission = admission(spec.driver, &material)?;
    if let Some(last) = last.filter(|last| last.settings == settings && last.admission == admission) {
        return Ok(Arc::clone(last));
    }
    let store = match spec.driver {
        Driver::Etcd => Store::etcd(settings.clone()),
        Driver::Nats => Store::nats(settings.clone()),
        Driver::MySql => Store::mysql(settings.clone()),
        Driver::PostgreSql => Store::postgres(settings.clone()),
    };
    let store = store.map_err(|error| (error.reason(), chain(&error)))?;
    let endpoints = spec.endpoints.clone();
    Ok(Arc::new(OpenStore { store, driver: spec.driver, endpoints, admission, settings }))
}

/// Why the DataStore could not be asked anything, as far as that can be told without asking it.
pub(crate) async fn obstacle(spec: &DataStoreSpec, cluster: &Cluster) -> Option<String> {
    let read = async {
        let material = Material::read_once(spec, cluster).await?;
        settings(spec, &material)?;
        admission(spec.driver, &material)
    };
    read.await.err().map(|(_, message)| message)
}

/// How the operator reaches the store, and as whom.
fn settings(spec: &DataStoreSpec, material: &Material) -> Result<Settings, Problem> {
    let endpoints = spec.endpoints.iter().map(|text| Endpoint::parse(text)).collect::<Result<_, _>>();
    Ok(Settings {
        endpoints: endpoints
            .map_err(|error| ("InvalidSettings", format!("spec.endpoints: {}", chain(&error))))?,
        tls: material.ca.clone().map(|ca_pem| Tls { ca_pem, client: material.client.clone() }),
        basic_auth: match spec.driver {
            // It knows its users by their certificates.
            Driver::Etcd => None,
            Driver::MySql | Driver::PostgreSql => Some(login(spec.driver, material)?),
            Driver::Nats => material.login.clone(),
        },
        ..Settings::default()
    })
}

/// A database asks for a name in any case; whoever has no password is called what the certificate says.
fn login(driver: Driver, material: &Material) -> Result<BasicAuth, Problem> {
    if let Some(login) = &material.login {
        return Ok(login.clone());
    }
    let Some((certificate, _)) = &material.client else {
        let message = format!(
            "spec.basicAuth is missing: {} needs a user name, and a password or a client certificate",
            driver.as_str()
        );
        return Err((INVALID_LOGIN, message));
    };
    let certificate = Certificate::from_pem(certificate)
        .map_err(|error| (INVALID_TLS, format!("spec.tlsConfig.clientCertificate: {}", chain(&error))))?;
    Ok(BasicAuth { username: certificate.common_name().to_owned(), password: Zeroizing::default() })
}

/// What tenants are let in with.
fn admission(driver: Driver, material: &Material) -> Result<Admission, Problem> {
    if driver == Driver::Etcd {
        return issuer(material).map(Admission::Signed);
    }
    let text = |field: &str, pem: &[u8]| {
        let text = String::from_utf8(pem.to_vec());
        text.map_err(|_| (INVALID_TLS, format!("spec.tlsConfig.{field}: is no text: give it in PEM")))
    };
    let ca_pem = material.ca.as_deref().map(|pem| text("certificateAuthority.certificate", pem));
    // A certificate that opens a database without a password is the operator's alone. In NATS tenants log in as it does.
    let shared = material.client.as_ref().filter(|_| material.login.is_some() || driver == Driver::Nats);
    let client_pem = shared.map(|(certificate, key)| {
        let key = Zeroizing::new(text("clientCertificate.privateKey", key)?);
        Ok((text("clientCertificate.certificate", certificate)?, key))
    });
    let login = material.login.as_ref().filter(|_| driver == Driver::Nats);
    Ok(Admission::Kine(Access {
        ca_pem: ca_pem.transpose()?,
        client_pem: client_pem.transpose()?,
        login: login.map(|login| (login.username.clone(), login.password.clone())),
    }))
}

/// The authority that signs the certificates of etcd's clients.
fn issuer(material: &Material) -> Result<Authority, Problem> {
    let missing = |field: &str| (INVALID_TLS, format!("spec.tlsConfig.{field} is missing: etcd needs it"));
    let ca = material.ca.as_ref().ok_or_else(|| missing("certificateAuthority"))?;
    material.client.as_ref().ok_or_else(|| missing("clientCertificate"))?;
    let key = material.ca_key.as_ref().ok_or_else(|| missing("certificateAuthority.privateKey"))?;
    Authority::from_pem(ca, key)
        .map_err(|error| (INVALID_TLS, format!("spec.tlsConfig.certificateAuthority: {}", chain(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(driver: Driver) -> DataStoreSpec {
        DataStoreSpec { driver, endpoints: vec!["store:1".into()], basic_auth: None, tls_config: None }
    }

    fn material() -> Material {
        Material::default()
    }

    fn with_login() -> Material {
        let password = Zeroizing::new("hidden".to_owned());
        Material { login: Some(BasicAuth { username: "kamaji".into(), password }), ..material() }
    }

    fn with_certificate(material: Material) -> Material {
        let now = "2026-11-23T00:00:00Z".parse().unwrap();
        let day = jiff::SignedDuration::from_hours(24);
        let authority = Authority::create("authority", now, day).unwrap();
        let leaf = kamaji_pki::Leaf {
            common_name: "kamaji-certified".into(),
            organizations: Vec::new(),
            usage: kamaji_pki::Usage::Client,
            names: kamaji_pki::Names::default(),
            valid_for: day,
        };
        let pair = authority.issue(&leaf, now).unwrap();
        Material {
            ca: Some(authority.certificate().pem().into()),
            client: Some((pair.certificate().pem().into(), Zeroizing::new(pair.key().pem().into()))),
            ..material
        }
    }

    fn kine(driver: Driver, material: &Material) -> Access {
        match admission(driver, material).unwrap() {
            Admission::Kine(access) => access,
            Admission::Signed(_) => unreachable!("only etcd signs"),
        }
    }

    #[test]
    fn a_database_calls_whoever_has_no_password_what_the_certificate_says() {
        let login = |material| settings(&spec(Driver::PostgreSql), &material).unwrap().basic_auth.unwrap();
        let certified = login(with_certificate(material()));
        assert_eq!((certified.username.as_str(), certified.password.as_str()), ("kamaji-certified", ""));
        assert_eq!(login(with_certificate(with_login())).username, "kamaji");
        let (reason, message) = settings(&spec(Driver::PostgreSql), &material()).unwrap_err();
        assert_eq!(reason, INVALID_LOGIN);
        assert!(message.contains("spec.basicAuth"), "{message}");
    }

    #[test]
    fn a_certificate_that_alone_opens_the_store_is_not_given_to_tenants() {
        assert_eq!(kine(Driver::PostgreSql, &with_certificate(material())).client_pem, None);
        let shared = kine(Driver::PostgreSql, &with_certificate(with_login()));
        assert!(shared.client_pem.is_some() && shared.ca_pem.is_some());
    }

    #[test]
    fn the_password_of_the_administrator_is_only_for_tenants_of_nats() {
        assert_eq!(kine(Driver::PostgreSql, &with_login()).login, None);
        assert_eq!(kine(Driver::MySql, &with_login()).login, None);
        assert!(kine(Driver::Nats, &with_login()).login.is_some());
    }

    #[test]
    fn a_tenant_of_nats_shows_the_certificate_even_if_it_is_all_that_there_is() {
        let kine = kine(Driver::Nats, &with_certificate(material()));
        assert!(kine.login.is_none() && kine.client_pem.is_some());
    }

    #[test]
    fn etcd_names_what_it_lacks() {
        for (material, field) in [
            (material(), "certificateAuthority"),
            (Material { client: None, ..with_certificate(material()) }, "clientCertificate"),
            (with_certificate(material()), "certificateAuthority.privateKey"),
        ] {
            let Err((reason, message)) = admission(Driver::Etcd, &material) else {
                panic!("{field} is missed")
            };
            assert_eq!(reason, INVALID_TLS);
            assert!(message.contains(&format!("spec.tlsConfig.{field} is missing")), "{message}");
        }
    }
}
