//! The Pods of cluster DNS.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapProjection, ConfigMapVolumeSource, Container, ContainerPort,
    HTTPGetAction, KeyToPath, PodAffinityTerm, PodAntiAffinity, PodSpec, PodTemplateSpec, Probe,
    ProjectedVolumeSource, ResourceRequirements, SecurityContext, Toleration, Volume, VolumeMount,
    VolumeProjection, WeightedPodAffinityTerm,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{NAME, POD, corefile};
use crate::kube_system;

const CONFIG: &str = "config-volume";
const CUSTOM: &str = "custom-config-volume";
const CONFIG_DIRECTORY: &str = "/etc/coredns";
/// The Pods are as many as with kubeadm.
const REPLICAS: i32 = 2;

pub(super) fn build(image: &str) -> Deployment {
    let (name, value) = POD;
    Deployment {
        metadata: kube_system::labelled(kube_system::metadata(NAME), [POD]),
        spec: DeploymentSpec {
            replicas: Some(REPLICAS),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(1)),
                    max_surge: None,
                }),
            }),
            selector: kube_system::selector(POD),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some([(name.to_owned(), value.to_owned())].into()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(image)),
            },
            ..DeploymentSpec::default()
        },
        status: None,
    }
}

fn pod(image: &str) -> PodSpec {
    PodSpec {
        priority_class_name: Some("system-cluster-critical".to_owned()),
        service_account_name: Some(NAME.to_owned()),
        affinity: Some(apart()),
        tolerations: Some(tolerations()),
        node_selector: Some([("kubernetes.io/os".to_owned(), "linux".to_owned())].into()),
        containers: vec![container(image)],
        dns_policy: Some("Default".to_owned()),
        volumes: Some(vec![config(), custom()]),
        ..PodSpec::default()
    }
}

/// On different nodes, where there are any.
fn apart() -> Affinity {
    let (key, value) = POD;
    let term = PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.to_owned(),
                operator: "In".to_owned(),
                values: Some(vec![value.to_owned()]),
            }]),
            ..LabelSelector::default()
        }),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                weight: 100,
                pod_affinity_term: term,
            }]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

fn tolerations() -> Vec<Toleration> {
    let critical = Toleration {
        key: Some("CriticalAddonsOnly".to_owned()),
        operator: Some("Exists".to_owned()),
        ..Toleration::default()
    };
    let control_plane = Toleration {
        key: Some("node-role.kubernetes.io/control-plane".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Toleration::default()
    };
    vec![critical, control_plane]
}

fn container(image: &str) -> Container {
    Container {
        name: NAME.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        resources: Some(resources()),
        args: Some(vec!["-conf".to_owned(), format!("{CONFIG_DIRECTORY}/{}", corefile::KEY)]),
        volume_mounts: Some(vec![mount(CONFIG, CONFIG_DIRECTORY), mount(CUSTOM, corefile::CUSTOM_DIRECTORY)]),
        ports: Some(vec![
            port("dns", 53, "UDP"),
            port("dns-tcp", 53, "TCP"),
            port("metrics", 9153, "TCP"),
            port("liveness-probe", 8080, "TCP"),
            port("readiness-probe", 8181, "TCP"),
        ]),
        liveness_probe: Some(Probe {
            initial_delay_seconds: Some(60),
            timeout_seconds: Some(5),
            success_threshold: Some(1),
            failure_threshold: Some(5),
            ..probe("/health", "liveness-probe")
        }),
        readiness_probe: Some(probe("/ready", "readiness-probe")),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: Some(vec!["NET_BIND_SERVICE".to_owned()]),
                drop: Some(vec!["ALL".to_owned()]),
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        ..Container::default()
    }
}

fn resources() -> ResourceRequirements {
    let amounts = |amounts: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        amounts.iter().map(|&(name, amount)| (name.to_owned(), Quantity(amount.to_owned()))).collect()
    };
    ResourceRequirements {
        limits: Some(amounts(&[("memory", "170Mi")])),
        requests: Some(amounts(&[("cpu", "100m"), ("memory", "70Mi")])),
        ..ResourceRequirements::default()
    }
}

fn probe(path: &str, port: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(port.to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        ..Probe::default()
    }
}

fn port(name: &str, number: i32, protocol: &str) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some(protocol.to_owned()),
        ..ContainerPort::default()
    }
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn config() -> Volume {
    Volume {
        name: CONFIG.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: NAME.to_owned(),
            items: Some(vec![file(corefile::KEY)]),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The tenant's own ConfigMap, if it has one, and then ours: the later one wins where both have a key.
fn custom() -> Volume {
    let theirs = ConfigMapProjection {
        name: corefile::CUSTOM.to_owned(),
        optional: Some(true),
        ..ConfigMapProjection::default()
    };
    let ours = ConfigMapProjection {
        name: NAME.to_owned(),
        items: Some(corefile::PLACEHOLDERS.map(|(key, _)| file(key)).into()),
        ..ConfigMapProjection::default()
    };
    let source =
        |config_map| VolumeProjection { config_map: Some(config_map), ..VolumeProjection::default() };
    Volume {
        name: CUSTOM.to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![source(theirs), source(ours)]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

fn file(key: &str) -> KeyToPath {
    KeyToPath { key: key.to_owned(), path: key.to_owned(), ..KeyToPath::default() }
}
