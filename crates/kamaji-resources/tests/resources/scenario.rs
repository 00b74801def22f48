//! The tenants that the tests build everything for.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use kamaji_api::tenant::{Settings, fixtures};
use kamaji_api::v1alpha1::Driver;
use kamaji_api::{Child, Tenant};
use kamaji_pki::Authority;
use kamaji_resources::anchors::{self, ANCHORS};
use kamaji_resources::deployment::{self, Inputs};
use kamaji_resources::overrides::{self, Override};
use kamaji_resources::storage::Extent;
use kamaji_resources::{
    Anchors, Clock, Credentials, Endpoint, HeldSecrets, Memory, Storage, StorageCredentials, konnectivity,
    kubeadm_config, service,
};
use serde_json::{Value, json};

pub(crate) const DAY: SignedDuration = SignedDuration::from_hours(24);
pub(crate) const YEAR: SignedDuration = SignedDuration::from_hours(24 * 365);

/// When everything is built, unless a test says otherwise.
pub(crate) fn now() -> Timestamp {
    "2026-11-23T02:00:00Z".parse().unwrap()
}

pub(crate) fn clock(now: Timestamp) -> Clock {
    Clock { now, renew_before: DAY }
}

/// One kind of tenant.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What differs from the smallest spec, as a merge patch (RFC 7386).
    spec: Value,
    /// The Service as the management cluster answers it.
    service: Value,
}

/// What a tenant starts from: read or made once.
pub(crate) struct Ground {
    pub(crate) tenant: Tenant,
    pub(crate) endpoint: Endpoint,
    pub(crate) storage: Storage,
    pub(crate) issuer: Authority,
    pub(crate) held: HeldSecrets,
    /// Stores that keep some kinds, each with an authority of its own but the first.
    pub(crate) overrides: Vec<Override>,
}

/// Everything that is built for a tenant.
pub(crate) struct Built {
    pub(crate) service: Service,
    pub(crate) kubeadm_config: ConfigMap,
    /// Only with konnectivity.
    pub(crate) egress_selector: Option<ConfigMap>,
    pub(crate) credentials: Credentials,
    pub(crate) storage_credentials: StorageCredentials,
    pub(crate) deployment: Deployment,
}

impl Scenario {
    pub(crate) fn tenant(&self) -> Tenant {
        let mut tcp = serde_json::to_value(fixtures::tcp()).unwrap();
        merge(&mut tcp["spec"], &self.spec);
        Tenant::resolve(&serde_json::from_value(tcp).unwrap(), &Settings::default()).unwrap()
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        let service = serde_json::from_value(self.service.clone()).unwrap();
        Endpoint::assigned(&self.tenant(), &service).unwrap()
    }

    pub(crate) fn ground(&self) -> Ground {
        let tenant = self.tenant();
        let claim = Memory::default().claim_or_new(&tenant, Driver::Etcd);
        let held = ANCHORS.map(|child| (child, Arc::new(anchors::create(&tenant.id, child, now()).unwrap())));
        let issuer = Authority::create("etcd-ca", now(), YEAR * 10).unwrap();
        Ground {
            endpoint: self.endpoint(),
            overrides: overrides_of(&tenant, &issuer),
            storage: Storage {
                driver: claim.driver,
                data_store: claim.data_store,
                endpoints: vec!["etcd-0.etcd:2379".into(), "[fd00::2]:2379".into()],
                schema: claim.schema,
                user: claim.user,
            },
            issuer,
            held: held.into(),
            tenant,
        }
    }
}

fn overrides_of(tenant: &Tenant, issuer: &Authority) -> Vec<Override> {
    let wanted = overrides::wanted(tenant, &tenant.data_store).into_iter();
    let place = |(number, (data_store, resources)): (usize, (String, _))| {
        let other = Authority::create(&data_store, now(), YEAR * 10).unwrap();
        let authority = if number == 0 { issuer } else { &other };
        Override {
            endpoints: vec![format!("{data_store}-0.etcd:2379"), "[fd00::9]:2379".into()],
            authority: authority.certificate().pem().to_owned(),
            data_store,
            resources,
        }
    };
    wanted.enumerate().map(place).collect()
}

