//! Schemas of embedded Kubernetes types: structure and validation, without the prose that makes a CRD too large to apply.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

/// The schema of `T` with every `description` removed.
pub(super) fn bare<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = generator.subschema_for::<T>().to_value();
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
