use k8s_openapi::api::core::v1::Container;
use kamaji_api::v1alpha1::{AddressType, AdmissionController};
use kamaji_api::{Child, Tenant};

use super::args::{self, Flags, Winner, compose, names_flag};
use super::component::{Component, Wish};
use super::pki::{self, DIRECTORY, Files};
use super::probes::{HTTPS, Health};
use super::{Inputs, Part, kine, konnectivity, security};
use crate::kine::{SOCKET, serves};
use crate::kubeadm_config::joined;
use crate::overrides;

const NAME: &str = "kube-apiserver";
const PKI: &str = "etc-kubernetes-pki";

/// What the API server serves and verifies with; it signs service-account tokens, but no certificates, so it gets no key
/// of an authority.
const FILES: &[Files] = &[
    Files {
        child: Child::ApiServer,
        files: &[("apiserver.crt", "apiserver.crt"), ("apiserver.key", "apiserver.key")],
    },
    Files { child: Child::Ca, files: &[("ca.crt", "ca.crt")] },
    Files {
        child: Child::KubeletClient,
        files: &[
            ("apiserver-kubelet-client.crt", "apiserver-kubelet-client.crt"),
            ("apiserver-kubelet-client.key", "apiserver-kubelet-client.key"),
        ],
    },
    Files { child: Child::FrontProxyCa, files: &[("front-proxy-ca.crt", "front-proxy-ca.crt")] },
    Files {
        child: Child::FrontProxyClient,
        files: &[
            ("front-proxy-client.crt", "front-proxy-client.crt"),
            ("front-proxy-client.key", "front-proxy-client.key"),
        ],
    },
    Files { child: Child::ServiceAccountKey, files: &[("sa.pub", "sa.pub"), ("sa.key", "sa.key")] },
];

/// What it shows to etcd. To kine it shows nothing: whoever reaches the socket is in the Pod.
const ETCD_FILES: Files = Files {
    child: Child::DatastoreCertificate,
    files: &[("ca.crt", "etcd/ca.crt"), ("server.crt", "etcd/server.crt"), ("server.key", "etcd/server.key")],
};

/// Plugins that every tenant gets besides those it names, unless it disables them: without the first a kubelet may touch other nodes' objects,
/// without the second any user may take over addresses (CVE-2020-8554).
pub(crate) const ALWAYS: [AdmissionController; 2] =
    [AdmissionController::NodeRestriction, AdmissionController::DenyServiceExternalIPs];

pub(super) fn part(inputs: &Inputs<'_>) -> Part {
    let mut files = FILES.to_vec();
    files.extend((!serves(inputs.storage.driver)).then_some(ETCD_FILES));
    Part { containers: vec![container(inputs)], volumes: vec![pki::projected(inputs, PKI, &files)] }
}

fn container(inputs: &Inputs<'_>) -> Container {
    let tenant = inputs.tenant;
    let wish = Wish::api_server(&tenant.deployment);
    Component {
        name: NAME,
        image: &tenant.images.api_server,
        health: Health { scheme: HTTPS, port: tenant.network.port.into(), live: "/livez", ready: "/readyz" },
        arguments: arguments(inputs, wish.arguments),
        mounts: [
            vec![pki::read_only(PKI, DIRECTORY)],
            kine::api_server_mounts(inputs.storage),
            konnectivity::api_server_mounts(tenant),
        ]
        .concat(),
        security: security::api_server(),
    }
    .container(&wish, tenant.deployment.probes.as_ref())
}

fn arguments(inputs: &Inputs<'_>, extra: &[String]) -> Vec<String> {
    let tenant = inputs.tenant;
    let mut ours = vec![
        (Winner::User, defaults(tenant)),
        (Winner::User, args::tls()),
        (Winner::Kamaji, managed(inputs, extra)),
        (Winner::Kamaji, store(inputs)),
        (Winner::Kamaji, konnectivity::api_server_flags(tenant)),
        (Winner::Kamaji, args::emulation(tenant)),
    ];
    // Upstream refuses both at once.
    if !names_flag(extra, "authorization-config") {
        ours.push((Winner::User, vec![("authorization-mode", "Node,RBAC".into())]));
    }
    compose(&ours, extra)
}

/// Watches are ended when the server is told to stop; else it waits for them until it is killed, half a minute later. Known
/// since Kubernetes 1.27.
const WATCHES_END_WITHIN: &str = "3s";

