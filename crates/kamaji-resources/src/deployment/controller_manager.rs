use k8s_openapi::api::core::v1::Container;
use kamaji_api::Child;

use super::args::{self, Flags, Winner, compose};
use super::component::{Component, Wish};
use super::pki::{self, DIRECTORY, Files};
use super::probes::{HTTPS, Health};
use super::{Inputs, Part, security};
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

/// While the authority is replaced, `ca.crt` is what is trusted, and holds both; a signer takes a file of one.
const SIGNER: Files = Files { child: Child::Ca, files: &[("ca.crt", "ca-signer.crt")] };

pub(super) fn part(inputs: &Inputs<'_>) -> Part {
    let tenant = inputs.tenant;
    let mut files = FILES.to_vec();
    files.extend(inputs.credentials.overlaps(Child::Ca).then_some(SIGNER));
    Part {
        containers: vec![container(inputs)],
        volumes: vec![
            pki::file(tenant, KUBECONFIG, Child::ControllerManagerKubeconfig, FILE),
            pki::projected(inputs, PKI, &files),
        ],
    }
}

fn container(inputs: &Inputs<'_>) -> Container {
    let tenant = inputs.tenant;
    let wish = Wish::controller_manager(&tenant.deployment);
    Component {
        name: NAME,
        image: &tenant.images.controller_manager,
        health: Health { scheme: HTTPS, port: PORT, live: "/healthz", ready: "/healthz" },
        arguments: compose(
            &[
                (Winner::Kamaji, args::emulation(tenant)),
                (Winner::User, defaults(inputs)),
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
fn defaults(inputs: &Inputs<'_>) -> Flags {
    let tenant = inputs.tenant;
    let signer = if inputs.credentials.overlaps(Child::Ca) { "ca-signer.crt" } else { "ca.crt" };
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
        ("cluster-signing-cert-file", file(signer)),
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
