//! An API server, a tenant that claims to live there, and the programs that work on it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use k8s_openapi::api::{
    core::v1::{ConfigMap, Node, Secret, ServiceAccount},
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kamaji_addons::{Interior, Object, kubeadm};
use kamaji_apply::Cluster;
use kamaji_e2e::api_server::ApiServer;
use kamaji_resources::Endpoint;
use kube::{
    Api,
    api::{ApiResource, ListParams},
    config::Kubeconfig,
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use xtask::programs::{self, Program, Release};

/// The field manager of everything inside of tenants.
pub(crate) const MANAGER: &str = "kamaji-tenant";

/// A tenant without anything of ours or of kubeadm's, for one test at a time: the names are what is tested, so no two can
/// share an API server.
pub(crate) struct Lab {
    pub(crate) api: &'static ApiServer,
    pub(crate) cluster: Cluster,
    pub(crate) release: Release,
    pub(crate) folder: Folder,
    // Dropped last: the folder is the next one's, too.
    _turn: MutexGuard<'static, ()>,
}

/// A folder that is gone once this is dropped.
pub(crate) struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays behind in /tmp is no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Folder {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Lab {
    /// Waits for its turn, and cleans up after the test before.
    pub(crate) async fn start(release: Release) -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        let turn = TURN.lock().await;
        let folder = std::env::temp_dir().join(format!("kamaji-kubeadm-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let api = ApiServer::shared().await.unwrap();
        let cluster = Cluster::new(api.client().await.unwrap(), MANAGER);
        let lab = Self { api, cluster, release, folder: Folder(folder), _turn: turn };
        for resource in kinds() {
            lab.delete(&resource, |object| is_written_by(object, MANAGER)).await;
        }
        lab
    }

    /// Deletes the objects of this kind that are `meant`, and returns them.
    pub(crate) async fn delete(
        &self,
        resource: &ApiResource,
        meant: impl Fn(&DynamicObject) -> bool,
    ) -> Vec<DynamicObject> {
        let api = Api::<DynamicObject>::all_with(self.cluster.client().clone(), resource);
        let mut objects = api.list(&ListParams::default()).await.unwrap().items;
        objects.retain(meant);
        for object in &objects {
            self.cluster.delete_dynamic(resource, object).await.unwrap();
        }
        objects
    }

    /// A tenant of this release, reached where our API server is; `kubelet` is what its spec says of kubelets.
    pub(crate) fn interior(&self, kubelet: &Value) -> Interior {
        let fields = json!({
            "kubernetes": { "version": self.release.version(), "kubelet": kubelet },
            "networkProfile": {
                "clusterDomain": "blue.example",
                "serviceCidrs": ["10.97.0.0/16", "fd00:97::/112"],
                "podCidrs": ["10.245.0.0/16", "fd00:245::/56"],
                "dnsServiceIPs": ["10.97.0.10"],
                "certSANs": ["blue.example.com"],
            },
        });
        let (endpoint, authority) = self.server();
        let interior = kamaji_e2e::interior::of(&fields, endpoint.address).unwrap();
        Interior { endpoint, authority, ..interior }
    }

    /// Address of our API server, and its authority in PEM.
    fn server(&self) -> (Endpoint, String) {
        let kubeconfig = Kubeconfig::read_from(self.api.kubeconfig()).unwrap();
        let cluster = kubeconfig.clusters[0].cluster.clone().unwrap();
        let uri: http::Uri = cluster.server.unwrap().parse().unwrap();
        let address = uri.host().unwrap().parse().unwrap();
        let endpoint = Endpoint { address, advertised: address, port: uri.port_u16().unwrap() };
        (endpoint, fs::read_to_string(cluster.certificate_authority.unwrap()).unwrap())
    }

    /// Applies everything of ours, and returns what the server has of it.
    pub(crate) async fn apply(&self, objects: &[Object]) -> Vec<DynamicObject> {
        let mut made = Vec::new();
        for Object { resource, desired } in objects {
            made.push(self.cluster.settle_dynamic(resource, desired, None).await.unwrap().into_object());
        }
        made
    }

    /// Runs the kubeadm of this release; it must end well.
    pub(crate) fn kubeadm(&self, arguments: &[&str], files: &[(&str, &Path)]) -> String {
        let mut command = command(Program::Kubeadm(self.release));
        command.args(arguments);
        for (flag, file) in files {
            command.arg(flag).arg(file);
        }
        // Where a dry run writes, instead of into the machine.
        command.env("KUBEADM_JOIN_DRYRUN_DIR", self.folder.path("joined"));
        let output = command.output().unwrap();
        let text = text(&output);
        assert!(output.status.success(), "kubeadm {arguments:?} failed:\n{text}");
        text
    }

    /// A file with the rights of our administrator, acting as this user.
    pub(crate) fn kubeconfig_as(&self, user: &str, groups: &[&str]) -> PathBuf {
        let text = fs::read_to_string(self.api.kubeconfig()).unwrap();
        let mut kubeconfig: Value = serde_saphyr::from_str(&text).unwrap();
        kubeconfig["users"][0]["user"]["as"] = user.into();
        kubeconfig["users"][0]["user"]["as-groups"] = json!(groups);
        self.folder.write("impersonating.conf", &kubeconfig.to_string())
    }
}

/// The kinds that kubeadm's phases and ours write.
pub(crate) fn kinds() -> [ApiResource; 8] {
    [
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<Role>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<ClusterRole>(&()),
        ApiResource::erase::<ClusterRoleBinding>(&()),
        ApiResource::erase::<Node>(&()),
    ]
}

/// Whether this manager has ever written to the object.
pub(crate) fn is_written_by(object: &DynamicObject, manager: &str) -> bool {
    object.metadata.managed_fields.iter().flatten().any(|entry| entry.manager.as_deref() == Some(manager))
}

/// A command of a program that must have been built, without what the environment of this test could tell it.
pub(crate) fn command(program: Program) -> Command {
    let path = programs::path(program).unwrap();
    assert!(
        path.is_file(),
        "{} {} is not built yet ({} does not exist): `cargo xtask test` builds it",
        program.name(),
        program.version(),
        path.display()
    );
    let mut command = Command::new(path);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// All that a program said.
pub(crate) fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The objects of kubeadm's phases for a tenant.
pub(crate) fn objects(interior: &Interior) -> Vec<Object> {
    kubeadm::objects(interior).unwrap()
}

/// The text under this key of the ConfigMap of this name.
pub(crate) fn document(objects: &[Object], name: &str, key: &str) -> String {
    let config_map = objects.iter().find(|object| object.identity().name == name).unwrap();
    config_map.desired.data["data"][key].as_str().unwrap().to_owned()
}
