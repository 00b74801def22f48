//! The operator, put into a cluster with its charts.

use std::{path::Path, process::Command};

use anyhow::Result;

use crate::{
    cache::Cache,
    cluster, command, images, operator_image, packages,
    programs::{self, Program},
    progress::Progress,
    workspace,
};

/// The namespace that the operator lives in.
pub const NAMESPACE: &str = "kamaji-system";

/// Where the operator's image comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// This checkout, built and loaded into the local cluster.
    Checkout,
    /// The registry that the chart names.
    Registry,
}

/// Installs or upgrades the operator in the cluster of this kubeconfig, and returns when it is available.
pub fn operator(cache: &Cache, progress: &Progress, kubeconfig: &Path, source: Source) -> Result<()> {
    programs::ensure(cache, progress, &[Program::Helm])?;
    let image = match source {
        Source::Checkout => Some(load_operator(cache, progress)?),
        Source::Registry => None,
    };
    let helm = Helm { cache, kubeconfig };
    progress.step("installing the chart kamaji-crds", || helm.upgrade("kamaji-crds", &[]))?;
    progress.step("installing the chart kamaji", || helm.upgrade("kamaji", &settings(image.as_ref())))
}

/// Builds the operator and makes it the image that the local cluster runs.
fn load_operator(cache: &Cache, progress: &Progress) -> Result<images::Archive> {
    packages::ensure(progress, packages::Need::Compiling)?;
    let binary = progress.step("building the operator", || operator_image::build(cache))?;
    progress.step("loading the operator's image", || {
        let archive = images::ensure_archive(cache, &images::operator(&binary))?;
        cluster::ensure_image(cache, &archive)?;
        Ok(archive)
    })
}

/// The tag stays the same from build to build, so the digest tells Kubernetes that the Pods must be replaced.
fn settings(image: Option<&images::Archive>) -> Vec<String> {
    image
        .map(|archive| format!("--set-string=podAnnotations.image-digest={}", archive.digest))
        .into_iter()
        .collect()
}

struct Helm<'a> {
    cache: &'a Cache,
    kubeconfig: &'a Path,
}

impl Helm<'_> {
    /// Makes the release of this name what the chart of the same name says.
    fn upgrade(&self, chart: &str, settings: &[String]) -> Result<()> {
        command::output(
            Command::new(Program::Helm.path_in(self.cache))
                .arg("--kubeconfig")
                .arg(self.kubeconfig)
                .args(["upgrade", "--install", chart])
                .arg(workspace::path("charts").join(chart))
                .args(["--namespace", NAMESPACE, "--create-namespace", "--wait", "--timeout", "5m"])
                .args(settings),
        )
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_build_is_another_set_of_settings() {
        let archive =
            |digest: &str| images::Archive { name: "n".into(), digest: digest.into(), path: "p".into() };
        assert_eq!(
            settings(Some(&archive("sha256:1"))),
            ["--set-string=podAnnotations.image-digest=sha256:1"]
        );
        assert_ne!(settings(Some(&archive("sha256:1"))), settings(Some(&archive("sha256:2"))));
        assert!(settings(None).is_empty());
    }
}
