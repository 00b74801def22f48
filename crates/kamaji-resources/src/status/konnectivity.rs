//! The tunnel's end in the management cluster, as the status shows it.

use k8s_openapi::api::core::v1::Service;
use kamaji_api::Child;
use kamaji_api::v1alpha1::{AddonsStatus, ExternalObject, KonnectivitySpec, KonnectivityStatus};

use super::{Facts, Stamp, service_report};

impl Stamp<'_> {
    /// What is known of the add-ons, with the tunnel's end in the management cluster as this pass left it.
    pub(super) fn tunnelled(&self, mut addons: AddonsStatus, facts: &Facts) -> AddonsStatus {
        // Until the Pods are what the spec says, the tunnel is as it was.
        if facts.deployment.is_none() {
            return addons;
        }
        addons.konnectivity = match (&self.tenant.addons.konnectivity, addons.konnectivity.take()) {
            (Some(wish), known) => Some(self.tunnel(wish, known.unwrap_or_default(), facts.service.as_ref())),
            (None, known) => known.map(without_tunnel),
        };
        addons
    }

    fn tunnel(
        &self,
        wish: &KonnectivitySpec,
        known: KonnectivityStatus,
        service: Option<&Service>,
    ) -> KonnectivityStatus {
        KonnectivityStatus {
            enabled: true,
            config_map: self.checksums.get(&Child::EgressSelector).map(|sum| ExternalObject {
                name: Some(Child::EgressSelector.name(&self.tenant.id.name)),
                checksum: Some(sum.clone()),
                ..ExternalObject::default()
            }),
            certificate: self.secret(Child::KonnectivityCertificate, known.certificate),
            kubeconfig: self.secret(Child::KonnectivityKubeconfig, known.kubeconfig),
            service: service.map(|service| service_report(self.tenant, service, wish.server.port)),
            ..known
        }
    }
}

/// What is told of the tenant's inside stays: that is not ours to take back here.
fn without_tunnel(known: KonnectivityStatus) -> KonnectivityStatus {
    KonnectivityStatus {
        enabled: false,
        config_map: None,
        certificate: None,
        kubeconfig: None,
        service: None,
        ..known
    }
}
