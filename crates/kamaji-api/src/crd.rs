//! The `CustomResourceDefinition`s of the three kinds, ready to apply.
//!
//! ```
//! let crd = kamaji_api::crd::tenant_control_plane();
//! assert_eq!(crd.metadata.name.as_deref(), Some("tenantcontrolplanes.kamaji.clastix.io"));
//! ```

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::v1alpha1::{DataStore, KubeconfigGenerator, TenantControlPlane};

/// The definition of TenantControlPlane.
pub fn tenant_control_plane() -> CustomResourceDefinition {
    finished(&TenantControlPlane::crd())
}

/// The definition of DataStore.
pub fn data_store() -> CustomResourceDefinition {
    finished(&DataStore::crd())
}

/// The definition of KubeconfigGenerator.
pub fn kubeconfig_generator() -> CustomResourceDefinition {
    finished(&KubeconfigGenerator::crd())
}

/// All three definitions.
pub fn all() -> [CustomResourceDefinition; 3] {
    [tenant_control_plane(), data_store(), kubeconfig_generator()]
}

/// Turns what the derive makes of the Rust types into what users should meet.
fn finished(derived: &CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(derived).expect("a definition is plain JSON");
    crd["spec"]["conversion"] = json!({ "strategy": "None" });
    if let Some(versions) = crd["spec"]["versions"].as_array_mut() {
        for version in versions {
            tidy(&mut version["schema"]["openAPIV3Schema"]);
        }
    }
    serde_json::from_value(crd).expect("tidying keeps a definition a definition")
}

/// Tidies one schema and those inside it.
///
/// An explicit null is pruned or replaced by the default, as if the field were absent: that is what the API server does for
/// fields that are not `nullable`.
fn tidy(schema: &mut Value) {
    let Value::Object(keywords) = schema else {
        return;
    };
    keywords.remove("nullable");
    keywords.remove("title");
    if let Some(Value::Array(values)) = keywords.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    if let Some(Value::String(sentences)) = keywords.get_mut("description") {
        *sentences = sentences.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    for nested in ["items", "additionalProperties"] {
        if let Some(inner) = keywords.get_mut(nested) {
            tidy(inner);
        }
    }
    if let Some(Value::Object(properties)) = keywords.get_mut("properties") {
        properties.values_mut().for_each(tidy);
    }
    if let Some(mut default) = keywords.remove("default") {
        shorten(&mut default, keywords);
        keywords.insert("default".into(), default);
    }
}

/// Leaves out of an object's default what the defaults of its fields say anyway.
fn shorten(default: &mut Value, keywords: &Map<String, Value>) {
    let (Value::Object(fields), Some(Value::Object(properties))) = (default, keywords.get("properties"))
    else {
        return;
    };
    fields.retain(|name, value| {
        let Some(Value::Object(property)) = properties.get(name) else {
            return true;
        };
        shorten(value, property);
        property.get("default") != Some(value)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `visit` with the path and the schema of every field.
    fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
        visit(path, schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), property, visit);
        }
        for (keyword, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
            if let Some(inner) = schema.get(keyword) {
                walk(&format!("{path}{suffix}"), inner, visit);
            }
        }
    }

    fn each_field(mut visit: impl FnMut(&str, &Value)) {
        for crd in all() {
            let kind = crd.spec.names.kind.clone();
            let crd = serde_json::to_value(crd).unwrap();
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            assert!(schema["properties"]["spec"].is_object(), "{kind} has a spec");
            walk(&kind, schema, &mut visit);
        }
    }

    #[test]
    fn nothing_is_nullable_and_no_enum_admits_null() {
        each_field(|path, schema| {
            assert!(schema.get("nullable").is_none(), "{path} is nullable");
            for indirect in ["allOf", "anyOf", "oneOf", "$ref"] {
                assert!(schema.get(indirect).is_none(), "{path} has {indirect}");
            }
            let values = schema["enum"].as_array().cloned().unwrap_or_default();
            assert!(!values.contains(&Value::Null), "{path} admits null");
        });
    }

    #[test]
    fn every_field_of_ours_has_a_sentence() {
        // Reports embed the status of another object beside fields of ours.
        let reports = [
            "kubernetesResources.deployment",
            "kubernetesResources.service",
            "kubernetesResources.ingress",
            "konnectivity.service",
        ];
        each_field(|path, schema| {
            let Some(properties) = schema["properties"].as_object() else { return };
            if path.matches('.').count() == 0 || reports.iter().any(|report| path.ends_with(report)) {
                return;
            }
            let (told, silent): (Vec<_>, Vec<_>) =
                properties.iter().partition(|(_, field)| field["description"].is_string());
            let embedded = told.is_empty();
            assert!(embedded || silent.is_empty(), "{path}: no sentence for {silent:?}");
            for (name, field) in told {
                assert!(
                    field["description"].as_str().unwrap().ends_with('.'),
                    "{path}.{name} is not a sentence"
                );
            }
        });
    }

    #[test]
    fn defaults_of_objects_are_short() {
        let crd = serde_json::to_value(tenant_control_plane()).unwrap();
        let spec =
            &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        assert_eq!(spec["networkProfile"]["default"], json!({}));
        assert_eq!(spec["controlPlane"]["properties"]["deployment"]["default"], json!({}));
    }

    #[test]
    fn embedded_lists_merge_as_in_kubernetes() {
        let crd = serde_json::to_value(tenant_control_plane()).unwrap();
        let deployment = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            ["controlPlane"]["properties"]["deployment"]["properties"];
        let container = &deployment["additionalContainers"]["items"]["properties"];
        assert_eq!(container["env"]["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(container["ports"]["items"]["properties"]["protocol"]["default"], json!("TCP"));
        assert_eq!(container["envFrom"]["items"]["properties"]["secretRef"].get("required"), None);
        assert!(
            container["resources"]["properties"]["limits"]["additionalProperties"]["pattern"].is_string()
        );
    }
}
