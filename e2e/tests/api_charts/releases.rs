//! Releases over time: upgrades keep what must be kept.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{apps::v1::StatefulSet, core::v1::Secret, storage::v1::StorageClass},
};
use kamaji_e2e::api_server::ApiServer;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};

use serde_json::json;

use super::{NAMESPACE, chart, helm, outcome};

/// A cluster in which nothing runs: enough for what helm itself does.
struct Releases {
    api: ApiServer,
}

impl Releases {
    async fn start() -> Self {
        Self { api: ApiServer::start().await.unwrap() }
    }

    fn helm(&self, arguments: &[&str]) -> Result<String, String> {
        let kubeconfig = self.api.kubeconfig().display().to_string();
        outcome(&helm(&[&["--kubeconfig", &kubeconfig, "--namespace", NAMESPACE], arguments].concat()))
    }

    fn upgrade(&self, name: &str, settings: &[&str]) -> Result<String, String> {
        let chart = chart(name).display().to_string();
        let mut arguments = vec!["upgrade", "--install", name, &chart, "--create-namespace"];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        self.helm(&arguments)
    }

    async fn secret(&self, name: &str) -> BTreeMap<String, ByteString> {
        let secrets = Api::<Secret>::namespaced(self.api.client().await.unwrap(), NAMESPACE);
        secrets.get(name).await.unwrap().data.unwrap()
    }
}

#[tokio::test]
async fn an_upgrade_keeps_the_certificates() {
    let cluster = Releases::start().await;
    cluster.upgrade("kamaji-crds", &[]).unwrap();
    cluster.upgrade("kamaji", &[]).unwrap();
    let certs = cluster.secret("kamaji-etcd-certs").await;
    let root = cluster.secret("kamaji-etcd-root-client-certs").await;

    cluster.upgrade("kamaji", &["image.tag=next", "replicaCount=2"]).unwrap();
    assert!(cluster.secret("kamaji-etcd-certs").await == certs, "certificates changed without a reason");
    assert!(
        cluster.secret("kamaji-etcd-root-client-certs").await == root,
        "root's certificate changed without a reason"
    );

    cluster.upgrade("kamaji", &["kamaji-etcd.clusterDomain=other.local"]).unwrap();
    let renamed = cluster.secret("kamaji-etcd-certs").await;
    let same = |key: &str| renamed[key] == certs[key];
    assert!(same("ca.crt") && same("ca.key"), "other names are no reason for another authority");
    assert!(!same("server.crt") && !same("peer.crt"), "other names need other certificates");
    assert!(cluster.secret("kamaji-etcd-root-client-certs").await == root, "root has no names");
}

#[tokio::test]
async fn claims_are_used_where_the_cluster_can_fill_them() {
    let cluster = Releases::start().await;
    cluster.upgrade("kamaji-crds", &[]).unwrap();
    let client = cluster.api.client().await.unwrap();
    let etcd = Api::<StatefulSet>::namespaced(client.clone(), NAMESPACE);
    let claimed = async || etcd.get("kamaji-etcd").await.unwrap().spec.volume_claim_templates.is_some();

    let told = cluster.upgrade("kamaji", &[]).unwrap();
    assert!(!claimed().await && told.contains("no default StorageClass"), "{told}");
    let class: StorageClass = serde_json::from_value(json!({
        "metadata": { "name": "standard", "annotations": { "storageclass.kubernetes.io/is-default-class": "true" } },
        "provisioner": "example.com/disk",
    }))
    .unwrap();
    Api::<StorageClass>::all(client).create(&PostParams::default(), &class).await.unwrap();
    cluster.upgrade("kamaji", &["image.tag=next"]).unwrap();
    assert!(!claimed().await, "what was installed stays");

    cluster.helm(&["uninstall", "kamaji"]).unwrap();
    let told = cluster.upgrade("kamaji", &[]).unwrap();
    assert!(claimed().await && !told.contains("WARNING"), "{told}");
    cluster.upgrade("kamaji", &["image.tag=next"]).unwrap();
}

#[tokio::test]
async fn members_of_etcd_are_neither_added_nor_removed() {
    let cluster = Releases::start().await;
    cluster.upgrade("kamaji-crds", &[]).unwrap();
    cluster.upgrade("kamaji", &["kamaji-etcd.replicas=3"]).unwrap();
    let complaint = cluster.upgrade("kamaji", &["kamaji-etcd.replicas=1"]).unwrap_err();
    assert!(
        complaint.contains("was installed with 3 members") && complaint.contains("set it back to 3"),
        "{complaint}"
    );
    cluster.upgrade("kamaji", &["kamaji-etcd.replicas=3", "image.tag=next"]).unwrap();
}

#[tokio::test]
async fn the_definitions_are_needed_first_and_stay_last() {
    let cluster = Releases::start().await;
    let complaint = cluster.upgrade("kamaji", &[]).unwrap_err();
    assert!(complaint.contains("ensure CRDs are installed first"), "{complaint}");
    cluster.upgrade("kamaji-crds", &[]).unwrap();
    cluster.upgrade("kamaji", &[]).unwrap();
    for release in ["kamaji", "kamaji-crds"] {
        cluster.helm(&["uninstall", release]).unwrap();
    }
    let kind = ApiResource::erase::<kamaji_api::v1alpha1::DataStore>(&());
    let stores = Api::<DynamicObject>::all_with(cluster.api.client().await.unwrap(), &kind);
    assert!(
        stores.get_opt("default").await.unwrap().is_some(),
        "only a running operator can let go of a DataStore"
    );
    // The same releases can come back.
    cluster.upgrade("kamaji-crds", &[]).unwrap();
    cluster.upgrade("kamaji", &[]).unwrap();
}
