use k8s_openapi::api::core::v1::{Container, VolumeMount};
use kamaji_api::v1alpha1::KonnectivityServerSpec;
use kamaji_api::{Child, Tenant, labels};

use super::args::{Flags, Winner, compose};
use super::component::{Component, Wish};
use super::pki::{self, DIRECTORY, Files};
use super::probes::Health;
use super::socket::{Socket, port};
use super::{Inputs, Part, security};
use crate::konnectivity::{
    AGENT_NAME, AGENT_NAMESPACE, EGRESS_FILE, SERVER_USER, SOCKET, SOCKET_DIRECTORY,
    egress_selector_checksum, image,
};

const NAME: &str = "konnectivity-server";
const KUBECONFIG: &str = "konnectivity-server-kubeconfig";
const PKI: &str = "konnectivity-server-pki";
const UDS: Socket = Socket { volume: "konnectivity-uds", directory: SOCKET_DIRECTORY };
const EGRESS: &str = "egress-selector-configuration";
const EGRESS_DIRECTORY: &str = "/etc/kubernetes/konnectivity/configurations";
const FILE: &str = "konnectivity-server.conf";
const ADMIN_PORT: i32 = 8133;
const HEALTH_PORT: i32 = 8134;

/// What it shows to agents, under the names that its flags have in every installation. It is a pair of its own: the API
/// server's would also speak for the addresses that agents never dial.
const FILES: &[Files] = &[Files {
    child: Child::KonnectivityServer,
    files: &[("konnectivity-server.crt", "apiserver.crt"), ("konnectivity-server.key", "apiserver.key")],
}];

/// The server's container and what the API server shares with it; nothing without konnectivity.
pub(super) fn part(inputs: &Inputs<'_>) -> Part {
    let tenant = inputs.tenant;
    let Some(wish) = &tenant.addons.konnectivity else { return Part::default() };
    Part {
        containers: vec![container(tenant, &wish.server)],
        volumes: vec![
            UDS.volume(),
            pki::config_map(tenant, EGRESS, Child::EgressSelector, EGRESS_FILE),
            pki::file(tenant, KUBECONFIG, Child::KonnectivityKubeconfig, FILE),
            pki::projected(inputs, PKI, FILES),
        ],
    }
}

/// What makes the API server use the tunnel.
pub(super) fn api_server_flags(tenant: &Tenant) -> Flags {
    let path = || format!("{EGRESS_DIRECTORY}/{EGRESS_FILE}");
    tenant.addons.konnectivity.iter().map(|_| ("egress-selector-config-file", path())).collect()
}

/// What the API server sees of it.
pub(super) fn api_server_mounts(tenant: &Tenant) -> Vec<VolumeMount> {
    let mounts = || vec![UDS.mount(), pki::read_only(EGRESS, EGRESS_DIRECTORY)];
    tenant.addons.konnectivity.as_ref().map(|_| mounts()).unwrap_or_default()
}

/// Labels that carry the checksum of what the Pods read of it once, at their start.
pub(super) fn checksum_labels(inputs: &Inputs<'_>) -> Vec<(String, String)> {
    if inputs.tenant.addons.konnectivity.is_none() {
        return Vec::new();
    }
    let checksum = |child| inputs.credentials.checksum(child);
    [
        (Child::EgressSelector, egress_selector_checksum()),
        (Child::KonnectivityKubeconfig, checksum(Child::KonnectivityKubeconfig)),
        (Child::KonnectivityServer, checksum(Child::KonnectivityServer)),
    ]
    .map(|(child, sum)| (format!("{}/{}", labels::COMPONENT_CHECKSUM_PREFIX, child.component()), sum))
    .into()
}

fn container(tenant: &Tenant, server: &KonnectivityServerSpec) -> Container {
    let wish = Wish {
        arguments: &server.extra_args,
        resources: server.resources.as_ref(),
        security: server.security_context.as_ref(),
        ..Wish::default()
    };
    let component = Component {
        name: NAME,
        image: &server_image(tenant, server),
        // Its own readiness waits for an agent, and an agent reaches it only after the Pod is ready.
        health: Health { scheme: "HTTP", port: HEALTH_PORT, live: "/healthz", ready: "/healthz" },
        arguments: compose(&[(Winner::Kamaji, managed(tenant, server))], wish.arguments),
        mounts: vec![
            pki::read_only(KUBECONFIG, "/etc/kubernetes"),
            pki::read_only(PKI, DIRECTORY),
            UDS.mount(),
        ],
        security: security::container(),
    };
    Container {
        command: Some(vec!["/proxy-server".into()]),
        ports: Some(vec![
            port("agentport", server.port),
            port("adminport", ADMIN_PORT),
            port("healthport", HEALTH_PORT),
        ]),
        ..component.container(&wish, None)
    }
}

/// An image that is left empty is the usual one.
fn server_image(tenant: &Tenant, server: &KonnectivityServerSpec) -> String {
    let usual = KonnectivityServerSpec::default().image;
    let name = if server.image.is_empty() { &usual } else { &server.image };
    image(name, &server.version, &tenant.version)
}

fn managed(tenant: &Tenant, server: &KonnectivityServerSpec) -> Flags {
    vec![
        ("admin-port", ADMIN_PORT.to_string()),
        ("agent-namespace", AGENT_NAMESPACE.into()),
        ("agent-port", server.port.to_string()),
        ("agent-service-account", AGENT_NAME.into()),
        ("authentication-audience", SERVER_USER.into()),
        ("cluster-cert", format!("{DIRECTORY}/apiserver.crt")),
        ("cluster-key", format!("{DIRECTORY}/apiserver.key")),
        ("health-port", HEALTH_PORT.to_string()),
        ("kubeconfig", format!("/etc/kubernetes/{FILE}")),
        ("mode", "grpc".into()),
        // Agents keep dialling until they have met so many; a tenant that is asleep wakes with what it had.
        ("server-count", tenant.replicas.max(1).to_string()),
        ("server-port", "0".into()),
        ("uds-name", SOCKET.into()),
    ]
}
