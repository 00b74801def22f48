//! The webhooks' certificate: made, shown, trusted, renewed and made again without a restart.

use std::{fs, path::PathBuf, sync::Arc};

use jiff::SignedDuration;
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::Secret,
    },
};
use kamaji_api::{
    admission::{MUTATING_CONFIGURATION, VALIDATING_CONFIGURATION},
    labels,
};
use kamaji_e2e::operator::{wait_for, wait_gone};
use kamaji_pki::{Authority, Certificate, Leaf, Names, Usage};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ground::{Ground, SERVICE};

const SECRET: &str = "kamaji-webhook-service-tls";

fn value(secret: &Secret, key: &str) -> String {
    let value = secret.data.as_ref().and_then(|data| data.get(key)).cloned().unwrap_or_default();
    String::from_utf8(value.0).unwrap()
}

/// What a new connection is shown by somebody whom this authority vouches for.
async fn shown(ground: &Ground, authority: &str) -> Option<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect((ground.address, 9443)).await.ok()?;
    let name = ServerName::try_from(format!("{SERVICE}.{}.svc", ground.namespace)).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()?;
    stream.get_ref().1.peer_certificates()?.first().cloned().map(CertificateDer::into_owned)
}

/// New connections are shown this certificate.
async fn is_shown(ground: &Ground, authority: &str, certificate: &str) {
    let wanted = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    ground
        .until("new connections are shown the certificate", async || {
            shown(ground, authority).await.is_some_and(|shown| shown == wanted)
        })
        .await;
}

/// Both configurations trust this authority.
async fn is_trusted(ground: &Ground, authority: &str) {
    let bundle = ByteString(authority.as_bytes().to_vec());
    let trusted = |found: Option<&ByteString>| found == Some(&bundle);
    let mutating = Api::<MutatingWebhookConfiguration>::all(ground.client.clone());
    let all = |found: &MutatingWebhookConfiguration| {
        found.webhooks.iter().flatten().all(|hook| trusted(hook.client_config.ca_bundle.as_ref()))
    };
    wait_for(&mutating, MUTATING_CONFIGURATION, "trusted", all).await.unwrap();
    let validating = Api::<ValidatingWebhookConfiguration>::all(ground.client.clone());
    let all = |found: &ValidatingWebhookConfiguration| {
        found.webhooks.iter().flatten().all(|hook| trusted(hook.client_config.ca_bundle.as_ref()))
    };
    wait_for(&validating, VALIDATING_CONFIGURATION, "trusted", all).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_certificate_is_made_renewed_and_made_again_without_a_restart() {
    let ground = Box::pin(Ground::new()).await;
    let secrets = Api::<Secret>::namespaced(ground.client.clone(), &ground.namespace);
    let operator = ground.plain_operator();
    ground.in_force().await;
    let first = secrets.get(SECRET).await.unwrap();
    is_shown(&ground, &value(&first, "ca.crt"), &value(&first, "tls.crt")).await;

    // Another one on request; whom to trust stays.
    let request = json!({ "metadata": { "annotations": { labels::ROTATE: "" } } });
    secrets.patch(SECRET, &PatchParams::default(), &Patch::Merge(&request)).await.unwrap();
    let renewed = |secret: &Secret| {
        value(secret, "tls.crt") != value(&first, "tls.crt")
            && !secret.annotations()[labels::ROTATE].is_empty()
    };
    let second = wait_for(&secrets, SECRET, "renewed", renewed).await.unwrap();
    assert_eq!(value(&first, "ca.crt"), value(&second, "ca.crt"));
    is_shown(&ground, &value(&second, "ca.crt"), &value(&second, "tls.crt")).await;
    ground.in_force().await;

    // Deleted, authority and all.
    secrets.delete(SECRET, &DeleteParams::default()).await.unwrap();
    let another = |secret: &Secret| secret.uid() != second.uid();
    let third = wait_for(&secrets, SECRET, "made again", another).await.unwrap();
    assert_ne!(value(&second, "ca.crt"), value(&third, "ca.crt"));
    is_trusted(&ground, &value(&third, "ca.crt")).await;
    is_shown(&ground, &value(&third, "ca.crt"), &value(&third, "tls.crt")).await;
    ground.in_force().await;

    // Spoiled, and whom to trust forgotten.
    let garbage = json!({ "data": { "tls.crt": ByteString(b"garbage".to_vec()) } });
    secrets.patch(SECRET, &PatchParams::default(), &Patch::Merge(&garbage)).await.unwrap();
    ground.ask("Ignore").await;
    let forgotten = json!([{ "op": "remove", "path": "/webhooks/0/clientConfig/caBundle" }]);
    Api::<ValidatingWebhookConfiguration>::all(ground.client.clone())
        .patch(
            VALIDATING_CONFIGURATION,
            &PatchParams::default(),
            &Patch::Json::<()>(serde_json::from_value(forgotten).unwrap()),
        )
        .await
        .unwrap();
    let sound = |secret: &Secret| Certificate::from_pem(value(secret, "tls.crt").as_bytes()).is_ok();
    let fourth = wait_for(&secrets, SECRET, "sound", sound).await.unwrap();
    is_trusted(&ground, &value(&fourth, "ca.crt")).await;
    ground.in_force().await;

    // The next one finds what is there.
    operator.kill().await;
    let operator = ground.plain_operator();
    is_shown(&ground, &value(&fourth, "ca.crt"), &value(&fourth, "tls.crt")).await;
    operator.kill().await;
    assert_eq!(secrets.get(SECRET).await.unwrap().data, fourth.data);
    secrets.delete(SECRET, &DeleteParams::default()).await.unwrap();
    wait_gone(&secrets, SECRET).await.unwrap();
    a_mounted_certificate_is_used_and_read_again(&ground, &secrets).await;
}

async fn a_mounted_certificate_is_used_and_read_again(ground: &Ground, secrets: &Api<Secret>) {
    let folder = Folder::new();
    let authority = folder.put(ground);
    let operator = ground.operator(folder.0.clone());
    is_shown(ground, &authority, &fs::read_to_string(folder.0.join("tls.crt")).unwrap()).await;
    let authority = folder.put(ground);
    is_shown(ground, &authority, &fs::read_to_string(folder.0.join("tls.crt")).unwrap()).await;
    operator.kill().await;
    assert!(secrets.get_opt(SECRET).await.unwrap().is_none(), "none is made where one is given");
}

/// A folder that somebody mounts certificates in. It is gone once this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("kamaji-e2e-{}-mounted", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// There is another certificate in it, by another authority, which is returned.
    fn put(&self, ground: &Ground) -> String {
        let (now, day) = (now(), SignedDuration::from_hours(24));
        let authority = Authority::create("mounted", now, day).unwrap();
        let names = Names { dns: [format!("{SERVICE}.{}.svc", ground.namespace)].into(), ..Names::default() };
        let leaf = Leaf {
            common_name: "mounted".into(),
            organizations: Vec::new(),
            usage: Usage::Server,
            names,
            valid_for: day,
        };
        let pair = authority.issue(&leaf, now).unwrap();
        fs::write(self.0.join("tls.key"), pair.key().pem()).unwrap();
        fs::write(self.0.join("tls.crt"), pair.certificate().pem()).unwrap();
        authority.certificate().pem().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It lies among temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[expect(clippy::disallowed_methods, reason = "certificates that a real client judges by the real time")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
