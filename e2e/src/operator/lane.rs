//! A part of the shared API server in which one operator is alone: a namespace and a DataStore.

use std::{
    fmt::Debug,
    task::{Context as Task, Poll},
};

use anyhow::{Context, Result};
use http::{Request, Uri};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Event, Secret, Service as K8sService},
        policy::v1::PodDisruptionBudget,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kamaji_api::{
    crd, labels,
    v1alpha1::{DataStore, Driver, TenantControlPlane},
};
use kamaji_operator::Options;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    client::{Body, ClientBuilder},
    core::{NamespaceResourceScope, ObjectMeta},
    runtime::{conditions, wait::await_condition},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tower::{Layer, Service};

use super::{
    Operator,
    described::{described, in_itself},
    is_converged, options, wait_for,
};
use crate::{api_server::ApiServer, cut::Wire, etcd::Etcd};

/// Name under which the harness writes.
const HARNESS: &str = "harness";
/// Name of the Secret that the DataStore of a lane reads.
pub const CREDENTIALS: &str = "datastore-credentials";

/// Label that tells of which lane a DataStore is.
const LANE: &str = "lane";

/// A namespace, a DataStore on the shared etcd, and clients to both.
#[derive(Clone)]
pub struct Lane {
    /// The API server, which other lanes use too.
    pub api: &'static ApiServer,
    /// The datastore, which other lanes use too.
    pub etcd: &'static Etcd,
    /// Namespace of everything in this lane.
    pub namespace: String,
    /// Name of the DataStore.
    pub data_store: String,
    /// A client with all rights that no wire and no lane confines.
    pub client: Client,
}

impl Lane {
    /// A lane whose DataStore is the shared etcd.
    pub async fn new() -> Result<Self> {
        let lane = Self::without_data_store().await?;
        lane.put_data_store(&lane.credentials()?, &lane.etcd.endpoint().to_string()).await?;
        Ok(lane)
    }

    /// A lane that has this API server for itself, so that it may be stopped.
    pub async fn alone_on(api: &'static ApiServer) -> Result<Self> {
        log();
        apply_definitions(&api.client().await?).await?;
        let lane = Self::on(api).await?;
        lane.put_data_store(&lane.credentials()?, &lane.etcd.endpoint().to_string()).await?;
        Ok(lane)
    }

    /// A lane whose DataStore is still to be made.
    pub async fn without_data_store() -> Result<Self> {
        log();
        let api = ApiServer::shared().await?;
        install_definitions(&api.client().await?).await?;
        Self::on(api).await
    }

    async fn on(api: &'static ApiServer) -> Result<Self> {
        let client = api.client().await?;
        let namespace = api.fresh_namespace().await?;
        let etcd = Etcd::shared().await?;
        Ok(Self { api, etcd, data_store: format!("store-of-{namespace}"), namespace, client })
    }

    /// What the shared etcd wants to see, by key of the Secret.
    pub fn credentials(&self) -> Result<Value> {
        credentials(self.etcd, "root")
    }

    /// The DataStore is an etcd, and it and its Secret say this from now on.
    pub async fn put_data_store(&self, credentials: &Value, endpoint: &str) -> Result<()> {
        let reference = |key: &str| self.reference(key);
        let spec = json!({ "driver": "etcd", "endpoints": [endpoint], "tlsConfig": {
            "certificateAuthority": { "certificate": reference("ca.crt"), "privateKey": reference("ca.key") },
            "clientCertificate": { "certificate": reference("tls.crt"), "privateKey": reference("tls.key") },
        } });
        self.put_credentials(credentials).await?;
        self.put_spec(&spec).await
    }

    /// A field of a DataStore that leads to this key of the lane's Secret.
    pub fn reference(&self, key: &str) -> Value {
        json!({ "secretReference": { "name": CREDENTIALS, "namespace": self.namespace, "keyPath": key } })
    }

