use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::{
    AddonsSpec, ControlPlaneSpec, DataStoreOverride, KubernetesSpec, NetworkProfileSpec,
    TenantControlPlaneStatus, WritePermissions,
};

/// Names that stay what they are through quoting, paths and patterns. Each driver has its own limit of length besides.
const ACCOUNT_PATTERN_RULE: &str = "self.matches('^[A-Za-z0-9][A-Za-z0-9_-]*$')";

/// Databases and users that stores come with, or that their administrators use. No tenant may claim them.
const ACCOUNT_RESERVED_RULE: &str = "!(self.lowerAscii() in ['admin', 'information_schema', 'kine', 'mariadb', 'mysql', 'nats', 'performance_schema', 'postgres', 'public', 'root', 'sys', 'system', 'template0', 'template1']) && !self.lowerAscii().startsWith('pg_')";

/// A kind of objects that is named twice is in the same store both times.
const ONE_STORE_RULE: &str = "self.all(a, !has(a.resource) || !has(a.dataStore) || self.all(b, !has(b.resource) || a.resource != b.resource || !has(b.dataStore) || a.dataStore == b.dataStore))";

/// What a tenant control plane should be.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "kamaji.clastix.io",
    version = "v1alpha1",
    kind = "TenantControlPlane",
    plural = "tenantcontrolplanes",
    shortname = "tcp",
    category = "kamaji",
    namespaced,
    status = "TenantControlPlaneStatus",
    derive = "PartialEq",
    doc = "A Kubernetes control plane that runs as Pods in this cluster.",
    scale(
        spec_replicas_path = ".spec.controlPlane.deployment.replicas",
        status_replicas_path = ".status.kubernetesResources.deployment.replicas",
        label_selector_path = ".status.kubernetesResources.deployment.selector"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        description = "Kubernetes version that is wanted",
        json_path = ".spec.kubernetes.version"
    ),
    printcolumn(
        name = "Installed Version",
        type_ = "string",
        description = "Kubernetes version that runs",
        json_path = ".status.kubernetesResources.version.version"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        description = "Phase",
        json_path = ".status.kubernetesResources.version.status"
    ),
    printcolumn(
        name = "Control-Plane endpoint",
        type_ = "string",
        description = "Address of the API server",
        json_path = ".status.controlPlaneEndpoint"
    ),
    printcolumn(
        name = "Kubeconfig",
        type_ = "string",
        description = "Secret with the administrator's kubeconfig",
        json_path = ".status.kubeconfig.admin.secretName"
    ),
    printcolumn(
        name = "Datastore",
        type_ = "string",
        description = "DataStore that holds the data",
        json_path = ".status.storage.dataStoreName"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        description = "Age",
        json_path = ".metadata.creationTimestamp"
    ),
    // Children are named after the object, and a Service's name must be a DNS label. Names cannot change: asked at creation only.
    validation = Rule::new("oldSelf.hasValue() || (self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$'))")
        .message("the name must be a DNS label of at most 63 characters that begins with a letter")
        .optional_old_self(true)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.dataStore) || oldSelf.dataStore == '' || (has(self.dataStore) && self.dataStore != '')")
        .message("unsetting the dataStore is not supported: name the DataStore to move to instead"),
    validation = Rule::new("!has(oldSelf.dataStoreSchema) || has(self.dataStoreSchema)")
        .message("unsetting the dataStoreSchema is not supported"),
    validation = Rule::new("!has(oldSelf.dataStoreUsername) || has(self.dataStoreUsername)")
        .message("unsetting the dataStoreUsername is not supported"),
    validation = Rule::new(
        "!has(self.networkProfile.loadBalancerSourceRanges) || size(self.networkProfile.loadBalancerSourceRanges) == 0 || self.controlPlane.service.serviceType == 'LoadBalancer'"
    )
    .message("LoadBalancer source ranges are supported only with LoadBalancer service type"),
    validation = Rule::new(
        "!has(self.networkProfile.loadBalancerClass) || self.controlPlane.service.serviceType == 'LoadBalancer'"
    )
    .message("LoadBalancer class is supported only with LoadBalancer service type"),
    validation = Rule::new(
        "!has(self.controlPlane.service.allocateLoadBalancerNodePorts) || self.controlPlane.service.serviceType == 'LoadBalancer'"
    )
    .message("allocateLoadBalancerNodePorts is supported only with LoadBalancer service type"),
    validation = Rule::new(
        "self.controlPlane.service.serviceType != 'LoadBalancer' || oldSelf.controlPlane.service.serviceType != 'LoadBalancer' || has(self.networkProfile.loadBalancerClass) == has(oldSelf.networkProfile.loadBalancerClass)"
    )
    .message("LoadBalancer class can be neither set nor unset on a service that is of LoadBalancer type already"),
    validation = Rule::new(
        "!has(self.controlPlane.service.additionalPorts) || self.controlPlane.service.additionalPorts.all(p, p.protocol != 'TCP' || p.port != self.networkProfile.port)"
    )
    .message("an additional port of the Service must differ from networkProfile.port, which is the API server's"),
    validation = Rule::new(
        "!has(self.addons) || !has(self.addons.konnectivity) || !has(self.controlPlane.service.additionalPorts) || self.controlPlane.service.additionalPorts.all(p, p.name != 'konnectivity-server' && (p.protocol != 'TCP' || p.port != self.addons.konnectivity.server.port))"
    )
    .message("an additional port of the Service must have neither the name nor the number of the konnectivity server's port"),
    validation = Rule::new(
        "!has(self.addons) || !has(self.addons.konnectivity) || self.addons.konnectivity.server.port != self.networkProfile.port"
    )
    .message("the konnectivity server's port must differ from networkProfile.port, which is the API server's"),
    validation = Rule::new(
        "!has(self.addons) || !has(self.addons.konnectivity) || !(self.networkProfile.port in [8133, 8134])"
    )
    .message("networkProfile.port is taken by konnectivity in the Pod: choose another, such as 6443")
)]
pub struct TenantControlPlaneSpec {
    /// Kinds of writes that the tenant's API server refuses, for example when a quota is used up.
    #[serde(default, skip_serializing_if = "WritePermissions::is_unlimited")]
    pub write_permissions: WritePermissions,

