use kamaji_api::Child;
use kamaji_api::v1alpha1::{CertificatesStatus, KubeconfigsStatus};

use super::{Facts, Stamp};
use crate::rotation::Record;

impl Stamp<'_> {
    pub(super) fn certificates(
        &self,
        known: Option<CertificatesStatus>,
        facts: &Facts,
    ) -> Option<CertificatesStatus> {
        let known = known.unwrap_or_default();
        let stamped = CertificatesStatus {
            ca: self.secret(Child::Ca, known.ca),
            api_server: self.secret(Child::ApiServer, known.api_server),
            api_server_kubelet_client: self.secret(Child::KubeletClient, known.api_server_kubelet_client),
            front_proxy_ca: self.secret(Child::FrontProxyCa, known.front_proxy_ca),
            front_proxy_client: self.secret(Child::FrontProxyClient, known.front_proxy_client),
            sa: self.secret(Child::ServiceAccountKey, known.sa),
            etcd: known.etcd,
            rotations: match &facts.rotations {
                Some(records) => records.iter().map(Record::status).collect(),
                None => known.rotations,
            },
        };
        (stamped != CertificatesStatus::default()).then_some(stamped)
    }

    pub(super) fn kubeconfigs(&self, known: Option<KubeconfigsStatus>) -> Option<KubeconfigsStatus> {
        let known = known.unwrap_or_default();
        let stamped = KubeconfigsStatus {
            admin: self.secret(Child::AdminKubeconfig, known.admin),
            controller_manager: self.secret(Child::ControllerManagerKubeconfig, known.controller_manager),
            scheduler: self.secret(Child::SchedulerKubeconfig, known.scheduler),
        };
        (stamped != KubeconfigsStatus::default()).then_some(stamped)
    }
}
