//! The installation of the Go operator, as it left it.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Secret},
    },
};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    api_server::ApiServer,
    cut::Wire,
    operator::{Lane, Operator, options},
};
use kamaji_resources::checksum;
use kube::{
    Api, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use xtask::programs::Release;

use crate::stores;

/// Where the tenants are: their certificates say so.
const NAMESPACE: &str = "tenants";
/// From where the tenants' Services have their addresses, which their certificates name.
const SERVICES: &str = "10.96.0.0/16";
/// The stores' addresses in what was written.
const ETCD: &str = "10.99.0.1:12379";
const POSTGRES: &str = "10.99.0.1:15432";

const FILES: [(&str, &str); 3] = [
    ("plain", include_str!("../fixtures/go-installation/plain.yaml")),
    ("postgres", include_str!("../fixtures/go-installation/postgres.yaml")),
    ("full", include_str!("../fixtures/go-installation/full.yaml")),
];
/// Their names.
pub(crate) const TENANTS: [&str; 3] = ["plain", "postgres", "full"];

/// An API server and stores with everything that the Go operator had made for its three tenants.
pub(crate) async fn left_by_go() -> Lane {
    let api = Box::leak(Box::new(ApiServer::start_with(Release::V1_34, SERVICES).await.unwrap()));
    let mut lane = Lane::alone_on(api).await.unwrap();
    NAMESPACE.clone_into(&mut lane.namespace);
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } })).unwrap();
    let namespaces = Api::<Namespace>::all(lane.client.clone());
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let postgres = stores::postgres().await;
    stores::put(&lane, postgres).await;
    for (tenant, text) in FILES {
        let text = text
            .replace(ETCD, &lane.etcd.endpoint().to_string())
            .replace(POSTGRES, &postgres.endpoint().to_string());
        let list: Value = serde_saphyr::from_str(&text).unwrap();
        let objects = list["items"].as_array().unwrap().clone();
        recreate(&lane, tenant, objects, &postgres.endpoint().to_string()).await;
    }
    lane
}

/// An operator that takes the installation over. Authorities of these tests last for a day only.
pub(crate) async fn operator(lane: &Lane) -> Operator {
    let mut options = options();
    options.settings.renew_before = jiff::SignedDuration::from_hours(1);
    lane.operator_with(Wire::without(&["events"]), options).await.unwrap()
}

async fn recreate(lane: &Lane, tenant: &str, mut objects: Vec<Value>, postgres: &str) {
    let at =
        |objects: &[Value], kind: &str| objects.iter().position(|object| object["kind"] == kind).unwrap();
    let mut tcp = objects.remove(at(&objects, "TenantControlPlane"));
    let setup = tcp["status"]["storage"]["setup"].clone();
    let name = setup["schema"].as_str().unwrap().to_owned();
    let deployment = at(&objects, "Deployment");
    for (child, change) in
        [("config", Change::Address(postgres)), ("certificate", Change::Issue(lane, &name))]
    {
        let found = objects
            .iter_mut()
            .find(|object| object["metadata"]["name"] == format!("{tenant}-datastore-{child}"));
        let Some(sum) = changed(found.unwrap(), tenant, &change) else { continue };
        objects[deployment]["spec"]["template"]["metadata"]["annotations"]
            [format!("storage.kamaji.clastix.io/{child}")] = json!(sum);
        tcp["status"]["storage"][child]["checksum"] = json!(sum);
        if child == "config" {
            tcp["status"]["storage"]["setup"]["checksum"] = json!(sum);
        }
    }
    if tenant == "postgres" {
        let secret = objects.iter().find(|object| object["metadata"]["name"] == "postgres-datastore-config");
        let password = text(secret.unwrap(), "DB_PASSWORD");
        stores::postgres().await.make_as_go(&name, &password).await.unwrap();
    } else {
        stores::etcd_account(lane, &name).await;
    }
    let made = put(lane, &tcp).await;
    for mut object in objects {
        if let Some(owner) = object["metadata"]["ownerReferences"].get_mut(0) {
            owner["uid"] = json!(made.uid());
        }
        put(lane, &object).await;
    }
}

/// What of the original cannot be had here.
enum Change<'a> {
    /// Another address of PostgreSQL.
    Address(&'a str),
    /// A certificate of another etcd's authority.
    Issue(&'a Lane, &'a str),
}

