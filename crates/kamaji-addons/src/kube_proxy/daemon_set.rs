//! The Pods of kube-proxy.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, EnvVar, EnvVarSource, HostPathVolumeSource, ObjectFieldSelector,
    PodSpec, PodTemplateSpec, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::labels;

use super::NAME;
use super::configuration::{DIRECTORY, FILE};
use crate::kube_system;

const POD: (&str, &str) = ("k8s-app", NAME);
const LOCK: &str = "/run/xtables.lock";
const MODULES: &str = "/lib/modules";

/// `checksum` is that of the configuration, which is read once, at the start.
pub(super) fn build(image: &str, checksum: &str) -> DaemonSet {
    let (name, value) = POD;
    DaemonSet {
        metadata: kube_system::labelled(kube_system::metadata(NAME), [POD]),
        spec: DaemonSetSpec {
            selector: kube_system::selector(POD),
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: None,
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some([(name.to_owned(), value.to_owned())].into()),
                    annotations: Some([(labels::CHECKSUM.to_owned(), checksum.to_owned())].into()),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(image)),
            },
            ..DaemonSetSpec::default()
        },
        status: None,
    }
}

fn pod(image: &str) -> PodSpec {
    PodSpec {
        priority_class_name: Some("system-node-critical".to_owned()),
        service_account_name: Some(NAME.to_owned()),
        host_network: Some(true),
        tolerations: Some(vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }]),
        node_selector: Some([("kubernetes.io/os".to_owned(), "linux".to_owned())].into()),
        containers: vec![container(image)],
        volumes: Some(vec![
            Volume {
                name: NAME.to_owned(),
                config_map: Some(ConfigMapVolumeSource {
                    name: NAME.to_owned(),
                    ..ConfigMapVolumeSource::default()
                }),
                ..Volume::default()
            },
            host_path("xtables-lock", LOCK, Some("FileOrCreate")),
            host_path("lib-modules", MODULES, None),
        ]),
        ..PodSpec::default()
    }
}

fn container(image: &str) -> Container {
    Container {
        name: NAME.to_owned(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec![
            "/usr/local/bin/kube-proxy".to_owned(),
            format!("--config={DIRECTORY}/{FILE}"),
            "--hostname-override=$(NODE_NAME)".to_owned(),
        ]),
        env: Some(vec![node_name()]),
        security_context: Some(SecurityContext { privileged: Some(true), ..SecurityContext::default() }),
        volume_mounts: Some(vec![
            mount(NAME, DIRECTORY),
            mount("xtables-lock", LOCK),
            VolumeMount { read_only: Some(true), ..mount("lib-modules", MODULES) },
        ]),
        ..Container::default()
    }
}

fn node_name() -> EnvVar {
    let field = ObjectFieldSelector { api_version: None, field_path: "spec.nodeName".to_owned() };
    EnvVar {
        name: "NODE_NAME".to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

fn mount(volume: &str, path: &str) -> VolumeMount {
    VolumeMount { name: volume.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

fn host_path(name: &str, path: &str, kind: Option<&str>) -> Volume {
    Volume {
        name: name.to_owned(),
        host_path: Some(HostPathVolumeSource { path: path.to_owned(), type_: kind.map(str::to_owned) }),
        ..Volume::default()
    }
}
