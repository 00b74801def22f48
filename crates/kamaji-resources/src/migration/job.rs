//! The Job that moves a tenant's data from one DataStore to another, and the Secret that tells it how to reach both.
//!
//! Both are in the operator's namespace: the Secret holds what opens the two stores. The Job has no rights in the API: what
//! it has to know is mounted, what it has to say are its end and its last words.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::api::core::v1::{
    Container, PodSpec, PodTemplateSpec, ResourceRequirements, Secret, SecretVolumeSource, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::{TenantId, labels};

use crate::deployment::security;

/// The value of the label `kamaji.clastix.io/component` of what belongs to a migration.
pub const COMPONENT: &str = "migrate";
/// Where the Job finds its Secret.
const FOLDER: &str = "/etc/kamaji/migration";
/// The key of the Secret, and the name of the file.
const ROUTE: &str = "route.json";
/// How often a Pod that failed is started again, with growing pauses: some minutes in all.
const RETRIES: i32 = 6;
/// What the copy takes at most: a few pages of keys, whatever the size of the store.
const MEMORY: &str = "128Mi";
/// How long a Pod that is to go is waited for, in seconds: whatever is cut off is taken up by the next.
const GRACE: i64 = 1;
/// Who may read the mounted file: its owner and its group.
const MODE: i32 = 0o440;

/// Everything that the objects of one migration depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration<'a> {
    /// Whose data it is.
    pub tenant: &'a TenantId,
    /// Name of the DataStore that the data goes to.
    pub target: &'a str,
    /// Namespace of the operator.
    pub namespace: &'a str,
    /// Image of the operator.
    pub image: &'a str,
    /// Service account of the Job, whose token is not mounted.
    pub service_account: &'a str,
    /// How long it may take before it is given up.
    pub timeout: Duration,
    /// Whether what an earlier migration of this tenant has left in the target may be removed.
    pub cleanup: Cleanup,
}

/// What becomes of data of this tenant in the target that no migration of today has put there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cleanup {
    /// It is named, and nothing is done.
    #[default]
    Refused,
    /// It is removed, if it bears the tenant's mark.
    Allowed,
}

/// What the Secret and the Job of a tenant are called: one of each, as the Go operator has it.
pub fn name(tenant: &TenantId) -> String {
    format!("migrate-{}", tenant.uid)
}

impl Migration<'_> {
    /// The Secret that tells how both stores are reached.
    pub fn secret(&self, route: Vec<u8>) -> Secret {
        Secret {
            metadata: self.metadata(),
            type_: Some("Opaque".into()),
            data: Some([(ROUTE.to_owned(), ByteString(route))].into()),
            ..Secret::default()
        }
    }

    /// The Job. It is kept until the operator has seen its end, so it has no time to live of its own.
    pub fn job(&self) -> Job {
        let metadata = self.metadata();
        let template = ObjectMeta { labels: metadata.labels.clone(), ..ObjectMeta::default() };
        Job {
            metadata,
            spec: Some(JobSpec {
                backoff_limit: Some(RETRIES),
                active_deadline_seconds: i64::try_from(self.timeout.as_secs()).ok(),
                template: PodTemplateSpec { metadata: Some(template), spec: Some(self.pod()) },
                ..JobSpec::default()
            }),
            ..Job::default()
        }
    }

    fn pod(&self) -> PodSpec {
        PodSpec {
            service_account_name: Some(self.service_account.to_owned()),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            restart_policy: Some("OnFailure".into()),
            termination_grace_period_seconds: Some(GRACE),
            security_context: Some(security::pod(None)),
            containers: vec![self.container()],
            volumes: Some(vec![Volume {
                name: COMPONENT.to_owned(),
                secret: Some(SecretVolumeSource {
                    secret_name: Some(name(self.tenant)),
                    default_mode: Some(MODE),
                    ..SecretVolumeSource::default()
                }),
                ..Volume::default()
            }]),
            ..PodSpec::default()
        }
    }

    fn container(&self) -> Container {
        let memory = || Some(BTreeMap::from([("memory".to_owned(), Quantity(MEMORY.to_owned()))]));
        Container {
            name: COMPONENT.to_owned(),
            image: Some(self.image.to_owned()),
            image_pull_policy: Some("IfNotPresent".into()),
            args: Some(self.arguments()),
            resources: Some(ResourceRequirements {
                limits: memory(),
                requests: memory(),
                ..ResourceRequirements::default()
            }),
            security_context: Some(security::container()),
            termination_message_policy: Some("FallbackToLogsOnError".into()),
            volume_mounts: Some(vec![VolumeMount {
                name: COMPONENT.to_owned(),
                mount_path: FOLDER.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            }]),
            ..Container::default()
        }
    }

    /// Those of the Go operator, and where the Secret is mounted.
    fn arguments(&self) -> Vec<String> {
        let TenantId { namespace, name, .. } = self.tenant;
        vec![
            COMPONENT.to_owned(),
            format!("--tenant-control-plane={namespace}/{name}"),
            format!("--target-datastore={}", self.target),
            format!("--cleanup-prior-migration={}", self.cleanup == Cleanup::Allowed),
            format!("--timeout={}s", self.timeout.as_secs()),
            format!("--route={FOLDER}/{ROUTE}"),
        ]
    }

    /// Nothing in another namespace can be owned by the tenant, so labels tell whose it is.
    fn metadata(&self) -> ObjectMeta {
        let labels = [
            (labels::PROJECT, labels::PROJECT_VALUE),
            (labels::COMPONENT, COMPONENT),
            (labels::MIGRATION_TENANT_NAME, &self.tenant.name),
            (labels::MIGRATION_TENANT_NAMESPACE, &self.tenant.namespace),
        ];
        ObjectMeta {
            name: Some(name(self.tenant)),
            namespace: Some(self.namespace.to_owned()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        }
    }
}
