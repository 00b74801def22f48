//! What a session is to keep, and what it has seen.

use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Secret, Service};
use kamaji_addons::Interior;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, Tenant, labels};
use kamaji_resources::{Credentials, endpoint};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

/// Key of the administrator's Secret that we use ourselves.
const OWN_KUBECONFIG: &str = "super-admin.conf";

/// How a tenant is reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Access {
    /// The Service's own address, so that no name needs to be resolved.
    pub(crate) address: SocketAddr,
    /// What its certificate must hold: the Service's name.
    pub(crate) server_name: String,
    /// Where the credentials lie.
    pub(crate) secret: ObjectRef<Secret>,
    /// Which key of it.
    pub(crate) key: String,
    /// Of the credentials: others mean another connection.
    pub(crate) checksum: String,
}

/// What a session is to keep.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) access: Access,
    pub(crate) interior: Interior,
}

impl Access {
    /// How a tenant is reached through its Service.
    pub(crate) fn of(
        tcp: &TenantControlPlane,
        tenant: &Tenant,
        service: &Service,
        credentials: &Credentials,
    ) -> Option<Self> {
        let key = tcp.annotations().get(labels::KUBECONFIG_SECRET_KEY).map_or(OWN_KUBECONFIG, String::as_str);
        let secret = ObjectRef::new(&Child::AdminKubeconfig.name(&tenant.id.name));
        Some(Self {
            address: SocketAddr::new(endpoint::cluster_ip(service).ok()?, tenant.network.port),
            server_name: tenant.id.service_host(),
            secret: secret.within(&tenant.id.namespace),
            key: key.to_owned(),
            checksum: credentials.checksum(Child::AdminKubeconfig),
        })
    }
}

/// What a session has seen of its tenant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sight {
    /// What the session was keeping then.
    pub(crate) plan: Arc<Plan>,
    /// Whether the API server answers and its administrators are administrators; else why not.
    pub(crate) reached: Result<(), String>,
    /// What became of the objects inside.
    pub(crate) inside: Inside,
}

/// What became of the objects inside a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// Not everything has been looked at yet.
    Unknown,
    /// Every object is as it should be, and nothing is left that should not be.
    Kept,
    /// Some are not, for this reason.
    Failing {
        /// One of a closed set.
        reason: &'static str,
        /// What is wrong, and what to do.
        message: String,
    },
}
