//! What can keep a machine from joining a tenant, as far as we can know.

use super::readiness::NotJoinable;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// What a person can read of a request that failed: of an answer, its message.
pub(super) fn cause(error: kube::Error) -> Cause {
    match error {
        kube::Error::Api(status) => status.message.into(),
        error => error.into(),
    }
}

/// Why there is no command to join with. None of them shows a credential.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The cluster is not one that Kamaji manages.
    #[error(
        "this cluster knows no TenantControlPlanes: choose the management cluster, with --kubeconfig or --context"
    )]
    NoManagementCluster,
    /// The namespace is not there.
    #[error(
        "there is no namespace {0} in the management cluster: `kubectl get tcp --all-namespaces` lists the tenants"
    )]
    NoNamespace(String),
    /// The tenant is not there.
    #[error(
        "there is no TenantControlPlane {name} in namespace {namespace}: `kubectl --namespace {namespace} get tcp` lists those that are"
    )]
    NoTenant {
        /// The namespace, which is there.
        namespace: String,
        /// The name that was asked for.
        name: String,
    },
    /// Nobody can join it now.
    #[error("nobody can join tenant {tenant} now: {why}")]
    NotJoinable {
        /// Namespace and name of the tenant.
        tenant: String,
        /// Why, and what to do.
        why: NotJoinable,
    },
    /// The management cluster refused or did not answer.
    #[error("cannot read {object} from the management cluster; whoever asks must be allowed to get it")]
    Management {
        /// The object.
        object: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The administrator's credentials are not there.
    #[error("the Secret {0} is missing: see that the operator runs, it makes the Secret anew within seconds")]
    CredentialsMissing(String),
    /// The administrator's credentials are not as the operator makes them. What is wrong is not told, because that might be
    /// a part of a key.
    #[error(
        "the Secret {0} holds no usable admin.conf: delete it while the operator runs, which makes it anew within seconds"
    )]
    CredentialsUnusable(String),
    /// The tenant did not answer.
    #[error(
        "the tenant does not answer at {address}; run this where that address can be reached, without a proxy"
    )]
    Unreachable {
        /// Where the API server should be.
        address: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The tenant refused.
    #[error(
        "the tenant does not let its administrator {what}; what its API server says must be settled first"
    )]
    Refused {
        /// What was refused.
        what: &'static str,
        /// What its API server says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody could find the API server.
    #[error(
        "the tenant has no ConfigMap kube-public/cluster-info, which nodes begin with: see that the operator runs, and what the condition Addons says"
    )]
    ClusterInfoMissing,
    /// Nodes could not use what they begin with.
    #[error(
        "the tenant's ConfigMap kube-public/cluster-info {0}: delete it while the operator runs, which makes it anew"
    )]
    ClusterInfoUnusable(&'static str),
    /// There is no randomness.
    #[error("this machine gives no random numbers")]
    NoRandomness,
}
