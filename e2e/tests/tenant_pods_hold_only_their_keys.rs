//! What each container can read is what its component needs, and nobody else can read it.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kamaji_e2e::tenant::{in_lab, processes};
use kube::api::ListParams;
use serde_json::json;
use xtask::programs::Release;

/// Container and files below `/etc/kubernetes`. A file that is not here must not be there.
const FILES: [(&str, &[&str]); 3] = [
    (
        "kube-apiserver",
        &[
            "pki/apiserver-kubelet-client.crt",
            "pki/apiserver-kubelet-client.key",
            "pki/apiserver.crt",
            "pki/apiserver.key",
            "pki/ca.crt",
            "pki/etcd/ca.crt",
            "pki/etcd/server.crt",
            "pki/etcd/server.key",
            "pki/front-proxy-ca.crt",
            "pki/front-proxy-client.crt",
            "pki/front-proxy-client.key",
            "pki/sa.key",
            "pki/sa.pub",
        ],
    ),
    (
        "kube-controller-manager",
        &["controller-manager.conf", "pki/ca.crt", "pki/ca.key", "pki/front-proxy-ca.crt", "pki/sa.key"],
    ),
    ("kube-scheduler", &["scheduler.conf"]),
];

/// "nonroot" of the distroless images.
const NONROOT: &str = "65532";

#[tokio::test(flavor = "multi_thread")]
async fn each_container_holds_the_files_of_its_component_and_no_others() -> Result<()> {
    in_lab("keys", async |lab| {
        lab.create("keeper", Release::V1_34, &json!({})).await?;
        lab.ready("keeper").await?;
        let pods = lab.api::<Pod>().list(&ListParams::default()).await?;
        let pod = pods.items.first().context("the tenant has no Pod")?;

        let processes = processes(pod)?;
        ensure!(processes.len() == FILES.len(), "the containers are {:?}", processes.keys());
        for (container, expected) in FILES {
            let process = processes.get(container).with_context(|| format!("there is no {container}"))?;
            let users = process.users_and_groups()?;
            ensure!(users.iter().eq([NONROOT]), "{container} runs as {users:?}");

            // Whatever lies elsewhere belongs to the image, the network or the log, and holds no key.
            let (ours, others): (BTreeMap<_, _>, BTreeMap<_, _>) =
                process.files()?.into_iter().partition(|(path, _)| path.starts_with("/etc/kubernetes"));
            let found: Vec<&Path> =
                ours.keys().filter_map(|path| path.strip_prefix("/etc/kubernetes").ok()).collect();
            ensure!(
                found == expected.iter().map(Path::new).collect::<Vec<_>>(),
                "{container} holds {found:?}"
            );
            for (path, mode) in &ours {
                ensure!([0o400, 0o440].contains(mode), "{container}: {} has mode {mode:o}", path.display());
            }
            for path in others.keys() {
                let content = process.read(path)?;
                let has_key = !path.ends_with(container) && holds_key(&content);
                ensure!(!has_key, "{container}: there is a private key in {}", path.display());
            }
        }
        Ok(())
    })
    .await
}

fn holds_key(content: &[u8]) -> bool {
    content.windows(b"PRIVATE KEY-----".len()).any(|window| window == b"PRIVATE KEY-----")
}
