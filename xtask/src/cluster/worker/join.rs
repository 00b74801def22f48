//! Joining a tenant with kubeadm.

use std::{process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};

use super::Worker;
use crate::{
    cache::Cache,
    cluster::machine,
    command,
    kubectl::{self, has_condition},
    programs::Release,
    wait,
};

/// How long a Node may take to be Ready on a slow machine.
const LIMIT: Duration = Duration::from_mins(2);

/// kubeadm 1.35 refuses control groups of version 1 by this check.
const IGNORED_CHECK: &str = "--ignore-preflight-errors=SystemVerification";

/// The release of the tenant that this `kubeadm join` command leads to: what its API server says.
pub fn release_of(cache: &Cache, words: &[String]) -> Result<Release> {
    let endpoint = endpoint_in(words)?;
    let answer = command::output(
        Command::new(kubectl::PROGRAM.path_in(cache))
            .args(["--kubeconfig=/dev/null", "--insecure-skip-tls-verify", "--request-timeout=10s"])
            // Anybody may ask for the version, but kubectl asks for a name when it has none.
            .args(["--username=nobody", "--password=none"])
            .args([&format!("--server=https://{endpoint}"), "get", "--raw=/version"]),
    )
    .with_context(|| format!("asking the API server at {endpoint} for its version"))?;
    let answer: serde_json::Value = serde_json::from_str(&answer).context("reading a version")?;
    let version = answer["gitVersion"].as_str().unwrap_or_default().to_owned();
    let minor = |version: &str| version.split('.').take(2).collect::<Vec<_>>().join(".");
    let found = Release::ALL.into_iter().find(|release| minor(release.version()) == minor(&version));
    found.with_context(|| {
        format!(
            "the tenant runs Kubernetes {version}, and workers are only made for {}",
            Release::ALL.map(Release::version).join(" and ")
        )
    })
}

/// Runs this `kubeadm join` command on the worker, and returns what it said; nothing when it has joined already.
pub fn join(worker: &Worker, words: &[String]) -> Result<String> {
    if worker.has_joined() {
        return Ok(String::new());
    }
    let [program, arguments @ ..] = words else { bail!("there is no command to join with") };
    ensure!(
        program == "kubeadm" && arguments.first().is_some_and(|word| word == "join"),
        "a worker joins by a command that begins with `kubeadm join`, not with `{}`",
        words.iter().take(2).cloned().collect::<Vec<_>>().join(" ")
    );
    let mut command = worker.command(program);
    command.args(arguments);
    if !machine::hierarchies()?.is_empty()
        && !words.iter().any(|word| word.starts_with("--ignore-preflight-errors"))
    {
        command.arg(IGNORED_CHECK);
    }
    command::output(&mut command)
        .with_context(|| format!("joining the worker {}; {}", worker.name, worker.last_words()))
}

/// Returns when the worker's Node is Ready, as its own kubelet can see.
pub fn wait_until_ready(cache: &Cache, worker: &Worker) -> Result<()> {
    let kubectl = kubectl::PROGRAM.path_in(cache);
    wait::until(&format!("the Node {} to be Ready", worker.name), LIMIT, || {
        let mut command = worker.command(&kubectl.to_string_lossy());
        command.args([
            "--kubeconfig=/etc/kubernetes/kubelet.conf",
            "get",
            "node",
            &worker.name,
            "--output=json",
        ]);
        let node = command::output(&mut command).ok().and_then(|text| serde_json::from_str(&text).ok());
        Ok(node.is_some_and(|node| has_condition(&node, "Ready")).then_some(()))
    })
    .with_context(|| worker.last_words())
}

/// The word that says where the API server is.
fn endpoint_in(words: &[String]) -> Result<&str> {
    let is_endpoint =
        |word: &str| word.contains(':') && !word.starts_with('-') && !word.starts_with("sha256:");
    match words.iter().find(|word| is_endpoint(word)) {
        Some(endpoint) => Ok(endpoint),
        None => bail!("the command names no API server, as in `kubeadm join HOST:PORT --token …`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_found_between_flags() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let hash = "--discovery-token-ca-cert-hash sha256:0123";
        for line in [
            format!("kubeadm join 10.99.0.101:6443 --token a.b {hash}"),
            format!("kubeadm join --token a.b {hash} 10.99.0.101:6443"),
        ] {
            assert_eq!(endpoint_in(&words(&line)).unwrap(), "10.99.0.101:6443", "{line}");
        }
        endpoint_in(&words(&format!("kubeadm join --token a.b {hash}"))).unwrap_err();
    }
}
