//! Which file reaches which container: no component can read a key that it does not need.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, KeyToPath, ProjectedVolumeSource, SecretProjection, SecretVolumeSource, Volume,
    VolumeMount, VolumeProjection,
};
use kamaji_api::{Child, Tenant};

/// Where the components look for keys and certificates.
pub(super) const DIRECTORY: &str = "/etc/kubernetes/pki";

/// Readable by the owner and, through the Pod's group, by the component.
const FILE_MODE: i32 = 0o400;

/// Keys of one Secret, and the files that they become.
#[derive(Clone, Copy)]
pub(super) struct Files {
    pub(super) child: Child,
    pub(super) files: &'static [(&'static str, &'static str)],
}

/// A volume with files out of several Secrets.
pub(super) fn projected(tenant: &Tenant, name: &str, sources: &[Files]) -> Volume {
    let source = |Files { child, files }: &Files| VolumeProjection {
        secret: Some(SecretProjection {
            name: child.name(&tenant.id.name),
            items: Some(files.iter().map(key_to_path).collect()),
            optional: None,
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: name.into(),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(FILE_MODE),
            sources: Some(sources.iter().map(source).collect()),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A volume with one file out of one Secret.
pub(super) fn file(tenant: &Tenant, name: &str, child: Child, file: &'static str) -> Volume {
    files(tenant, name, child, &[file])
}

/// A volume with these files out of one Secret.
pub(super) fn files(tenant: &Tenant, name: &str, child: Child, files: &[&str]) -> Volume {
    Volume {
        name: name.into(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(child.name(&tenant.id.name)),
            default_mode: Some(FILE_MODE),
            items: Some(files.iter().map(|file| key_to_path(&(*file, *file))).collect()),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A volume with one file out of one ConfigMap.
pub(super) fn config_map(tenant: &Tenant, name: &str, child: Child, file: &'static str) -> Volume {
    Volume {
        name: name.into(),
        config_map: Some(ConfigMapVolumeSource {
            name: child.name(&tenant.id.name),
            default_mode: Some(FILE_MODE),
            items: Some(vec![key_to_path(&(file, file))]),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A mount that cannot be written to.
pub(super) fn read_only(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}

fn key_to_path((key, path): &(&str, &str)) -> KeyToPath {
    KeyToPath { key: (*key).into(), path: (*path).into(), ..KeyToPath::default() }
}
