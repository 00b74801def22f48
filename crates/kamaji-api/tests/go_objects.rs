//! Objects of a running Go installation are read and written back without losing anything.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop where it fails")]

use std::{fs, path::PathBuf};

use kamaji_api::v1alpha1::{DataStore, TenantControlPlane};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What the Go operator wrote, by the beginning of the file's name.
fn fixtures(prefix: &str) -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut found: Vec<(String, Value)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix))
        .map(|path| {
            (path.display().to_string(), serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap())
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// Leaves out what is empty or false: Go writes it for fields that nobody set, and it means the same as nothing.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, without_empty(value)))
            .filter(|(_, value)| !is_empty(value))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.into_iter().map(without_empty).collect::<Vec<_>>().into(),
        other => other,
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

fn survives<K: Serialize + DeserializeOwned>(prefix: &str, count: usize) {
    let fixtures = fixtures(prefix);
    assert_eq!(fixtures.len(), count, "fixtures called {prefix}*");
    for (file, written) in fixtures {
        let object: K =
            serde_json::from_value(written.clone()).unwrap_or_else(|problem| panic!("{file}: {problem}"));
        let back = serde_json::to_value(&object).unwrap();
        assert_eq!(without_empty(back), without_empty(written), "{file}");
    }
}

#[test]
fn tenant_control_planes_survive() {
    survives::<TenantControlPlane>("tenant-", 3);
}

#[test]
fn data_stores_survive() {
    survives::<DataStore>("datastore-", 3);
}
