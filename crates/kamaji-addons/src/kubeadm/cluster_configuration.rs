//! The cluster as kubeadm would have been told to make it; `kubeadm join` and `kubeadm upgrade node` read it.

use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_api::tenant::KubeVersion;
use kamaji_resources::kubeadm_config;
use serde_json::Value;

use super::rbac::{BOOTSTRAPPERS, NODES, group, readers};
use super::{Error, metadata, yaml};
use crate::{Interior, Object};

/// Name of the ConfigMap.
pub const NAME: &str = "kubeadm-config";

/// First minor whose kubeadm knows `kubeadm.k8s.io/v1beta4`; those before, down to 1.22, know v1beta3.
const FIRST_V1BETA4: u64 = 31;
/// What v1beta4 has and v1beta3 has not, of what we say.
const YOUNG_FIELDS: [&str; 3] =
    ["encryptionAlgorithm", "certificateValidityPeriod", "caCertificateValidityPeriod"];
/// First minor whose kubeadm tells where etcd serves its health apart from where it serves its data.
const FIRST_HTTP_ENDPOINTS: u64 = 35;

/// The ConfigMap `kubeadm-config` in `kube-system`, and the right of nodes and of tokens to read it.
pub fn objects(interior: &Interior) -> Result<Vec<Object>, Error> {
    let config_map = config_map(interior)?;
    let readers =
        readers("kubeadm:nodes-kubeadm-config", &config_map, vec![group(BOOTSTRAPPERS), group(NODES)]);
    Ok([Object::of(&config_map)].into_iter().chain(readers).collect())
}

/// The ConfigMap with the ClusterConfiguration, in the version of its API that the tenant's kubeadm writes.
pub fn config_map(interior: &Interior) -> Result<ConfigMap, Error> {
    let Interior { tenant, endpoint, storage, .. } = interior;
    let configuration = kubeadm_config::cluster_configuration(tenant, endpoint, storage);
    let text = yaml(NAME, &as_known_by(&tenant.version, configuration))?;
    Ok(ConfigMap {
        metadata: metadata(Some("kube-system"), NAME),
        data: Some([("ClusterConfiguration".to_owned(), text)].into()),
        ..ConfigMap::default()
    })
}

fn as_known_by(version: &KubeVersion, mut configuration: Value) -> Value {
    if let Some(fields) = configuration.as_object_mut().filter(|_| version.minor() < FIRST_V1BETA4) {
        fields.insert("apiVersion".to_owned(), "kubeadm.k8s.io/v1beta3".into());
        fields.retain(|name, _| !YOUNG_FIELDS.contains(&name.as_str()));
    }
    if version.minor() >= FIRST_HTTP_ENDPOINTS {
        let etcd = &mut configuration["etcd"]["external"];
        etcd["httpEndpoints"] = etcd["endpoints"].clone();
    }
    configuration
}
