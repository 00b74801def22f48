//! Plays the part of a tenant's kube-controller-manager that bootstrap tokens depend on: the real program, and of its
//! controllers the one that signs `cluster-info` and the one that removes tokens that have ended.

use std::fs;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Secret, Service};
use kamaji_api::Child;
use kube::config::Kubeconfig;
use xtask::programs::{Program, Release};

use super::Lane;
use crate::api_server::{self, process::Process};

/// Key of its credentials in the Secret.
const FILE: &str = "controller-manager.conf";

/// A tenant's kube-controller-manager. It ends when this is dropped.
#[derive(Debug)]
pub struct Signer {
    _process: Process,
}

/// Starts it with the credentials that the tenant has for it.
pub async fn run_signer(lane: &Lane, tenant: &str) -> Result<Signer> {
    let service = lane.objects::<Service>().get(tenant).await?;
    let spec = service.spec.context("the Service has a spec")?;
    let address = spec.cluster_ip.context("the Service has a cluster IP")?;
    let secret = lane.objects::<Secret>().get(&Child::ControllerManagerKubeconfig.name(tenant)).await?;
    let file = secret.data.unwrap_or_default().remove(FILE).with_context(|| format!("no {FILE}"))?;
    let mut kubeconfig = Kubeconfig::from_yaml(std::str::from_utf8(&file.0)?)?;
    // In a Pod it reaches the API server over the loopback address, which is not the Pod's own here.
    for cluster in kubeconfig.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        let server = cluster.server.take().unwrap_or_default();
        cluster.server = Some(server.replace("127.0.0.1", &address));
    }
    let folder = api_server::fresh_folder("signer")?;
    let kubeconfig_file = folder.join(FILE);
    fs::write(&kubeconfig_file, serde_json::to_string(&kubeconfig)?)?;
    let arguments = [
        format!("--kubeconfig={}", kubeconfig_file.display()),
        "--controllers=bootstrap-signer-controller,token-cleaner-controller".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    let program = api_server::program(Program::KubeControllerManager(Release::V1_34))?;
    Ok(Signer { _process: Process::start("kube-controller-manager", &program, &folder, &arguments)? })
}
