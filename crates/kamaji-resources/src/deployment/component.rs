use k8s_openapi::api::core::v1::{Container, ResourceRequirements, SecurityContext, VolumeMount};
use kamaji_api::v1alpha1::{ControlPlaneProbes, DeploymentSpec, ProbeSet};

use super::probes::{self, Health};

/// One of the programs of a control plane: what is ours to say about its container.
pub(super) struct Component<'a> {
    pub(super) name: &'static str,
    pub(super) image: &'a str,
    pub(super) health: Health,
    pub(super) arguments: Vec<String>,
    pub(super) mounts: Vec<VolumeMount>,
    /// The security context where the user wishes for none.
    pub(super) security: SecurityContext,
}

/// What the user wishes for one component.
#[derive(Default)]
pub(super) struct Wish<'a> {
    pub(super) arguments: &'a [String],
    pub(super) resources: Option<&'a ResourceRequirements>,
    pub(super) mounts: &'a [VolumeMount],
    pub(super) probes: Option<&'a ProbeSet>,
    pub(super) security: Option<&'a SecurityContext>,
}

/// Reads the wishes for the component of this name out of the groups in which the spec keeps them.
macro_rules! wish {
    ($deployment:expr, $component:ident) => {{
        let deployment: &DeploymentSpec = $deployment;
        Wish {
            arguments: deployment.extra_args.as_ref().map_or(&[], |all| all.$component.as_slice()),
            resources: deployment.resources.as_ref().and_then(|all| all.$component.as_ref()),
            mounts: deployment.additional_volume_mounts.as_ref().map_or(&[], |all| all.$component.as_slice()),
            probes: deployment.probes.as_ref().and_then(|all| all.$component.as_ref()),
            security: deployment.container_security_contexts.as_ref().and_then(|all| all.$component.as_ref()),
        }
    }};
}

impl<'a> Wish<'a> {
    pub(super) fn api_server(deployment: &'a DeploymentSpec) -> Self {
        wish!(deployment, api_server)
    }

    pub(super) fn controller_manager(deployment: &'a DeploymentSpec) -> Self {
        wish!(deployment, controller_manager)
    }

    pub(super) fn scheduler(deployment: &'a DeploymentSpec) -> Self {
        wish!(deployment, scheduler)
    }

    /// There are no mounts, probes and security context of kine's to wish for.
    pub(super) fn kine(deployment: &'a DeploymentSpec) -> Self {
        Self {
            arguments: deployment.extra_args.as_ref().map_or(&[], |all| all.kine.as_slice()),
            resources: deployment.resources.as_ref().and_then(|all| all.kine.as_ref()),
            ..Self::default()
        }
    }
}

impl Component<'_> {
    /// The container, with the user's mounts before ours. `all` is what the user wishes for the probes of every component.
    pub(super) fn container(self, wish: &Wish<'_>, all: Option<&ControlPlaneProbes>) -> Container {
        let probes = probes::build(&self.health, all, wish.probes);
        Container {
            name: self.name.into(),
            image: Some(self.image.into()),
            image_pull_policy: Some("IfNotPresent".into()),
            command: Some(vec![self.name.into()]),
            args: Some(self.arguments),
            resources: wish.resources.cloned(),
            liveness_probe: Some(probes.liveness),
            readiness_probe: Some(probes.readiness),
            startup_probe: Some(probes.startup),
            volume_mounts: Some(wish.mounts.iter().cloned().chain(self.mounts).collect()),
            security_context: Some(wish.security.cloned().unwrap_or(self.security)),
            ..Container::default()
        }
    }
}
