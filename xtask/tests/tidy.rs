//! Rules of the workspace that no compiler holds: who may use whom, and how files are called and sized.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Which crates of ours each crate may use, outside of its tests. ARCHITECTURE.md says why.
const EDGES: &[(&str, &[&str])] = &[
    ("kamaji-api", &[]),
    ("kamaji-pki", &[]),
    ("kamaji-apply", &[]),
    ("kamaji-client", &[]),
    ("kamaji-datastore", &["kamaji-api"]),
    ("kamaji-resources", &["kamaji-api", "kamaji-pki"]),
    ("kamaji-addons", &["kamaji-api", "kamaji-resources"]),
    ("xtask", &["kamaji-api", "kamaji-resources"]),
];

/// What the pure crates must not use: they do not reach anything.
const IMPURE: &[&str] = &["tokio", "etcd-client", "kamaji-apply", "reqwest", "hyper"];
const PURE: &[&str] = &["kamaji-api", "kamaji-pki", "kamaji-resources", "kamaji-addons"];

/// Longer files are split by noun. Tests at a file's foot do not count.
const LONGEST_FILE: usize = 450;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// The direct dependencies of each crate of ours, without those of its tests.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let of = |package: &Value| {
        let dependencies = package["dependencies"].as_array().expect("a list").iter();
        let names = dependencies
            .filter(|dependency| dependency["kind"].is_null())
            .map(|dependency| dependency["name"].as_str().expect("a name").to_owned());
        (package["name"].as_str().expect("a name").to_owned(), names.collect())
    };
    metadata["packages"].as_array().expect("a list").iter().map(of).collect()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn all_sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["crates", "operator", "xtask", "e2e"] {
        sources(&root().join(folder), &mut found);
    }
    assert!(found.len() > 50, "the sources were not found");
    found
}

#[test]
fn crates_use_only_the_crates_that_they_may() {
    let dependencies = dependencies();
    for (name, allowed) in EDGES {
        let ours = dependencies[*name].iter().filter(|other| dependencies.contains_key(*other));
        let forbidden: Vec<_> = ours.filter(|other| !allowed.contains(&other.as_str())).collect();
        assert!(forbidden.is_empty(), "{name} must not use {forbidden:?}");
    }
}

#[test]
fn pure_crates_reach_nothing() {
    let dependencies = dependencies();
    for name in PURE {
        let impure: Vec<_> =
            dependencies[*name].iter().filter(|other| IMPURE.contains(&other.as_str())).collect();
        assert!(impure.is_empty(), "{name} must not use {impure:?}");
    }
}

#[test]
fn no_file_is_a_junk_drawer() {
    let junk = ["mod.rs", "util.rs", "utils.rs", "common.rs", "helpers.rs", "helper.rs", "misc.rs"];
    let found: Vec<_> = all_sources()
        .into_iter()
        .filter(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| junk.contains(&name))
        })
        .collect();
    assert!(found.is_empty(), "name these files after what is in them: {found:?}");
}

#[test]
fn files_are_of_one_noun() {
    let long: Vec<_> = all_sources()
        .into_iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "src"))
        .filter_map(|path| {
            let text = fs::read_to_string(&path).ok()?;
            let lines = text.lines().take_while(|line| *line != "#[cfg(test)]").count();
            (lines > LONGEST_FILE).then_some((path, lines))
        })
        .collect();
    assert!(long.is_empty(), "split these files by noun: {long:?}");
}

#[test]
fn one_tls_stack_one_provider_one_yaml_crate() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock");
    let banned = ["openssl-sys", "aws-lc-rs", "native-tls", "serde_yaml", "serde_yml", "chrono"];
    let found: Vec<_> = banned.iter().filter(|name| lock.contains(&format!("name = \"{name}\"\n"))).collect();
    assert!(found.is_empty(), "these must not come in, even indirectly: {found:?}");
}
