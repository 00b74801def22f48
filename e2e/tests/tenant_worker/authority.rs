//! The tenant's authority is replaced under a worker that works: both are good until the worker has followed, and then the new
//! one alone. What the worker is told to do is what docs/guides/rotation.md tells people.

use std::fs;

use anyhow::{Context, Result, ensure};
use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kamaji_api::{Child, labels, v1alpha1::TenantControlPlane};
use kamaji_e2e::{
    etcd::now,
    guest::Guest,
    tenant::{Lab, Load, eventually},
};
use kamaji_resources::rotation::other_fingerprint;
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

/// How many clients watch all the time.
const WATCHERS: usize = 4;

/// What a worker does to follow: it trusts both, and asks for a certificate as it did when it joined.
const FOLLOW: &str = r#"
set -eu
export KUBECONFIG=/etc/kubernetes/bootstrap-kubelet.conf
"$1" config set-cluster tenant --server "https://$2" --certificate-authority /etc/kubernetes/pki/ca.crt --embed-certs
"$1" config set-credentials bootstrap --token "$3"
"$1" config set-context bootstrap --cluster tenant --user bootstrap
"$1" config use-context bootstrap
rm /etc/kubernetes/kubelet.conf /var/lib/kubelet/pki/kubelet-client-*.pem
kill "$(pidof kubelet)"
"#;

/// All of it, with clients that use the tenant all the time.
pub(crate) async fn is_replaced(lab: &Lab, name: &str, guest: &mut Guest) -> Result<()> {
    let load = Load::begin(&guest.administrator, WATCHERS).await?;
    let uid = lab.api::<TenantControlPlane>().get(name).await?.uid().context("a tenant has a UID")?;
    annotate(lab, name, &json!({ labels::ROTATE_CA: uid })).await?;
    lab.when(name, "Rotation", "False", "LastWordAwaited").await?;
    lab.ready(name).await?;
    heartbeat(guest).await.context("with the old authority alone")?;
    crate::the_tunnel_comes_back(guest).await?;
    served(load).await?;

    guest.is_given_a_new_kubeconfig(lab, name).await?;
    let load = Load::begin(&guest.administrator, WATCHERS).await?;
    follow(lab, name, guest).await?;
    restart_workloads(guest).await?;
    heartbeat(guest).await.context("with both authorities")?;

    let secret = lab.api::<k8s_openapi::api::core::v1::Secret>().get(&Child::Ca.name(name)).await?;
    let old = other_fingerprint(Child::Ca, &secret).context("two authorities are trusted")?;
    annotate(lab, name, &json!({ labels::DROP_TRUST_ANCHOR: old })).await?;
    lab.when(name, "Rotation", "True", "Settled").await?;
    lab.ready(name).await?;
    heartbeat(guest).await.context("with the new authority alone")?;
    served(load).await
}

async fn annotate(lab: &Lab, name: &str, annotations: &Value) -> Result<()> {
    let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
    lab.api::<TenantControlPlane>().patch(name, &PatchParams::default(), &patch).await?;
    Ok(())
}

async fn served(load: Load) -> Result<()> {
    let served = load.end().await?;
    ensure!(served.failed.is_empty(), "{}: {:?}", served.told(), served.failed);
    ensure!(served.answered > 0 && served.seen > 0, "nothing was asked: {}", served.told());
    Ok(())
}

/// Waits until the kubelet has told once more that it lives.
async fn heartbeat(guest: &Guest) -> Result<()> {
    let begun = now();
    let leases = Api::<Lease>::namespaced(guest.administrator.clone(), "kube-node-lease");
    eventually("a heartbeat of the kubelet", async || {
        let lease = leases.get(&guest.worker().name).await?;
        let renewed = lease.spec.and_then(|spec| spec.renew_time).map(|time| time.0);
        Ok(renewed.is_some_and(|renewed: Timestamp| renewed > begun).then_some(()))
    })
    .await?;
    guest.ready().await
}

async fn follow(lab: &Lab, name: &str, guest: &Guest) -> Result<()> {
    // kube-controller-manager publishes it, once the new one leads.
    let roots = ["--namespace=kube-system", "get", "configmap", "kube-root-ca.crt"];
    let roots = [&roots[..], &["--output=jsonpath={.data.ca\\.crt}"]].concat();
    let roots = eventually("Pods to be told of both authorities", async || {
        let told = guest.kubectl(&roots).await?;
        Ok((told.matches("BEGIN CERTIFICATE").count() == 2).then_some(told))
    })
    .await?;
    let file = guest.worker().file("/etc/kubernetes/pki/ca.crt");
    fs::write(&file, roots).with_context(|| format!("writing {}", file.display()))?;
    let line = guest.invitation(lab, name).await?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, _, address, _, token, ..] = words[..] else { anyhow::bail!("an odd invitation: {line}") };
    let kubectl = guest.kubectl.command().get_program().to_string_lossy().into_owned();
    guest.run("sh", &["-c", FOLLOW, "sh", &kubectl, address, token]).await?;
    eventually("another certificate of the kubelet", async || {
        let certificate = guest.worker().file("/var/lib/kubelet/pki/kubelet-client-current.pem");
        let is_there = guest.worker().kubeconfig().is_file() && certificate.symlink_metadata().is_ok();
        Ok(is_there.then_some(()))
    })
    .await?;
    Api::<k8s_openapi::api::core::v1::Node>::all(guest.kubelet().await?).get(&guest.worker().name).await?;
    Ok(())
}

/// What has read one authority reads both.
async fn restart_workloads(guest: &Guest) -> Result<()> {
    for workload in ["daemonset/kube-proxy", "daemonset/konnectivity-agent", "deployment/coredns"] {
        guest.kubectl(&["--namespace=kube-system", "rollout", "restart", workload]).await?;
    }
    crate::add_ons_run(guest).await
}