/// A server that was told to stop goes on serving for so long, since its Service still leads to it until every node has heard
/// that it stops. Load balancers that take longer want more of it.
const SERVES_ON_FOR: &str = "3s";

fn defaults(tenant: &Tenant) -> Flags {
    let mut defaults = vec![
        ("allow-privileged", "true".into()),
        ("enable-bootstrap-token-auth", "true".into()),
        ("profiling", "false".into()),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".into()),
        ("requestheader-group-headers", "X-Remote-Group".into()),
        ("requestheader-username-headers", "X-Remote-User".into()),
        ("service-account-extend-token-expiration", "false".into()),
        (
            "service-account-issuer",
            format!("https://kubernetes.default.svc.{}", tenant.network.cluster_domain),
        ),
        ("service-account-lookup", "true".into()),
        ("shutdown-delay-duration", SERVES_ON_FOR.into()),
        ("shutdown-send-retry-after", "true".into()),
    ];
    if tenant.version.minor() >= 27 {
        defaults.push(("shutdown-watch-termination-grace-period", WATCHES_END_WITHIN.into()));
    }
    defaults
}

fn managed(inputs: &Inputs<'_>, extra: &[String]) -> Flags {
    let Inputs { tenant, endpoint, .. } = inputs;
    let file = |name: &str| format!("{DIRECTORY}/{name}");
    vec![
        ("advertise-address", endpoint.advertised.to_string()),
        ("client-ca-file", file("ca.crt")),
        ("enable-admission-plugins", plugins(tenant, extra)),
        ("kubelet-client-certificate", file("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", file("apiserver-kubelet-client.key")),
        (
            "kubelet-preferred-address-types",
            words(&tenant.kubelet.preferred_address_types, AddressType::as_str),
        ),
        ("proxy-client-cert-file", file("front-proxy-client.crt")),
        ("proxy-client-key-file", file("front-proxy-client.key")),
        ("requestheader-allowed-names", "front-proxy-client".into()),
        ("requestheader-client-ca-file", file("front-proxy-ca.crt")),
        ("secure-port", tenant.network.port.to_string()),
        ("service-account-key-file", file("sa.pub")),
        ("service-account-signing-key-file", file("sa.key")),
        ("service-cluster-ip-range", joined(&tenant.network.service_cidrs)),
        ("tls-cert-file", file("apiserver.crt")),
        ("tls-private-key-file", file("apiserver.key")),
    ]
}

/// In etcd the compaction key lies outside the tenant's prefix, so the store compacts itself and the tenant never does. With
/// kine the tenant has a store of its own, and compacts it.
fn store(inputs: &Inputs<'_>) -> Flags {
    let storage = inputs.storage;
    if serves(storage.driver) {
        return vec![("etcd-servers", SOCKET.into())];
    }
    let servers: Vec<String> =
        storage.endpoints.iter().map(|endpoint| format!("https://{endpoint}")).collect();
    let mut flags = vec![
        ("etcd-cafile", format!("{DIRECTORY}/etcd/ca.crt")),
        ("etcd-certfile", format!("{DIRECTORY}/etcd/server.crt")),
        ("etcd-compaction-interval", "0".into()),
        ("etcd-keyfile", format!("{DIRECTORY}/etcd/server.key")),
        ("etcd-prefix", format!("/{}", storage.schema)),
        ("etcd-servers", servers.join(",")),
    ];
    flags.extend(overrides::argument(inputs.overrides).map(|value| (overrides::FLAG, value)));
    flags
}

/// Upstream refuses a plugin that is both enabled and disabled, so what the user disables is not added.
fn plugins(tenant: &Tenant, extra: &[String]) -> String {
    let named = &tenant.admission_controllers;
    let disabled: Vec<&str> = args::values(extra, "disable-admission-plugins")
        .into_iter()
        .flat_map(|list| list.split(','))
        .collect();
    let always =
        ALWAYS.iter().filter(|plugin| !named.contains(plugin) && !disabled.contains(&plugin.as_str()));
    words(&named.iter().chain(always).copied().collect::<Vec<_>>(), AdmissionController::as_str)
}

fn words<T: Copy>(items: &[T], word: fn(T) -> &'static str) -> String {
    items.iter().map(|item| word(*item)).collect::<Vec<_>>().join(",")
}
