//! Schemas of embedded Kubernetes types: structure and validation, without the prose that makes a CRD too large to apply.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The schema of `T` without prose, with what Kubernetes' own schema declares and the Rust types leave out.
pub(super) fn bare<T: JsonSchema>(_: &mut SchemaGenerator) -> Schema {
    let mut generator = SchemaSettings::openapi3().into_generator();
    let mut schema = generator.subschema_for::<T>().to_value();
    let mut definitions = generator.take_definitions(true);
    for (name, definition) in &mut definitions {
        complete(name, definition);
    }
    inline(&mut schema, &definitions);
    strip_prose(&mut schema);
    Schema::try_from(schema).unwrap_or_default()
}

/// Any JSON value at all, kept as it is.
pub(super) fn arbitrary_json(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "x-kubernetes-preserve-unknown-fields": true })
}

/// Bytes in base64.
pub(super) fn base64(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "string", "format": "byte" })
}

/// A map of strings.
pub(super) fn string_map(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ "type": "object", "additionalProperties": { "type": "string" } })
}

/// Lists that Kubernetes merges by key: type, field, keys.
const MAP_LISTS: &[(&str, &str, &[&str])] = &[
    ("core.v1.Container", "env", &["name"]),
    ("core.v1.Container", "ports", &["containerPort", "protocol"]),
    ("core.v1.Container", "volumeDevices", &["devicePath"]),
    ("core.v1.Container", "volumeMounts", &["mountPath"]),
    ("core.v1.ResourceRequirements", "claims", &["name"]),
    ("core.v1.ServiceStatus", "conditions", &["type"]),
    ("apps.v1.DeploymentStatus", "conditions", &["type"]),
];

/// Objects that Kubernetes replaces as a whole.
const ATOMIC_OBJECTS: &[&str] = &[
    "core.v1.ConfigMapEnvSource",
    "core.v1.ConfigMapKeySelector",
    "core.v1.ConfigMapProjection",
    "core.v1.ConfigMapVolumeSource",
    "core.v1.FileKeySelector",
    "core.v1.LocalObjectReference",
    "core.v1.NodeSelector",
    "core.v1.NodeSelectorTerm",
    "core.v1.ObjectFieldSelector",
    "core.v1.ResourceFieldSelector",
    "core.v1.SecretEnvSource",
    "core.v1.SecretKeySelector",
    "core.v1.SecretProjection",
    "core.v1.TypedLocalObjectReference",
    "meta.v1.LabelSelector",
];

/// References whose name Kubernetes lets be absent, while the Rust type always has one.
const OPTIONAL_NAMES: &[&str] = &[
    "core.v1.ConfigMapEnvSource",
    "core.v1.ConfigMapKeySelector",
    "core.v1.ConfigMapProjection",
    "core.v1.ConfigMapVolumeSource",
    "core.v1.LocalObjectReference",
    "core.v1.SecretEnvSource",
    "core.v1.SecretKeySelector",
    "core.v1.SecretProjection",
];

/// Quantities as Kubernetes reads them.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

/// Adds to one type's definition what only Kubernetes' own schema says.
fn complete(name: &str, definition: &mut Value) {
    let of = |short: &str| name.ends_with(short) && name.starts_with("io.k8s.");
    for (_, field, keys) in MAP_LISTS.iter().filter(|(short, ..)| of(short)) {
        let list = &mut definition["properties"][*field];
        list["x-kubernetes-list-type"] = json!("map");
        list["x-kubernetes-list-map-keys"] = json!(keys);
    }
    if ATOMIC_OBJECTS.iter().any(|short| of(short)) {
        definition["x-kubernetes-map-type"] = json!("atomic");
    }
    if OPTIONAL_NAMES.iter().any(|short| of(short)) {
        make_optional(definition, "name");
    }
    if of("api.resource.Quantity") {
        definition["pattern"] = json!(QUANTITY);
    }
    if of("core.v1.ContainerPort") {
        // A key of the list must have a value.
        definition["properties"]["protocol"]["default"] = json!("TCP");
    }
    if of("core.v1.Container") || of("core.v1.Volume") {
        // A DNS label; the bound also lets rules look at every one.
        definition["properties"]["name"]["maxLength"] = json!(63);
    }
    if of("core.v1.VolumeMount") {
        definition["properties"]["mountPath"]["maxLength"] = json!(4096);
    }
    if of("apps.v1.DeploymentCondition") {
        definition["required"] = json!(["status", "type"]);
    }
    if of("meta.v1.ObjectMeta") {
        // Only claim templates embed it, and these may carry nothing else.
        retain_properties(definition, &["annotations", "labels"]);
    }
    if of("meta.v1.Condition") {
        bound_condition(&mut definition["properties"]);
    }
}

/// The limits of a condition, as in `metav1.Condition`.
fn bound_condition(properties: &mut Value) {
    properties["type"]["maxLength"] = json!(316);
    properties["status"]["enum"] = json!(["True", "False", "Unknown"]);
    properties["reason"]["minLength"] = json!(1);
    properties["reason"]["maxLength"] = json!(1024);
    properties["reason"]["pattern"] = json!("^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$");
    properties["message"]["maxLength"] = json!(32768);
}

fn make_optional(definition: &mut Value, field: &str) {
    if let Some(Value::Array(required)) = definition.get_mut("required") {
        required.retain(|name| name != field);
        if required.is_empty()
            && let Value::Object(keywords) = definition
        {
            keywords.remove("required");
        }
    }
}

fn retain_properties(definition: &mut Value, kept: &[&str]) {
    if let Some(Value::Object(properties)) = definition.get_mut("properties") {
        properties.retain(|name, _| kept.contains(&name.as_str()));
    }
}

/// Replaces every reference by the definition that it names.
fn inline(schema: &mut Value, definitions: &Map<String, Value>) {
    if let Some(definition) = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| reference.rsplit('/').next())
        .and_then(|name| definitions.get(name))
    {
        *schema = definition.clone();
    }
    match schema {
        Value::Object(keywords) => {
            keywords.values_mut().for_each(|value| inline(value, definitions));
            merge_only_part(keywords);
        }
        Value::Array(items) => items.iter_mut().for_each(|value| inline(value, definitions)),
        _ => {}
    }
}

/// Says directly what a schema says as "all of this one".
fn merge_only_part(keywords: &mut Map<String, Value>) {
    let only = keywords
        .get_mut("allOf")
        .and_then(Value::as_array_mut)
        .filter(|parts| parts.len() == 1)
        .and_then(Vec::pop);
    if let Some(Value::Object(part)) = only {
        keywords.remove("allOf");
        keywords.extend(part);
    }
}

fn strip_prose(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            // A property may itself be called "description"; a schema's own description is a string.
            if fields.get("description").is_some_and(Value::is_string) {
                fields.remove("description");
            }
            fields.values_mut().for_each(strip_prose);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_prose),
        _ => {}
    }
}
