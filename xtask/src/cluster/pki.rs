//! Keys, certificates and kubeconfigs, made by kubeadm.

use std::{fs, process::Command};

use anyhow::{Context, Result};
use serde_json::json;

use super::layout::{API_SERVER, Layout, NODE, NODE_ADDRESS, POD_RANGE, RELEASE, SERVICE_RANGE};
use crate::{
    cache::{Cache, write_atomically},
    command,
    programs::Program,
};

/// Makes what is missing; what is there stays.
pub(super) fn ensure(cache: &Cache, layout: &Layout) -> Result<()> {
    if layout.kubeconfig().is_file() {
        return Ok(());
    }
    let configuration = layout.configuration().join("kubeadm.json");
    fs::write(&configuration, kubeadm_configuration(layout))
        .with_context(|| format!("writing {}", configuration.display()))?;
    let kubeadm = |arguments: &[&str]| {
        let mut command = Command::new(Program::Kubeadm(RELEASE).path_in(cache));
        command.args(arguments).arg("--config").arg(&configuration);
        command
    };
    command::output(&mut kubeadm(&["init", "phase", "certs", "all"]))?;
    let kubeconfigs = layout.kubeconfigs();
    command::output(
        kubeadm(&["init", "phase", "kubeconfig", "all"]).arg("--kubeconfig-dir").arg(&kubeconfigs),
    )?;
    let proxy = command::output(&mut kubeadm(&["kubeconfig", "user", "--client-name", "system:kube-proxy"]))?;
    write_atomically(&kubeconfigs.join("kube-proxy.conf"), proxy.as_bytes())?;
    // Last, because its presence says that everything is there.
    let administrator = kubeconfigs.join("super-admin.conf");
    let content = fs::read(&administrator).with_context(|| format!("reading {}", administrator.display()))?;
    write_atomically(&layout.kubeconfig(), &content)
}

fn kubeadm_configuration(layout: &Layout) -> String {
    let initial = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "localAPIEndpoint": { "advertiseAddress": NODE_ADDRESS, "bindPort": API_SERVER.port() },
        "nodeRegistration": {
            "name": NODE,
            "criSocket": format!("unix://{}", layout.containerd_socket().display()),
        },
    });
    let cluster = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": NODE,
        "kubernetesVersion": RELEASE.version(),
        "certificatesDir": layout.pki(),
        "controlPlaneEndpoint": API_SERVER.to_string(),
        "encryptionAlgorithm": "ECDSA-P256",
        "networking": { "serviceSubnet": SERVICE_RANGE, "podSubnet": POD_RANGE },
    });
    format!("{initial}\n---\n{cluster}\n")
}
