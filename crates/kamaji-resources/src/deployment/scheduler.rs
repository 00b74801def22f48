use k8s_openapi::api::core::v1::Container;
use kamaji_api::{Child, Tenant};

use super::args::{self, Flags, Winner, compose};
use super::{Part, pki, probes, security};

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
    let wish = &tenant.deployment;
    let health = probes::Health { port: PORT, live: "/healthz", ready: "/healthz" };
    let probes = probes::build(&health, wish.probes.as_ref(), |all| all.scheduler.as_ref());
    let extra = wish.extra_args.clone().unwrap_or_default().scheduler;
    let mut mounts = wish.additional_volume_mounts.clone().unwrap_or_default().scheduler;
    mounts.push(pki::read_only(KUBECONFIG, "/etc/kubernetes"));
    Container {
        name: NAME.into(),
        image: Some(tenant.images.scheduler.clone()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(vec![NAME.into()]),
        args: Some(compose(
            &[(Winner::Kamaji, managed()), (Winner::User, defaults()), (Winner::User, args::tls())],
            &extra,
        )),
        resources: wish.resources.clone().unwrap_or_default().scheduler,
        liveness_probe: Some(probes.liveness),
        readiness_probe: Some(probes.readiness),
        startup_probe: Some(probes.startup),
        volume_mounts: Some(mounts),
        security_context: Some(
            wish.container_security_contexts
                .as_ref()
                .and_then(|all| all.scheduler.clone())
                .unwrap_or_else(security::container),
        ),
        ..Container::default()
    }
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
