//! When an apply would change nothing, told from objects as a server returns them.
//!
//! What a real server does with each of these is proved in `e2e/tests/api_apply.rs`.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_apply::{difference, settled, status_settled};
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

const MANAGER: &str = "blue";

/// The object as a server returns it, with the fields that `MANAGER` applied.
fn live<K>(mut object: Value, owned: &Value) -> K
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    object["metadata"]["managedFields"] = json!([
        { "manager": "other", "operation": "Apply", "apiVersion": K::api_version(&()), "fieldsType": "FieldsV1",
            "fieldsV1": { "f:spec": { "f:paused": {} } } },
        { "manager": MANAGER, "operation": "Apply", "apiVersion": K::api_version(&()), "fieldsType": "FieldsV1",
            "fieldsV1": owned },
    ]);
    typed(object)
}

fn typed<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("the object fits its kind")
}

/// Why not, in words; empty when settled.
fn why_not<K>(desired: &K, live: &K) -> String
where
    K: Resource<DynamicType = ()> + Serialize,
{
    difference(desired, live, MANAGER).map(|difference| difference.to_string()).unwrap_or_default()
}

fn config_map(data: &Value) -> ConfigMap {
    typed(json!({ "metadata": { "name": "a", "namespace": "b" }, "data": data }))
}

#[test]
fn every_field_must_be_there_and_ours_and_said() {
    let live: ConfigMap = live(
        json!({ "metadata": { "name": "a", "namespace": "b", "labels": { "theirs": "1" } },
            "data": { "x": "1", "y": "", "theirs": "2" } }),
        &json!({ "f:data": { "f:x": {}, "f:y": {} } }),
    );
    assert_eq!(why_not(&config_map(&json!({ "x": "1", "y": "" })), &live), "");
    assert_eq!(why_not(&config_map(&json!({ "x": "2", "y": "" })), &live), "data.x: the value differs");
    assert_eq!(why_not(&config_map(&json!({ "x": "1" })), &live), "data.y: it is ours and no longer wanted");
    let claim = config_map(&json!({ "x": "1", "y": "", "theirs": "2" }));
    assert_eq!(why_not(&claim, &live), "data.theirs: it belongs to somebody else");
    assert_eq!(why_not(&config_map(&json!(null)), &live), "data: it is ours and no longer wanted");
    let mut other = config_map(&json!({ "x": "1", "y": "" }));
    other.metadata.name = Some("c".into());
    assert_eq!(why_not(&other, &live), "it is another object, or another version of it");
}

#[test]
fn whoever_never_applied_has_something_to_do() {
    let desired = config_map(&json!({}));
    let never = "this manager never applied it in this version";
    assert_eq!(why_not(&desired, &desired), never);
    for (field, value) in [("operation", "Update"), ("apiVersion", "v1beta1"), ("subresource", "status")] {
        let mut object = json!(live::<ConfigMap>(json!(desired), &json!({ "f:data": {} })));
        assert_eq!(why_not(&desired, &typed(object.clone())), "");
        object["metadata"]["managedFields"][1][field] = value.into();
        assert_eq!(why_not(&desired, &typed(object)), never, "{field}");
    }
}

#[test]
fn amounts_are_compared_as_amounts_only_where_they_are_some() {
    let deployment = |cpu: &str, argument: &str| -> Value {
        json!({ "metadata": { "name": "a", "namespace": "b" }, "spec": { "template": { "spec": { "containers": [
            { "name": "c", "args": [argument], "resources": { "limits": { "cpu": cpu } } },
        ] } } } })
    };
    let owned = json!({ "f:spec": { "f:selector": {}, "f:template": { "f:spec": { "f:containers": {
        "k:{\"name\":\"c\"}": { ".": {}, "f:name": {}, "f:args": {}, "f:resources": { "f:limits": { "f:cpu": {} } } },
    } } } } });
    let live: Deployment = live(deployment("500m", "1000m"), &owned);
    assert_eq!(why_not(&typed(deployment("0.5", "1000m")), &live), "");
    let spec = "spec.template.spec.containers[c]";
    assert_eq!(
        why_not(&typed(deployment("0.6", "1000m")), &live),
        format!("{spec}.resources.limits.cpu: the value differs")
    );
    assert_eq!(why_not(&typed(deployment("0.5", "1")), &live), format!("{spec}.args: the value differs"));
}

