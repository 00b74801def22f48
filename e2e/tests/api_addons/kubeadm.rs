//! What kubeadm of the same minor version writes for CoreDNS and kube-proxy, and we.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use kamaji_addons::{Interior, Object, coredns, kube_proxy};
use kamaji_api::v1alpha1::AddonImage;
use kamaji_apply::Cluster;
use kamaji_e2e::api_server::ApiServer;
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Value, json};
use xtask::programs::{self, Program, Release};

use crate::{MANAGER, interior};

/// How ours differs from kubeadm's on purpose: object, path in it (`*`: every object), and why.
const INTENDED: &[(&str, &str, &str)] = &[
    ("*", "/metadata/labels/kamaji.clastix.io~1project", "our mark, by which we watch and remove"),
    ("configmaps/coredns", "/data/Corefile", "the two places for a tenant's additions; compared apart"),
    ("configmaps/coredns", "/data/empty.override", "so that CoreDNS finds a file where a tenant adds none"),
    ("configmaps/coredns", "/data/empty.server", "so that CoreDNS finds a file where a tenant adds none"),
    ("deployments/coredns", "/spec/template/spec/volumes/1", "a tenant's additions"),
    ("deployments/coredns", "/spec/template/spec/containers/0/volumeMounts/1", "a tenant's additions"),
    ("configmaps/kube-proxy", "/data/config.conf", "without the empty fields; compared apart"),
    ("configmaps/kube-proxy", "/data/kubeconfig.conf", "ends with a line break; compared apart"),
    (
        "configmaps/kube-proxy",
        "/metadata/annotations/kubeadm.kubernetes.io~1component-config.hash",
        "by it kubeadm would know what it may upgrade, and it may not",
    ),
    (
        "daemonsets/kube-proxy",
        "/spec/template/metadata/annotations/kamaji.clastix.io~1checksum",
        "a changed configuration replaces the Pods",
    ),
];

/// kubeadm gives cluster DNS one address, and in an IPv6 range the tenth; the kubelets of a tenant are told ours.
const INTENDED_BEYOND_IPV4: &[(&str, &str, &str)] = &[
    ("services/kube-dns", "/spec/clusterIP", "the address that kubelets are told"),
    ("services/kube-dns", "/spec/clusterIPs", "an address of each family"),
    ("services/kube-dns", "/spec/ipFamilies", "an address of each family"),
    ("services/kube-dns", "/spec/ipFamilyPolicy", "an address of each family"),
];

/// A cluster for both.
struct Ground {
    release: Release,
    address: &'static str,
    services: &'static str,
    pods: &'static str,
}

impl Ground {
    fn interior(&self) -> Interior {
        let ranges = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        let network = json!({ "serviceCidrs": ranges(self.services), "podCidrs": ranges(self.pods) });
        interior(self.release.version(), &network, self.address)
    }

    /// kubeadm's configuration for the same.
    fn configuration(&self) -> String {
        let local = json!({
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "localAPIEndpoint": { "advertiseAddress": self.address, "bindPort": 6443 },
            "nodeRegistration": { "name": "node", "criSocket": "unix:///run/containerd/containerd.sock" },
        });
        let cluster = json!({
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "kubernetesVersion": self.release.version(),
            "networking": {
                "dnsDomain": "cluster.local",
                "podSubnet": self.pods,
                "serviceSubnet": self.services,
            },
        });
        format!("{local}\n---\n{cluster}\n")
    }
}

