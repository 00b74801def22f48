//! An API server of one's own that asks an operator of one's own.

use std::{net::IpAddr, path::PathBuf};

use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::Service,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kamaji_api::{
    admission::{
        Asked, MUTATING_CONFIGURATION, VALIDATING_CONFIGURATION, generator_policy, mutating, validating,
    },
    crd,
    v1alpha1::{DataStore, KubeconfigGenerator, TenantControlPlane},
};
use kamaji_e2e::{
    api_server::ApiServer,
    cut::Wire,
    operator::{Operator, PATIENCE, options},
};
use kamaji_operator::{AdmissionOptions, Options};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::ObjectMeta,
    runtime::{conditions, wait::await_condition},
};
use serde::Serialize;
use serde_json::{Value, json};

/// Name of the Service in front of the operator, as in the chart.
pub(crate) const SERVICE: &str = "kamaji-webhook-service";
const PORT: u16 = 9443;

/// An API server that asks whoever listens behind the Service.
pub(crate) struct Ground {
    /// It runs for as long as this is held.
    _api: ApiServer,
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// Address of the Service: on this machine, so that the operator can listen there itself.
    pub(crate) address: IpAddr,
}

impl Ground {
    pub(crate) async fn new() -> Self {
        let api = ApiServer::start().await.unwrap();
        let client = api.client().await.unwrap();
        let namespace = api.fresh_namespace().await.unwrap();
        let definitions = Api::<CustomResourceDefinition>::all(client.clone());
        for definition in crd::all() {
            apply(&definitions, &definition).await;
            let established = conditions::is_crd_established();
            await_condition(definitions.clone(), &definition.name_any(), established).await.unwrap();
        }
        let service: Service = serde_json::from_value(json!({
            "metadata": { "name": SERVICE }, "spec": { "ports": [{ "port": PORT }] },
        }))
        .unwrap();
        let services = Api::namespaced(client.clone(), &namespace);
        let made: Service = services.create(&PostParams::default(), &service).await.unwrap();
        let address = made.spec.unwrap().cluster_ip.unwrap().parse().unwrap();
        let ground = Self { _api: api, client, namespace, address };
        ground.ask("Ignore").await;
        let (policy, binding) = generator_policy();
        apply(&Api::all(ground.client.clone()), &policy).await;
        apply(&Api::all(ground.client.clone()), &binding).await;
        ground
    }

    /// The API server asks the operator; without an answer it does this.
    pub(crate) async fn ask(&self, failure_policy: &str) {
        let asked = Asked {
            namespace: self.namespace.clone(),
            service: SERVICE.into(),
            port: PORT.into(),
            operator: format!("system:serviceaccount:{}:kamaji", self.namespace),
            failure_policy: failure_policy.into(),
        };
        let metadata = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let defaults = MutatingWebhookConfiguration {
            metadata: metadata(MUTATING_CONFIGURATION),
            webhooks: Some(mutating(&asked)),
        };
        let rules = ValidatingWebhookConfiguration {
            metadata: metadata(VALIDATING_CONFIGURATION),
            webhooks: Some(validating(&asked)),
        };
        apply(&Api::all(self.client.clone()), &defaults).await;
        apply(&Api::all(self.client.clone()), &rules).await;
    }

    /// An operator that answers; somebody may mount a certificate in this folder.
    pub(crate) fn operator(&self, certificates: PathBuf) -> Operator {
        let mut options: Options = options();
        options.settings.tenant.default_data_store = Some("default".into());
        options.settings.migration.namespace.clone_from(&self.namespace);
        options.admission = Some(AdmissionOptions {
            address: (self.address, PORT).into(),
            namespace: self.namespace.clone(),
            service: SERVICE.into(),
            service_account: "kamaji".into(),
            certificates,
        });
        Operator::start(Wire::new(), self.client.clone(), options)
    }

