//! What everybody may know: where the API server is, and whose signature it shows.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use super::rbac::{readers, user};
use super::{Error, metadata, yaml};
use crate::{Interior, Object};

/// Name of the ConfigMap (`k8s.io/cluster-bootstrap/token/api.ConfigMapClusterInfo`).
pub const NAME: &str = "cluster-info";

/// The ConfigMap `cluster-info` in `kube-public`, and the right of everybody to read it.
pub fn objects(interior: &Interior) -> Result<Vec<Object>, Error> {
    let config_map = config_map(interior)?;
    let readers =
        readers("kubeadm:bootstrap-signer-clusterinfo", &config_map, vec![user("system:anonymous")]);
    Ok([Object::of(&config_map)].into_iter().chain(readers).collect())
}

/// The ConfigMap with a kubeconfig that has no user.
///
/// That is its only key of ours: kube-controller-manager adds a signature for each token (`jws-kubeconfig-<id>`), and
/// without these nobody can join.
pub fn config_map(interior: &Interior) -> Result<ConfigMap, Error> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "",
            "cluster": {
                "certificate-authority-data": ByteString(interior.authority.clone().into_bytes()),
                "server": interior.endpoint.url(),
            },
        }],
        "contexts": null,
        "current-context": "",
        "users": null,
    });
    Ok(ConfigMap {
        metadata: metadata(Some("kube-public"), NAME),
        data: Some([("kubeconfig".to_owned(), yaml(NAME, &kubeconfig)?)].into()),
        ..ConfigMap::default()
    })
}