    /// Name of the DataStore that holds this tenant's data. Without it the operator's default is used.
    /// Changing it moves the data to another DataStore, of the same driver or another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_store: Option<String>,

    /// Name of the tenant's database, etcd prefix or bucket in the DataStore. Without it the object's UID is used.
    /// It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("changing the dataStoreSchema is not supported"),
        validation = Rule::new(ACCOUNT_PATTERN_RULE).message("a dataStoreSchema consists of letters, digits, underscores and hyphens, and begins with a letter or digit"),
        validation = Rule::new(ACCOUNT_RESERVED_RULE).message("this dataStoreSchema belongs to the store itself: choose another name, or leave it out to use the object's UID")
    )]
    pub data_store_schema: Option<String>,

    /// Name of the tenant's user in the DataStore. Without it the object's UID is used. It cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("changing the dataStoreUsername is not supported"),
        validation = Rule::new(ACCOUNT_PATTERN_RULE).message("a dataStoreUsername consists of letters, digits, underscores and hyphens, and begins with a letter or digit"),
        validation = Rule::new(ACCOUNT_RESERVED_RULE).message("this dataStoreUsername belongs to the store itself: choose another name, or leave it out to use the object's UID")
    )]
    pub data_store_username: Option<String>,

    /// Kinds of objects that are kept in another DataStore. Only where the DataStore has the etcd driver.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(ONE_STORE_RULE).message("a resource can be kept in one DataStore only: name it once"))]
    pub data_store_overrides: Vec<DataStoreOverride>,

    /// How the control plane runs and is reached.
    pub control_plane: ControlPlaneSpec,

    /// Kubernetes itself: version, admission plugins, kubelet settings.
    pub kubernetes: KubernetesSpec,

    /// Addresses, ports and ranges of the tenant cluster.
    #[serde(default)]
    pub network_profile: NetworkProfileSpec,

    /// What is installed inside the tenant cluster.
    #[serde(default, skip_serializing_if = "AddonsSpec::is_empty")]
    pub addons: AddonsSpec,
}