    /// An operator that makes its certificate itself.
    pub(crate) fn plain_operator(&self) -> Operator {
        self.operator(PathBuf::from("/nonexistent"))
    }

    /// Waits until the API server asks, understands the answer, and trusts it.
    pub(crate) async fn in_force(&self) {
        let absent = self.tenant(&json!({ "dataStore": "absent" }));
        self.until("the webhooks are in force", async || {
            self.try_to_create(&absent).await.is_err_and(|message| message.contains("does not exist"))
        })
        .await;
    }

    /// Waits until this is true, and asks again and again.
    pub(crate) async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let held = async {
            while !holds().await {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, held).await.is_ok(), "never: {what}");
    }

    /// The smallest sound tenant with this in its spec.
    pub(crate) fn tenant(&self, change: &Value) -> Value {
        let mut tenant = json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "TenantControlPlane",
            "metadata": { "name": "blue", "namespace": self.namespace },
            "spec": {
                "controlPlane": { "service": { "serviceType": "ClusterIP" } },
                "kubernetes": { "version": "v1.34.4", "kubelet": {} },
            },
        });
        merge(&mut tenant["spec"], change);
        tenant
    }

    /// What becomes of an object that is created without being stored, or what is said against it.
    pub(crate) async fn try_to_create(&self, manifest: &Value) -> Result<Value, String> {
        let params = PostParams { dry_run: true, ..PostParams::default() };
        self.answer(manifest, params).await
    }

    pub(crate) async fn create(&self, manifest: &Value) -> Result<Value, String> {
        self.answer(manifest, PostParams::default()).await
    }

    async fn answer(&self, manifest: &Value, params: PostParams) -> Result<Value, String> {
        let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
        match self.objects(manifest).create(&params, &object).await {
            Ok(made) => Ok(serde_json::to_value(made).unwrap()),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(other) => panic!("the server could not be asked: {other}"),
        }
    }

    /// Merges this into an object that is stored.
    pub(crate) async fn change(&self, manifest: &Value, patch: &Value) -> Result<(), String> {
        let name = manifest["metadata"]["name"].as_str().unwrap();
        match self.objects(manifest).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(other) => panic!("the server could not be asked: {other}"),
        }
    }

    /// Objects of the kind that the manifest names.
    pub(crate) fn objects(&self, manifest: &Value) -> Api<DynamicObject> {
        let client = self.client.clone();
        match manifest["kind"].as_str().unwrap() {
            "DataStore" => Api::all_with(client, &ApiResource::erase::<DataStore>(&())),
            "KubeconfigGenerator" => Api::all_with(client, &ApiResource::erase::<KubeconfigGenerator>(&())),
            _ => {
                Api::namespaced_with(client, &self.namespace, &ApiResource::erase::<TenantControlPlane>(&()))
            }
        }
    }
}

/// A DataStore of this driver that leads nowhere.
pub(crate) fn data_store(name: &str, driver: &str) -> Value {
    let content = json!({ "content": "c2VjcmV0" });
    let pair = json!({ "certificate": content, "privateKey": content });
    let spec = if driver == "etcd" {
        json!({ "driver": driver, "endpoints": ["192.0.2.1:2379"],
            "tlsConfig": { "certificateAuthority": pair, "clientCertificate": pair } })
    } else {
        json!({ "driver": driver, "endpoints": ["192.0.2.1:5432"],
            "basicAuth": { "username": content, "password": content } })
    };
    json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "DataStore",
        "metadata": { "name": name }, "spec": spec,
    })
}

async fn apply<K>(api: &Api<K>, object: &K)
where
    K: Resource<DynamicType = ()> + Clone + Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let params = PatchParams::apply("harness").force();
    api.patch(&object.name_any(), &params, &Patch::Apply(object)).await.unwrap();
}

fn merge(target: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) if target.is_object() => {
            fields.iter().for_each(|(name, value)| merge(&mut target[name.as_str()], value));
        }
        other => *target = other.clone(),
    }
}