/// The Secret is as the Go operator would have written it here; returns its checksum if it is changed.
fn changed(object: &mut Value, tenant: &str, change: &Change<'_>) -> Option<String> {
    let mut secret: Secret = serde_json::from_value(object.clone()).unwrap();
    let data = secret.data.get_or_insert_default();
    let mut set = |key: &str, text: &str| data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
    match change {
        Change::Address(address) if tenant == "postgres" => drop(set("DB_CONNECTION_STRING", address)),
        Change::Issue(lane, user) if tenant != "postgres" => {
            let authority = lane.etcd.authority();
            let pair = stores::client(authority, user);
            set("ca.crt", authority.certificate().pem());
            set("server.crt", pair.certificate().pem());
            set("server.key", pair.key().pem());
        }
        _ => return None,
    }
    let sum = checksum::of_go(data);
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert("kamaji.clastix.io/checksum".to_owned(), sum.clone());
    *object = serde_json::to_value(secret).unwrap();
    object["kind"] = json!("Secret");
    object["apiVersion"] = json!("v1");
    Some(sum)
}

fn text(secret: &Value, key: &str) -> String {
    let secret: Secret = serde_json::from_value(secret.clone()).unwrap();
    String::from_utf8(secret.data.unwrap()[key].0.clone()).unwrap()
}

/// The object exists as the Go operator wrote it, with its status.
async fn put(lane: &Lane, object: &Value) -> DynamicObject {
    let (group, version) = object["apiVersion"].as_str().unwrap().split_once('/').unwrap_or(("", "v1"));
    let kind = GroupVersionKind::gvk(group, version, object["kind"].as_str().unwrap());
    let api: Api<DynamicObject> =
        Api::namespaced_with(lane.client.clone(), NAMESPACE, &ApiResource::from_gvk(&kind));
    let params = PostParams { field_manager: Some("kamaji".to_owned()), ..PostParams::default() };
    let made: DynamicObject = serde_json::from_value(object.clone()).unwrap();
    let made = api.create(&params, &made).await.unwrap();
    let Some(mut status) = object.get("status").cloned() else { return made };
    // What it says of a generation is of the newest one.
    if status.get("observedGeneration").is_some() {
        status["observedGeneration"] = json!(made.metadata.generation);
    }
    let params = PatchParams { field_manager: Some("kamaji".to_owned()), ..PatchParams::default() };
    api.patch_status(&made.name_any(), &params, &Patch::Merge(&json!({ "status": status }))).await.unwrap();
    made
}

/// Everything about the installation that must not change.
#[derive(Debug, PartialEq)]
pub(crate) struct State {
    /// By name of the Secret: its data.
    pub(crate) secrets: BTreeMap<String, BTreeMap<String, ByteString>>,
    /// By tenant: generation, and how the Pods are made.
    pub(crate) deployments: BTreeMap<String, (Option<i64>, Value)>,
    /// By kind and name: UID, labels and finalizers.
    pub(crate) metadata: BTreeMap<String, Value>,
    /// By tenant: addresses and ports of its Service.
    pub(crate) services: BTreeMap<String, Value>,
}

pub(crate) async fn state(lane: &Lane) -> State {
    let children = lane.children().await.unwrap();
    let metadata = children.into_iter().map(|(name, meta)| {
        let value = json!({ "uid": meta.uid, "labels": meta.labels, "finalizers": meta.finalizers });
        (name, value)
    });
    let mut deployments = BTreeMap::new();
    let mut services = BTreeMap::new();
    for tenant in TENANTS {
        let deployment: Deployment = lane.objects().get(tenant).await.unwrap();
        let template = serde_json::to_value(&deployment.spec.template).unwrap();
        deployments.insert(tenant.to_owned(), (deployment.metadata.generation, template));
        let service: k8s_openapi::api::core::v1::Service = lane.objects().get(tenant).await.unwrap();
        services.insert(tenant.to_owned(), serde_json::to_value(&service.spec).unwrap());
    }
    let secrets = lane.objects::<Secret>().list(&kube::api::ListParams::default()).await.unwrap();
    let ours =
        |secret: &Secret| TENANTS.iter().any(|tenant| secret.name_any().starts_with(&format!("{tenant}-")));
    State {
        secrets: secrets
            .into_iter()
            .filter(ours)
            .map(|secret| (secret.name_any(), secret.data.unwrap_or_default()))
            .collect(),
        deployments,
        metadata: metadata.collect(),
        services,
    }
}

/// Every tenant has been looked at by our operator, to the end.
pub(crate) async fn settled(lane: &Lane, operator: &Operator) {
    for tenant in TENANTS {
        let placed = |tcp: &TenantControlPlane| {
            kamaji_e2e::operator::condition(tcp, "ControlPlane") == "True/RolledOut"
        };
        lane.tenant_that(tenant, "taken over", placed).await.unwrap();
    }
    operator.silence(crate::SILENCE).await.unwrap();
}
