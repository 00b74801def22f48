//! The agents.

use k8s_openapi::api::apps::v1::{
    DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, Deployment, DeploymentSpec, DeploymentStrategy,
    RollingUpdateDeployment,
};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, Container, HTTPGetAction, PodAffinityTerm, PodAntiAffinity, PodSecurityContext,
    PodSpec, PodTemplateSpec, Probe, ProjectedVolumeSource, SeccompProfile, SecurityContext,
    ServiceAccountTokenProjection, Toleration, Volume, VolumeMount, VolumeProjection,
    WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kamaji_api::v1alpha1::{KonnectivityAgentSpec, KonnectivitySpec};
use kamaji_resources::deployment::args::{Flags, Winner, compose};
use kamaji_resources::konnectivity::{AGENT_NAME, SERVER_USER, image};

use super::component;
use crate::{Interior, kube_system};

const POD: (&str, &str) = ("k8s-app", AGENT_NAME);
const COMPONENT: &str = "konnectivity-agent";
/// Name of the volume, and of the file in it.
const TOKEN: &str = "konnectivity-agent-token";
const TOKEN_DIRECTORY: &str = "/var/run/secrets/tokens";
/// Seconds; the kubelet renews it long before.
const TOKEN_LIFETIME: i64 = 3600;
const ADMIN_PORT: u16 = 8133;
const HEALTH_PORT: u16 = 8134;
const HEALTH_FLAG: &str = "health-server-port";
/// "nonroot" of the distroless images, on which upstream's are built.
const NONROOT: i64 = 65532;
/// Connections and failures. The Go operator's 8 logs every packet.
const VERBOSITY: &str = "2";

/// An agent on each node.
pub(super) fn daemon_set(interior: &Interior, spec: &KonnectivitySpec) -> DaemonSet {
    DaemonSet {
        metadata: metadata(interior),
        spec: DaemonSetSpec {
            selector: kube_system::selector(POD),
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: None,
            }),
            template: template(pod(interior, spec)),
            ..DaemonSetSpec::default()
        },
        status: None,
    }
}

/// A number of agents; without a number it is left to whoever scales them.
pub(super) fn deployment(interior: &Interior, spec: &KonnectivitySpec) -> Deployment {
    let agent = &spec.agent;
    let pod = PodSpec { affinity: Some(apart(agent)), ..pod(interior, spec) };
    Deployment {
        metadata: metadata(interior),
        spec: DeploymentSpec {
            replicas: agent.replicas.filter(|&replicas| replicas > 0),
            selector: kube_system::selector(POD),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: agent.host_network.then(one_by_one),
            }),
            template: template(pod),
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

fn metadata(interior: &Interior) -> ObjectMeta {
    component(kube_system::metadata(AGENT_NAME), &interior.tenant.id, COMPONENT)
}

fn template(pod: PodSpec) -> PodTemplateSpec {
    let (name, value) = POD;
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some([(name.to_owned(), value.to_owned())].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(pod),
    }
}

/// A new agent cannot listen where an old one does.
fn one_by_one() -> RollingUpdateDeployment {
    RollingUpdateDeployment {
        max_surge: Some(IntOrString::Int(0)),
        max_unavailable: Some(IntOrString::Int(1)),
    }
}

/// On different nodes, so that one node's end does not cut the tunnel; in the nodes' network two on one would clash.
fn apart(agent: &KonnectivityAgentSpec) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(kube_system::selector(POD)),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    let anti_affinity = if agent.host_network {
        PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![term]),
            ..PodAntiAffinity::default()
        }
    } else {
        PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: term,
            }]),
            ..PodAntiAffinity::default()
        }
    };
    Affinity { pod_anti_affinity: Some(anti_affinity), ..Affinity::default() }
}