impl Ground {
    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::read(&self.held, |_| None).unwrap()
    }

    pub(crate) fn credentials(&self, clock: Clock) -> Credentials {
        Credentials::renew(&self.tenant, &self.endpoint, &self.anchors(), &self.held, clock).unwrap()
    }

    pub(crate) fn storage_credentials(&self, clock: Clock) -> StorageCredentials {
        StorageCredentials::renew(&self.tenant, &self.storage, &self.issuer, &self.held, clock)
            .unwrap()
            .trusting(&self.tenant, (&self.overrides, Extent::Whole), &self.held, clock.now)
    }

    pub(crate) fn build(&self, clock: Clock) -> Built {
        let (credentials, storage_credentials) = (self.credentials(clock), self.storage_credentials(clock));
        let deployment = self.deployment(&credentials, &storage_credentials);
        Built {
            service: service::build(&self.tenant),
            kubeadm_config: kubeadm_config::build(&self.tenant, &self.endpoint, &self.storage),
            egress_selector: self
                .tenant
                .addons
                .konnectivity
                .as_ref()
                .map(|_| konnectivity::egress_selector(&self.tenant.id)),
            credentials,
            storage_credentials,
            deployment,
        }
    }

    pub(crate) fn deployment(
        &self,
        credentials: &Credentials,
        storage_credentials: &StorageCredentials,
    ) -> Deployment {
        deployment::build(&Inputs {
            tenant: &self.tenant,
            endpoint: &self.endpoint,
            credentials,
            storage: &self.storage,
            storage_credentials,
            overrides: &self.overrides,
        })
    }

    /// The same, after what was built has been written.
    pub(crate) fn holding(mut self, built: &Built) -> Self {
        self.held.extend(built.secrets().map(|(child, secret)| (child, Arc::new(secret.clone()))));
        self
    }

    /// A tenant whose Secrets are all there.
    pub(crate) fn settled(scenario: &Scenario) -> Self {
        let ground = scenario.ground();
        let built = ground.build(clock(now()));
        ground.holding(&built)
    }
}

impl Built {
    /// Every Secret but the anchors.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (Child, &Secret)> {
        let storage = &self.storage_credentials;
        self.credentials.secrets.iter().map(|(child, secret)| (*child, secret)).chain([
            (Child::DatastoreConfig, &storage.config),
            (Child::DatastoreCertificate, &storage.certificate),
        ])
    }
}

pub(crate) fn named(name: &str) -> Scenario {
    all().into_iter().find(|scenario| scenario.name == name).unwrap()
}

/// A tenant that is reached inside the management cluster.
pub(crate) fn within(name: &'static str, spec: Value) -> Scenario {
    Scenario { name, spec, service: json!({ "spec": { "clusterIP": "10.97.11.12" } }) }
}

fn with_overrides() -> Scenario {
    within(
        "overrides",
        json!({ "dataStore": "default", "dataStoreOverrides": [
            { "resource": "/events", "dataStore": "events" },
            { "resource": "coordination.k8s.io/leases", "dataStore": "events" },
            { "resource": "/configmaps", "dataStore": "second" },
            { "resource": "/pods", "dataStore": "default" },
        ] }),
    )
}

