//! Security contexts that pass the `restricted` Pod Security Standard.

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};

/// The user and group of the components: "nonroot" of the distroless images.
const NONROOT: i64 = 65532;

/// Nobody is root, and the group may read the keys.
pub(super) fn pod() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(NONROOT),
        run_as_group: Some(NONROOT),
        fs_group: Some(NONROOT),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        ..PodSecurityContext::default()
    }
}

/// No privileges beyond the user's own.
pub(super) fn container() -> SecurityContext {
    with_capabilities(None)
}

/// The same for kube-apiserver: upstream's binary carries the file capability to bind low ports, and the kernel refuses to
/// start such a binary where the capability is dropped. The restricted profile allows this one.
pub(super) fn api_server() -> SecurityContext {
    with_capabilities(Some(vec!["NET_BIND_SERVICE".into()]))
}

fn with_capabilities(add: Option<Vec<String>>) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { add, drop: Some(vec!["ALL".into()]) }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}
