//! What we know of each tenant beyond its objects, and how we speak to its API server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kamaji_addons::kubeadm::rbac;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, Tenant, TenantId, labels};
use kamaji_apply::Cluster;
use kamaji_resources::{Credentials, endpoint};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, ResourceExt};

use crate::error::Error;
use crate::stores::OpenStore;

/// Name under which we own fields inside tenants.
const TENANT_FIELD_MANAGER: &str = "kamaji-tenant";
/// Key of the administrator's Secret that we use ourselves.
const OWN_KUBECONFIG: &str = "super-admin.conf";
/// How long a tenant may take to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);
/// How long a tenant may take to answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// What we know of each tenant beyond its objects, by UID.
#[derive(Default)]
pub(crate) struct Tenants(Mutex<HashMap<String, Known>>);

#[derive(Default)]
struct Known {
    /// The connection over which its place in the datastore was last seen to be right.
    stored: Weak<OpenStore>,
    /// What it was reached with when it last answered.
    met: Option<String>,
}

impl Tenants {
    /// True when the tenant's place was seen to be right over this very connection.
    pub(crate) fn is_stored(&self, tenant: &TenantId, open: &Arc<OpenStore>) -> bool {
        self.lock().get(&tenant.uid).is_some_and(|known| known.stored.ptr_eq(&Arc::downgrade(open)))
    }

    /// Notes that the tenant's place is right.
    pub(crate) fn stored(&self, tenant: &TenantId, open: &Arc<OpenStore>) {
        self.lock().entry(tenant.uid.clone()).or_default().stored = Arc::downgrade(open);
    }

    /// Forgets a tenant that is gone.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.lock().remove(&tenant.uid);
    }

    /// The tenant has answered since it was given these credentials, and its administrators are administrators.
    pub(crate) async fn meet(
        &self,
        tcp: &TenantControlPlane,
        tenant: &Tenant,
        service: &Service,
        credentials: &Credentials,
    ) -> Result<(), Error> {
        let acquaintance = format!("{} {}", tenant.version, credentials.checksum(Child::AdminKubeconfig));
        if self.lock().get(&tenant.id.uid).is_some_and(|known| known.met.as_ref() == Some(&acquaintance)) {
            return Ok(());
        }
        let key = tcp.annotations().get(labels::KUBECONFIG_SECRET_KEY).map_or(OWN_KUBECONFIG, String::as_str);
        let secret = &credentials.secrets[&Child::AdminKubeconfig];
        let client = client(tenant, service, secret, key).await.map_err(failed)?;
        let answer =
            client.request_text(http_get("/readyz")?).await.map_err(|source| failed(Box::new(source)))?;
        tracing::debug!(tenant = %tenant.id, answer, "the tenant answers");
        administrate(client).await.map_err(|source| failed(Box::new(source)))?;
        self.lock().entry(tenant.id.uid.clone()).or_default().met = Some(acquaintance);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn failed(source: Cause) -> Error {
    Error::Tenant { stage: "tenant", source }
}

fn http_get(path: &str) -> Result<axum::http::Request<Vec<u8>>, Error> {
    axum::http::Request::get(path).body(Vec::new()).map_err(|source| failed(Box::new(source)))
}

/// The group of `admin.conf` gets its rights, as kubeadm's phase of the same purpose gives them.
async fn administrate(client: Client) -> Result<(), kamaji_apply::Error> {
    let cluster = Cluster::new(client, TENANT_FIELD_MANAGER);
    let desired = rbac::cluster_admins();
    let live: Option<ClusterRoleBinding> = cluster.get_opt(None, &desired.name_any()).await?;
    cluster.settle(&desired, live.as_ref()).await.map(drop)
}

/// A client for the tenant's API server. It goes to the Service's address, so that no name needs to be resolved, and
/// expects the Service's name in the certificate.
async fn client(tenant: &Tenant, service: &Service, secret: &Secret, key: &str) -> Result<Client, Cause> {
    let file = secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .ok_or_else(|| format!("no kubeconfig under {key}"))?;
    let kubeconfig = Kubeconfig::from_yaml(std::str::from_utf8(&file.0)?)?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let address = endpoint::cluster_ip(service).map_err(|missing| missing.to_string())?;
    let socket = std::net::SocketAddr::new(address, tenant.network.port);
    config.cluster_url = format!("https://{socket}").parse()?;
    config.tls_server_name = Some(tenant.id.service_host());
    config.proxy_url = None;
    config.connect_timeout = Some(CONNECT_DEADLINE);
    config.read_timeout = Some(ANSWER_DEADLINE);
    config.write_timeout = Some(ANSWER_DEADLINE);
    Ok(Client::try_from(config)?)
}
