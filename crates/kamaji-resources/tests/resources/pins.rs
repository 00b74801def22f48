//! What each field of a spec does to the Deployment, one by one.
//!
//! A Pod template that changes without a change of the spec restarts every tenant when the operator is replaced by a newer
//! one. Nothing here may therefore change unless that is meant, and then the changelog says so.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::golden::without_checksums;
use crate::scenario::{clock, now, within};

#[test]
fn what_each_field_changes() {
    let deployment =
        |spec| without_checksums(json!(within("pinned", spec).ground().build(clock(now())).deployment));
    let (smallest, tunnelled) =
        (deployment(json!({})), deployment(json!({ "addons": { "konnectivity": {} } })));
    let changes: BTreeMap<String, Vec<String>> = specs()
        .into_iter()
        .map(|(name, spec)| {
            let is_of_tunnel = spec.pointer("/addons/konnectivity").is_some_and(|wish| *wish != json!({}));
            let before = if is_of_tunnel { &tunnelled } else { &smallest };
            let mut found = Vec::new();
            differences("", before, &deployment(spec), &mut found);
            (name, found)
        })
        .collect();
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_yaml_snapshot!("pins", changes);
    });
}

/// One line for each value that is only on one side: items of a list are told apart by their names, or by their text.
fn differences(path: &str, before: &Value, after: &Value, found: &mut Vec<String>) {
    if before == after {
        return;
    }
    let (Some(old), Some(new)) = (parts(before), parts(after)) else {
        found.extend((!before.is_null()).then(|| format!("- {path}: {before}")));
        found.extend((!after.is_null()).then(|| format!("+ {path}: {after}")));
        return;
    };
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let part = |of: &BTreeMap<String, Value>| of.get(name).cloned().unwrap_or_default();
        differences(&format!("{path}/{name}"), &part(&old), &part(&new), found);
    }
}

fn parts(value: &Value) -> Option<BTreeMap<String, Value>> {
    let named = |item: &Value| item["name"].as_str().or_else(|| item.as_str()).map(str::to_owned);
    match value {
        Value::Object(fields) => Some(fields.clone().into_iter().collect()),
        Value::Array(items) => items.iter().map(|item| Some((named(item)?, item.clone()))).collect(),
        _ => None,
    }
}

/// Specs as merge patches (RFC 7386) of the smallest one.
fn specs() -> BTreeMap<String, Value> {
    serde_saphyr::from_str(include_str!("../fixtures/pins.yaml")).unwrap()
}
