//! The `restricted` Pod Security Standard, rule by rule as Kubernetes documents it
//! (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).

use k8s_openapi::api::core::v1::{Container, PodSpec, Probe, SeccompProfile, SecurityContext, Volume};

use crate::scenario::{self, clock, now};

/// What is wrong with a Pod; empty when it passes.
pub(crate) fn violations(pod: &PodSpec) -> Vec<String> {
    let mut found = Vec::new();
    let mut check = |passes: bool, rule: &str, place: &str| {
        if !passes {
            found.push(format!("{place}: {rule}"));
        }
    };
    let no = |flag: Option<bool>| flag != Some(true);
    check(no(pod.host_network) && no(pod.host_pid) && no(pod.host_ipc), "host namespaces", "pod");
    for volume in pod.volumes.iter().flatten() {
        check(is_allowed(volume), "volume types", &volume.name);
    }
    let context = pod.security_context.clone().unwrap_or_default();
    check(context.windows_options.is_none(), "host process", "pod");
    check(context.sysctls.is_none(), "sysctls", "pod");
    check(context.se_linux_options.is_none(), "SELinux", "pod");
    check(context.app_armor_profile.is_none(), "AppArmor", "pod");
    check(context.run_as_user != Some(0), "running as non-root user", "pod");
    check(context.run_as_non_root != Some(false), "running as non-root", "pod");
    check(is_confined_or_absent(context.seccomp_profile.as_ref()), "seccomp", "pod");
    for container in pod.containers.iter().chain(pod.init_containers.iter().flatten()) {
        let place = &container.name;
        let own = container.security_context.clone().unwrap_or_default();
        check(no(own.privileged), "privileged", place);
        check(own.windows_options.is_none(), "host process", place);
        check(own.se_linux_options.is_none(), "SELinux", place);
        check(own.app_armor_profile.is_none(), "AppArmor", place);
        check(own.proc_mount.is_none(), "/proc mount type", place);
        check(has_no_host_port(container), "host ports", place);
        check(probes(container).all(names_no_host), "host probes", place);
        check(own.allow_privilege_escalation == Some(false), "privilege escalation", place);
        check(own.run_as_non_root.or(context.run_as_non_root) == Some(true), "running as non-root", place);
        check(own.run_as_user != Some(0), "running as non-root user", place);
        let seccomp = own.seccomp_profile.as_ref().or(context.seccomp_profile.as_ref());
        check(seccomp.is_some() && is_confined_or_absent(seccomp), "seccomp", place);
        check(has_restricted_capabilities(&own), "capabilities", place);
    }
    check(pod.ephemeral_containers.is_none(), "no ephemeral containers are rendered", "pod");
    found
}

fn is_allowed(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some()
}

fn is_confined_or_absent(profile: Option<&SeccompProfile>) -> bool {
    profile.is_none_or(|profile| ["RuntimeDefault", "Localhost"].contains(&profile.type_.as_str()))
}

fn has_no_host_port(container: &Container) -> bool {
    container.ports.iter().flatten().all(|port| port.host_port.is_none_or(|port| port == 0))
}

fn probes(container: &Container) -> impl Iterator<Item = &Probe> {
    [&container.liveness_probe, &container.readiness_probe, &container.startup_probe].into_iter().flatten()
}

fn names_no_host(probe: &Probe) -> bool {
    probe.http_get.as_ref().is_none_or(|get| get.host.is_none())
        && probe.tcp_socket.as_ref().is_none_or(|socket| socket.host.is_none())
}

fn has_restricted_capabilities(context: &SecurityContext) -> bool {
    let Some(capabilities) = &context.capabilities else { return false };
    capabilities.drop.iter().flatten().any(|name| name == "ALL")
        && capabilities.add.iter().flatten().all(|name| name == "NET_BIND_SERVICE")
}

fn pod(scenario: &scenario::Scenario) -> PodSpec {
    scenario.ground().build(clock(now())).deployment.spec.template.spec.unwrap()
}

#[test]
fn every_pod_passes_the_restricted_profile() {
    for scenario in scenario::all() {
        assert_eq!(violations(&pod(&scenario)), [""; 0], "{}", scenario.name);
    }
}

#[test]
fn the_check_itself_finds_what_the_profile_forbids() {
    type Change = fn(&mut PodSpec);
    let table: [(Change, &str); 7] = [
        (|pod| pod.host_network = Some(true), "host namespaces"),
        (|pod| pod.containers[0].security_context = None, "privilege escalation"),
        (|pod| pod.security_context.as_mut().unwrap().run_as_user = Some(0), "running as non-root user"),
        (|pod| pod.security_context.as_mut().unwrap().run_as_non_root = None, "running as non-root"),
        (|pod| pod.security_context.as_mut().unwrap().seccomp_profile = None, "seccomp"),
        (
            |pod| pod.volumes.as_mut().unwrap()[0] = Volume { name: "x".into(), ..Volume::default() },
            "volume types",
        ),
        (
            |pod| {
                let context = pod.containers[1].security_context.as_mut().unwrap();
                context.capabilities.as_mut().unwrap().add = Some(vec!["SYS_ADMIN".into()]);
            },
            "capabilities",
        ),
    ];
    for (change, rule) in table {
        let mut pod = pod(&scenario::named("minimal"));
        change(&mut pod);
        assert!(violations(&pod).iter().any(|violation| violation.ends_with(rule)), "{rule}");
    }
}
