//! Security contexts that pass the `restricted` Pod Security Standard.

use k8s_openapi::api::core::v1::{Capabilities, PodSecurityContext, SeccompProfile, SecurityContext};

/// The user and group of the components: "nonroot" of the distroless images.
const NONROOT: i64 = 65532;

/// Nobody is root, and the group may read the keys. What the user wishes is completed, not replaced: without a group of its
/// own the Pod could not read them.
pub(crate) fn pod(wish: Option<&PodSecurityContext>) -> PodSecurityContext {
    let wish = wish.cloned().unwrap_or_default();
    PodSecurityContext {
        run_as_non_root: wish.run_as_non_root.or_else(|| Some(wish.run_as_user != Some(0))),
        run_as_user: wish.run_as_user.or(Some(NONROOT)),
        run_as_group: wish.run_as_group.or(Some(NONROOT)),
        fs_group: wish.fs_group.or(Some(NONROOT)),
        seccomp_profile: wish
            .seccomp_profile
            .or_else(|| Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None })),
        ..wish
    }
}

/// No privileges beyond the user's own. Who the user is stands in the Pod's context, and only there, so that a wish about
/// the Pod is not contradicted here.
pub(crate) fn container() -> SecurityContext {
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
        ..SecurityContext::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_completed_so_that_the_keys_can_be_read() {
        let wish = PodSecurityContext { run_as_user: Some(1000), ..PodSecurityContext::default() };
        let found = pod(Some(&wish));
        assert_eq!((found.run_as_user, found.fs_group), (Some(1000), Some(NONROOT)));
        assert_eq!(found.run_as_non_root, Some(true));
    }

    #[test]
    fn whoever_wants_root_gets_it() {
        let wish = PodSecurityContext { run_as_user: Some(0), ..PodSecurityContext::default() };
        assert_eq!(pod(Some(&wish)).run_as_non_root, Some(false));
        assert_eq!(container().run_as_non_root, None, "or the wish would be contradicted");
    }
}
