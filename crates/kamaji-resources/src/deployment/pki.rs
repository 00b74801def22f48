//! Which file reaches which container: no component can read a key that it does not need.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, KeyToPath, ProjectedVolumeSource, SecretProjection, SecretVolumeSource, Volume,
    VolumeMount, VolumeProjection,
};
use kamaji_api::{Child, Tenant};

use super::Inputs;
use crate::Credentials;

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

/// Of an anchor that is being replaced: its own file of what is trusted, which then holds both.
const TRUSTED: &[(Child, &str, &str)] = &[
    (Child::Ca, "ca.crt", "trusted.crt"),
    (Child::FrontProxyCa, "front-proxy-ca.crt", "trusted.crt"),
    (Child::ServiceAccountKey, "sa.pub", "trusted.pub"),
];

/// Out of which key of an anchor the file of this name is made. Programs know no other name for what they trust, so while an
/// anchor is replaced that file holds both.
fn source_of(
    child: Child,
    (key, path): (&'static str, &'static str),
    credentials: &Credentials,
) -> &'static str {
    let trusted = TRUSTED.iter().find(|(anchor, name, _)| (*anchor, *name) == (child, path));
    trusted.filter(|_| credentials.overlaps(child)).map_or(key, |(.., trusted)| trusted)
}

/// A volume with files out of several Secrets.
pub(super) fn projected(inputs: &Inputs<'_>, name: &str, sources: &[Files]) -> Volume {
    let source = |Files { child, files }: &Files| VolumeProjection {
        secret: Some(SecretProjection {
            name: child.name(&inputs.tenant.id.name),
            items: Some(
                files
                    .iter()
                    .map(|file| key_to_path(&(source_of(*child, *file, inputs.credentials), file.1)))
                    .collect(),
            ),
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
