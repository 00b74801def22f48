//! The spec once it has been read and is known to be sound.
//!
//! Reading happens in one place, [`Tenant::resolve`], so that what admission lets in can also be carried out.

mod complaints;
mod exposure;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
mod images;
mod network;
mod overrides;
mod version;

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt};

pub use complaints::{Complaint, Complaints};
pub use exposure::Exposure;
pub use images::Images;
pub use network::{Network, dns_service_ip};
pub use version::KubeVersion;

use crate::v1alpha1::{
    AdditionalMetadata, AdditionalPort, AddonsSpec, AdmissionController, DeploymentSpec, KubeletSpec,
    TenantControlPlane, WritePermissions,
};

/// What the operator's own settings contribute to every tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// DataStore of tenants that name none.
    pub default_data_store: Option<String>,
}

/// Which tenant control plane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId {
    /// Namespace of the TenantControlPlane and of all its children.
    pub namespace: String,
    /// Name of the TenantControlPlane.
    pub name: String,
    /// UID of the TenantControlPlane; another object of the same name is another tenant.
    pub uid: String,
}

impl TenantId {
    /// The identity of an object that was read from a cluster.
    pub fn of(tcp: &TenantControlPlane) -> Self {
        Self {
            namespace: tcp.namespace().unwrap_or_default(),
            name: tcp.name_any(),
            uid: tcp.meta().uid.clone().unwrap_or_default(),
        }
    }

    /// The name under which the API server is reached inside the management cluster.
    pub fn service_host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

impl std::fmt::Display for TenantId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// A tenant control plane whose spec is sound: every field has been read, defaulted and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// Which one.
    pub id: TenantId,
    /// Generation of the spec that this was read from.
    pub generation: i64,
    /// Kubernetes version that is wanted.
    pub version: KubeVersion,
    /// Version of an earlier minor whose behaviour is kept.
    pub emulated: Option<KubeVersion>,
    /// Number of Pods that are wanted; 0 means asleep.
    pub replicas: i32,
    /// Addresses, ports and ranges.
    pub network: Network,
    /// Kind of Service.
    pub exposure: Exposure,
    /// Labels and annotations of the user's for the Service.
    pub service_metadata: AdditionalMetadata,
    /// Ports of the user's for the Service.
    pub service_ports: Vec<AdditionalPort>,
    /// Images of the components.
    pub images: Images,
    /// Name of the DataStore.
    pub data_store: String,
    /// Names of the stores in which single kinds are kept instead, by `group/resource`.
    pub overrides: BTreeMap<String, String>,
    /// Name of the database, prefix or bucket that the user chose.
    pub schema: Option<String>,
    /// Name of the datastore's user that the user chose.
    pub user: Option<String>,
    /// Writes that are refused.
    pub writes: WritePermissions,
    /// Admission plugins to enable.
    pub admission_controllers: Vec<AdmissionController>,
    /// Settings of the kubelets that join.
    pub kubelet: KubeletSpec,
    /// What is installed inside the tenant cluster.
    pub addons: AddonsSpec,
    /// Settings that go into the Pods as they are.
    pub deployment: DeploymentSpec,
}

/// The first minor version whose programs all know the flag `--emulated-version`.
const OLDEST_EMULATOR: u64 = 33;