fn pod(interior: &Interior, spec: &KonnectivitySpec) -> PodSpec {
    let agent = &spec.agent;
    PodSpec {
        priority_class_name: Some("system-cluster-critical".to_owned()),
        service_account_name: Some(AGENT_NAME.to_owned()),
        node_selector: Some([("kubernetes.io/os".to_owned(), "linux".to_owned())].into()),
        tolerations: Some(agent.tolerations.iter().map(toleration).collect()),
        // Said also when it is false: the Go operator's yes would stay.
        host_network: Some(agent.host_network),
        // In the nodes' network an agent must come up before Pods have one, and cluster DNS is Pods.
        dns_policy: Some(if agent.host_network { "Default" } else { "ClusterFirst" }.to_owned()),
        security_context: Some(nobody()),
        containers: vec![container(interior, spec)],
        volumes: Some(vec![token()]),
        ..PodSpec::default()
    }
}

/// The server drops empty texts, and would be found to differ for ever.
fn toleration(wish: &Toleration) -> Toleration {
    let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    Toleration {
        key: said(&wish.key),
        operator: said(&wish.operator),
        value: said(&wish.value),
        effect: said(&wish.effect),
        toleration_seconds: wish.toleration_seconds,
    }
}

fn nobody() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(NONROOT),
        run_as_group: Some(NONROOT),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

fn container(interior: &Interior, spec: &KonnectivitySpec) -> Container {
    let agent = &spec.agent;
    let arguments = arguments(interior, spec);
    Container {
        name: AGENT_NAME.to_owned(),
        image: Some(image(&agent_image(agent), &agent.version, &interior.tenant.version)),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/proxy-agent".to_owned()]),
        liveness_probe: Some(liveness(health_port(&arguments))),
        args: Some(arguments),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { add: None, drop: Some(vec!["ALL".to_owned()]) }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: TOKEN.to_owned(),
            mount_path: TOKEN_DIRECTORY.to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}

/// An empty name is as good as none.
fn agent_image(agent: &KonnectivityAgentSpec) -> String {
    let wish = Some(agent.image.clone()).filter(|image| !image.is_empty());
    wish.unwrap_or_else(|| KonnectivityAgentSpec::default().image)
}

/// Ours, sorted, without those that the user names; then the user's, as they were written.
fn arguments(interior: &Interior, spec: &KonnectivitySpec) -> Vec<String> {
    let ours: Flags = vec![
        ("admin-server-port", ADMIN_PORT.to_string()),
        ("ca-cert", "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt".to_owned()),
        (HEALTH_FLAG, HEALTH_PORT.to_string()),
        ("logtostderr", "true".to_owned()),
        ("proxy-server-host", interior.endpoint.advertised.to_string()),
        ("proxy-server-port", spec.server.port.to_string()),
        ("service-account-token-path", format!("{TOKEN_DIRECTORY}/{TOKEN}")),
        ("v", VERBOSITY.to_owned()),
    ];
    // An empty argument is no flag, and the agent would not start.
    let user: Vec<String> =
        spec.agent.extra_args.iter().filter(|argument| !argument.trim().is_empty()).cloned().collect();
    compose(&[(Winner::User, ours)], &user)
}

/// Where the agent will answer: the user may have moved it, and a probe of the wrong port would kill it for ever.
fn health_port(arguments: &[String]) -> u16 {
    let flag = |argument: &str| argument.trim_start_matches('-').replace('_', "-");
    let given = |(index, argument): (usize, &String)| match argument.split_once('=') {
        Some((name, value)) => (flag(name) == HEALTH_FLAG).then(|| value.to_owned()),
        None => (flag(argument) == HEALTH_FLAG).then(|| arguments.get(index + 1).cloned()).flatten(),
    };
    let last = arguments.iter().enumerate().filter_map(given).next_back();
    last.and_then(|value| value.trim().parse().ok()).filter(|&port| port != 0).unwrap_or(HEALTH_PORT)
}

fn liveness(port: u16) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some("/healthz".to_owned()),
            port: IntOrString::Int(port.into()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        initial_delay_seconds: Some(15),
        timeout_seconds: Some(15),
        period_seconds: Some(10),
        failure_threshold: Some(3),
        ..Probe::default()
    }
}

