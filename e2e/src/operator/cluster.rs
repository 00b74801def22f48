//! A tenant of a lane whose API server runs, and what stands inside it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context, Result, anyhow};
use jiff::SignedDuration;
use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, Service},
};
use kamaji_addons::{Identity, Interior, Object};
use kamaji_api::{
    Child,
    tenant::{Settings, Tenant},
    v1alpha1::{Driver, TenantControlPlane},
};
use kamaji_pki::{Authority, Leaf, Names, Usage};
use kamaji_resources::{Endpoint, Storage};
use kube::{
    Api, Client, Config,
    api::{ApiResource, DynamicObject, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use super::{
    Lane, condition,
    front::Front,
    kubelet::{self, TenantApiServer},
};
use crate::etcd;

/// Name under which the operator owns fields inside tenants.
pub const MANAGER: &str = "kamaji-tenant";
/// How long a certificate of ours lasts; a test run is over long before.
const VALIDITY: SignedDuration = SignedDuration::from_hours(24);
/// What the server numbers or dates.
const NUMBERED: [&str; 5] = ["uid", "resourceVersion", "creationTimestamp", "generation", "time"];

/// A tenant whose API server runs.
pub struct TenantCluster {
    /// Name of the tenant.
    pub name: String,
    /// Its API server.
    pub server: TenantApiServer,
    /// A client with all rights inside, which speaks to the API server itself, whatever stands before it.
    pub client: Client,
}

impl TenantCluster {
    /// The tenant is made and its API server runs where the tenant's Service leads.
    pub async fn start(lane: &Lane, manifest: &Value) -> Result<Self> {
        let name = made(lane, manifest).await?;
        let server = kubelet::run_api_server(lane, &name).await?;
        Self::joined(lane, name, server).await
    }

    /// The same, but where the tenant's Service leads stands something else.
    pub async fn start_behind_front(lane: &Lane, manifest: &Value) -> Result<(Self, Front)> {
        let name = made(lane, manifest).await?;
        let address = kubelet::cluster_ip(lane, &name).await?;
        let server = kubelet::run_api_server_at(lane, &name, beside(address)).await?;
        let port = server.address().port();
        let front = Front::start((address, port).into(), server.address())?;
        Ok((Self::joined(lane, name, server).await?, front))
    }

    async fn joined(lane: &Lane, name: String, server: TenantApiServer) -> Result<Self> {
        let client = administrator(lane, &name, server.address()).await?;
        kubelet::report_ready(lane, &name).await?;
        Ok(Self { name, server, client })
    }

    /// The tenant once its newest spec is carried out inside.
    pub async fn kept(&self, lane: &Lane) -> Result<TenantControlPlane> {
        let generation = lane.tenants().get(&self.name).await?.metadata.generation;
        let kept = |tcp: &TenantControlPlane| {
            let conditions = tcp.status.iter().flat_map(|status| &status.conditions);
            let newest = conditions
                .into_iter()
                .any(|found| found.type_ == "Addons" && found.observed_generation >= generation);
            newest
                && condition(tcp, "Addons") == "True/Kept"
                && condition(tcp, "TenantReachable") == "True/Answers"
        };
        lane.tenant_that(&self.name, "kept", kept).await
    }

    /// What the inside is made from.
    pub async fn interior(&self, lane: &Lane) -> Result<Interior> {
        let tcp = lane.tenants().get(&self.name).await?;
        let service: Service = lane.objects().get(&self.name).await?;
        let tenant = Tenant::resolve(&tcp, &Settings::default()).context("the spec is sound")?;
        let endpoint = Endpoint::assigned(&tenant, &service).map_err(|missing| anyhow!("{missing}"))?;
        let status = tcp.status.and_then(|status| status.storage?.setup).context("the storage is set up")?;
        let storage = Storage {
            driver: Driver::Etcd,
            data_store: lane.data_store.clone(),
            endpoints: vec![lane.etcd.endpoint().to_string()],
            schema: status.schema.unwrap_or_default(),
            user: status.user.unwrap_or_default(),
        };
        let authority = authority(lane, &self.name).await?.certificate().pem().to_owned();
        Ok(Interior { tenant, endpoint, storage, authority })
    }

    /// Everything that should be inside.
    pub async fn desired(&self, lane: &Lane) -> Result<Vec<Object>> {
        Ok(kamaji_addons::desired(&self.interior(lane).await?)?)
    }

    /// The object as it is now.
    pub async fn live(&self, object: &Object) -> Result<Option<DynamicObject>> {
        Ok(self.api(&object.resource, &object.identity()).get_opt(&object.identity().name).await?)
    }

    /// Whether the object is as it should be, in every field that is the operator's.
    pub async fn is_settled(&self, object: &Object) -> Result<bool> {
        let live = self.live(object).await?;
        let differs = |live: &DynamicObject| {
            kamaji_apply::dynamic_difference(&object.resource, &object.desired, live, MANAGER).is_some()
        };
        Ok(live.is_some_and(|live| !differs(&live)))
    }

    /// Objects of this kind, where this one is.
    pub fn api(&self, resource: &ApiResource, identity: &Identity) -> Api<DynamicObject> {
        match &identity.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }

    /// Every object of these kinds, also those that are not the operator's, by kind, namespace and name.
    pub async fn everything(&self, kinds: &[ApiResource]) -> Result<BTreeMap<String, DynamicObject>> {
        let mut all = BTreeMap::new();
        for kind in kinds {
            let api: Api<DynamicObject> = Api::all_with(self.client.clone(), kind);
            for object in api.list(&ListParams::default()).await? {
                let (name, namespace) = (object.metadata.name.clone(), object.metadata.namespace.clone());
                let id =
                    format!("{} {}/{}", kind.kind, namespace.unwrap_or_default(), name.unwrap_or_default());
                all.insert(id, object);
            }
        }
        Ok(all)
    }

    /// The same without what the server numbers and dates.
    pub async fn state(&self, kinds: &[ApiResource]) -> Result<BTreeMap<String, Value>> {
        let all = self.everything(kinds).await?;
        all.into_iter().map(|(id, object)| Ok((id, unnumbered(serde_json::to_value(object)?)))).collect()
    }
}

/// The kinds of which any add-on has anything.
pub fn kinds<'a>(objects: impl IntoIterator<Item = &'a Object>) -> Vec<ApiResource> {
    let mut seen = BTreeSet::new();
    let resources = objects.into_iter().map(|object| object.resource.clone());
    resources.filter(|resource| seen.insert(resource.plural.clone())).collect()
}

async fn made(lane: &Lane, manifest: &Value) -> Result<String> {
    let tcp = lane.create(manifest).await?;
    let name = tcp.metadata.name.context("a tenant has a name")?;
    lane.converged(&name).await?;
    Ok(name)
}

/// A loopback address that no Service has.
fn beside(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [first, second, third, fourth] = address.octets();
            [first, second + 1, third, fourth].into()
        }
        IpAddr::V6(address) => address.into(),
    }
}

