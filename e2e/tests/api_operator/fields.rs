//! Every field that the operator owns, edited or removed by somebody else, is as it was soon after.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kamaji_api::Child;
use kamaji_e2e::operator::{ChildKind, Lane, wait_for};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{MOMENT, drift::settled};

#[tokio::test(flavor = "multi_thread")]
async fn every_field_that_we_own_is_restored_after_an_edit() {
    let (lane, operator, _) = settled().await;
    let mut edits = restored::<Service>(&lane, "blue", |_| true).await;
    edits += restored::<ConfigMap>(&lane, "blue-kubeadmconfig", |_| true).await;
    edits += restored::<Deployment>(&lane, "blue", |_| true).await;
    edits += restored::<PodDisruptionBudget>(&lane, "blue", |_| true).await;
    // Anchors are held and not healed; a password may be the user's own.
    let is_metadata = |pointer: &str| pointer.starts_with("/metadata");
    for child in [Child::Ca, Child::FrontProxyCa, Child::ServiceAccountKey, Child::DatastoreConfig] {
        edits += restored::<Secret>(&lane, &child.name("blue"), is_metadata).await;
    }
    for child in [Child::ApiServer, Child::KubeletClient, Child::FrontProxyClient, Child::AdminKubeconfig] {
        edits += restored::<Secret>(&lane, &child.name("blue"), |_| true).await;
    }
    for child in [Child::ControllerManagerKubeconfig, Child::SchedulerKubeconfig, Child::DatastoreCertificate]
    {
        edits += restored::<Secret>(&lane, &child.name("blue"), |_| true).await;
    }
    operator.silence(MOMENT).await.unwrap();
    println!("{edits} edits were undone");
    assert!(edits > 150);
}

/// Edits and removes one field after the other, and returns how many edits the server let through.
async fn restored<K>(lane: &Lane, name: &str, concerns: impl Fn(&str) -> bool) -> usize
where
    K: ChildKind,
{
    let api = lane.objects::<K>();
    let pointers = owned(&api.get(name).await.unwrap());
    let mut count = 0;
    for pointer in pointers.iter().filter(|pointer| concerns(pointer)) {
        for edit in edits(&serde_json::to_value(api.get(name).await.unwrap()).unwrap(), pointer) {
            let before = api.get(name).await.unwrap();
            let request =
                http::Request::patch(format!("{}/{name}?fieldManager=somebody", api.resource_url()))
                    .header("content-type", "application/json-patch+json")
                    .body(json!([edit]).to_string().into_bytes());
            let Ok(edited) = lane.client.request::<K>(request.unwrap()).await else { continue };
            if edited.resource_version() == before.resource_version() {
                continue;
            }
            let (wanted, spoilt) = (essence(&before), serde_json::to_value(&edited).unwrap());
            let is_restored = |object: &K| {
                let value = serde_json::to_value(object).unwrap();
                essence(object) == wanted && value.pointer(pointer) != spoilt.pointer(pointer)
            };
            let restored = wait_for(&api, name, "restored", is_restored).await;
            restored.unwrap_or_else(|error| panic!("{} {name} after {edit}: {error:#}", K::kind(&())));
            count += 1;
        }
    }
    println!("{} {name}: {count} edits of {} fields", K::kind(&()), pointers.len());
    count
}

/// What must be as before: all but what the server numbers, and the random values that are made anew.
fn essence<K: Serialize>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    let metadata = value["metadata"].as_object_mut().unwrap();
    for random in ["resourceVersion", "managedFields", "generation"] {
        metadata.remove(random);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(kamaji_api::labels::CHECKSUM);
        annotations.remove("deployment.kubernetes.io/revision");
    }
    if value["type"] == "Opaque" {
        let data = value["data"].as_object_mut().into_iter().flatten();
        data.for_each(|(_, value)| *value = json!(""));
    }
    value
}

/// An edit that changes the value at this place, and one that removes it.
fn edits(object: &Value, pointer: &str) -> Vec<Value> {
    let Some(value) = object.pointer(pointer) else { return Vec::new() };
    let other = match value {
        Value::String(text) if pointer.starts_with("/data/") && object["kind"] == "Secret" => {
            // Base64 of something else.
            json!(if text == "eA==" { "eQ==" } else { "eA==" })
        }
        Value::String(text) => json!(format!("{text}x")),
        Value::Number(number) => json!(number.as_i64().unwrap() + 1),
        Value::Bool(is_set) => json!(!is_set),
        Value::Array(items) => json!(items.iter().skip(1).collect::<Vec<_>>()),
        Value::Object(_) | Value::Null => json!({}),
    };
    vec![
        json!({ "op": "replace", "path": pointer, "value": other }),
        json!({ "op": "remove", "path": pointer }),
    ]
}

/// JSON pointers to every field that the operator has applied and that has no owned fields inside.
fn owned<K: Resource + Serialize>(object: &K) -> Vec<String> {
    let value = serde_json::to_value(object).unwrap();
    let mut pointers = Vec::new();
    for entry in object.meta().managed_fields.iter().flatten() {
        let is_ours =
            entry.manager.as_deref() == Some("kamaji") && entry.operation.as_deref() == Some("Apply");
        if let Some(fields) = entry.fields_v1.as_ref().filter(|_| is_ours && entry.subresource.is_none()) {
            walk(fields.0.as_object().unwrap(), &value, "", &mut pointers);
        }
    }
    pointers
}

fn walk(fields: &Map<String, Value>, object: &Value, pointer: &str, pointers: &mut Vec<String>) {
    for (name, inner) in fields {
        let inside = inner.as_object().unwrap();
        if let Some(field) = name.strip_prefix("f:") {
            let place = format!("{pointer}/{}", field.replace('~', "~0").replace('/', "~1"));
            if inside.keys().any(|key| key != ".") {
                walk(inside, object, &place, pointers);
            } else {
                pointers.push(place);
            }
        } else if let Some(key) = name.strip_prefix("k:") {
            let key: Value = serde_json::from_str(key).unwrap();
            let items = object.pointer(pointer).and_then(Value::as_array).unwrap();
            let wanted = key.as_object().unwrap();
            let index = items
                .iter()
                .position(|item| wanted.iter().all(|(field, value)| item.get(field) == Some(value)));
            let item = format!("{pointer}/{}", index.unwrap());
            walk(inside, object, &item, pointers);
            // Under another name it is another item, which is somebody else's.
            pointers.retain(|pointer| !wanted.keys().any(|field| *pointer == format!("{item}/{field}")));
        }
    }
}