    /// The Secret that the DataStore names says this from now on.
    pub async fn put_credentials(&self, credentials: &Value) -> Result<()> {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": CREDENTIALS, "namespace": self.namespace },
            "stringData": credentials,
        });
        // Replaced, so that a key that is no longer said is gone.
        let secrets = self.objects::<Secret>();
        secrets.delete(CREDENTIALS, &DeleteParams::default()).await.map(drop).or_else(absent)?;
        secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        Ok(())
    }

    /// The DataStore says this from now on.
    pub async fn put_spec(&self, spec: &Value) -> Result<()> {
        self.put(&self.data_store, spec).await
    }

    /// A further DataStore of this lane, on this etcd at this address; returns its name.
    pub async fn put_further_data_store(&self, name: &str, etcd: &Etcd, endpoint: &str) -> Result<String> {
        let name = format!("{name}-of-{}", self.namespace);
        let keys = credentials(etcd, "root")?;
        let spec = described(Driver::Etcd, endpoint, &keys, in_itself(&keys));
        self.put(&name, &spec).await?;
        Ok(name)
    }

    /// A DataStore of this name says this from now on.
    pub async fn put(&self, name: &str, spec: &Value) -> Result<()> {
        let data_store = json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore",
            "metadata": { "name": name, "labels": { LANE: self.namespace } },
            "spec": spec,
        });
        let params = PatchParams::apply(HARNESS).force();
        self.data_stores().patch(name, &params, &Patch::Apply(&data_store)).await?;
        Ok(())
    }

    /// An operator of this lane over an intact wire.
    pub async fn operator(&self) -> Result<Operator> {
        self.operator_over(Wire::new()).await
    }

    /// An operator of this lane over this wire.
    pub async fn operator_over(&self, wire: Wire) -> Result<Operator> {
        self.operator_with(wire, options()).await
    }

    /// An operator of this lane with these options.
    pub async fn operator_with(&self, wire: Wire, mut options: Options) -> Result<Operator> {
        options.settings.migration.namespace.clone_from(&self.namespace);
        let confinement = Confinement { namespace: self.namespace.clone() };
        let client = ClientBuilder::try_from(self.api.config().await?)?
            .with_layer(&confinement)
            .with_layer(&wire)
            .build();
        Ok(Operator::start(wire, client, options))
    }

    /// Objects of a kind in this lane.
    pub fn objects<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Tenants of this lane.
    pub fn tenants(&self) -> Api<TenantControlPlane> {
        self.objects()
    }

    /// Every DataStore, also of other lanes.
    pub fn data_stores(&self) -> Api<DataStore> {
        Api::all(self.client.clone())
    }

    /// A small tenant as a user would write it.
    pub fn manifest(&self, name: &str) -> Value {
        json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": {
                "dataStore": self.data_store,
                "controlPlane": {
                    "deployment": { "replicas": 1 },
                    "service": { "serviceType": "ClusterIP" },
                },
                "kubernetes": { "version": "v1.34.4", "kubelet": {} },
            },
        })
    }

    /// The tenant is asked for.
    pub async fn create(&self, manifest: &Value) -> Result<TenantControlPlane> {
        let tcp = serde_json::from_value(manifest.clone())?;
        Ok(Box::pin(self.tenants().create(&PostParams::default(), &tcp)).await?)
    }

    /// The small tenant is asked for.
    pub async fn tenant(&self, name: &str) -> Result<TenantControlPlane> {
        self.create(&self.manifest(name)).await
    }

    /// The tenant once everything is done that can be done where nobody runs Pods.
    pub async fn converged(&self, name: &str) -> Result<TenantControlPlane> {
        Box::pin(wait_for(&self.tenants(), name, "converged", is_converged)).await
    }

    /// The tenant once this is true of it.
    pub async fn tenant_that(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&TenantControlPlane) -> bool,
    ) -> Result<TenantControlPlane> {
        wait_for(&self.tenants(), name, what, holds).await
    }

    /// A merge patch by somebody else.
    pub async fn edit<K>(&self, name: &str, patch: &Value) -> Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let params = PatchParams { field_manager: Some(HARNESS.into()), ..Default::default() };
        Ok(self.objects::<K>().patch(name, &params, &Patch::Merge(patch)).await?)
    }

    /// Marks the tenant for deletion.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.tenants().delete(name, &DeleteParams::background()).await?;
        Ok(())
    }

    /// Waits until the operator has said of the DataStore that it works.
    pub async fn store_examined(&self) -> Result<DataStore> {
        let ready = |data_store: &DataStore| data_store.status.as_ref().is_some_and(|status| status.ready);
        wait_for(&self.data_stores(), &self.data_store, "ready", ready).await
    }

    /// Every object in this lane that bears the operator's label: kind and name, and metadata.
    pub async fn children(&self) -> Result<Vec<(String, ObjectMeta)>> {
        let mut all = self.labelled::<Secret>().await?;
        all.extend(self.labelled::<ConfigMap>().await?);
        all.extend(self.labelled::<K8sService>().await?);
        all.extend(self.labelled::<Deployment>().await?);
        all.extend(self.labelled::<PodDisruptionBudget>().await?);
        Ok(all)
    }

    /// The same, of one tenant.
    pub async fn children_of(&self, tenant: &str) -> Result<Vec<(String, ObjectMeta)>> {
        let mut children = self.children().await?;
        let name = |metadata: &ObjectMeta| metadata.labels.as_ref()?.get(labels::NAME).cloned();
        children.retain(|(_, metadata)| name(metadata).as_deref() == Some(tenant));
        Ok(children)
    }

    async fn labelled<K>(&self) -> Result<Vec<(String, ObjectMeta)>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let ours = ListParams::default().labels(&format!("{}={}", labels::PROJECT, labels::PROJECT_VALUE));
        let found = self.objects::<K>().list(&ours).await?.items;
        Ok(found
            .iter()
            .map(|object| (format!("{} {}", K::kind(&()), object.name_any()), object.meta().clone()))
            .collect())
    }

    /// Events about anything in this lane, as `reason: note`.
    pub async fn events(&self) -> Result<Vec<String>> {
        let events = self.objects::<Event>().list(&ListParams::default()).await?.items;
        let text = |text: Option<String>| text.unwrap_or_default();
        Ok(events
            .into_iter()
            .map(|event| format!("{}: {}", text(event.reason), text(event.message)))
            .collect())
    }
}

