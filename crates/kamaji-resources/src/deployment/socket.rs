//! How containers of one Pod reach each other, and how the kubelet reaches them.

use k8s_openapi::api::core::v1::{ContainerPort, EmptyDirVolumeSource, Volume, VolumeMount};

/// A folder for a Unix socket, shared by those who mount it.
#[derive(Clone, Copy)]
pub(super) struct Socket {
    /// Name of the volume.
    pub(super) volume: &'static str,
    /// Where every container finds it.
    pub(super) directory: &'static str,
}

impl Socket {
    /// In memory: a socket of an earlier life must not outlast the Pod.
    pub(super) fn volume(self) -> Volume {
        Volume {
            name: self.volume.into(),
            empty_dir: Some(EmptyDirVolumeSource {
                medium: Some("Memory".into()),
                ..EmptyDirVolumeSource::default()
            }),
            ..Volume::default()
        }
    }

    pub(super) fn mount(self) -> VolumeMount {
        VolumeMount { name: self.volume.into(), mount_path: self.directory.into(), ..VolumeMount::default() }
    }
}

/// A TCP port of a container.
pub(super) fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.into()),
        container_port: number,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }
}
