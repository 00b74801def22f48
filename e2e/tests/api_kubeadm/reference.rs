//! What the real kubeadm leaves in a cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kamaji_addons::{Identity, Interior, Object};
use kube::core::ObjectMeta;
use serde_json::json;

use crate::lab::{Lab, document, is_written_by, kinds, objects};

/// Where kubeadm registers itself; any name will do.
const NODE: &str = "first";

/// Runs kubeadm's phases with what we say of the tenant, takes what they left out of the cluster, and returns it.
pub(crate) async fn take(lab: &Lab, interior: &Interior) -> BTreeMap<Identity, Object> {
    register_node(lab).await;
    let cluster = document(&objects(interior), "kubeadm-config", "ClusterConfiguration");
    let init = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "localAPIEndpoint": { "advertiseAddress": "192.0.2.1", "bindPort": 6443 },
        "nodeRegistration": { "name": NODE, "criSocket": "unix:///nowhere.sock" },
    });
    let config = lab.folder.write("init.yaml", &format!("{cluster}---\n{init}\n"));
    let files = [("--config", config.as_path()), ("--kubeconfig", lab.api.kubeconfig())];
    lab.kubeadm(&["init", "phase", "upload-config", "all"], &files);
    lab.kubeadm(&["init", "phase", "bootstrap-token", "--skip-token-print"], &files);
    let mut left = BTreeMap::new();
    for resource in kinds() {
        for object in lab.delete(&resource, |object| is_written_by(object, "kubeadm")).await {
            let object = Object { resource: resource.clone(), desired: object };
            left.insert(object.identity(), object);
        }
    }
    left
}

/// Before 1.34 the phase for kubelets notes something on its own node, and waits for a minute until that has this label.
async fn register_node(lab: &Lab) {
    let node = Node {
        metadata: ObjectMeta {
            name: Some(NODE.to_owned()),
            labels: Some([("kubernetes.io/hostname".to_owned(), NODE.to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..Node::default()
    };
    lab.cluster.apply(&node).await.unwrap();
}