/// A token that is made out to the server, and to nobody else.
fn token() -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(SERVER_USER.to_owned()),
        expiration_seconds: Some(TOKEN_LIFETIME),
        path: TOKEN.to_owned(),
        ..ServiceAccountTokenProjection::default()
    };
    Volume {
        name: TOKEN.to_owned(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(0o644),
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(token),
                ..VolumeProjection::default()
            }]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant::fixtures;
    use kamaji_api::v1alpha1::Driver;
    use kamaji_resources::{Endpoint, Storage};

    use super::*;

    fn interior() -> Interior {
        Interior {
            tenant: fixtures::tenant(),
            endpoint: Endpoint {
                address: "192.0.2.10".parse().unwrap(),
                advertised: "fd00::10".parse().unwrap(),
                port: 6443,
            },
            storage: Storage {
                driver: Driver::Etcd,
                data_store: "default".into(),
                endpoints: Vec::new(),
                schema: "blue".into(),
                user: "blue".into(),
            },
            authority: String::new(),
        }
    }

    fn wish(extra: &[&str]) -> KonnectivitySpec {
        let mut spec = KonnectivitySpec::default();
        spec.agent.extra_args = extra.iter().map(|&argument| argument.to_owned()).collect();
        spec
    }

    fn composed(extra: &[&str]) -> Vec<String> {
        arguments(&interior(), &wish(extra))
    }

    #[test]
    fn ours_tell_where_the_server_is() {
        assert_eq!(
            composed(&[]),
            [
                "--admin-server-port=8133",
                "--ca-cert=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
                "--health-server-port=8134",
                "--logtostderr=true",
                // Without brackets: the agent joins host and port itself.
                "--proxy-server-host=fd00::10",
                "--proxy-server-port=8132",
                "--service-account-token-path=/var/run/secrets/tokens/konnectivity-agent-token",
                "--v=2",
            ]
        );
    }

    #[test]
    fn the_users_win_by_name_and_keep_their_order() {
        let user = [
            "-v=8",
            "--proxy_server_host",
            "gate.example.com",
            "--agent-identifiers=host=a",
            "--alpn-proto=x",
            "--alpn-proto=y",
        ];
        let found = composed(&user);
        assert_eq!(found.len(), 6 + user.len());
        assert!(found.ends_with(&user.map(str::to_owned)), "{found:?}");
        assert_eq!(found, composed(&user), "the same spec gives the same order");
    }

    #[test]
    fn an_argument_is_one_argument_whatever_is_in_it() {
        let odd = ["--agent-id=a b\nc --v=9", "", " \n"];
        let found = composed(&odd);
        assert_eq!(found.len(), 8 + 1);
        assert_eq!(found.last().unwrap(), odd[0]);
        assert!(found.contains(&"--v=2".to_owned()));
    }

    #[test]
    fn the_probe_follows_the_port() {
        for (extra, port) in [
            (&[][..], 8134),
            (&["--health-server-port=9000"], 9000),
            (&["--health_server_port", "9001"], 9001),
            (&["--health-server-port=9000", "--health-server-port=9002"], 9002),
            (&["--health-server-port=none"], 8134),
            (&["--health-server-port"], 8134),
        ] {
            assert_eq!(health_port(&composed(extra)), port, "{extra:?}");
        }
    }

    #[test]
    fn replicas_are_said_only_where_they_make_sense() {
        for (wished, said) in [(None, None), (Some(3), Some(3)), (Some(0), None), (Some(-1), None)] {
            let mut spec = KonnectivitySpec::default();
            spec.agent.replicas = wished;
            assert_eq!(deployment(&interior(), &spec).spec.replicas, said);
        }
    }

    #[test]
    fn an_image_without_a_name_is_upstreams() {
        let mut spec = KonnectivitySpec::default();
        spec.agent.image = String::new();
        let pod = pod(&interior(), &spec);
        assert_eq!(
            pod.containers[0].image.as_deref(),
            Some("registry.k8s.io/kas-network-proxy/proxy-agent:v0.34.0")
        );
    }
}