impl Tenant {
    /// Reads a [`TenantControlPlane`], collecting every complaint rather than the first.
    pub fn resolve(tcp: &TenantControlPlane, settings: &Settings) -> Result<Self, Complaints> {
        let spec = &tcp.spec;
        let mut complaints = Complaints::default();
        let id = TenantId::of(tcp);
        check_name(&id.name, &mut complaints);
        check_ports(spec.network_profile.port, &spec.control_plane.service.additional_ports, &mut complaints);
        check_tunnel_port(tcp, &mut complaints);
        let version =
            complaints.take("spec.kubernetes.version", KubeVersion::parse(&spec.kubernetes.version));
        let emulated = spec.kubernetes.emulated_version.as_deref().map(KubeVersion::parse).transpose();
        let emulated = complaints.take("spec.kubernetes.emulatedVersion", emulated).flatten();
        if emulated.is_some() && version.as_ref().is_some_and(|version| version.minor() < OLDEST_EMULATOR) {
            complaints.add(
                "spec.kubernetes.emulatedVersion",
                format!("programs before v1.{OLDEST_EMULATOR} cannot keep the behaviour of another version: remove it"),
            );
        }
        let network = Network::resolve(&spec.network_profile, &mut complaints);
        let replicas = complaints
            .take("spec.controlPlane.deployment.replicas", replicas(&spec.control_plane.deployment));
        let data_store = complaints.take("spec.dataStore", data_store(tcp, settings));
        let overrides = overrides::resolve(&spec.data_store_overrides, &mut complaints);
        let (Some(version), Some(network), Some(replicas), Some(data_store), true) =
            (version, network, replicas, data_store, complaints.is_empty())
        else {
            return Err(complaints);
        };
        Ok(Self {
            id,
            generation: tcp.meta().generation.unwrap_or_default(),
            replicas,
            network,
            exposure: Exposure::resolve(&spec.control_plane.service, &spec.network_profile),
            service_metadata: spec.control_plane.service.additional_metadata.clone(),
            service_ports: spec.control_plane.service.additional_ports.clone(),
            images: Images::resolve(&spec.control_plane.deployment.registry_settings, &version),
            emulated: emulated.filter(|emulated| emulated.minor() < version.minor()),
            version,
            data_store,
            overrides,
            schema: spec.data_store_schema.clone().filter(|name| !name.is_empty()),
            user: spec.data_store_username.clone().filter(|name| !name.is_empty()),
            writes: spec.write_permissions.clone(),
            admission_controllers: spec.kubernetes.admission_controllers.clone(),
            kubelet: spec.kubernetes.kubelet.clone(),
            addons: spec.addons.clone(),
            deployment: spec.control_plane.deployment.clone(),
        })
    }

    /// The version that clients and nodes meet: the one whose behaviour is kept, else the one that runs.
    pub fn offered(&self) -> &KubeVersion {
        self.emulated.as_ref().unwrap_or(&self.version)
    }

    /// The same tenant with programs of another version that keeps the behaviour of `emulated`, if of any.
    #[must_use]
    pub fn at(&self, version: KubeVersion, emulated: Option<KubeVersion>) -> Self {
        let images = Images::resolve(&self.deployment.registry_settings, &version);
        Self { version, emulated, images, ..self.clone() }
    }

    /// True when the tenant is to run no Pods.
    pub fn is_asleep(&self) -> bool {
        self.replicas == 0
    }
}

/// The name becomes the name of a Service, so it must be a DNS label as RFC 1035 has it.
fn check_name(name: &str, complaints: &mut Complaints) {
    let sound = name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !sound {
        complaints.add(
            "metadata.name",
            "must be at most 63 lower-case letters, digits and '-', begin with a letter and end with a letter or digit",
        );
    }
}

const RESERVED_PORT_NAMES: [&str; 2] = ["kube-apiserver", "konnectivity-server"];

fn check_ports(port: i32, additional: &[AdditionalPort], complaints: &mut Complaints) {
    if !(1..=65535).contains(&port) {
        complaints.add("spec.networkProfile.port", format!("{port} is not a port: use 1 to 65535"));
    } else if PORTS_OF_OTHERS.contains(&port) {
        complaints.add(
            "spec.networkProfile.port",
            format!("{port} is taken by another program in the Pod: choose another"),
        );
    }
    for (index, extra) in additional.iter().enumerate() {
        let field = format!("spec.controlPlane.service.additionalPorts[{index}]");
        if RESERVED_PORT_NAMES.contains(&extra.name.as_str()) {
            complaints.add(
                format!("{field}.name"),
                format!("{} is taken by Kamaji: choose another name", extra.name),
            );
        }
        if !(1..=65535).contains(&extra.port) {
            complaints.add(format!("{field}.port"), format!("{} is not a port: use 1 to 65535", extra.port));
        }
    }
}

/// Ports that kube-controller-manager and kube-scheduler listen on.
const PORTS_OF_OTHERS: [i32; 2] = [10257, 10259];

/// The same, and the tunnel's own for administrators and health.
const PORTS_IN_POD: [i32; 4] = [8133, 8134, 10257, 10259];

/// The tunnel shares the Pod with the API server, and the Service with whatever else it offers.
fn check_tunnel_port(tcp: &TenantControlPlane, complaints: &mut Complaints) {
    let Some(tunnel) = &tcp.spec.addons.konnectivity else { return };
    let (port, api_server) = (tunnel.server.port, tcp.spec.network_profile.port);
    let additional = &tcp.spec.control_plane.service.additional_ports;
    let is_additional = additional.iter().any(|extra| extra.port == port && extra.protocol.as_str() == "TCP");
    let field = "spec.addons.konnectivity.server.port";
    if !(1..=65535).contains(&port) {
        complaints.add(field, format!("{port} is not a port: use 1 to 65535"));
    } else if port == api_server || PORTS_IN_POD.contains(&port) {
        complaints.add(field, format!("{port} is taken by another program in the Pod: choose another"));
    } else if is_additional {
        complaints
            .add(field, format!("{port} is taken by an additional port of the Service: choose another"));
    }
    if [8133, 8134].contains(&api_server) {
        complaints.add(
            "spec.networkProfile.port",
            format!("{api_server} is taken by konnectivity in the Pod: choose another"),
        );
    }
}

