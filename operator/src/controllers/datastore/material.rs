//! What the fields of a DataStore lead to: inline or in Secrets.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::v1alpha1::{ContentRef, DataStore, DataStoreSpec, SecretReference};
use kamaji_apply::Cluster;
use kamaji_datastore::config::BasicAuth;
use kube::ResourceExt;
use zeroize::Zeroizing;

use super::opening::{INVALID_LOGIN, INVALID_TLS, Problem};
use crate::cache::version;
use crate::context::Context;
use crate::error::chain;
use crate::references::SecretName;

/// What the fields of a DataStore lead to.
#[derive(Default)]
pub(super) struct Material {
    /// Certificates of the store's authority.
    pub(super) ca: Option<Vec<u8>>,
    /// The authority's private key.
    pub(super) ca_key: Option<Vec<u8>>,
    /// The operator's own certificate and its private key.
    pub(super) client: Option<(Vec<u8>, Zeroizing<Vec<u8>>)>,
    /// The operator's own name and password.
    pub(super) login: Option<BasicAuth>,
}

/// A field of the spec that leads to a value.
struct Field<'a> {
    path: &'static str,
    content: &'a ContentRef,
}

const CA: &str = "spec.tlsConfig.certificateAuthority.certificate";
const CA_KEY: &str = "spec.tlsConfig.certificateAuthority.privateKey";
const CERTIFICATE: &str = "spec.tlsConfig.clientCertificate.certificate";
const KEY: &str = "spec.tlsConfig.clientCertificate.privateKey";
const USERNAME: &str = "spec.basicAuth.username";
const PASSWORD: &str = "spec.basicAuth.password";

impl Material {
    /// Reads it; every Secret once, which is watched from then on.
    pub(super) async fn read(data_store: &DataStore, cx: &Context) -> Result<Self, Problem> {
        let fields = fields(&data_store.spec);
        let secrets = secrets(&fields, &cx.cluster).await?;
        follow(data_store, &secrets, cx);
        Self::of(&fields, &secrets)
    }

    /// Reads it as it is now, and forgets the Secrets.
    pub(super) async fn read_once(spec: &DataStoreSpec, cluster: &Cluster) -> Result<Self, Problem> {
        let fields = fields(spec);
        Self::of(&fields, &secrets(&fields, cluster).await?)
    }

    fn of(fields: &[Field<'_>], secrets: &Secrets) -> Result<Self, Problem> {
        let mut values = HashMap::new();
        for field in fields {
            values.insert(field.path, value(field, secrets)?);
        }
        let mut take = |path| values.remove(path);
        let (ca, ca_key, certificate, key) = (take(CA), take(CA_KEY), take(CERTIFICATE), take(KEY));
        Ok(Self {
            ca,
            ca_key,
            client: certificate.zip(key.map(Zeroizing::new)),
            login: match take(USERNAME).zip(take(PASSWORD)) {
                Some((username, password)) => Some(BasicAuth {
                    username: text(USERNAME, username)?,
                    password: Zeroizing::new(text(PASSWORD, password)?),
                }),
                None => None,
            },
        })
    }
}

/// The fields that the spec has.
fn fields(spec: &DataStoreSpec) -> Vec<Field<'_>> {
    let tls = spec.tls_config.as_ref();
    let authority = tls.map(|tls| &tls.certificate_authority);
    let client = tls.and_then(|tls| tls.client_certificate.as_ref());
    let login = spec.basic_auth.as_ref();
    let all = [
        (CA, authority.map(|authority| &authority.certificate)),
        (CA_KEY, authority.and_then(|authority| authority.private_key.as_ref())),
        (CERTIFICATE, client.map(|client| &client.certificate)),
        (KEY, client.map(|client| &client.private_key)),
        (USERNAME, login.map(|login| &login.username)),
        (PASSWORD, login.map(|login| &login.password)),
    ];
    all.into_iter().filter_map(|(path, content)| Some(Field { path, content: content? })).collect()
}

type Secrets = HashMap<SecretName, Option<Secret>>;

/// The Secrets that the fields name, and nothing where there is none.
async fn secrets(fields: &[Field<'_>], cluster: &Cluster) -> Result<Secrets, Problem> {
    let mut secrets = Secrets::new();
    for field in fields {
        let Some(reference) = needed(field.content) else { continue };
        if secrets.contains_key(&place(reference)) {
            continue;
        }
        let read = cluster.get_opt::<Secret>(Some(&reference.namespace), &reference.name).await;
        let secret = read.map_err(|error| wrong(field.path, &chain(&error)))?;
        secrets.insert(place(reference), secret);
    }
    Ok(secrets)
}

/// Whatever happens to one of the Secrets from now on is looked at.
fn follow(data_store: &DataStore, secrets: &Secrets, cx: &Context) {
    let version = |secret: &Option<Secret>| secret.as_ref().map(version).unwrap_or_default();
    let versions = secrets.iter().map(|(place, secret)| (place.clone(), version(secret))).collect();
    let (client, name) = (cx.cluster.client(), data_store.name_any());
    cx.references.follow(client, &name, versions, &cx.outdate_data_store);
}

/// Inline content wins over a reference.
fn needed(content: &ContentRef) -> Option<&SecretReference> {
    content.secret_reference.as_ref().filter(|_| content.content.is_none())
}

fn place(reference: &SecretReference) -> SecretName {
    (reference.namespace.clone(), reference.name.clone())
}

/// The bytes that a field leads to.
fn value(field: &Field<'_>, secrets: &Secrets) -> Result<Vec<u8>, Problem> {
    let wrong = |what: &str| wrong(field.path, what);
    if let Some(inline) = &field.content.content {
        return Ok(inline.0.clone());
    }
    let reference = needed(field.content).ok_or_else(|| wrong("has neither content nor secretReference"))?;
    let named = format!("Secret {}/{}", reference.namespace, reference.name);
    let secret = secrets.get(&place(reference)).and_then(Option::as_ref);
    let secret =
        secret.ok_or_else(|| wrong(&format!("{named} does not exist: create it, or name another")))?;
    let value = secret.data.as_ref().and_then(|data| data.get(&reference.key_path));
    value
        .map(|bytes| bytes.0.clone())
        .ok_or_else(|| wrong(&format!("{named} has no key {}", reference.key_path)))
}

fn text(path: &'static str, bytes: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(bytes).map_err(|_| wrong(path, "is no text in UTF-8"))
}

fn wrong(path: &str, what: &str) -> Problem {
    let reason = if path.starts_with("spec.basicAuth") { INVALID_LOGIN } else { INVALID_TLS };
    (reason, format!("{path}: {what}"))
}
