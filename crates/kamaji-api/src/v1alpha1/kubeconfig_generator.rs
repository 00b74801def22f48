use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::embedded;

/// Kubeconfigs to make for every tenant control plane that is selected.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "kamaji.clastix.io",
    version = "v1alpha1",
    kind = "KubeconfigGenerator",
    plural = "kubeconfiggenerators",
    shortname = "kc",
    category = "kamaji",
    status = "KubeconfigGeneratorStatus",
    derive = "PartialEq",
    doc = "Makes a kubeconfig for every tenant control plane that it selects.",
    printcolumn(
        name = "Age",
        type_ = "date",
        description = "Age",
        json_path = ".metadata.creationTimestamp"
    ),
    // The Secrets that it makes bear it as the value of a label, and behind the tenant's name in their own.
    validation = Rule::new("oldSelf.hasValue() || self.metadata.name.size() <= 63")
        .message("the name must have at most 63 characters: it becomes the value of a label")
        .optional_old_self(true)
)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigGeneratorSpec {
    /// Namespaces to look in. Empty means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<LabelSelector>")]
    pub namespace_selector: Option<LabelSelector>,
    /// Tenant control planes to choose. Empty means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::bare::<LabelSelector>")]
    pub tenant_control_plane_selector: Option<LabelSelector>,
    /// Groups of the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub groups: Vec<CompoundValue>,
    /// Name of the user.
    pub user: CompoundValue,
    /// Key of the administrator's kubeconfig Secret whose server address is used.
    #[serde(default = "control_plane_endpoint_from")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub control_plane_endpoint_from: String,
}

/// A value given directly, or taken from a field of the tenant control plane.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.stringValue) ? 1 : 0) + (has(self.fromDefinition) ? 1 : 0) == 1")
        .message("exactly one of stringValue and fromDefinition must be set")
)]
pub struct CompoundValue {
    /// The value itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub string_value: Option<String>,
    /// Path of a field of the TenantControlPlane that holds a string, for example `metadata.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_definition: Option<String>,
}

/// What a generator has made.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KubeconfigGeneratorStatus {
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Number of tenant control planes that are selected.
    #[serde(default)]
    pub resources: i32,
    /// Number of kubeconfigs that are in place.
    #[serde(default)]
    pub available_resources: i32,
    /// What went wrong, by tenant control plane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<GeneratorError>,
    /// What holds, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        schema_with = "embedded::bare::<Vec<Condition>>",
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"])
    )]
    pub conditions: Vec<Condition>,
}

/// What went wrong for one tenant control plane.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GeneratorError {
    /// The tenant control plane, as `namespace/name`.
    #[serde(default)]
    pub resource: String,
    /// What happened.
    #[serde(default)]
    pub message: String,
}

fn control_plane_endpoint_from() -> String {
    "admin.svc".into()
}