/// What this etcd wants to see of somebody who is this user, by key of the Secret.
pub fn credentials(etcd: &Etcd, user: &str) -> Result<Value> {
    let client = etcd.certificate_of(user)?;
    Ok(json!({
        "ca.crt": etcd.authority().certificate().pem(),
        "ca.key": etcd.authority().key().pem(),
        "tls.crt": client.certificate().pem(),
        "tls.key": client.key().pem(),
    }))
}

/// What the operator says is shown with the output of a test that fails, if `RUST_LOG` asks for it.
fn log() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Another test of this process may have done it.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
}

fn absent(error: kube::Error) -> Result<(), kube::Error> {
    match error {
        kube::Error::Api(status) if status.code == 404 => Ok(()),
        error => Err(error),
    }
}

async fn install_definitions(client: &Client) -> Result<()> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    INSTALLED.get_or_try_init(|| apply_definitions(client)).await.map(drop)
}

async fn apply_definitions(client: &Client) -> Result<()> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    for definition in crd::all() {
        let name = definition.metadata.name.clone().context("a definition has a name")?;
        let params = PatchParams::apply(HARNESS).force();
        api.patch(&name, &params, &Patch::Apply(&definition)).await?;
        await_condition(api.clone(), &name, conditions::is_crd_established()).await?;
    }
    Ok(())
}

/// Makes an operator believe that a namespace and the stores of its lane are all there are, so that several share an API server.
#[derive(Clone, Debug)]
struct Confinement {
    namespace: String,
}

/// The collections that the operator watches across namespaces.
const NAMESPACED: [(&str, &str); 6] = [
    ("/api/v1/", "secrets"),
    ("/api/v1/", "configmaps"),
    ("/api/v1/", "services"),
    ("/apis/apps/v1/", "deployments"),
    ("/apis/policy/v1/", "poddisruptionbudgets"),
    ("/apis/kamaji.clastix.io/v1alpha1/", "tenantcontrolplanes"),
];
const DATA_STORES: &str = "/apis/kamaji.clastix.io/v1alpha1/datastores";

impl Confinement {
    fn confined(&self, uri: &Uri) -> Option<Uri> {
        let (path, query) = (uri.path(), uri.query().unwrap_or_default());
        let narrowed = if path == DATA_STORES {
            format!("{path}?labelSelector={LANE}%3D{}&{query}", self.namespace)
        } else {
            let (group, kind) = NAMESPACED.iter().find(|(group, kind)| path == format!("{group}{kind}"))?;
            format!("{group}namespaces/{}/{kind}?{query}", self.namespace)
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = narrowed.parse().ok();
        Uri::from_parts(parts).ok()
    }
}

impl<S> Layer<S> for Confinement {
    type Service = Confined<S>;

    fn layer(&self, inner: S) -> Confined<S> {
        Confined { confinement: self.clone(), inner }
    }
}

#[derive(Clone, Debug)]
struct Confined<S> {
    confinement: Confinement,
    inner: S,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for Confined<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, task: &mut Task<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, mut request: Request<Body>) -> S::Future {
        if let Some(uri) = self.confinement.confined(request.uri()) {
            *request.uri_mut() = uri;
        }
        self.inner.call(request)
    }
}
