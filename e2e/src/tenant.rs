//! Whole tenants on the local cluster, with the operator that its chart has installed.

mod container;
mod load;
mod store;

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use anyhow::{Context, Result, anyhow, ensure};
use futures::FutureExt;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kamaji_api::{Child, v1alpha1::TenantControlPlane};
use kube::{
    Api, Client, Config, Resource, ResourceExt,
    api::{DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{NamespaceResourceScope, ObjectMeta},
    runtime::wait::await_condition,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use xtask::{cache::Cache, cluster, install, programs::Release};

pub use container::{Process, processes};
pub use load::{Load, Served};
pub use store::Store;

/// How long anything may take on a machine that is busy with other things.
pub const LIMIT: Duration = Duration::from_mins(4);

/// How often something is looked at that no watch tells about.
const INTERVAL: Duration = Duration::from_millis(100);

/// Tells the operator's Pods from others in its namespace.
const OPERATOR_PODS: &str = "app.kubernetes.io/name=kamaji,app.kubernetes.io/component=controller-manager";

/// How many lines of the operator's log a failure shows.
const LOG_LINES: i64 = 40;

/// A namespace of its own for one test, on the local cluster, under the Pod Security Standard `restricted`.
pub struct Lab {
    client: Client,
    namespace: String,
}

/// Does `work` in a fresh namespace, and removes it with all that is in it, also on failure.
///
/// # Errors
/// Those of `work`, with the state of the tenants and the end of the operator's log.
pub async fn in_lab(name: &str, work: impl AsyncFnOnce(&Lab) -> Result<()>) -> Result<()> {
    let lab = Lab { client: client().await?, namespace: format!("e2e-{name}") };
    lab.remove().await?;
    lab.make().await?;
    // A panic must not leave tenants behind either.
    let done = std::panic::AssertUnwindSafe(Box::pin(work(&lab))).catch_unwind().await;
    let result = match done {
        Ok(result) => result,
        Err(panic) => {
            lab.remove().await?;
            std::panic::resume_unwind(panic)
        }
    };
    let result = match result {
        Ok(()) => Ok(()),
        Err(error) => Err(error.context(lab.describe().await)),
    };
    result.and(lab.remove().await)
}

async fn client() -> Result<Client> {
    let path = cluster::kubeconfig(&Cache::of_this_user()?);
    ensure!(
        path.is_file(),
        "the local cluster does not run ({} does not exist); `cargo xtask quickstart` starts it",
        path.display()
    );
    client_of(Kubeconfig::read_from(&path)?).await
}

/// A client for whoever the kubeconfig names.
pub async fn client_of(kubeconfig: Kubeconfig) -> Result<Client> {
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

impl Lab {
    /// A client with all rights in the management cluster.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Objects in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Makes a tenant of this release with one replica and a `ClusterIP` Service; `spec` is merged into that.
    pub async fn create(&self, name: &str, release: Release, spec: &Value) -> Result<TenantControlPlane> {
        let mut object = json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "TenantControlPlane",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": {
                "controlPlane": { "deployment": { "replicas": 1 }, "service": { "serviceType": "ClusterIP" } },
                "kubernetes": { "version": release.version(), "kubelet": {} },
            },
        });
        merge(&mut object["spec"], spec);
        let tenant = serde_json::from_value(object).context("reading the tenant's spec")?;
        let made = self.api().create(&PostParams::default(), &tenant).await;
        made.with_context(|| format!("making the tenant {name}"))
    }

    /// Changes the spec of a tenant.
    pub async fn change(&self, name: &str, spec: &Value) -> Result<TenantControlPlane> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let changed = self.api().patch(name, &PatchParams::default(), &patch).await;
        changed.with_context(|| format!("changing the tenant {name}"))
    }

    /// Waits until the newest spec of the tenant is carried out and it is Ready.
    pub async fn ready(&self, name: &str) -> Result<TenantControlPlane> {
        self.when(name, "Ready", "True", "Ready").await
    }

    /// Waits until this condition has this status and reason for the newest spec.
    pub async fn when(
        &self,
        name: &str,
        condition: &str,
        status: &str,
        reason: &str,
    ) -> Result<TenantControlPlane> {
        let holds = |tcp: &TenantControlPlane| {
            condition_of(tcp, condition).is_some_and(|found| {
                found.status == status
                    && found.reason == reason
                    && found.observed_generation == tcp.metadata.generation
            })
        };
        self.until(name, &format!("{condition} to be {status} with {reason}"), holds).await
    }

    /// Waits until the object of this name is there and satisfies this, and returns it.
    pub async fn until<K>(&self, name: &str, what: &str, holds: impl Fn(&K) -> bool) -> Result<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Send
            + DeserializeOwned
            + 'static,
    {
        let condition = |object: Option<&K>| object.is_some_and(&holds);
        let found = Box::pin(within(what, await_condition(self.api(), name, condition))).await?;
        found?.with_context(|| format!("{name} is gone"))
    }

    /// Deletes a tenant, and waits until it is gone.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.api::<TenantControlPlane>().delete(name, &DeleteParams::default()).await?;
        self.gone::<TenantControlPlane>(name).await
    }

    /// Waits until the object of this name is gone.
    pub async fn gone<K>(&self, name: &str) -> Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + Send
            + DeserializeOwned
            + 'static,
    {
        let condition = |object: Option<&K>| object.is_none();
        let what = format!("{name} to be gone");
        Box::pin(within(&what, await_condition(self.api(), name, condition))).await??;
        Ok(())
    }

    /// Waits until no Pod is left.
    pub async fn no_pods(&self) -> Result<()> {
        eventually("the Pods to end", async || {
            let pods = self.api::<Pod>().list(&ListParams::default()).await?;
            Ok(pods.items.is_empty().then_some(()))
        })
        .await
    }

    /// The data of one of the tenant's Secrets.
    pub async fn secret(&self, tenant: &str, child: Child) -> Result<BTreeMap<String, Vec<u8>>> {
        let name = child.name(tenant);
        let secret: Secret = self.api().get(&name).await.with_context(|| format!("reading {name}"))?;
        Ok(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
    }

    /// The kubeconfig of the tenant's administrator, as users get it.
    pub async fn kubeconfig(&self, tenant: &str) -> Result<Kubeconfig> {
        let secret = self.secret(tenant, Child::AdminKubeconfig).await?;
        let text = secret.get("admin.conf").context("there is no admin.conf")?;
        Ok(Kubeconfig::from_yaml(std::str::from_utf8(text)?)?)
    }

    /// The tenant's administrator.
    pub async fn administrator(&self, tenant: &str) -> Result<Client> {
        client_of(self.kubeconfig(tenant).await?).await
    }

    /// Ends every Pod of the operator at once, as a crash would, after waiting until there is one that runs.
    pub async fn kill_operator(&self) -> Result<()> {
        let pods = Api::<Pod>::namespaced(self.client(), install::NAMESPACE);
        let killed = eventually("an operator to run", async || {
            let running: Vec<Pod> = pods
                .list(&ListParams::default().labels(OPERATOR_PODS))
                .await?
                .into_iter()
                .filter(runs)
                .collect();
            for pod in &running {
                let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
                pods.delete(&pod.name_any(), &now).await?;
            }
            Ok((!running.is_empty()).then_some(()))
        });
        killed.await
    }

    async fn make(&self) -> Result<()> {
        let labels = BTreeMap::from([("pod-security.kubernetes.io/enforce".into(), "restricted".into())]);
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(self.namespace.clone()),
                labels: Some(labels),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let api = Api::<Namespace>::all(self.client());
        api.create(&PostParams::default(), &namespace).await.context("making a namespace")?;
        Ok(())
    }

    async fn remove(&self) -> Result<()> {
        let api = Api::<Namespace>::all(self.client());
        match api.delete(&self.namespace, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
            result => result.with_context(|| format!("deleting the namespace {}", self.namespace))?,
        };
        let is_gone = |namespace: Option<&Namespace>| namespace.is_none();
        let what = format!("the namespace {} to be gone", self.namespace);
        within(&what, await_condition(api, &self.namespace, is_gone)).await??;
        Ok(())
    }

    /// What a person would look at first.
    async fn describe(&self) -> String {
        let tenants = self.api::<TenantControlPlane>().list(&ListParams::default()).await;
        let tenants = tenants.map(|list| list.items).unwrap_or_default();
        let conditions = tenants.iter().flat_map(|tenant| {
            let conditions =
                tenant.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
            conditions.iter().map(|Condition { type_, status, reason, message, .. }| {
                format!("{}: {type_} {status} {reason} {message}", tenant.name_any())
            })
        });
        let conditions = conditions.collect::<Vec<_>>().join("\n");
        format!("in {}:\n{conditions}\nthe operator said:\n{}", self.namespace, self.operator_log().await)
    }

    async fn operator_log(&self) -> String {
        let pods = Api::<Pod>::namespaced(self.client(), install::NAMESPACE);
        let list = pods.list(&ListParams::default().labels(OPERATOR_PODS)).await.map(|list| list.items);
        let end = LogParams { tail_lines: Some(LOG_LINES), ..LogParams::default() };
        let mut text = String::new();
        for pod in list.unwrap_or_default() {
            text += &pods.logs(&pod.name_any(), &end).await.unwrap_or_default();
        }
        text
    }
}

