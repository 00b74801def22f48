//! Labels, annotations and finalizers: the contract with users, dashboards, the Cluster API provider and the Go operator.

use std::collections::BTreeMap;

use crate::Child;

/// Marks every object of ours; its value is [`PROJECT_VALUE`].
pub const PROJECT: &str = "kamaji.clastix.io/project";
/// Value of [`PROJECT`].
pub const PROJECT_VALUE: &str = "kamaji";
/// Name of the tenant control plane; the selector of its Pods.
pub const NAME: &str = "kamaji.clastix.io/name";
/// What the object is for, see [`Child::component`].
pub const COMPONENT: &str = "kamaji.clastix.io/component";
/// Marks Secrets whose certificates are renewed.
pub const CERTIFICATE_LIFECYCLE: &str = "kamaji.clastix.io/certificate_lifecycle_controller";
/// Value of [`CERTIFICATE_LIFECYCLE`] for certificates.
pub const LIFECYCLE_X509: &str = "x509";
/// Value of [`CERTIFICATE_LIFECYCLE`] for kubeconfigs.
pub const LIFECYCLE_KUBECONFIG: &str = "kubeconfig";
/// Prefix of the Pod labels that carry checksums of what the Pods read at their start.
pub const COMPONENT_CHECKSUM_PREFIX: &str = "component.kamaji.clastix.io";

/// Checksum of the data of a Secret or ConfigMap.
pub const CHECKSUM: &str = "kamaji.clastix.io/checksum";
/// On a Secret: empty asks for rotation, otherwise the time of the last one (RFC 3339).
pub const ROTATE: &str = "certs.kamaji.clastix.io/rotate";
/// Present, with any value: leave the object alone.
pub const PAUSED: &str = "kamaji.clastix.io/paused";
/// Beside it: when the pause ends by itself (RFC 3339).
pub const PAUSED_UNTIL: &str = "kamaji.clastix.io/paused-until";
/// Beside it: why, for people.
pub const PAUSE_REASON: &str = "kamaji.clastix.io/pause-reason";
/// On a TenantControlPlane: `true` lets a Secret `<name>-ca` that we did not make be used as its authority.
pub const USE_EXISTING_CA: &str = "kamaji.clastix.io/use-existing-ca";
/// On a TenantControlPlane that is being deleted: its UID lets the deletion end although the data could not be removed.
pub const ABANDON_DATASTORE: &str = "kamaji.clastix.io/abandon-datastore";
/// On a TenantControlPlane: `true` lets it take a new image of kine at once, and not only with its next rollout.
pub const UPDATE_KINE: &str = "kamaji.clastix.io/update-kine";
/// On a TenantControlPlane: the name of a DataStore that keeps none of its kinds any more lets what lies there be deleted.
pub const DISCARD_OVERRIDE: &str = "kamaji.clastix.io/discard-override-data";
/// On a TenantControlPlane: which key of the administrator's kubeconfig Secret the operator itself uses.
pub const KUBECONFIG_SECRET_KEY: &str = "kamaji.clastix.io/kubeconfig-secret-key";
/// On a TenantControlPlane: `true` lets a migration remove what the tenant has left in the target and no migration has put
/// there.
pub const CLEANUP_PRIOR_MIGRATION: &str = "kamaji.clastix.io/cleanup-prior-migration";
/// On a TenantControlPlane: how long a migration may take, as in `5m`.
pub const MIGRATION_TIMEOUT: &str = "kamaji.clastix.io/migration-timeout";
/// On a TenantControlPlane: how long the data stays in a DataStore that a migration has left, as in `24h`.
pub const MIGRATION_RETENTION: &str = "kamaji.clastix.io/migration-retention";
/// On a Deployment whose Pods are still those that the Go operator made: what they and ours were like when they were taken over.
pub const TAKEN_OVER: &str = "kamaji.clastix.io/taken-over";
/// Name of the tenant that a migration's Job and Secret belong to.
pub const MIGRATION_TENANT_NAME: &str = "tcp.kamaji.clastix.io/name";
/// Namespace of that tenant.
pub const MIGRATION_TENANT_NAMESPACE: &str = "tcp.kamaji.clastix.io/namespace";
/// On the Pods: checksum of the credentials for the datastore.
pub const STORAGE_CONFIG: &str = "storage.kamaji.clastix.io/config";
/// On the Pods: checksum of the certificates for the datastore.
pub const STORAGE_CERTIFICATE: &str = "storage.kamaji.clastix.io/certificate";

/// On a TenantControlPlane: its UID asks for a new certificate authority, see the guide on rotation.
pub const ROTATE_CA: &str = "kamaji.clastix.io/rotate-ca";
/// On a TenantControlPlane: its UID asks for a new authority of the front proxy.
pub const ROTATE_FRONT_PROXY_CA: &str = "kamaji.clastix.io/rotate-front-proxy-ca";
/// On a TenantControlPlane: its UID asks for a new key that signs service-account tokens.
pub const ROTATE_SERVICE_ACCOUNT_KEY: &str = "kamaji.clastix.io/rotate-service-account-key";
/// On a TenantControlPlane: the fingerprints of trust anchors that a rotation may drop, with commas between them.
pub const DROP_TRUST_ANCHOR: &str = "kamaji.clastix.io/drop-trust-anchor";

/// On a TenantControlPlane: it is upgraded to this version whatever the examination before found.
pub const SKIP_PREFLIGHT: &str = "kamaji.clastix.io/skip-preflight";

/// On a TenantControlPlane: its data must be removed before it goes.
pub const DATASTORE_FINALIZER: &str = "finalizer.kamaji.clastix.io";
/// On a TenantControlPlane, set by the Go operator only: its session with the tenant must end before it goes.
pub const SOOT_FINALIZER: &str = "finalizer.kamaji.clastix.io/soot";
/// On the Secret with the datastore's credentials: it outlives the data.
pub const DATASTORE_SECRET_FINALIZER: &str = "finalizer.kamaji.clastix.io/datastore-secret";
/// On a DataStore: tenants still use it.
pub const DATASTORE_IN_USE_FINALIZER: &str = "kamaji.clastix.io/TenantControlPlane";

/// Name of the Lease of the operator's leader; the Go operator uses the same, so the two never act together.
pub const LEADER_LEASE: &str = "kamaji.clastix.io";

/// The labels of a child object.
pub fn of_child(tenant: &str, child: Child) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (PROJECT.to_owned(), PROJECT_VALUE.to_owned()),
        (NAME.to_owned(), tenant.to_owned()),
        (COMPONENT.to_owned(), child.component().to_owned()),
    ]);
    if let Some(lifecycle) = child.lifecycle() {
        labels.insert(CERTIFICATE_LIFECYCLE.to_owned(), lifecycle.to_owned());
    }
    labels
}
