//! Which CoreDNS fits which Kubernetes.

use kamaji_api::tenant::KubeVersion;
use kamaji_api::v1alpha1::AddonImage;

/// Minor version of Kubernetes 1, and the CoreDNS that the last patch of its kubeadm installs.
///
/// Source: `CoreDNSVersion` in `cmd/kubeadm/app/constants` of Kubernetes 1.28.15, 1.29.15, 1.30.14, 1.31.14, 1.32.13, 1.33.13,
/// 1.34.4, 1.35.4 and 1.36.3.
pub const VERSIONS: [(u64, &str); 9] = [
    (28, "v1.10.1"),
    (29, "v1.11.1"),
    (30, "v1.11.3"),
    (31, "v1.11.3"),
    (32, "v1.11.3"),
    (33, "v1.12.0"),
    (34, "v1.12.1"),
    (35, "v1.13.1"),
    (36, "v1.14.2"),
];

/// The registry of upstream's images, and the repository in it that holds CoreDNS.
const REGISTRY: &str = "registry.k8s.io";
const REPOSITORY: &str = "registry.k8s.io/coredns";

/// The CoreDNS for this Kubernetes: that of the nearest minor version in [`VERSIONS`].
pub fn tag(kubernetes: &KubeVersion) -> &'static str {
    let known = VERSIONS.iter().rev().find(|(minor, _)| *minor <= kubernetes.minor());
    known.unwrap_or(&VERSIONS[0]).1
}

/// The image, where the user's wish about repository and tag is filled up, each apart from the other.
pub(super) fn image(wish: &AddonImage, kubernetes: &KubeVersion) -> String {
    let repository = match wish.image_repository.trim_end_matches('/') {
        // The images lie one level deeper there than in everybody's mirrors; kubeadm knows that as well.
        "" | REGISTRY => REPOSITORY,
        mirror => mirror,
    };
    let tag = if wish.image_tag.is_empty() { tag(kubernetes) } else { &wish.image_tag };
    format!("{repository}/coredns:{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubernetes(text: &str) -> KubeVersion {
        KubeVersion::parse(text).unwrap()
    }

    #[test]
    fn every_minor_version_has_its_coredns() {
        let known: Vec<_> = VERSIONS.iter().map(|(minor, _)| *minor).collect();
        assert_eq!(
            known,
            (28..=KubeVersion::NEWEST_MINOR).collect::<Vec<_>>(),
            "add what is missing to the table"
        );
        for (minor, version) in VERSIONS {
            assert_eq!(tag(&kubernetes(&format!("v1.{minor}.0"))), version);
        }
        assert_eq!(tag(&kubernetes("v1.36.0-rc.1")), "v1.14.2");
        assert_eq!(tag(&kubernetes("v1.24.17")), "v1.10.1");
    }

    #[test]
    fn repository_and_tag_are_wished_for_apart() {
        let image = |repository: &str, tag: &str| {
            let wish = AddonImage { image_repository: repository.into(), image_tag: tag.into() };
            super::image(&wish, &kubernetes("v1.35.4"))
        };
        assert_eq!(image("", ""), "registry.k8s.io/coredns/coredns:v1.13.1");
        assert_eq!(image("", "v9"), "registry.k8s.io/coredns/coredns:v9");
        assert_eq!(image("registry.k8s.io", ""), "registry.k8s.io/coredns/coredns:v1.13.1");
        assert_eq!(image("example.com:5000/dns/", ""), "example.com:5000/dns/coredns:v1.13.1");
        assert_eq!(image("example.com/dns", "v9"), "example.com/dns/coredns:v9");
    }
}
