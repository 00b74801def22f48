use k8s_openapi::api::core::v1::Container;
use kamaji_api::{Child, Tenant};

use super::args::{self, Flags, Winner, compose};
use super::component::{Component, Wish};
use super::pki::{self, DIRECTORY, Files};
use super::probes::{HTTPS, Health};
use super::{Part, security};
use crate::kubeadm_config::joined;

const NAME: &str = "kube-controller-manager";
const KUBECONFIG: &str = "controller-manager-kubeconfig";
const PKI: &str = "controller-manager-pki";
const FILE: &str = "controller-manager.conf";
const PORT: i32 = 10257;

/// It signs the nodes' certificates and the service accounts' tokens, so it alone gets the key of the cluster's authority.
const FILES: &[Files] = &[
    Files { child: Child::Ca, files: &[("ca.crt", "ca.crt"), ("ca.key", "ca.key")] },
    Files { child: Child::FrontProxyCa, files: &[("front-proxy-ca.crt", "front-proxy-ca.crt")] },
    Files { child: Child::ServiceAccountKey, files: &[("sa.key", "sa.key")] },
];

pub(super) fn part(tenant: &Tenant) -> Part {
    Part {
        containers: vec![container(tenant)],
        volumes: vec![
            pki::file(tenant, KUBECONFIG, Child::ControllerManagerKubeconfig, FILE),
            pki::projected(tenant, PKI, FILES),
        ],
    }
}

fn container(tenant: &Tenant) -> Container {
    let wish = Wish::controller_manager(&tenant.deployment);
    Component {
        name: NAME,
        image: &tenant.images.controller_manager,
        health: Health { scheme: HTTPS, port: PORT, live: "/healthz", ready: "/healthz" },
        arguments: compose(
            &[
                (Winner::Kamaji, args::emulation(tenant)),
                (Winner::User, defaults(tenant)),
                (Winner::User, args::tls()),
            ],
            wish.arguments,
        ),
        mounts: vec![pki::read_only(KUBECONFIG, "/etc/kubernetes"), pki::read_only(PKI, DIRECTORY)],
        security: security::container(),
    }
    .container(&wish, tenant.deployment.probes.as_ref())
}

/// The user may override every one of them.
fn defaults(tenant: &Tenant) -> Flags {
    let kubeconfig = format!("/etc/kubernetes/{FILE}");
    let file = |name: &str| format!("{DIRECTORY}/{name}");
    vec![
        ("allocate-node-cidrs", "true".into()),
        ("authentication-kubeconfig", kubeconfig.clone()),
        ("authorization-kubeconfig", kubeconfig.clone()),
        ("bind-address", "0.0.0.0".into()),
        ("client-ca-file", file("ca.crt")),
        ("cluster-cidr", joined(&tenant.network.pod_cidrs)),
        ("cluster-name", tenant.id.name.clone()),
        ("cluster-signing-cert-file", file("ca.crt")),
        ("cluster-signing-key-file", file("ca.key")),
        ("controllers", "*,bootstrapsigner,tokencleaner".into()),
        ("kubeconfig", kubeconfig),
        ("leader-elect", "true".into()),
        ("profiling", "false".into()),
        ("requestheader-client-ca-file", file("front-proxy-ca.crt")),
        ("root-ca-file", file("ca.crt")),
        ("service-account-private-key-file", file("sa.key")),
        ("service-cluster-ip-range", joined(&tenant.network.service_cidrs)),
        ("terminated-pod-gc-threshold", "1000".into()),
        ("use-service-account-credentials", "true".into()),
    ]
}