pub(crate) fn all() -> Vec<Scenario> {
    let mut all = vec![
        within("minimal", json!({})),
        within("everything", everything()),
        Scenario {
            name: "node_port",
            spec: json!({
                "controlPlane": { "service": {
                    "serviceType": "NodePort",
                    "additionalPorts": [{ "name": "metrics", "port": 10257, "targetPort": "metrics" }],
                } },
                "networkProfile": { "address": "192.0.2.7", "port": 30443, "allowAddressAsExternalIP": true },
            }),
            service: json!({ "spec": { "clusterIP": "10.97.11.12" } }),
        },
        Scenario {
            name: "load_balancer",
            spec: json!({
                "controlPlane": { "service": {
                    "serviceType": "LoadBalancer",
                    "allocateLoadBalancerNodePorts": false,
                    "additionalPorts": [{ "name": "metrics", "port": 10257, "targetPort": 10257 }],
                    "additionalMetadata": { "annotations": { "metallb.io/address-pool": "tenants" } },
                } },
                "networkProfile": {
                    "loadBalancerClass": "example.com/internal",
                    "loadBalancerSourceRanges": ["192.0.2.0/24", "2001:db8::/32"],
                    "allowAddressAsExternalIP": true,
                },
            }),
            service: json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "198.51.100.9" }] } } }),
        },
        Scenario {
            name: "dual_stack_ipv6_first",
            spec: json!({ "networkProfile": {
                "serviceCidrs": ["fd00:96::/108", "10.96.0.0/16"],
                "podCidrs": ["fd00:244::/56", "10.244.0.0/16"],
            } }),
            service: json!({ "spec": { "clusterIP": "fd00:97::7" } }),
        },
        within(
            "cluster_domain",
            json!({ "networkProfile": {
                "clusterDomain": "blue.example.org",
                "advertiseAddress": "203.0.113.4",
                "certSANs": ["blue.example.com", "*.blue.example.com", "203.0.113.5", "2001:db8::5"],
            } }),
        ),
        within("asleep", json!({ "controlPlane": { "deployment": { "replicas": 0 } } })),
        within("chosen_account", json!({ "dataStoreSchema": "blue_data", "dataStoreUsername": "blue-user" })),
        within("write_limited", json!({ "writePermissions": { "blockCreation": true } })),
    ];
    all.extend(with_konnectivity());
    all.push(with_overrides());
    all
}

fn with_konnectivity() -> Vec<Scenario> {
    vec![
        within("konnectivity", json!({ "addons": { "konnectivity": {} } })),
        within("konnectivity_everything", konnectivity_everything()),
        Scenario {
            name: "konnectivity_node_port",
            spec: json!({
                "addons": { "konnectivity": { "server": { "port": 30132, "image": "" } } },
                "controlPlane": { "service": { "serviceType": "NodePort" } },
                "networkProfile": { "address": "192.0.2.7", "port": 30443 },
            }),
            service: json!({ "spec": { "clusterIP": "10.97.11.12" } }),
        },
        Scenario {
            name: "konnectivity_load_balancer",
            spec: json!({
                "addons": { "konnectivity": {} },
                "controlPlane": { "service": {
                    "serviceType": "LoadBalancer",
                    "allocateLoadBalancerNodePorts": false,
                    "additionalPorts": [{ "name": "metrics", "port": 10257, "targetPort": 10257 }],
                } },
                "networkProfile": { "advertiseAddress": "2001:db8::4", "certSANs": ["blue.example.com"] },
            }),
            service: json!({ "status": { "loadBalancer": { "ingress": [{ "ip": "198.51.100.9" }] } } }),
        },
    ]
}

/// Every field of the tunnel's server, arguments that are ours, and a tenant that is asleep.
fn konnectivity_everything() -> Value {
    json!({
        "addons": { "konnectivity": { "server": {
            "port": 8443,
            "image": "registry.example.com/proxy-server",
            "version": "v0.28.6",
            "extraArgs": ["--agent-port=1", "--keepalive-time=30s", "--uds_name", "/tmp/mine", "-v=4"],
            "resources": { "requests": { "cpu": "50m" }, "limits": { "memory": "64Mi" } },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "runAsUser": 1001,
            },
        } } },
        "controlPlane": { "deployment": {
            "replicas": 0,
            "extraArgs": { "apiServer": ["--egress-selector-config-file=/tmp/mine"] },
            "probes": { "liveness": { "failureThreshold": 5 } },
        } },
        "kubernetes": { "version": "v1.35.4" },
    })
}

/// Every field of the deployment's spec, and arguments that are hard to get right.
fn everything() -> Value {
    serde_saphyr::from_str(include_str!("../fixtures/everything.yaml")).unwrap()
}

/// RFC 7386.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in fields {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(name);
        } else {
            merge(&mut target[name], value);
        }
    }
}
