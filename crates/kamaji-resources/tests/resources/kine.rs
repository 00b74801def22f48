//! Tenants whose data is in PostgreSQL, MySQL or NATS.

mod image;
mod notation;
mod password;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, PodSpec, Volume};
use kamaji_api::Child;
use kamaji_api::v1alpha1::Driver;
use kamaji_resources::deployment::{self, Inputs};
use kamaji_resources::kine::{self, Choice, NAME};
use kamaji_resources::storage::Access;
use kamaji_resources::{Error, HeldSecrets, StorageCredentials, kubeadm_config};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::files::{Row, files, scratch};
use crate::golden::{config_map, shown, without_checksums};
use crate::pod_security::violations;
use crate::scenario::{self, Ground, clock, now};

/// A password that the Go operator made, and one that is as hostile as can be.
const OF_GO: &str = "4b597570-7c3d-434f-9f0e-a17fc379435c";
const HOSTILE: &str = "'\"$()\\`;%@:/?# \u{e9},&=+[]{}|<>^~\n\u{1f600}$(DB_USER)";

/// The certificates are the same in all tests, so that nothing differs but what a test changes.
static SETTLED: LazyLock<HeldSecrets> =
    LazyLock::new(|| Ground::settled(&scenario::named("konnectivity")).held);

/// A tenant on a store, and what the store tells of itself.
struct Store {
    ground: Ground,
    access: Access,
}

impl Store {
    fn of(driver: Driver, endpoints: &[&str], access: Access, spec: Value) -> Self {
        let mut ground = scenario::within("kine", spec).ground();
        ground.held.clone_from(&SETTLED);
        ground.storage.driver = driver;
        ground.storage.endpoints = endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect();
        Self { ground, access }.knowing(OF_GO)
    }

    /// The same with this password in its Secret.
    fn knowing(mut self, password: &str) -> Self {
        let secret = serde_json::from_value(json!({
            "metadata": { "annotations": { "kamaji.clastix.io/checksum": "bbd57aedf313f9c3996778dd6fe390a4" } },
            "data": { "DB_PASSWORD": k8s_openapi::ByteString(password.into()) },
        }));
        self.ground.held.insert(Child::DatastoreConfig, Arc::new(secret.unwrap()));
        self
    }

    fn credentials(&self) -> Result<StorageCredentials, Error> {
        let Ground { tenant, storage, held, .. } = &self.ground;
        StorageCredentials::for_kine(tenant, storage, &self.access, held)
    }

    fn deployment(&self, choice: &Choice<'_>) -> Deployment {
        let Ground { tenant, endpoint, storage, .. } = &self.ground;
        deployment::build_with(
            &Inputs {
                overrides: &[],
                tenant,
                endpoint,
                storage,
                credentials: &self.ground.credentials(clock(now())),
                storage_credentials: &self.credentials().unwrap(),
            },
            choice,
        )
    }

    fn pod(&self) -> PodSpec {
        self.deployment(&Choice::default()).spec.template.spec.unwrap()
    }

    fn container(&self, name: &str) -> Container {
        self.pod().containers.into_iter().find(|container| container.name == name).unwrap()
    }

    fn endpoint(&self) -> String {
        self.credentials().unwrap().kine_endpoint().unwrap().to_owned()
    }
}

fn plain() -> Access {
    Access::default()
}

fn verified() -> Access {
    Access { ca_pem: Some("the store's authority".into()), ..plain() }
}

fn certified() -> Access {
    let key = Zeroizing::new("the key of its clients".to_owned());
    Access { client_pem: Some(("the certificate of its clients".into(), key)), ..verified() }
}

fn with_login(access: Access) -> Access {
    Access { login: Some(("kamaji".into(), Zeroizing::new("s3cret".into()))), ..access }
}

fn postgres() -> Store {
    Store::of(Driver::PostgreSql, &["pg.stores:5432"], plain(), json!({}))
}

fn mysql() -> Store {
    Store::of(Driver::MySql, &["db.stores:3306"], plain(), json!({}))
}

fn nats() -> Store {
    Store::of(Driver::Nats, &["nats.stores:4222"], with_login(plain()), json!({}))
}

const CLUSTER: [&str; 3] = ["a.stores:1", "10.0.0.2:2", "[fd00::3]:3"];

