//! The same containers without an operator: copies of a model tenant's objects, with data of their own.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use anyhow::{Context, Result};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec},
        core::v1::{PodSpec, PodTemplateSpec, Probe, Secret, Volume},
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use kamaji_api::Child;
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::{
    cache::Cache,
    command, install,
    kubectl::Kubectl,
    programs::{Program, Release},
};

/// What all tenants and floors run.
pub(super) const RELEASE: Release = Release::V1_34;

/// The tenant that is copied.
pub(super) const MODEL: &str = "model";

/// The data of all floors, and of nothing else, lies below it.
const PREFIX: &str = "/bench-floor/";

/// The label that tells the Pods of one floor from those of another.
const LABEL: &str = "bench-floor";

/// The chart's etcd, and the certificate of its user root.
const ETCD_POD: &str = "kamaji-etcd-0";
const ETCD_ROOT: &str = "kamaji-etcd-root-client-certs";

/// A tenant that is Ready, as far as it is copied.
pub(super) struct Model {
    deployment: Deployment,
    secrets: BTreeMap<String, Secret>,
}

impl Model {
    /// Reads the model tenant's objects.
    pub(super) fn read(kubectl: &Kubectl, namespace: &str) -> Result<Self> {
        let read =
            |kind: &str, name: &str, namespace: &str| kubectl.get(&[kind, name, "--namespace", namespace]);
        let deployment: Deployment = serde_json::from_value(read("deployment", MODEL, namespace)?)
            .context("reading the model's Deployment")?;
        let mut secrets = BTreeMap::new();
        for name in volumes(&deployment).iter().flat_map(secret_names) {
            let secret = serde_json::from_value(read("secret", &name, namespace)?)
                .with_context(|| format!("reading the Secret {name}"))?;
            secrets.insert(name, secret);
        }
        let root: Secret = serde_json::from_value(read("secret", ETCD_ROOT, install::NAMESPACE)?)
            .with_context(|| format!("reading the Secret {ETCD_ROOT}"))?;
        // Nobody makes an account for a floor, so it is etcd's root.
        let certificate = Child::DatastoreCertificate.name(MODEL);
        let data = secrets.get_mut(&certificate).and_then(|secret: &mut Secret| secret.data.as_mut());
        let (data, root) =
            (data.context("the model has no etcd certificate")?, root.data.unwrap_or_default());
        for (ours, theirs) in [("server.crt", "tls.crt"), ("server.key", "tls.key")] {
            data.insert(ours.into(), root.get(theirs).context("the root certificate is incomplete")?.clone());
        }
        Ok(Self { deployment, secrets })
    }

