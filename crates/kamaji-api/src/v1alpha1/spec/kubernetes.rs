use kube::KubeSchema;
use kube::core::Rule;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{tenant::KubeVersion, v1alpha1::embedded};

/// A release of Kubernetes 1, with an optional pre-release part.
const VERSION_PATTERN: &str = r"^v1[.][0-9]{1,4}[.][0-9]{1,4}(-[0-9A-Za-z-]+([.][0-9A-Za-z-]+)*)?$";

/// Minor versions never go down, but back to the one whose behaviour was kept.
const NO_WAY_BACK: &str = "!self.version.matches(PATTERN) || !oldSelf.version.matches(PATTERN) || \
    int(self.version.split('.')[1]) >= int(oldSelf.version.split('.')[1]) || \
    (has(oldSelf.emulatedVersion) && oldSelf.emulatedVersion.matches(PATTERN) && \
    int(self.version.split('.')[1]) == int(oldSelf.emulatedVersion.split('.')[1]))";

/// What is kept is the minor version before, or the same, which keeps nothing.
const ONE_BEFORE: &str = "!has(self.emulatedVersion) || !self.version.matches(PATTERN) || !self.emulatedVersion.matches(PATTERN) || \
    int(self.version.split('.')[1]) - int(self.emulatedVersion.split('.')[1]) in [0, 1]";

/// A rule about versions, with the pattern that they match.
fn about_versions(rule: &str) -> Rule {
    Rule::new(rule.replace("PATTERN", &format!("'{VERSION_PATTERN}'")))
}

/// Kubernetes itself: version, admission plugins, kubelet settings.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = about_versions(NO_WAY_BACK)
        .message("going back to an older minor version is not supported, but to the one that emulatedVersion names"),
    validation = about_versions(ONE_BEFORE)
        .message("emulatedVersion must be of the minor version before spec.kubernetes.version")
)]
pub struct KubernetesSpec {
    /// Kubernetes version, for example `v1.34.4`. It may go up by one minor version at a time, and down only to `emulatedVersion`.
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = about_versions("self.matches(PATTERN)")
            .message("the version must look like v1.34.4"),
        validation = about_versions(&format!("!self.matches(PATTERN) || int(self.split('.')[1]) <= {}", KubeVersion::NEWEST_MINOR))
            .message(Message::Expression(format!("'the newest supported minor version is v1.{}, got ' + self", KubeVersion::NEWEST_MINOR))),
        validation = about_versions("!self.matches(PATTERN) || !oldSelf.matches(PATTERN) || int(self.split('.')[1]) <= int(oldSelf.split('.')[1]) + 1")
            .message("minor versions cannot be skipped: go up by one at a time")
    )]
    pub version: String,
    /// Version whose behaviour is kept while an upgrade by one minor version is tried out, for example `v1.34.4`: set it together
    /// with the new `version`. Until it is removed, the new programs serve the APIs and features of this one, what runs on the
    /// nodes stays at this one, and `version` may go back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(
        validation = about_versions("self.matches(PATTERN)")
            .message("the version must look like v1.34.4")
    )]
    pub emulated_version: Option<String>,
    /// Settings of the kubelets that join.
    pub kubelet: KubeletSpec,
    /// Admission plugins that the API server enables beside its own defaults.
    #[serde(default = "AdmissionController::defaults")]
    pub admission_controllers: Vec<AdmissionController>,
}

/// Settings of the kubelets that join.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KubeletSpec {
    /// Changes to the KubeletConfiguration, as JSON patch operations (RFC 6902), applied in this order.
    #[serde(default, rename = "configurationJSONPatches", skip_serializing_if = "Vec::is_empty")]
    pub configuration_json_patches: Vec<JsonPatchOperation>,
    /// Order in which the API server tries a node's address types.
    #[serde(default = "AddressType::defaults")]
    #[schemars(length(min = 1), extend("x-kubernetes-list-type" = "set"))]
    pub preferred_address_types: Vec<AddressType>,
    /// Cgroup driver of the kubelets. Deprecated: use `configurationJSONPatches`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroupfs: Option<CgroupDriver>,
}