/// The tenant's own authority.
pub async fn authority(lane: &Lane, tenant: &str) -> Result<Authority> {
    let secret: Secret = lane.objects().get(&Child::Ca.name(tenant)).await?;
    let data = secret.data.unwrap_or_default();
    let file = |key: &str| {
        data.get(key).map(|ByteString(bytes)| bytes.as_slice()).context("a file of the authority")
    };
    Ok(Authority::from_pem(file("ca.crt")?, file("ca.key")?)?)
}

/// Somebody who is neither the operator nor any user that the tenant could lock out, at the API server of this address.
pub async fn administrator(lane: &Lane, tenant: &str, server: SocketAddr) -> Result<Client> {
    let authority = authority(lane, tenant).await?;
    let leaf = Leaf {
        common_name: "e2e".into(),
        organizations: vec!["system:masters".to_owned()],
        usage: Usage::Client,
        names: Names::default(),
        valid_for: VALIDITY,
    };
    let pair = authority.issue(&leaf, etcd::now())?;
    let data = |pem: &str| ByteString(pem.as_bytes().to_vec());
    let kubeconfig: Kubeconfig = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Config",
        "clusters": [{ "name": "tenant", "cluster": {
            "server": format!("https://{server}"),
            "tls-server-name": format!("{tenant}.{}.svc", lane.namespace),
            "certificate-authority-data": data(authority.certificate().pem()),
        } }],
        "users": [{ "name": "e2e", "user": {
            "client-certificate-data": data(pair.certificate().pem()),
            "client-key-data": data(pair.key().pem()),
        } }],
        "contexts": [{ "name": "tenant", "context": { "cluster": "tenant", "user": "e2e" } }],
        "current-context": "tenant",
    }))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.proxy_url = None;
    Ok(Client::try_from(config)?)
}

fn unnumbered(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            fields.retain(|name, _| !NUMBERED.contains(&name.as_str()));
            fields.values_mut().for_each(|field| *field = unnumbered(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = unnumbered(item.take())),
        _ => {}
    }
    value
}
