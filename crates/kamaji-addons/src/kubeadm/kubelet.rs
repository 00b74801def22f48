//! The configuration that every kubelet is given when its node joins (`kubelet.config.k8s.io/v1beta1`
//! KubeletConfiguration).

use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_api::Tenant;
use kamaji_api::tenant::KubeVersion;
use kamaji_api::v1alpha1::CgroupDriver;
use serde_json::{Value, json};

use super::rbac::{BOOTSTRAPPERS, NODES, group, readers};
use super::{Error, PatchProblem, metadata, patch, yaml};
use crate::Object;

/// First minor that keeps the configuration under one name for all versions.
const FIRST_UNVERSIONED: u64 = 24;

const API_VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const KIND: &str = "KubeletConfiguration";

/// Fields that kubeadm writes out empty, and the minor whose kubeadm was the first to do so.
///
/// From 1.32 to 1.36 nothing came or went. An empty field means the same as none, but a kubelet that does not know it
/// warns, and falls back to reading its file leniently, so that the user's own mistakes pass unnoticed.
const EMPTY_SINCE: [(u64, &str, &str); 4] = [
    (32, "", "crashLoopBackOff"),
    (30, "/logging/options", "text"),
    (29, "", "imageMaximumGCAge"),
    (27, "", "containerRuntimeEndpoint"),
];

/// The ConfigMap `kubelet-config` in `kube-system`, and the right of nodes and of tokens to read it.
pub fn objects(tenant: &Tenant) -> Result<Vec<Object>, Error> {
    let config_map = config_map(tenant)?;
    let role = format!("kubeadm:{}", name(&tenant.version));
    let readers = readers(&role, &config_map, vec![group(NODES), group(BOOTSTRAPPERS)]);
    Ok([Object::of(&config_map)].into_iter().chain(readers).collect())
}

/// The ConfigMap with the configuration.
pub fn config_map(tenant: &Tenant) -> Result<ConfigMap, Error> {
    let text = yaml("kubelet-config", &configuration(tenant)?)?;
    Ok(ConfigMap {
        metadata: metadata(Some("kube-system"), &name(&tenant.version)),
        data: Some([("kubelet".to_owned(), text)].into()),
        ..ConfigMap::default()
    })
}

/// The configuration: what kubeadm of the tenant's minor writes, then what the tenant says, then the user's patches.
///
/// Durations of `0s`, empty texts and empty objects stand for the kubelet's own default.
pub fn configuration(tenant: &Tenant) -> Result<Value, Error> {
    let patched = patch::apply(unpatched(tenant), &tenant.kubelet.configuration_json_patches)?;
    if patched["apiVersion"] == API_VERSION && patched["kind"] == KIND {
        Ok(patched)
    } else {
        Err(Error::Patches(PatchProblem::NotKubelet))
    }
}

/// Name of the ConfigMap (`k8s.io/kubernetes/cmd/kubeadm/app/constants.KubeletBaseConfigurationConfigMap`).
fn name(version: &KubeVersion) -> String {
    if version.minor() < FIRST_UNVERSIONED {
        format!("kubelet-config-1.{}", version.minor())
    } else {
        "kubelet-config".to_owned()
    }
}

fn unpatched(tenant: &Tenant) -> Value {
    let mut configuration = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "cacheTTL": "0s", "enabled": true },
            "x509": { "clientCAFile": "/etc/kubernetes/pki/ca.crt" },
        },
        "authorization": {
            "mode": "Webhook",
            "webhook": { "cacheAuthorizedTTL": "0s", "cacheUnauthorizedTTL": "0s" },
        },
        // What kubeadm assumes when it is told nothing. A runtime that names its own driver wins over it.
        "cgroupDriver": tenant.kubelet.cgroupfs.unwrap_or(CgroupDriver::Systemd),
        "clusterDNS": tenant.network.dns_service_ips,
        "clusterDomain": tenant.network.cluster_domain,
        "containerRuntimeEndpoint": "",
        "cpuManagerReconcilePeriod": "0s",
        "crashLoopBackOff": {},
        "evictionPressureTransitionPeriod": "0s",
        "fileCheckFrequency": "0s",
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "httpCheckFrequency": "0s",
        "imageMaximumGCAge": "0s",
        "imageMinimumGCAge": "0s",
        "logging": {
            "flushFrequency": 0,
            "options": { "json": { "infoBufferSize": "0" }, "text": { "infoBufferSize": "0" } },
            "verbosity": 0,
        },
        "memorySwap": {},
        "nodeStatusReportFrequency": "0s",
        "nodeStatusUpdateFrequency": "0s",
        "rotateCertificates": true,
        "runtimeRequestTimeout": "0s",
        "shutdownGracePeriod": "0s",
        "shutdownGracePeriodCriticalPods": "0s",
        "staticPodPath": "/etc/kubernetes/manifests",
        "streamingConnectionIdleTimeout": "0s",
        "syncFrequency": "0s",
        "volumeStatsAggPeriod": "0s",
    });
    let unknown = EMPTY_SINCE.iter().filter(|(since, ..)| tenant.version.minor() < *since);
    for (_, parent, field) in unknown {
        if let Some(fields) = configuration.pointer_mut(parent).and_then(Value::as_object_mut) {
            fields.remove(*field);
        }
    }
    configuration
}
