//! The operator, put into a cluster with its charts.

use std::{path::Path, process::Command, thread};

use anyhow::{Result, anyhow};

use crate::{
    cache::Cache,
    cluster, command, images, operator_image, packages,
    programs::{self, Program, Release},
    progress::Progress,
    workspace,
};

/// The namespace that the operator lives in.
pub const NAMESPACE: &str = "kamaji-system";

/// Starts the local cluster with the images of these releases, unless it runs, and installs or upgrades the operator of this
/// checkout in it; returns when that is available.
///
/// The operator is built while upstream's programs are built: linkers and the last crates of a build leave processors idle.
pub fn in_local_cluster(cache: &Cache, progress: &Progress, releases: &[Release]) -> Result<()> {
    packages::ensure(progress, packages::Need::Compiling)?;
    let binary = thread::scope(|scope| {
        let building = scope.spawn(|| operator_image::build(cache));
        let started = cluster::up(cache, progress, releases)
            .and_then(|()| programs::ensure(cache, progress, &[Program::Helm]));
        let built = progress.step("building the operator", || {
            building.join().map_err(|_| anyhow!("the thread that builds the operator ended early"))?
        });
        started.and(built)
    })?;
    let archive = progress.step("loading the operator's image", || {
        let archive = images::ensure_archive(cache, &images::operator(&binary))?;
        cluster::ensure_image(cache, &archive)?;
        Ok(archive)
    })?;
    // The tag stays the same from build to build, so the digest tells Kubernetes that the Pods must be replaced.
    let digest = format!("--set-string=podAnnotations.image-digest={}", archive.digest);
    charts(cache, progress, &cluster::kubeconfig(cache), &[digest])
}

/// Installs or upgrades the operator in the cluster of this kubeconfig with the image that the chart names, and returns when it
/// is available.
pub fn in_cluster(cache: &Cache, progress: &Progress, kubeconfig: &Path) -> Result<()> {
    programs::ensure(cache, progress, &[Program::Helm])?;
    charts(cache, progress, kubeconfig, &[])
}

fn charts(cache: &Cache, progress: &Progress, kubeconfig: &Path, settings: &[String]) -> Result<()> {
    let helm = Helm { cache, kubeconfig };
    progress.step("installing the chart kamaji-crds", || helm.upgrade("kamaji-crds", &[]))?;
    progress.step("installing the chart kamaji", || helm.upgrade("kamaji", settings))
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