#[test]
fn a_key_that_is_left_out_has_its_default() {
    let service = |ports: Value| -> Value {
        json!({ "metadata": { "name": "a", "namespace": "b" }, "spec": { "ports": ports } })
    };
    let port = |protocol: &str| json!({ "port": 53, "protocol": protocol });
    let owned = json!({ "f:spec": { "f:ports": {
        "k:{\"port\":53,\"protocol\":\"UDP\"}": { ".": {}, "f:port": {}, "f:protocol": {} },
        "k:{\"port\":53,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} },
    } } });
    let live: Service = live(service(json!([port("UDP"), port("TCP")])), &owned);
    let said = |ports: Value| why_not(&typed::<Service>(service(ports)), &live);
    assert_eq!(said(json!([port("UDP"), { "port": 53 }])), "");
    assert_eq!(
        said(json!([{ "port": 53 }, port("UDP")])),
        "spec.ports: the order or number of items differs"
    );
    assert_eq!(said(json!([port("UDP")])), "spec.ports: it is ours and no longer wanted");
    assert_eq!(said(json!([port("UDP"), { "port": 54 }])), "spec.ports[1]: it belongs to somebody else");
}

#[test]
fn one_value_is_compared_whole_but_for_known_defaults() {
    let service = |selector: Value| -> Value {
        json!({ "metadata": { "name": "a", "namespace": "b" }, "spec": { "selector": selector } })
    };
    let live: Service =
        live(service(json!({ "app": "blue", "tier": "api" })), &json!({ "f:spec": { "f:selector": {} } }));
    let said = |selector: Value| why_not(&typed::<Service>(service(selector)), &live);
    assert_eq!(said(json!({ "app": "blue", "tier": "api" })), "");
    assert_eq!(said(json!({ "app": "blue" })), "spec.selector: the value differs");
    assert_eq!(said(json!({ "app": "blue", "tier": "api", "x": "y" })), "spec.selector: the value differs");
}

#[test]
fn a_difference_never_shows_a_value() {
    let secret = |key: &str| -> Value {
        json!({ "metadata": { "name": "a", "namespace": "b" }, "data": { "password": key } })
    };
    let live: Secret = live(secret("aHVudGVyMg=="), &json!({ "f:data": { "f:password": {} } }));
    let found = difference(&typed::<Secret>(secret("Zm9v")), &live, MANAGER).expect("they differ");
    let text = format!("{found} {found:?}");
    assert!(text.contains("data.password") && !text.contains("aHVu") && !text.contains("Zm9v"), "{text}");
}

#[test]
fn a_status_is_settled_apart() {
    let object = json!({ "metadata": { "name": "a", "namespace": "b" }, "status": { "replicas": 1 } });
    let mut live: Deployment = live(object.clone(), &json!({ "f:status": { "f:replicas": {} } }));
    let desired: Deployment = typed(object);
    assert!(!status_settled(&desired, &live, MANAGER), "that was applied to the object itself");
    live.metadata.managed_fields.as_mut().expect("they were set")[1].subresource = Some("status".into());
    assert!(status_settled(&desired, &live, MANAGER));
    assert!(!settled(&desired, &live, MANAGER));
    let nothing: Deployment = typed(json!({ "metadata": { "name": "a", "namespace": "b" } }));
    assert!(!status_settled(&nothing, &live, MANAGER));
}

/// Whatever stands in `managedFields`, the answer is an answer.
#[test]
fn nonsense_is_never_settled() {
    let desired = config_map(&json!({ "x": "1" }));
    for owned in [
        json!(null),
        json!([]),
        json!("f:data"),
        json!({ "f:data": null }),
        json!({ "f:data": { "f:x": 1 } }),
        json!({ "f:data": { "k:{\"x\":": {}, "v:": {}, "i:0": {} } }),
        json!({ "f:data": { "f:x": {} }, "i:x": {} }),
        json!({ "f:data": { "f:x": {}, "": {} } }),
    ] {
        let live: ConfigMap = live(json!(desired), &owned);
        assert!(!settled(&desired, &live, MANAGER), "{owned}");
    }
}
