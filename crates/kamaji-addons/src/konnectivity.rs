//! The tunnel from a tenant's API server to nodes that it cannot reach: the end in the tenant.
//!
//! | Object | |
//! |---|---|
//! | DaemonSet or Deployment `kube-system/konnectivity-agent` | the agents, which dial the server beside the API server |
//! | ServiceAccount `kube-system/konnectivity-agent` | who they are: they show its token to the server |
//! | `ClusterRoleBinding` `system:konnectivity-server` | lets the server ask the API server about such tokens |
//!
//! The other end is [`kamaji_resources::konnectivity`].
//!
//! # Example
//! ```
//! use kamaji_addons::{Interior, konnectivity};
//! use kamaji_api::tenant::{Settings, Tenant};
//! use kamaji_api::v1alpha1::{Driver, KonnectivitySpec};
//! use kamaji_resources::{Endpoint, Storage};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let tcp = serde_json::from_value(serde_json::json!({
//!     "apiVersion": "kamaji.clastix.io/v1alpha1",
//!     "kind": "TenantControlPlane",
//!     "metadata": { "name": "blue", "namespace": "teams", "uid": "4746b6dc-a96d-4b56-9a1c-e561fad1fc10" },
//!     "spec": {
//!         "dataStore": "default",
//!         "controlPlane": { "service": { "serviceType": "ClusterIP" } },
//!         "kubernetes": { "version": "v1.34.4", "kubelet": {} },
//!     },
//! }))?;
//! let address = "192.0.2.10".parse()?;
//! let interior = Interior {
//!     tenant: Tenant::resolve(&tcp, &Settings::default())?,
//!     endpoint: Endpoint { address, advertised: address, port: 6443 },
//!     storage: Storage {
//!         driver: Driver::Etcd,
//!         data_store: "default".to_owned(),
//!         endpoints: vec!["etcd.kamaji-system.svc:2379".to_owned()],
//!         schema: "teams_blue".to_owned(),
//!         user: "teams_blue".to_owned(),
//!     },
//!     authority: "-----BEGIN CERTIFICATE-----\n…".to_owned(),
//! };
//!
//! let spec: KonnectivitySpec = serde_json::from_value(serde_json::json!({
//!     "agent": { "extraArgs": ["-v=4", "--sync-forever=true"] },
//! }))?;
//! let objects = konnectivity::objects(&interior, &spec);
//! let agents = objects.iter().find(|object| object.identity().plural == "daemonsets").ok_or("missing")?;
//! let container = &agents.desired.data["spec"]["template"]["spec"]["containers"][0];
//! assert_eq!(container["image"], "registry.k8s.io/kas-network-proxy/proxy-agent:v0.34.0");
//! let arguments = container["args"].as_array().ok_or("no arguments")?;
//! assert!(arguments.contains(&"--proxy-server-host=192.0.2.10".into()));
//! // The user's arguments win over ours, by the name of the flag.
//! let verbosity: Vec<_> = arguments.iter().filter(|text| text.to_string().contains("v=")).collect();
//! assert_eq!(verbosity, ["-v=4"]);
//! # Ok(())
//! # }
//! ```

mod agent;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::v1alpha1::{KonnectivityAgentMode, KonnectivitySpec};
use kamaji_api::{TenantId, labels};
use kamaji_resources::konnectivity::{AGENT_NAME, SERVER_USER};

use crate::{Interior, Object, kube_system};

/// Everything of the tunnel that is in the tenant. The agents are of one kind: of the other there is nothing.
pub fn objects(interior: &Interior, spec: &KonnectivitySpec) -> Vec<Object> {
    let tenant = &interior.tenant.id;
    let agents = match spec.agent.mode {
        KonnectivityAgentMode::DaemonSet => Object::of(&agent::daemon_set(interior, spec)),
        KonnectivityAgentMode::Deployment => Object::of(&agent::deployment(interior, spec)),
    };
    vec![Object::of(&service_account(tenant)), Object::of(&server_binding(tenant)), agents]
}

fn service_account(tenant: &TenantId) -> ServiceAccount {
    ServiceAccount {
        metadata: component(kube_system::metadata(AGENT_NAME), tenant, "konnectivity-sa"),
        ..ServiceAccount::default()
    }
}

fn server_binding(tenant: &TenantId) -> ClusterRoleBinding {
    let server = kube_system::principal("User", SERVER_USER);
    let binding = kube_system::cluster_role_binding(SERVER_USER, "system:auth-delegator", server);
    let metadata = component(binding.metadata, tenant, "konnectivity-clusterrolebinding");
    ClusterRoleBinding {
        metadata: kube_system::labelled(
            metadata,
            [("kubernetes.io/cluster-service", "true"), ("addonmanager.kubernetes.io/mode", "Reconcile")],
        ),
        ..binding
    }
}

/// The labels that tell what an object is for, as on objects in the management cluster.
fn component(metadata: ObjectMeta, tenant: &TenantId, component: &str) -> ObjectMeta {
    kube_system::labelled(metadata, [(labels::NAME, tenant.name.as_str()), (labels::COMPONENT, component)])
}
