//! The charts, with real helm: what they render, what they refuse, and whether an API server and etcd take it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]

#[path = "api_charts/admission.rs"]
mod admission;
#[path = "api_charts/etcd.rs"]
mod etcd;
#[path = "api_charts/releases.rs"]
mod releases;
#[path = "api_charts/rendering.rs"]
mod rendering;

use std::{
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::Value;
use xtask::{
    programs::{self, Program},
    workspace,
};

const NAMESPACE: &str = "kamaji-system";

fn chart(name: &str) -> PathBuf {
    workspace::path("charts").join(name)
}

fn helm(arguments: &[&str]) -> Output {
    let program = programs::path(Program::Helm).unwrap();
    assert!(program.is_file(), "helm is not built yet ({}): `cargo xtask test` builds it", program.display());
    Command::new(program).args(arguments).output().unwrap()
}

/// What helm prints, or what it complains of.
fn outcome(output: &Output) -> Result<String, String> {
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Renders a chart without a cluster, with these values set.
fn template(name: &str, settings: &[&str]) -> Result<String, String> {
    let chart = chart(name).display().to_string();
    let mut arguments = vec!["template", "kamaji", &chart, "--namespace", NAMESPACE];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    outcome(&helm(&arguments))
}

/// The objects that the chart `kamaji` renders.
fn render(settings: &[&str]) -> Vec<Value> {
    documents(&template("kamaji", settings).unwrap())
}

fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// The one object of this kind whose name begins like this.
fn object<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found: Vec<&Value> = objects
        .iter()
        .filter(|object| {
            object["kind"] == kind && object["metadata"]["name"].as_str().unwrap().starts_with(name)
        })
        .collect();
    assert_eq!(found.len(), 1, "{kind} {name}*");
    found[0]
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}
