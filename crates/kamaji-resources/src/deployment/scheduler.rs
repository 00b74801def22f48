use k8s_openapi::api::core::v1::Container;
use kamaji_api::{Child, Tenant};

use super::args::{self, Flags, Winner, compose};
use super::component::{Component, Wish};
use super::probes::{HTTPS, Health};
use super::{Part, pki, security};

const NAME: &str = "kube-scheduler";
const KUBECONFIG: &str = "scheduler-kubeconfig";
const FILE: &str = "scheduler.conf";
const PORT: i32 = 10259;

pub(super) fn part(tenant: &Tenant) -> Part {
    Part {
        containers: vec![container(tenant)],
        volumes: vec![pki::file(tenant, KUBECONFIG, Child::SchedulerKubeconfig, FILE)],
    }
}

fn container(tenant: &Tenant) -> Container {
    let wish = Wish::scheduler(&tenant.deployment);
    Component {
        name: NAME,
        image: &tenant.images.scheduler,
        health: Health { scheme: HTTPS, port: PORT, live: "/healthz", ready: "/healthz" },
        arguments: compose(
            &[
                (Winner::Kamaji, managed()),
                (Winner::Kamaji, args::emulation(tenant)),
                (Winner::User, defaults()),
                (Winner::User, args::tls()),
            ],
            wish.arguments,
        ),
        mounts: vec![pki::read_only(KUBECONFIG, "/etc/kubernetes")],
        security: security::container(),
    }
    .container(&wish, tenant.deployment.probes.as_ref())
}

fn managed() -> Flags {
    let kubeconfig = format!("/etc/kubernetes/{FILE}");
    vec![
        ("authentication-kubeconfig", kubeconfig.clone()),
        ("authorization-kubeconfig", kubeconfig.clone()),
        ("bind-address", "0.0.0.0".into()),
        ("kubeconfig", kubeconfig),
        ("leader-elect", "true".into()),
    ]
}

fn defaults() -> Flags {
    vec![("profiling", "false".into())]
}
