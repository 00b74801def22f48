use std::fmt::{Display, Formatter};

/// A Kubernetes version, `v1.<minor>.<patch>` with an optional pre-release.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KubeVersion(semver::Version);

impl KubeVersion {
    /// The newest minor version of Kubernetes that is supported; the patch does not matter.
    pub const NEWEST_MINOR: u64 = 36;

    /// Reads a version as users write it. It becomes the tag of an image, so nothing else is let through.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bare = text
            .strip_prefix('v')
            .ok_or_else(|| format!("{text:?} does not begin with v: write for example v1.34.4"))?;
        let version = semver::Version::parse(bare)
            .map_err(|problem| format!("{text:?} is not a version such as v1.34.4: {problem}"))?;
        if !version.build.is_empty() {
            return Err(format!(
                "{text:?} carries build metadata, which no image tag can hold: remove +{}",
                version.build
            ));
        }
        if version.major != 1 {
            return Err(format!("{text:?} is not a version of Kubernetes 1"));
        }
        if version.minor > Self::NEWEST_MINOR {
            return Err(format!(
                "{text:?} is newer than the newest supported minor version, v1.{}",
                Self::NEWEST_MINOR
            ));
        }
        Ok(Self(version))
    }

    /// The minor version, for example 34.
    pub fn minor(&self) -> u64 {
        self.0.minor
    }
}

impl Display for KubeVersion {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "v{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_and_print_alike() {
        for good in ["v1.34.4", "v1.36.0-rc.1", "v1.30.0"] {
            assert_eq!(KubeVersion::parse(good).unwrap().to_string(), good);
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in [
            "",
            "v",
            "1.34.4",
            "v1.x",
            "v1.34",
            "v1.99.0",
            "v2.0.0",
            "v1.36.3;id",
            "latest",
            "v1.36.3-rc.1+build",
        ] {
            assert!(KubeVersion::parse(bad).is_err(), "{bad:?}");
        }
    }
}