/// A folder of this test that is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("kamaji-addons-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Runs the program to its end, and returns what it printed.
fn run(program: Program, arguments: &[String]) -> String {
    let path = programs::path(program).unwrap();
    assert!(path.is_file(), "{} is not built yet; `cargo xtask test` builds it", path.display());
    let output = Command::new(path).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{} {arguments:?}: {}",
        program.name(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn kubeadm(ground: &Ground, kubeconfig: &Path) {
    let folder = Folder::new(&format!("{:?}", ground.release));
    let configuration = folder.write("kubeadm.yaml", &ground.configuration());
    let arguments = ["init", "phase", "addon", "all"].map(str::to_owned).into_iter().chain([
        format!("--config={}", configuration.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
    ]);
    run(Program::Kubeadm(ground.release), &arguments.collect::<Vec<_>>());
}

fn ours(ground: &Ground) -> Vec<Object> {
    let interior = ground.interior();
    let mut objects = coredns::objects(&interior, &AddonImage::default());
    objects.extend(kube_proxy::objects(&interior, &AddonImage::default()));
    objects
}

fn api(client: &Client, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// Every object of these kinds and places, by `plural/name`.
async fn read_all(client: &Client, like: &[Object]) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for object in like {
        let identity = object.identity();
        let api = api(client, &object.resource, identity.namespace.as_deref());
        for item in api.list(&ListParams::default()).await.unwrap() {
            let name = item.metadata.name.clone().unwrap();
            found.insert(format!("{}/{name}", identity.plural), stripped(item));
        }
    }
    found
}

/// Without what the server alone decides.
fn stripped(object: DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap();
    value.as_object_mut().unwrap().remove("status");
    let metadata = value["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
        metadata.remove(field);
    }
    value
}

/// JSON pointer to value, for every leaf.
fn leaves(value: &Value) -> BTreeMap<String, Value> {
    let inside = |key: &str, value: &Value| -> Vec<(String, Value)> {
        let key = key.replace('~', "~0").replace('/', "~1");
        leaves(value).into_iter().map(|(path, leaf)| (format!("/{key}{path}"), leaf)).collect()
    };
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(key, value)| inside(key, value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().flat_map(|(index, value)| inside(&index.to_string(), value)).collect()
        }
        leaf => BTreeMap::from([(String::new(), leaf.clone())]),
    }
}

/// Paths at which the two say different things.
fn differing(one: &Value, other: &Value) -> BTreeSet<String> {
    let (one, other) = (leaves(one), leaves(other));
    let paths = one.keys().chain(other.keys());
    paths.filter(|path| one.get(*path) != other.get(*path)).cloned().collect()
}

/// Differences that nobody intended, and intentions that make no difference.
fn surprises(
    theirs: &BTreeMap<String, Value>,
    ours: &BTreeMap<String, Value>,
    intended: &[(&str, &str, &str)],
) -> Vec<String> {
    let mut unused: BTreeSet<_> = intended.iter().map(|(object, path, _)| (*object, *path)).collect();
    let mut found = Vec::new();
    for (object, our) in ours {
        for path in differing(&theirs[object], our) {
            let covers = |(of, prefix, _): &&(&str, &str, &str)| {
                (*of == "*" || of == object)
                    && path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            match intended.iter().find(covers) {
                Some((of, prefix, _)) => {
                    unused.remove(&(*of, *prefix));
                }
                None => found.push(format!(
                    "{object} {path}: kubeadm {:?}, we {:?}",
                    theirs[object].pointer(&path),
                    our.pointer(&path)
                )),
            }
        }
    }
    found.extend(unused.into_iter().map(|(object, path)| format!("{object} {path}: they do not differ")));
    found
}

/// The Corefile without what is meant for a tenant's additions.
fn without_imports(corefile: &str) -> String {
    let lines = corefile.split_inclusive('\n');
    lines.filter(|line| !line.trim().starts_with("import ")).collect()
}

/// What is said at all: kubeadm writes out every field that is empty.
fn said(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, said(value)));
            Value::Object(fields.filter(|(_, value)| !is_empty(value)).collect())
        }
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => ["", "0", "0s"].contains(&text.as_str()),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(true) => false,
    }
}

/// What the real kube-proxy makes of a configuration, with all its defaults.
fn completed(folder: &Folder, name: &str, configuration: &str) -> String {
    let said = folder.write(name, configuration);
    let completed = folder.0.join(format!("{name}.completed"));
    run(
        Program::KubeProxy(Release::V1_34),
        &[format!("--config={}", said.display()), format!("--write-config-to={}", completed.display())],
    );
    fs::read_to_string(completed).unwrap()
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object["data"][key].as_str().unwrap()
}

