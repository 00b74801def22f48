use crate::labels;

/// An object in the management cluster that belongs to one tenant control plane.
///
/// Its name is a function of the tenant's name and is never read from anywhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table below says what each one is called")]
pub enum Child {
    Service,
    KubeadmConfig,
    Ca,
    FrontProxyCa,
    ServiceAccountKey,
    ApiServer,
    KubeletClient,
    FrontProxyClient,
    AdminKubeconfig,
    ControllerManagerKubeconfig,
    SchedulerKubeconfig,
    DatastoreConfig,
    DatastoreCertificate,
    EgressSelector,
    KonnectivityCertificate,
    KonnectivityKubeconfig,
    KonnectivityServer,
    Deployment,
    DisruptionBudget,
}

impl Child {
    /// Every child, in the order in which a tenant comes into being.
    pub const ALL: [Self; 19] = [
        Self::Service,
        Self::KubeadmConfig,
        Self::Ca,
        Self::FrontProxyCa,
        Self::ServiceAccountKey,
        Self::ApiServer,
        Self::KubeletClient,
        Self::FrontProxyClient,
        Self::AdminKubeconfig,
        Self::ControllerManagerKubeconfig,
        Self::SchedulerKubeconfig,
        Self::DatastoreConfig,
        Self::DatastoreCertificate,
        Self::EgressSelector,
        Self::KonnectivityCertificate,
        Self::KonnectivityKubeconfig,
        Self::KonnectivityServer,
        Self::Deployment,
        Self::DisruptionBudget,
    ];

    /// The object's name.
    pub fn name(self, tenant: &str) -> String {
        match self {
            Self::Service | Self::Deployment | Self::DisruptionBudget => tenant.to_owned(),
            Self::KubeadmConfig => format!("{tenant}-kubeadmconfig"),
            _ => format!("{tenant}-{}", self.component()),
        }
    }

    /// The value of the label [`labels::COMPONENT`].
    pub const fn component(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::KubeadmConfig => "kubeadmconfig",
            Self::Ca => "ca",
            Self::FrontProxyCa => "front-proxy-ca-certificate",
            Self::ServiceAccountKey => "sa-certificate",
            Self::ApiServer => "api-server-certificate",
            Self::KubeletClient => "api-server-kubelet-client-certificate",
            Self::FrontProxyClient => "front-proxy-client-certificate",
            Self::AdminKubeconfig => "admin-kubeconfig",
            Self::ControllerManagerKubeconfig => "controller-manager-kubeconfig",
            Self::SchedulerKubeconfig => "scheduler-kubeconfig",
            Self::DatastoreConfig => "datastore-config",
            Self::DatastoreCertificate => "datastore-certificate",
            Self::EgressSelector => "konnectivity-egress-selector-configuration",
            Self::KonnectivityCertificate => "konnectivity-certificate",
            Self::KonnectivityKubeconfig => "konnectivity-kubeconfig",
            Self::KonnectivityServer => "konnectivity-server-certificate",
            Self::Deployment => "deployment",
            Self::DisruptionBudget => "pod-disruption-budget",
        }
    }

    /// The value of the label [`labels::CERTIFICATE_LIFECYCLE`], for children whose certificates are renewed.
    pub const fn lifecycle(self) -> Option<&'static str> {
        match self {
            Self::ApiServer
            | Self::KubeletClient
            | Self::FrontProxyClient
            | Self::DatastoreCertificate
            | Self::KonnectivityCertificate
            | Self::KonnectivityServer => Some(labels::LIFECYCLE_X509),
            Self::AdminKubeconfig
            | Self::ControllerManagerKubeconfig
            | Self::SchedulerKubeconfig
            | Self::KonnectivityKubeconfig => Some(labels::LIFECYCLE_KUBECONFIG),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_ones_that_users_and_dashboards_know() {
        let names: Vec<String> = Child::ALL.iter().map(|child| child.name("blue")).collect();
        assert_eq!(
            names,
            [
                "blue",
                "blue-kubeadmconfig",
                "blue-ca",
                "blue-front-proxy-ca-certificate",
                "blue-sa-certificate",
                "blue-api-server-certificate",
                "blue-api-server-kubelet-client-certificate",
                "blue-front-proxy-client-certificate",
                "blue-admin-kubeconfig",
                "blue-controller-manager-kubeconfig",
                "blue-scheduler-kubeconfig",
                "blue-datastore-config",
                "blue-datastore-certificate",
                "blue-konnectivity-egress-selector-configuration",
                "blue-konnectivity-certificate",
                "blue-konnectivity-kubeconfig",
                "blue-konnectivity-server-certificate",
                "blue",
                "blue",
            ]
        );
    }

    #[test]
    fn components_fit_a_label_value() {
        for child in Child::ALL {
            assert!(child.component().len() <= 63, "{child:?}");
        }
    }
}
