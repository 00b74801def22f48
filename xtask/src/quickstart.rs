//! From nothing to a tenant that answers.

mod watch;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use self::watch::Watch;
use crate::{
    cache::{Cache, write_atomically},
    cluster, install,
    kubectl::{self, Kubectl},
    programs::{self, Release},
    progress::Progress,
    wait, workspace,
};

/// The sample, relative to the checkout.
const SAMPLE: &str = "docs/samples/tenant.yaml";

/// The namespace that the sample names.
const NAMESPACE: &str = "tenants";

/// The name that the sample gives its tenant.
const TENANT: &str = "quickstart";

/// The release that the sample asks for: only its images are made, because each release takes minutes to build.
const RELEASE: Release = Release::V1_34;

/// How long a tenant may take on a slow machine.
const LIMIT: Duration = Duration::from_mins(5);

/// Sets everything up, creates the sample tenant and shows it answering.
///
/// Without a kubeconfig the local cluster is used, and started when it does not run.
pub fn run(cache: &Cache, kubeconfig: Option<&Path>) -> Result<()> {
    let progress = Progress::default();
    let result = all_steps(cache, &progress, kubeconfig);
    println!("\nwhat took how long:\n{}", progress.summary());
    let done = result?;
    println!("\n{}", next_steps(&done));
    Ok(())
}

/// Where the operator came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// This checkout, built and loaded into the local cluster.
    Checkout,
    /// The registry that the chart names.
    Registry,
}

/// What the person at the terminal has now.
struct Done {
    management: PathBuf,
    tenant: PathBuf,
    cluster: Source,
}

fn all_steps(cache: &Cache, progress: &Progress, kubeconfig: Option<&Path>) -> Result<Done> {
    let (management, source) = install_operator(cache, progress, kubeconfig)?;
    let kubectl = Kubectl::new(cache, &management);
    progress.step("creating the tenant", || create_tenant(&kubectl))?;
    progress.step("waiting for the tenant to be Ready", || wait_for_tenant(progress, &kubectl))?;
    let tenant = cache.tenant_kubeconfig(NAMESPACE, TENANT);
    progress.step("fetching the tenant's kubeconfig", || fetch_kubeconfig(&kubectl, &tenant))?;
    progress.speaking_step("asking the tenant", || show_answers(&Kubectl::new(cache, &tenant)))?;
    Ok(Done { management, tenant, cluster: source })
}

fn install_operator(cache: &Cache, progress: &Progress, given: Option<&Path>) -> Result<(PathBuf, Source)> {
    let Some(file) = given else {
        install::in_local_cluster(cache, progress, &[RELEASE])?;
        return Ok((cluster::kubeconfig(cache), Source::Checkout));
    };
    ensure!(file.is_file(), "there is no kubeconfig {}", file.display());
    programs::ensure(cache, progress, &[kubectl::PROGRAM])?;
    install::in_cluster(cache, progress, file)?;
    Ok((file.to_owned(), Source::Registry))
}

fn create_tenant(kubectl: &Kubectl) -> Result<()> {
    let path = workspace::path(SAMPLE);
    let sample =
        fs::read_to_string(&path).with_context(|| format!("reading the sample {}", path.display()))?;
    wait::until("the operator's admission to answer", Duration::from_secs(30), || {
        match kubectl.apply(&sample) {
            Ok(_) => Ok(Some(())),
            // The operator is Ready, but the way to its Service may not be open yet.
            Err(error) if error.to_string().contains("failed calling webhook") => Ok(None),
            Err(error) => Err(error),
        }
    })
}

fn wait_for_tenant(progress: &Progress, kubectl: &Kubectl) -> Result<()> {
    let mut watch = Watch::of(NAMESPACE, TENANT);
    wait::until(&format!("the tenant {NAMESPACE}/{TENANT} to be Ready"), LIMIT, || {
        let seen = watch.look(kubectl)?;
        seen.news.iter().for_each(|line| progress.line(&format!("  {line}")));
        Ok(seen.is_ready.then_some(()))
    })
    .with_context(|| {
        format!(
            "look at `kubectl --kubeconfig {} --namespace {NAMESPACE} describe tenantcontrolplane {TENANT}` \
             and at the logs of the Pods in {}",
            kubectl.kubeconfig().display(),
            install::NAMESPACE
        )
    })
}

fn fetch_kubeconfig(kubectl: &Kubectl, into: &Path) -> Result<()> {
    let content = kubectl.tenant_kubeconfig(NAMESPACE, TENANT, "admin.conf")?;
    write_atomically(into, content.as_bytes())
}

/// Asks the tenant the things that people ask first, through its own administrator.
fn show_answers(tenant: &Kubectl) -> Result<()> {
    let show = |arguments: &[&str]| -> Result<()> {
        println!("\n$ kubectl {}", arguments.join(" "));
        print!("{}", tenant.run(arguments)?);
        Ok(())
    };
    show(&["version"])?;
    show(&["get", "namespaces"])?;
    let greeting = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "greeting", "namespace": "default" },
        "data": { "from": "the quickstart" },
    });
    println!("\n$ kubectl apply --server-side --filename=- # a ConfigMap");
    print!("{}", tenant.apply(&greeting.to_string())?);
    show(&["get", "configmap", "greeting", "--output=jsonpath={.data}{\"\\n\"}"])?;
    println!();
    Ok(())
}

fn next_steps(done: &Done) -> String {
    let (management, tenant) = (done.management.display(), done.tenant.display());
    let end = match done.cluster {
        Source::Checkout => "cargo xtask cluster down".to_owned(),
        Source::Registry => format!(
            "helm --kubeconfig {management} uninstall kamaji kamaji-crds --namespace {}",
            install::NAMESPACE
        ),
    };
    format!(
        "The tenant is Ready. Its administrator's kubeconfig: {tenant}

  kubectl --kubeconfig {tenant} get namespaces
  kubectl --kubeconfig {management} get tenantcontrolplanes --all-namespaces

Clean up:
  kubectl --kubeconfig {management} --namespace {NAMESPACE} delete tenantcontrolplane {TENANT}
  {end}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_what_we_wait_for() {
        let sample = fs::read_to_string(workspace::path(SAMPLE)).unwrap();
        for line in [
            "kind: TenantControlPlane".to_owned(),
            format!("name: {TENANT}"),
            format!("namespace: {NAMESPACE}"),
            format!("version: {}", RELEASE.version()),
        ] {
            assert!(sample.lines().any(|found| found.trim() == line), "{SAMPLE} has no line {line:?}");
        }
    }

    #[test]
    fn the_next_steps_fit_the_cluster() {
        let done = |cluster| Done { management: "/m".into(), tenant: "/t".into(), cluster };
        let local = next_steps(&done(Source::Checkout));
        assert!(local.contains("kubectl --kubeconfig /t get namespaces"), "{local}");
        assert!(local.contains("cargo xtask cluster down"), "{local}");
        let other = next_steps(&done(Source::Registry));
        assert!(other.contains("helm --kubeconfig /m uninstall"), "{other}");
        assert!(!other.contains("cluster down"), "{other}");
    }
}