fn replicas(deployment: &DeploymentSpec) -> Result<i32, String> {
    match deployment.replicas.unwrap_or(2) {
        wanted @ 0.. => Ok(wanted),
        negative => Err(format!("{negative} is less than 0")),
    }
}

fn data_store(tcp: &TenantControlPlane, settings: &Settings) -> Result<String, String> {
    tcp.spec
        .data_store
        .clone()
        .filter(|name| !name.is_empty())
        .or_else(|| settings.default_data_store.clone())
        .ok_or_else(|| "names no DataStore and the operator has no default: set it, or start the operator with --datastore".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_of(change: impl FnOnce(&mut TenantControlPlane)) -> String {
        let mut tcp = fixtures::tcp();
        change(&mut tcp);
        Tenant::resolve(&tcp, &Settings::default()).expect_err("a complaint").to_string()
    }

    #[test]
    fn a_sound_spec_is_read() {
        let tenant = Tenant::resolve(&fixtures::tcp(), &Settings::default()).unwrap();
        assert_eq!(tenant.id.to_string(), "teams/blue");
        assert_eq!(tenant.exposure, Exposure::ClusterIp);
        assert_eq!(tenant.replicas, 2);
    }

    #[test]
    fn every_complaint_is_collected() {
        let text = complaints_of(|tcp| {
            tcp.spec.kubernetes.version = "latest".into();
            tcp.spec.network_profile.port = 0;
            tcp.spec.data_store = None;
        });
        for field in ["spec.kubernetes.version", "spec.networkProfile.port", "spec.dataStore"] {
            assert!(text.contains(field), "{field} is missing in: {text}");
        }
    }

    #[test]
    fn only_programs_that_can_keep_the_behaviour_of_another_version_are_asked_to() {
        let text = complaints_of(|tcp| {
            tcp.spec.kubernetes.version = "v1.32.1".into();
            tcp.spec.kubernetes.emulated_version = Some("v1.31.4".into());
        });
        assert!(text.contains("spec.kubernetes.emulatedVersion: programs before v1.33"), "{text}");
    }

    #[test]
    fn names_must_be_dns_labels() {
        for bad in ["1blue", "blue-", "Blue", "blue.green", "", &"b".repeat(64)] {
            assert!(
                complaints_of(|tcp| tcp.metadata.name = Some(bad.into())).contains("metadata.name"),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn our_port_names_are_taken() {
        let text = complaints_of(|tcp| {
            tcp.spec.control_plane.service.additional_ports = serde_json::from_value(serde_json::json!([
                { "name": "kube-apiserver", "port": 70_000, "targetPort": 1 },
            ]))
            .unwrap();
        });
        assert!(text.contains("kube-apiserver is taken") && text.contains("70000 is not a port"), "{text}");
    }

    #[test]
    fn the_api_server_has_a_port_of_its_own() {
        for bad in [0, 65536, 10257, 10259] {
            let text = complaints_of(|tcp| tcp.spec.network_profile.port = bad);
            assert!(text.contains("spec.networkProfile.port"), "{text}");
        }
    }

    #[test]
    fn the_tunnel_has_a_port_of_its_own() {
        let complaints = |port: i32| {
            complaints_of(|tcp| {
                tcp.spec.data_store = None;
                tcp.spec.control_plane.service.additional_ports = serde_json::from_value(serde_json::json!([
                    { "name": "web", "port": 8080, "targetPort": 80 },
                    { "name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP" },
                ]))
                .unwrap();
                let tunnel = tcp.spec.addons.konnectivity.get_or_insert_default();
                tunnel.server.port = port;
            })
        };
        for bad in [0, -1, 65536, 6443, 8080, 8133, 8134, 10257, 10259] {
            assert!(complaints(bad).contains("spec.addons.konnectivity.server.port"), "{bad}");
        }
        for good in [8132, 443, 53] {
            assert!(!complaints(good).contains("konnectivity"), "{good}");
        }
    }
}
