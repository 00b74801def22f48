//! The real `kubectl`, aimed at one cluster.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use kamaji_api::Child;
use serde_json::Value;

use crate::{
    cache::Cache,
    command,
    programs::{Program, Release},
};

/// The `kubectl` that we build.
pub const PROGRAM: Program = Program::Kubectl(Release::V1_34);

/// `kubectl` with a kubeconfig.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// The cache's `kubectl`, which must have been built, with this kubeconfig.
    pub fn new(cache: &Cache, kubeconfig: &Path) -> Self {
        Self { program: PROGRAM.path_in(cache), kubeconfig: kubeconfig.to_owned() }
    }

    /// The kubeconfig that it uses.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A command to add arguments to.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command
    }

    /// Runs it with these arguments and returns what it printed.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        command::output(self.command().args(arguments))
    }

    /// Runs `get` with these arguments and returns the objects as JSON.
    pub fn get(&self, arguments: &[&str]) -> Result<Value> {
        let text = command::output(self.command().arg("get").args(arguments).args(["--output", "json"]))?;
        serde_json::from_str(&text).context("reading kubectl's JSON")
    }

    /// A kubeconfig of a tenant, by its key in the Secret of the tenant's administrator.
    pub fn tenant_kubeconfig(&self, namespace: &str, tenant: &str, key: &str) -> Result<String> {
        let secret = Child::AdminKubeconfig.name(tenant);
        let template = format!(r#"--output=go-template={{{{index .data "{key}" | base64decode}}}}"#);
        self.run(&["get", "secret", &secret, "--namespace", namespace, &template])
    }

    /// Makes these objects true by server-side apply.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let mut command = self.command();
        command.args([
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=xtask",
            "--filename=-",
        ]);
        command::output_with_input(&mut command, manifest)
    }
}

/// Whether an object's status has this condition with the status `True`.
pub fn has_condition(object: &Value, kind: &str) -> bool {
    object["status"]["conditions"].as_array().is_some_and(|all| {
        all.iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_true_condition_counts() {
        let object = json!({ "status": { "conditions": [
            { "type": "Ready", "status": "True" },
            { "type": "DiskPressure", "status": "False" },
        ] } });
        assert!(has_condition(&object, "Ready"));
        assert!(!has_condition(&object, "DiskPressure"));
        assert!(!has_condition(&object, "Missing"));
        assert!(!has_condition(&json!({}), "Ready"));
    }
}
