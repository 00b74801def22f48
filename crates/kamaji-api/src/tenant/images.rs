use super::KubeVersion;
use crate::v1alpha1::RegistrySettings;

/// Images of the three components, complete with registry and tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Image of kube-apiserver.
    pub api_server: String,
    /// Image of kube-controller-manager.
    pub controller_manager: String,
    /// Image of kube-scheduler.
    pub scheduler: String,
}

impl Images {
    pub(super) fn resolve(registry: &RegistrySettings, version: &KubeVersion) -> Self {
        let image = |name: &str| format!("{}/{name}:{version}{}", registry.registry, registry.tag_suffix);
        Self {
            api_server: image(&registry.api_server_image),
            controller_manager: image(&registry.controller_manager_image),
            scheduler: image(&registry.scheduler_image),
        }
    }
}
