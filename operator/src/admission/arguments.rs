//! Command-line arguments of the user's: which would be ignored, and which open a door.

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::Complaints;
use kamaji_api::v1alpha1::TenantControlPlane;

/// The user's arguments by field, and the container that gets them.
fn lists(tcp: &TenantControlPlane) -> Vec<(&'static str, &'static str, &[String])> {
    let mut lists = Vec::new();
    if let Some(extra) = &tcp.spec.control_plane.deployment.extra_args {
        lists.extend([
            (
                "spec.controlPlane.deployment.extraArgs.apiServer",
                "kube-apiserver",
                extra.api_server.as_slice(),
            ),
            (
                "spec.controlPlane.deployment.extraArgs.controllerManager",
                "kube-controller-manager",
                &extra.controller_manager,
            ),
            ("spec.controlPlane.deployment.extraArgs.scheduler", "kube-scheduler", &extra.scheduler),
            ("spec.controlPlane.deployment.extraArgs.kine", "kine", &extra.kine),
        ]);
    }
    if let Some(tunnel) = &tcp.spec.addons.konnectivity {
        let arguments = tunnel.server.extra_args.as_slice();
        lists.push(("spec.addons.konnectivity.server.extraArgs", "konnectivity-server", arguments));
    }
    lists
}

/// Flags whose values are Kamaji's to say are refused: `made`, the Deployment of the same spec, would not have them.
pub(super) fn check(tcp: &TenantControlPlane, made: &Deployment, complaints: &mut Complaints) {
    let containers = made.spec.template.spec.as_ref().map(|pod| pod.containers.as_slice());
    for (field, name, arguments) in lists(tcp) {
        let container = containers.into_iter().flatten().find(|container| container.name == name);
        let Some(given) = container.and_then(|container| container.args.as_ref()) else { continue };
        for (index, argument) in arguments.iter().enumerate() {
            if argument.starts_with('-') && !given.contains(argument) {
                let flag = argument.split('=').next().unwrap_or_default();
                complaints.add(
                    format!("{field}[{index}]"),
                    format!("{flag} is set by Kamaji, so this one would be ignored: remove it"),
                );
            }
        }
    }
}

/// Arguments of the API server that weaken it.
const WEAK: &[(&str, &str)] = &[
    ("--token-auth-file", "tokens in a file never end; use OpenID Connect or client certificates"),
    ("--basic-auth-file", "passwords in a file never end; use OpenID Connect or client certificates"),
    ("--anonymous-auth=true", "whoever has no credentials is let in as system:anonymous"),
    ("--insecure-port", "whoever reaches it may do anything"),
    ("--insecure-bind-address", "whoever reaches it may do anything"),
    ("--profiling=true", "profiles tell what the server works on"),
];

/// What to tell of arguments that weaken the API server: they are obeyed.
pub(super) fn warnings(tcp: &TenantControlPlane) -> Vec<String> {
    let (_, _, arguments) = match lists(tcp).into_iter().next() {
        Some(list) if list.1 == "kube-apiserver" => list,
        _ => return Vec::new(),
    };
    let weak = |argument: &&String| {
        let argument = argument.replace('_', "-");
        WEAK.iter().find(|(flag, _)| argument.starts_with(flag)).copied()
    };
    arguments
        .iter()
        .filter_map(|argument| weak(&argument))
        .map(|(flag, why)| format!("{flag} weakens the API server: {why}"))
        .collect()
}