/// Every driver, in clear text, verified and with a certificate of its clients.
fn all() -> Vec<(&'static str, Store)> {
    let replicas = |count| json!({ "controlPlane": { "deployment": { "replicas": count } } });
    let capital = json!({ "dataStoreSchema": "Blue_Data", "dataStoreUsername": "Blue-User" });
    let store = |driver, endpoints: &[&str], access, spec| Store::of(driver, endpoints, access, spec);
    vec![
        ("kine_postgres", postgres()),
        ("kine_postgres_verified", store(Driver::PostgreSql, &CLUSTER, verified(), replicas(3))),
        (
            "kine_postgres_certified",
            store(Driver::PostgreSql, &["[fd00::1]:5432"], certified(), capital.clone()),
        ),
        (
            "kine_postgres_everything",
            store(Driver::PostgreSql, &["pg.stores:5432"], certified(), everything()),
        ),
        ("kine_mysql", mysql()),
        ("kine_mysql_verified", store(Driver::MySql, &CLUSTER, verified(), replicas(0))),
        ("kine_mysql_certified", store(Driver::MySql, &["[fd00::1]:3306"], certified(), capital)),
        ("kine_nats", nats()),
        ("kine_nats_verified", store(Driver::Nats, &CLUSTER, with_login(verified()), replicas(3))),
        ("kine_nats_certified", store(Driver::Nats, &["nats.stores:4222"], certified(), json!({}))),
    ]
}

/// All that a user can say of kine, and the tunnel.
fn everything() -> Value {
    json!({
        "addons": { "konnectivity": {} },
        "controlPlane": { "deployment": {
            "additionalContainers": [
                { "name": "proxy", "image": "proxy:1" },
                { "name": "kine", "image": "registry.example.com/kine@sha256:0123", "command": ["/mine"] },
            ],
            "containerSecurityContexts": { "apiServer": { "runAsUser": 1001, "allowPrivilegeEscalation": true } },
            "extraArgs": {
                "apiServer": ["--etcd-servers=https://mine:2379", "--etcd-compaction-interval=10m"],
                "kine": [
                    "--endpoint", "postgres://mine", "--endpoint=mysql://mine", "-endpoint=x", "--listen-address=:1",
                    "--metrics-bind-address", "0", "--ca-file=/mine/ca.crt", "--datastore-max-open-connections=7",
                    "--debug",
                ],
            },
            "resources": { "kine": { "requests": { "cpu": "50m" }, "limits": { "memory": "256Mi" } } },
        } },
    })
}

/// What differs from a tenant on etcd.
fn excerpt(store: &Store) -> Value {
    let deployment = store.deployment(&Choice::default());
    let pod = deployment.spec.template.spec.unwrap();
    let named = |name: &str| pod.containers.iter().find(|container| container.name == name).unwrap();
    let api_server = named("kube-apiserver");
    let flags: Vec<&String> = api_server.args.iter().flatten().filter(|flag| flag.contains("etcd")).collect();
    let volumes: Vec<&Volume> =
        pod.volumes.iter().flatten().filter(|volume| volume.name.starts_with(NAME)).collect();
    let order: Vec<&String> = pod.containers.iter().map(|container| &container.name).collect();
    without_checksums(json!({
        "replicas": deployment.spec.replicas,
        "containers": order,
        "apiServer": { "etcdFlags": flags, "mounts": api_server.volume_mounts },
        "kine": named(NAME),
        "kineVolumes": volumes,
    }))
}

#[test]
fn how_everything_looks() {
    for (name, store) in all() {
        let snapshot = |builder: &str, value: Value| {
            insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
                insta::assert_yaml_snapshot!(format!("{name}-{builder}"), value);
            });
        };
        let credentials = store.credentials().unwrap();
        snapshot("storage", json!([shown(&credentials.config), shown(&credentials.certificate)]));
        snapshot("excerpt", excerpt(&store));
        if name == "kine_postgres" {
            let Ground { tenant, endpoint, storage, .. } = &store.ground;
            let mut deployment = without_checksums(json!(store.deployment(&Choice::default())));
            deployment["metadata"]["annotations"][kine::TEMPLATE] = json!("<checksum>");
            snapshot("deployment", deployment);
            snapshot("kubeadm_config", config_map(&kubeadm_config::build(tenant, endpoint, storage)));
        }
    }
}

#[test]
fn every_pod_passes_the_restricted_profile_and_needs_no_init_container() {
    for (name, store) in all().into_iter().filter(|(name, _)| *name != "kine_postgres_everything") {
        let pod = store.pod();
        assert_eq!(violations(&pod), [""; 0], "{name}");
        assert_eq!(pod.init_containers, None, "{name}");
    }
}

#[test]
fn kine_is_the_user_that_the_api_server_is_and_nothing_more() {
    let store = Store::of(Driver::PostgreSql, &["pg:1"], plain(), everything());
    let found = store.container(NAME).security_context.unwrap();
    assert_eq!((found.run_as_user, found.allow_privilege_escalation), (Some(1001), Some(false)));
    assert_eq!(postgres().container(NAME).security_context.unwrap().run_as_user, None);
}

