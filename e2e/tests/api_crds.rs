//! The definitions of the three kinds against a real API server: what is admitted, what is refused with which words, what is
//! filled in.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "what is passed is a literal, and reads better without a reference"
)]

#[path = "api_crds/admitted.rs"]
mod admitted;
#[path = "api_crds/kubectl.rs"]
mod kubectl;
#[path = "api_crds/refused.rs"]
mod refused;
#[path = "api_crds/updates.rs"]
mod updates;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kamaji_api::{
    crd,
    v1alpha1::{DataStore, KubeconfigGenerator, TenantControlPlane},
};
use kamaji_e2e::api_server::ApiServer;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The shared API server, with the definitions in place.
async fn api() -> &'static ApiServer {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let api = ApiServer::shared().await.unwrap();
    INSTALLED.get_or_init(|| async { install(&api.client().await.unwrap(), crd::all()).await }).await;
    api
}

/// Applies definitions and waits until the kinds can be used.
async fn install(client: &Client, definitions: impl IntoIterator<Item = CustomResourceDefinition>) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    for definition in definitions {
        let name = definition.metadata.name.clone().unwrap();
        let params = PatchParams::apply("api-crds").force();
        api.patch(&name, &params, &Patch::Apply(&definition)).await.unwrap();
        await_condition(api.clone(), &name, conditions::is_crd_established()).await.unwrap();
    }
}

/// Objects of the kind that the manifest names.
fn objects(client: Client, manifest: &Value) -> Api<DynamicObject> {
    let kind = match manifest["kind"].as_str().unwrap() {
        "TenantControlPlane" => ApiResource::erase::<TenantControlPlane>(&()),
        "DataStore" => ApiResource::erase::<DataStore>(&()),
        "KubeconfigGenerator" => ApiResource::erase::<KubeconfigGenerator>(&()),
        other => panic!("there is no kind {other}"),
    };
    match manifest["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client, namespace, &kind),
        None => Api::all_with(client, &kind),
    }
}

/// How far a request goes.
#[derive(Clone, Copy)]
enum Trial {
    /// The server answers as if it did it.
    Dry,
    /// The server does it.
    Real,
}

/// Creates the object, and returns what became of it or what the server said.
async fn create(client: &Client, manifest: &Value, trial: Trial) -> Result<Value, String> {
    let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
    let params = PostParams { dry_run: matches!(trial, Trial::Dry), ..Default::default() };
    answer(objects(client.clone(), manifest).create(&params, &object).await)
}

/// Merges a change into the object, and returns what became of it or what the server said.
async fn change(client: &Client, manifest: &Value, patch: &Value, trial: Trial) -> Result<Value, String> {
    let params = PatchParams { dry_run: matches!(trial, Trial::Dry), ..Default::default() };
    let name = manifest["metadata"]["name"].as_str().unwrap();
    answer(objects(client.clone(), manifest).patch(name, &params, &Patch::Merge(patch)).await)
}

fn answer(result: kube::Result<DynamicObject>) -> Result<Value, String> {
    match result {
        Ok(object) => Ok(serde_json::to_value(object).unwrap()),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(other) => panic!("the server could not be asked: {other}"),
    }
}

/// The smallest sound TenantControlPlane, with a change merged into its spec.
fn tenant(namespace: &str, name: &str, spec: &Value) -> Value {
    let mut tenant = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "controlPlane": { "service": { "serviceType": "ClusterIP" } },
            "kubernetes": { "version": "v1.34.4", "kubelet": {} },
        },
    });
    merge(&mut tenant["spec"], spec);
    tenant
}

/// A sound etcd DataStore, with a change merged into its spec.
fn data_store(name: &str, spec: &Value) -> Value {
    let secret = |key: &str| json!({ "secretReference": { "name": "s", "namespace": "n", "keyPath": key } });
    let mut store = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "DataStore",
        "metadata": { "name": name },
        "spec": {
            "driver": "etcd",
            "endpoints": ["etcd:2379"],
            "tlsConfig": {
                "certificateAuthority": { "certificate": secret("ca.crt"), "privateKey": secret("ca.key") },
                "clientCertificate": { "certificate": secret("tls.crt"), "privateKey": secret("tls.key") },
            },
        },
    });
    merge(&mut store["spec"], spec);
    store
}

/// A sound KubeconfigGenerator, with a change merged into its spec.
fn generator(name: &str, spec: &Value) -> Value {
    let mut generator = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "KubeconfigGenerator",
        "metadata": { "name": name },
        "spec": { "user": { "stringValue": "someone" } },
    });
    merge(&mut generator["spec"], spec);
    generator
}

/// Merges as RFC 7396 has it: null removes.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}

/// Leaves out what is empty or false: it means the same as nothing.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), without_empty(value)))
            .filter(|(_, value)| !is_empty(value))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_empty).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        other => *other == false || *other == 0,
    }
}