impl Default for KubeletSpec {
    fn default() -> Self {
        Self {
            configuration_json_patches: Vec::new(),
            preferred_address_types: AddressType::defaults(),
            cgroupfs: None,
        }
    }
}

/// One operation of a JSON patch (RFC 6902).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JsonPatchOperation {
    /// What to do.
    pub op: JsonPatchVerb,
    /// Where to do it, as a JSON pointer.
    pub path: String,
    /// Where to move or copy from, as a JSON pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The value to add, replace or test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "embedded::arbitrary_json")]
    pub value: Option<serde_json::Value>,
}

/// Verb of a JSON patch operation (RFC 6902).
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of RFC 6902")]
pub enum JsonPatchVerb {
    Add,
    Remove,
    Replace,
    Move,
    Copy,
    Test,
}

/// Type of a node's address.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of Kubernetes' NodeAddressType")]
pub enum AddressType {
    Hostname,
    #[serde(rename = "InternalIP")]
    InternalIp,
    #[serde(rename = "ExternalIP")]
    ExternalIp,
    #[serde(rename = "InternalDNS")]
    InternalDns,
    #[serde(rename = "ExternalDNS")]
    ExternalDns,
}

impl AddressType {
    /// Addresses inside the nodes' network first.
    pub fn defaults() -> Vec<Self> {
        vec![Self::InternalIp, Self::ExternalIp, Self::Hostname]
    }

    /// The word used in flags and on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hostname => "Hostname",
            Self::InternalIp => "InternalIP",
            Self::ExternalIp => "ExternalIP",
            Self::InternalDns => "InternalDNS",
            Self::ExternalDns => "ExternalDNS",
        }
    }
}

/// Cgroup driver of a kubelet.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are those of the kubelet")]
pub enum CgroupDriver {
    Systemd,
    Cgroupfs,
}

/// Declares the admission plugins that may be named, so that name, schema and flag come from one list.
macro_rules! admission_controllers {
    ($($name:ident),* $(,)?) => {
        /// An admission plugin of kube-apiserver.
        #[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are those of kube-apiserver's plugins")]
        pub enum AdmissionController { $($name),* }

        impl AdmissionController {
            /// The plugin's name in `--enable-admission-plugins`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }
        }
    };
}

admission_controllers![
    AlwaysAdmit,
    AlwaysDeny,
    AlwaysPullImages,
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
    DefaultIngressClass,
    DefaultStorageClass,
    DefaultTolerationSeconds,
    DenyEscalatingExec,
    DenyExecOnPrivileged,
    DenyServiceExternalIPs,
    EventRateLimit,
    ExtendedResourceToleration,
    ImagePolicyWebhook,
    LimitPodHardAntiAffinityTopology,
    LimitRanger,
    MutatingAdmissionWebhook,
    NamespaceAutoProvision,
    NamespaceExists,
    NamespaceLifecycle,
    NodeRestriction,
    OwnerReferencesPermissionEnforcement,
    PersistentVolumeClaimResize,
    PersistentVolumeLabel,
    PodNodeSelector,
    PodSecurity,
    PodSecurityPolicy,
    PodTolerationRestriction,
    Priority,
    ResourceQuota,
    RuntimeClass,
    SecurityContextDeny,
    ServiceAccount,
    StorageObjectInUseProtection,
    TaintNodesByCondition,
    ValidatingAdmissionWebhook,
];

impl AdmissionController {
    /// The plugins of a tenant that names none.
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::CertificateApproval,
            Self::CertificateSigning,
            Self::CertificateSubjectRestriction,
            Self::DefaultIngressClass,
            Self::DefaultStorageClass,
            Self::DefaultTolerationSeconds,
            Self::LimitRanger,
            Self::MutatingAdmissionWebhook,
            Self::NamespaceLifecycle,
            Self::PersistentVolumeClaimResize,
            Self::Priority,
            Self::ResourceQuota,
            Self::RuntimeClass,
            Self::ServiceAccount,
            Self::StorageObjectInUseProtection,
            Self::TaintNodesByCondition,
            Self::ValidatingAdmissionWebhook,
        ]
    }
}
