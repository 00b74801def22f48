//! A tenant's objects in the management cluster, so that two moments, or two tenants, can be compared.

use std::{collections::BTreeMap, fmt::Debug};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_api::{labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::operator::Lane;
use kube::{
    Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::NamespaceResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// What a tenant has with konnectivity, and only then.
pub(crate) const TUNNEL: [&str; 4] = [
    "ConfigMap blue-konnectivity-egress-selector-configuration",
    "Secret blue-konnectivity-certificate",
    "Secret blue-konnectivity-kubeconfig",
    "Secret blue-konnectivity-server-certificate",
];

/// Kind and name, and the object without what the server numbers.
pub(crate) type State = BTreeMap<String, Value>;

pub(crate) async fn of(lane: &Lane, tenant: &str) -> State {
    let mut all = State::new();
    all.extend(objects::<Secret>(lane, tenant).await);
    all.extend(objects::<ConfigMap>(lane, tenant).await);
    all.extend(objects::<Service>(lane, tenant).await);
    all.extend(objects::<Deployment>(lane, tenant).await);
    all
}

async fn objects<K>(lane: &Lane, tenant: &str) -> Vec<(String, Value)>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let selector = ListParams::default().labels(&format!("{}={tenant}", labels::NAME));
    let found = lane.objects::<K>().list(&selector).await.unwrap().items;
    found.iter().map(|object| (format!("{} {}", K::kind(&()), object.name_any()), essence(object))).collect()
}

/// All but what the server numbers and what the Deployment's controller reports.
pub(crate) fn essence<K: Serialize>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    let metadata = value["metadata"].as_object_mut().unwrap();
    for numbered in ["resourceVersion", "managedFields", "generation", "uid", "creationTimestamp"] {
        metadata.remove(numbered);
    }
    value.as_object_mut().unwrap().remove("status");
    value
}

/// The same, with keys, certificates and checksums left blank, and with what is only this tenant's own left out.
pub(crate) fn alike(state: &State, tcp: &TenantControlPlane) -> State {
    let service = &state[&format!("Service {}", tcp.name_any())]["spec"]["clusterIP"];
    let (uid, address) = (tcp.uid().unwrap(), service.as_str().unwrap());
    let text = |value: &Value| {
        value
            .to_string()
            .replace(&uid, "<uid>")
            .replace(address, "<address>")
            .replace(&tcp.name_any(), "<name>")
    };
    state
        .iter()
        .map(|(name, value)| {
            let blank = blanked(value.clone());
            (name.replace(&tcp.name_any(), "<name>"), serde_json::from_str(&text(&blank)).unwrap())
        })
        .collect()
}

fn blanked(mut value: Value) -> Value {
    if value["kind"] == "Secret" {
        let data = value["data"].as_object_mut().into_iter().flatten();
        data.for_each(|(_, value)| *value = json!(""));
    }
    let mut maps = vec!["/metadata/annotations"];
    maps.extend(["/spec/template/metadata/labels", "/spec/template/metadata/annotations"]);
    for map in maps {
        let fields = value.pointer_mut(map).and_then(Value::as_object_mut).into_iter().flatten();
        for (name, sum) in fields {
            let is_checksum = name == labels::CHECKSUM
                || name.starts_with(labels::COMPONENT_CHECKSUM_PREFIX)
                || [labels::STORAGE_CONFIG, labels::STORAGE_CERTIFICATE].contains(&name.as_str());
            if is_checksum {
                *sum = json!("");
            }
        }
    }
    value
}

/// Names of what the tenant has of konnectivity.
pub(crate) fn tunnel_of(state: &State) -> Vec<&str> {
    state.keys().map(String::as_str).filter(|name| name.contains("konnectivity")).collect()
}

/// Whether the status says that the tunnel is there.
pub(crate) fn enabled(tcp: &TenantControlPlane) -> Option<bool> {
    let addons = tcp.status.as_ref()?.addons.as_ref()?;
    addons.konnectivity.as_ref().map(|tunnel| tunnel.enabled)
}

/// The Deployment's controller has seen the newest template, and so many of the one Pod's kind run it. None is ready, so
/// that nobody expects an answer.
pub(crate) async fn report_pods(lane: &Lane, tenant: &str, updated: i32) {
    let api = lane.objects::<Deployment>();
    let generation = api.get(tenant).await.unwrap().metadata.generation;
    let status = json!({ "status": {
        "observedGeneration": generation, "replicas": 1, "updatedReplicas": updated, "unavailableReplicas": 1,
    } });
    api.patch_status(tenant, &PatchParams::default(), &Patch::Merge(&status)).await.unwrap();
}

/// A small tenant with konnectivity.
pub(crate) fn manifest(lane: &Lane, name: &str) -> Value {
    let mut manifest = lane.manifest(name);
    manifest["spec"]["addons"] = json!({ "konnectivity": {} });
    manifest
}
