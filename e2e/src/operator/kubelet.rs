//! Plays the kubelet for the containers of a tenant that serve: the real programs, with exactly the rendered arguments.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Container, KeyToPath, PodSpec, Secret, Service, Volume},
};
use kamaji_resources::kine;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use xtask::programs::{Program, Release};

use super::Lane;
use crate::api_server::{self, process::Process};

/// A tenant's API server. It ends when this is dropped.
#[derive(Debug)]
pub struct TenantApiServer {
    process: Process,
    kine: Option<Process>,
    folder: PathBuf,
    address: SocketAddr,
}

impl TenantApiServer {
    /// Where the volume of this name stands in for what the container mounts.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The files in its volumes are what the Secrets of this tenant hold now, as the kubelet brings about while a Pod runs.
    pub async fn refresh(&self, lane: &Lane, tenant: &str) -> Result<()> {
        let deployment = lane.objects::<Deployment>().get(tenant).await?;
        let pod = deployment.spec.template.spec.context("the Deployment has a Pod")?;
        write_volumes(&self.folder, &pod, &lane.objects()).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its kine has said last, if it has one.
    pub fn words_of_kine(&self) -> String {
        self.kine.as_ref().map(Process::last_words).unwrap_or_default()
    }

    /// The process id, for tests that stop and continue it.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Every request of the operator so far, in the order in which they were answered; a watch counts when it begins and
    /// when it ends.
    pub fn audited(&self) -> Result<Vec<Audited>> {
        let text = fs::read_to_string(self.folder.join(AUDIT_LOG)).unwrap_or_default();
        // The last line may not be whole yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let read = |line: &str| serde_json::from_str(line).context("reading the audit log");
        whole.lines().map(read).collect()
    }
}

/// A request that an API server has noted.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Audited {
    /// As in `patch`, `watch`.
    pub verb: String,
    /// Path and parameters.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// Whether the answer has begun or is complete.
    pub stage: String,
}

impl Audited {
    /// Whether it would change something.
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// The file that takes what the operator asks for.
const AUDIT_LOG: &str = "audit.log";
/// What of it: everything, but nobody else's requests. `super-admin.conf` is the operator's.
const AUDIT_POLICY: &str = r#"{
    "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
    "rules": [{ "level": "Metadata", "users": ["kubernetes-super-admin"] }, { "level": "None" }]
}"#;

/// Starts what the Deployment of this tenant says of its API server, on the cluster IP of its Service.
pub async fn run_api_server(lane: &Lane, tenant: &str) -> Result<TenantApiServer> {
    let address = cluster_ip(lane, tenant).await?;
    run_api_server_at(lane, tenant, address).await
}

/// The address of the tenant's Service.
pub async fn cluster_ip(lane: &Lane, tenant: &str) -> Result<IpAddr> {
    let service = lane.objects::<Service>().get(tenant).await?;
    let address = service.spec.and_then(|spec| spec.cluster_ip).context("the Service has a cluster IP")?;
    Ok(address.parse()?)
}

/// The same as [`run_api_server`], on another address.
pub async fn run_api_server_at(lane: &Lane, tenant: &str, address: IpAddr) -> Result<TenantApiServer> {
    let deployment = lane.objects::<Deployment>().get(tenant).await?;
    let pod = deployment.spec.template.spec.context("the Deployment has a Pod")?;
    let folder = api_server::fresh_folder("tenant-api-server")?;
    write_volumes(&folder, &pod, &lane.objects()).await?;
    make_scratch(&folder, &pod)?;
    let kine = run_kine(lane, &pod, &folder, address).await?;
    let container = container(&pod, "kube-apiserver").context("the Pod has an API server")?;
    let mounted = Mounted::of(container, &folder);
    write_config_maps(&mounted, &pod, &lane.objects()).await?;
    let mut arguments = mounted.arguments(container);
    arguments.push(format!("--bind-address={address}"));
    // An advertised address must not be a loopback one; nothing here uses it.
    arguments.push("--endpoint-reconciler-type=none".to_owned());
    fs::write(folder.join("audit-policy.json"), AUDIT_POLICY)?;
    arguments.push(format!("--audit-policy-file={}", folder.join("audit-policy.json").display()));
    arguments.push(format!("--audit-log-path={}", folder.join(AUDIT_LOG).display()));
    let port = port(&arguments).context("the API server has a port")?;
    let program = api_server::program(Program::KubeApiserver(Release::V1_34))?;
    let process = Process::start("kube-apiserver", &program, &folder, &arguments)?;
    Ok(TenantApiServer { process, kine, folder, address: SocketAddr::new(address, port) })
}

/// Starts what stands between the API server and its store, if anything does.
async fn run_kine(lane: &Lane, pod: &PodSpec, folder: &Path, address: IpAddr) -> Result<Option<Process>> {
    let Some(container) = container(pod, kine::NAME) else { return Ok(None) };
    let mounted = Mounted::of(container, folder);
    let variables = variables(container, &lane.objects()).await?;
    let variables: Vec<_> =
        variables.into_iter().map(|(name, value)| (name, mounted.rewritten(&value))).collect();
    let arguments = mounted.arguments(container);
    // Only this tenant has this address.
    let arguments: Vec<String> =
        arguments.iter().map(|argument| argument.replace("=:", &format!("={address}:"))).collect();
    let own = folder.join("kine");
    fs::create_dir_all(&own)?;
    let program = api_server::program(Program::Kine)?;
    Process::start_with("kine", &program, &own, &arguments, &variables).map(Some)
}