#[test]
fn certificates_and_login_reach_kine_alone_and_only_those_that_are_there() {
    let row = |file: &str| -> Row {
        (NAME.into(), format!("/certs/{file}"), "blue-datastore-certificate".into(), file.into())
    };
    for (name, store) in all() {
        let pod = store.pod();
        let found: BTreeSet<Row> =
            files(&pod).into_iter().filter(|(.., secret, _)| secret.contains("datastore")).collect();
        let certificates: &[&str] = match (&store.access.ca_pem, &store.access.client_pem) {
            (None, _) => &[],
            (Some(_), None) => &["ca.crt"],
            _ => &["ca.crt", "server.crt", "server.key"],
        };
        let mut expected: BTreeSet<Row> = certificates.iter().map(|file| row(file)).collect();
        if store.access.login.is_some() {
            let file = "/login/nats.json";
            assert!(store.endpoint().ends_with(&format!("contextFile={file}")), "{name}");
            expected.insert((NAME.into(), file.into(), "blue-datastore-config".into(), "nats.json".into()));
        }
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn every_file_that_kine_is_told_of_is_there() {
    for (name, store) in all().into_iter().filter(|(name, _)| *name != "kine_postgres_everything") {
        let (pod, kine) = (store.pod(), store.container(NAME));
        let seen: BTreeSet<String> =
            files(&pod).into_iter().filter(|row| row.0 == NAME).map(|row| row.1).collect();
        let arguments = kine.args.iter().flatten();
        let told = arguments.filter_map(|flag| flag.split_once("-file=")).map(|(_, path)| path.to_owned());
        let endpoint = store.endpoint();
        let by_endpoint = endpoint.split_once("contextFile=").map(|(_, path)| path.to_owned());
        assert_eq!(told.chain(by_endpoint).collect::<BTreeSet<_>>(), seen, "{name}");
    }
}

#[test]
fn kine_and_the_api_server_share_a_socket_that_nobody_else_sees() {
    let pod = postgres().pod();
    let sharing: Vec<&str> = pod
        .containers
        .iter()
        .filter(|container| scratch(&pod, container) == ["/uds/"])
        .map(|container| container.name.as_str())
        .collect();
    assert_eq!(sharing, ["kube-apiserver", NAME]);
    let flag = |name: &str, flag: &str| {
        let arguments = postgres().container(name).args.unwrap();
        arguments.into_iter().find_map(|argument| Some(argument.strip_prefix(flag)?.to_owned()))
    };
    let told = flag("kube-apiserver", "--etcd-servers=").unwrap();
    assert_eq!(Some(&told), flag(NAME, "--listen-address=").as_ref());
    assert_eq!(told, "unix:///uds/kine");
}

/// Whoever lists processes or reads Deployments learns no password.
#[test]
fn nothing_secret_is_in_the_deployment() {
    for (name, store) in all() {
        let store = store.knowing("as-secret-as-s3cret");
        let credentials = store.credentials().unwrap();
        let told =
            [credentials.kine_endpoint(), credentials.kine_context()].map(Option::unwrap_or_default).concat();
        assert!(told.contains("s3cret") || store.access.login.is_none(), "{name}");
        let shown = json!(store.deployment(&Choice::default())).to_string();
        assert!(!shown.contains("s3cret") && !shown.contains("the key of its clients"), "{name}");
        let environment = json!(store.container(NAME).env);
        let reference = json!({ "name": "blue-datastore-config", "key": "KINE_ENDPOINT" });
        let expected = json!([{ "name": "KINE_ENDPOINT", "valueFrom": { "secretKeyRef": reference } }]);
        assert_eq!(environment, expected, "{name}");
    }
}

#[test]
fn a_user_can_neither_move_the_store_nor_the_socket() {
    let store = Store::of(Driver::PostgreSql, &["pg:1"], certified(), everything());
    assert_eq!(
        store.container(NAME).args.unwrap(),
        [
            "--cert-file=/certs/server.crt",
            "--key-file=/certs/server.key",
            "--listen-address=unix:///uds/kine",
            "--metrics-bind-address=:8135",
            "--ca-file=/mine/ca.crt",
            "--datastore-max-open-connections=7",
            "--debug",
        ]
    );
    let api_server = store.container("kube-apiserver").args.unwrap();
    let etcd: Vec<&String> = api_server.iter().filter(|flag| flag.contains("etcd")).collect();
    assert_eq!(etcd, ["--etcd-servers=unix:///uds/kine", "--etcd-compaction-interval=10m"]);
}

#[test]
fn a_tenant_on_etcd_has_nothing_of_kine() {
    for scenario in scenario::all() {
        let built = scenario.ground().build(clock(now()));
        assert!(!json!(built.deployment).to_string().contains("kine"), "{}", scenario.name);
    }
}

#[test]
fn what_the_api_server_has_besides_is_what_it_has_on_etcd() {
    let etcd = scenario::named("minimal").ground().build(clock(now())).deployment.spec.template.spec.unwrap();
    let there = etcd.containers.into_iter().find(|container| container.name == "kube-apiserver").unwrap();
    let arguments = |container: Container| -> Vec<String> {
        container.args.unwrap().into_iter().filter(|flag| !flag.starts_with("--etcd-")).collect()
    };
    assert_eq!(arguments(there), arguments(postgres().container("kube-apiserver")));
}