/// The condition of this type, if the tenant has it.
pub fn condition_of<'a>(tenant: &'a TenantControlPlane, condition: &str) -> Option<&'a Condition> {
    tenant.status.as_ref()?.conditions.iter().find(|found| found.type_ == condition)
}

/// Writes a note into the tenant that `has_note` finds again.
pub async fn leave_note(tenant: &Client) -> Result<()> {
    let note = ConfigMap {
        metadata: ObjectMeta { name: Some("note".into()), ..ObjectMeta::default() },
        data: Some([("from".to_owned(), "the test".to_owned())].into()),
        ..ConfigMap::default()
    };
    let notes = Api::<ConfigMap>::namespaced(tenant.clone(), "default");
    notes.create(&PostParams::default(), &note).await.context("writing a ConfigMap into the tenant")?;
    Ok(())
}

/// Whether the tenant still has what `leave_note` wrote.
pub async fn has_note(tenant: &Client) -> Result<bool> {
    let notes = Api::<ConfigMap>::namespaced(tenant.clone(), "default");
    let note = notes.get_opt("note").await.context("reading a ConfigMap from the tenant")?;
    Ok(note.and_then(|note| note.data).is_some_and(|data| data["from"] == "the test"))
}

/// Looks until there is something. For what no watch tells.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let mut tick = tokio::time::interval(INTERVAL);
    let looking = async {
        loop {
            tick.tick().await;
            if let Some(found) = look().await? {
                return Ok(found);
            }
        }
    };
    within(what, looking).await?
}

async fn within<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    let done = tokio::time::timeout(LIMIT, work).await;
    done.map_err(|_| anyhow!("waited {} s in vain for {what}", LIMIT.as_secs()))
}

fn runs(pod: &Pod) -> bool {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    let is_running = statuses
        .into_iter()
        .flatten()
        .any(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()));
    is_running && pod.metadata.deletion_timestamp.is_none()
}

/// Puts `above` over `below`, field by field.
fn merge(below: &mut Value, above: &Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (key, value) in above {
                merge(below.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above.clone(),
    }
}