fn container<'a>(pod: &'a PodSpec, name: &str) -> Option<&'a Container> {
    pod.containers.iter().find(|container| container.name == name)
}

/// The container's variables, all of which come from Secrets.
async fn variables(container: &Container, secrets: &Api<Secret>) -> Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for variable in container.env.iter().flatten() {
        let source = variable.value_from.as_ref().and_then(|source| source.secret_key_ref.as_ref());
        let source = source.with_context(|| format!("{} comes from a Secret", variable.name))?;
        let data = secrets.get(&source.name).await?.data.unwrap_or_default();
        let value = data.get(&source.key).with_context(|| format!("the Secret has {}", source.key))?;
        variables.push((variable.name.clone(), String::from_utf8(value.0.clone())?));
    }
    Ok(variables)
}

fn port(arguments: &[String]) -> Option<u16> {
    arguments.iter().find_map(|argument| argument.strip_prefix("--secure-port=")?.parse().ok())
}

/// The Deployment's status says that all its Pods are ready and of its newest generation.
pub async fn report_ready(lane: &Lane, tenant: &str) -> Result<Deployment> {
    let api = lane.objects::<Deployment>();
    let live = api.get(tenant).await?;
    let wanted = live.spec.replicas.unwrap_or(1);
    let status = json!({ "status": {
        "observedGeneration": live.metadata.generation,
        "replicas": wanted, "updatedReplicas": wanted, "readyReplicas": wanted, "availableReplicas": wanted,
    } });
    Ok(api.patch_status(tenant, &PatchParams::default(), &Patch::Merge(&status)).await?)
}

async fn write_volumes(folder: &Path, pod: &PodSpec, secrets: &Api<Secret>) -> Result<()> {
    for volume in pod.volumes.iter().flatten() {
        for (secret, items) in sources(volume) {
            let data = secrets.get(&secret).await?.data.unwrap_or_default();
            for (key, path) in items {
                let value = data.get(&key).with_context(|| format!("Secret {secret} has no key {key}"))?;
                let file = folder.join(&volume.name).join(path);
                fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
                // A program that reads it meanwhile finds the whole old one or the whole new one.
                if fs::read(&file).ok().as_ref() != Some(&value.0) {
                    let written = file.with_extension("new");
                    fs::write(&written, &value.0)?;
                    fs::rename(&written, &file)?;
                }
            }
        }
    }
    Ok(())
}

async fn write_config_maps(mounted: &Mounted, pod: &PodSpec, config_maps: &Api<ConfigMap>) -> Result<()> {
    for volume in pod.volumes.iter().flatten() {
        let Some(source) = &volume.config_map else { continue };
        let folder = mounted.folder.join(&volume.name);
        fs::create_dir_all(&folder)?;
        for (key, text) in config_maps.get(&source.name).await?.data.unwrap_or_default() {
            fs::write(folder.join(key), mounted.rewritten(&text))?;
        }
    }
    Ok(())
}

fn make_scratch(folder: &Path, pod: &PodSpec) -> Result<()> {
    for volume in pod.volumes.iter().flatten().filter(|volume| volume.empty_dir.is_some()) {
        fs::create_dir_all(folder.join(&volume.name))?;
    }
    Ok(())
}

type Items = Vec<(String, String)>;

/// The Secrets of a volume, and which key goes to which file.
fn sources(volume: &Volume) -> Vec<(String, Items)> {
    let of = |items: Option<&Vec<KeyToPath>>| {
        items.into_iter().flatten().map(|item| (item.key.clone(), item.path.clone())).collect()
    };
    let alone = volume.secret.iter().map(|secret| (secret.secret_name.clone(), of(secret.items.as_ref())));
    let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
    let projected = projected
        .filter_map(|source| source.secret.as_ref())
        .map(|secret| (secret.name.clone(), of(secret.items.as_ref())));
    alone.filter_map(|(name, items)| Some((name?, items))).chain(projected).collect()
}

/// Where the container's mounts are on this machine.
struct Mounted {
    folder: PathBuf,
    mounts: Vec<(String, PathBuf)>,
}

impl Mounted {
    fn of(container: &Container, folder: &Path) -> Self {
        let mounts = container
            .volume_mounts
            .iter()
            .flatten()
            .map(|mount| (mount.mount_path.clone(), folder.join(&mount.name)))
            .collect();
        Self { folder: folder.to_owned(), mounts }
    }

    /// What the container is started with.
    fn arguments(&self, container: &Container) -> Vec<String> {
        container.args.iter().flatten().map(|argument| self.rewritten(argument)).collect()
    }

    /// The text, with our folders in place of those that the container mounts.
    fn rewritten(&self, text: &str) -> String {
        self.mounts
            .iter()
            .fold(text.to_owned(), |text, (path, real)| text.replace(path, &real.display().to_string()))
    }
}