fn assert_same_files(ground: &Ground, theirs: &BTreeMap<String, Value>, ours: &BTreeMap<String, Value>) {
    let files =
        |key: &str| (text(&theirs["configmaps/kube-proxy"], key), text(&ours["configmaps/kube-proxy"], key));
    let parsed = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let (their, our) = files("kubeconfig.conf");
    assert_eq!(parsed(their), parsed(our));
    let (their, our) = files("config.conf");
    assert_eq!(said(parsed(their)), said(parsed(our)));
    let folder = Folder::new(&format!("kube-proxy-{:?}-{}", ground.release, ground.services.len()));
    assert_eq!(completed(&folder, "theirs", their), completed(&folder, "ours", our));

    let corefile =
        |objects: &BTreeMap<String, Value>| text(&objects["configmaps/coredns"], "Corefile").to_owned();
    assert_eq!(corefile(theirs), without_imports(&corefile(ours)));
}

async fn compare(ground: &Ground, intended: &[(&str, &str, &str)]) {
    let api_server = ApiServer::start_with(ground.release, ground.services).await.unwrap();
    let client = api_server.client().await.unwrap();
    let objects = ours(ground);
    let before = read_all(&client, &objects).await;
    kubeadm(ground, api_server.kubeconfig());
    let mut theirs = read_all(&client, &objects).await;
    for object in &objects {
        let identity = object.identity();
        let api = api(&client, &object.resource, identity.namespace.as_deref());
        api.delete(&identity.name, &DeleteParams::background()).await.unwrap();
    }
    let cluster = Cluster::new(client.clone(), MANAGER);
    for object in &objects {
        cluster.settle_dynamic(&object.resource, &object.desired, None).await.unwrap();
    }
    let mut ours = read_all(&client, &objects).await;
    for untouched in before.keys() {
        theirs.remove(untouched);
        ours.remove(untouched);
    }
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>());
    assert_eq!(ours.len(), objects.len());
    let surprises = surprises(&theirs, &ours, intended);
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
    assert_same_files(ground, &theirs, &ours);
}

/// The images of every minor version whose kubeadm we have, as it lists them.
#[test]
fn every_kubeadm_has_the_same_images() {
    for release in [Release::V1_33, Release::V1_34, Release::V1_35, Release::V1_36] {
        let arguments = ["config", "images", "list", "--kubernetes-version", release.version()];
        let listed = run(Program::Kubeadm(release), &arguments.map(str::to_owned));
        let interior = interior(release.version(), &json!({}), "192.0.2.10");
        let mut objects = coredns::objects(&interior, &AddonImage::default());
        objects.extend(kube_proxy::objects(&interior, &AddonImage::default()));
        let images = objects.iter().filter_map(|object| {
            object.desired.data.pointer("/spec/template/spec/containers/0/image").and_then(Value::as_str)
        });
        let images: Vec<_> = images.collect();
        assert_eq!(images.len(), 2);
        for image in images {
            assert!(listed.lines().any(|line| line == image), "{image} is none of\n{listed}");
        }
    }
}

#[tokio::test]
async fn kubeadm_1_34_writes_the_same() {
    let ground = Ground {
        release: Release::V1_34,
        address: "192.0.2.10",
        services: "10.97.0.0/16",
        pods: "10.245.0.0/16",
    };
    compare(&ground, INTENDED).await;
}

#[tokio::test]
async fn kubeadm_1_35_writes_the_same_for_two_families() {
    let ground = Ground {
        release: Release::V1_35,
        address: "192.0.2.10",
        services: "10.97.0.0/16,fd00:97::/108",
        pods: "10.245.0.0/16,fd00:245::/56",
    };
    // The first address is kubeadm's own.
    let intended = [INTENDED, &INTENDED_BEYOND_IPV4[1..]].concat();
    compare(&ground, &intended).await;
}

#[tokio::test]
async fn kubeadm_1_35_writes_the_same_for_ipv6_alone() {
    let ground = Ground {
        release: Release::V1_35,
        address: "2001:db8::10",
        services: "fd00:97::/108",
        pods: "fd00:245::/56",
    };
    let intended = [INTENDED, &INTENDED_BEYOND_IPV4[..2]].concat();
    compare(&ground, &intended).await;
}