    /// Copies of the Secrets that the containers of this floor read.
    pub(super) fn inputs_of(&self, floor: &str) -> Vec<Value> {
        let copy = |(name, secret): (&String, &Secret)| {
            json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": renamed(name, floor), "namespace": NAMESPACE },
                "data": secret.data,
            })
        };
        self.secrets.iter().map(copy).collect()
    }

    /// A copy of the Deployment with data of its own, whose probes ask every second.
    pub(super) fn deployment_of(&self, floor: &str) -> Value {
        let labels = BTreeMap::from([(LABEL.to_owned(), floor.to_owned())]);
        let spec = self.deployment.spec.clone();
        let mut pod = spec.template.spec.unwrap_or_default();
        for volume in pod.volumes.iter_mut().flatten() {
            rename_secrets(volume, floor);
        }
        for container in &mut pod.containers {
            for argument in container.args.iter_mut().flatten() {
                if argument.starts_with("--etcd-prefix=") {
                    *argument = format!("--etcd-prefix={PREFIX}{floor}");
                }
            }
            [&mut container.startup_probe, &mut container.readiness_probe]
                .into_iter()
                .flatten()
                .for_each(hasten);
        }
        let deployment = Deployment {
            metadata: ObjectMeta {
                name: Some(floor.to_owned()),
                namespace: Some(NAMESPACE.to_owned()),
                ..ObjectMeta::default()
            },
            spec: DeploymentSpec {
                selector: LabelSelector { match_labels: Some(labels.clone()), match_expressions: None },
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                    spec: Some(pod),
                },
                ..spec
            },
            status: None,
        };
        json!(deployment)
    }

    /// The arguments of the API server.
    pub(super) fn api_server_arguments(&self) -> &[String] {
        let containers = self.pod().map_or(&[][..], |pod| &pod.containers);
        let api_server = containers.iter().find(|container| container.name == "kube-apiserver");
        api_server.and_then(|container| container.args.as_deref()).unwrap_or_default()
    }

    /// The administrator's kubeconfig.
    pub(super) fn kubeconfig(kubectl: &Kubectl) -> Result<String> {
        kubectl.tenant_kubeconfig(NAMESPACE, MODEL, "super-admin.conf")
    }

    /// Writes every file that a volume of the Pod projects below this folder.
    pub(super) fn write_files(&self, folder: &Path) -> Result<()> {
        let projections = volumes(&self.deployment)
            .iter()
            .filter_map(|volume| volume.projected.as_ref()?.sources.as_ref())
            .flatten()
            .filter_map(|source| source.secret.as_ref());
        for projection in projections {
            let data = self.secrets.get(&projection.name).and_then(|secret| secret.data.as_ref());
            for item in projection.items.iter().flatten() {
                let Some(content) = data.and_then(|data| data.get(&item.key)) else { continue };
                let path = folder.join(&item.path);
                fs::create_dir_all(path.parent().unwrap_or(folder))
                    .and_then(|()| fs::write(&path, &content.0))
                    .with_context(|| format!("writing {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn pod(&self) -> Option<&PodSpec> {
        self.deployment.spec.template.spec.as_ref()
    }
}

/// Removes what floors have left in the chart's etcd.
pub(super) fn forget_data(cache: &Cache, kubectl: &Kubectl) -> Result<()> {
    let pod = kubectl.get(&["pod", ETCD_POD, "--namespace", install::NAMESPACE])?;
    let address = pod["status"]["podIP"].as_str().context("the chart's etcd has no address")?;
    let folder = std::env::temp_dir().join(format!("kamaji-bench-etcd-{}", std::process::id()));
    fs::create_dir_all(&folder).with_context(|| format!("making the folder {}", folder.display()))?;
    let deleted = delete_data(cache, kubectl, address, &folder);
    fs::remove_dir_all(&folder).with_context(|| format!("removing the folder {}", folder.display()))?;
    deleted
}

fn delete_data(cache: &Cache, kubectl: &Kubectl, address: &str, folder: &Path) -> Result<()> {
    for file in ["tls.crt", "tls.key"] {
        let template = format!("--output=go-template={{{{index .data {file:?} | base64decode}}}}");
        let content =
            kubectl.run(&["get", "secret", ETCD_ROOT, "--namespace", install::NAMESPACE, &template])?;
        fs::write(folder.join(file), content).with_context(|| format!("writing {file}"))?;
    }
    let mut etcdctl = Command::new(Program::Etcdctl.path_in(cache));
    etcdctl
        .arg(format!("--endpoints=https://{address}:2379"))
        // Its certificate has its name, which this machine cannot resolve, and not the Pod's address.
        .arg("--insecure-skip-tls-verify")
        .arg(format!("--cert={}", folder.join("tls.crt").display()))
        .arg(format!("--key={}", folder.join("tls.key").display()))
        .args(["del", "--prefix", PREFIX]);
    command::output(&mut etcdctl).map(drop)
}

fn volumes(deployment: &Deployment) -> &[Volume] {
    let pod = deployment.spec.template.spec.as_ref();
    pod.and_then(|pod| pod.volumes.as_deref()).unwrap_or_default()
}

fn secret_names(volume: &Volume) -> Vec<String> {
    let whole = volume.secret.iter().filter_map(|secret| secret.secret_name.clone());
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    whole.chain(projected.filter_map(|source| Some(source.secret.as_ref()?.name.clone()))).collect()
}

fn rename_secrets(volume: &mut Volume, floor: &str) {
    if let Some(secret) = &mut volume.secret {
        secret.secret_name = secret.secret_name.as_deref().map(|name| renamed(name, floor));
    }
    let sources = volume.projected.iter_mut().flat_map(|projected| projected.sources.iter_mut().flatten());
    for secret in sources.filter_map(|source| source.secret.as_mut()) {
        secret.name = renamed(&secret.name, floor);
    }
}

fn renamed(name: &str, floor: &str) -> String {
    format!("{floor}{}", name.strip_prefix(MODEL).unwrap_or(name))
}

fn hasten(probe: &mut Probe) {
    probe.period_seconds = Some(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let deployment = serde_json::from_value(json!({
            "metadata": { "name": MODEL, "ownerReferences": [{ "apiVersion": "v1", "kind": "K", "name": "n", "uid": "u" }] },
            "spec": {
                "replicas": 1,
                "selector": { "matchLabels": { "kamaji.clastix.io/name": MODEL } },
                "template": { "spec": {
                    "containers": [{
                        "name": "kube-apiserver",
                        "args": ["--etcd-prefix=/theirs", "--secure-port=6443"],
                        "readinessProbe": { "periodSeconds": 5 },
                    }],
                    "volumes": [
                        { "name": "a", "secret": { "secretName": "model-ca" } },
                        { "name": "b", "projected": { "sources": [{ "secret": {
                            "name": "model-sa-certificate", "items": [{ "key": "sa.key", "path": "deep/sa.key" }],
                        } }] } },
                    ],
                } },
            },
        }))
        .unwrap();
        let secret = |value: &str| serde_json::from_value(json!({ "data": { "sa.key": value } })).unwrap();
        let secrets =
            [("model-ca".to_owned(), secret("Y2E=")), ("model-sa-certificate".to_owned(), secret("c2E="))];
        Model { deployment, secrets: secrets.into() }
    }

    #[test]
    fn a_floor_shares_nothing_with_its_model() {
        let floor = model().deployment_of("floor-1");
        let text = floor.to_string();
        assert!(
            !text.contains("model") && !text.contains("theirs") && !text.contains("kamaji.clastix.io"),
            "{text}"
        );
        assert!(
            text.contains("--etcd-prefix=/bench-floor/floor-1") && text.contains("--secure-port=6443"),
            "{text}"
        );
        let names: Vec<Value> =
            model().inputs_of("floor-1").iter().map(|secret| secret["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["floor-1-ca", "floor-1-sa-certificate"]);
        assert_eq!(floor["spec"]["template"]["spec"]["containers"][0]["readinessProbe"]["periodSeconds"], 1);
    }

    #[test]
    fn projected_files_are_written() {
        let folder = std::env::temp_dir().join(format!("kamaji-xtask-floor-{}", std::process::id()));
        model().write_files(&folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("deep/sa.key")).unwrap(), "sa");
        fs::remove_dir_all(folder).unwrap();
    }
}
