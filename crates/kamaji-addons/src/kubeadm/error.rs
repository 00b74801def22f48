//! Why an object inside a tenant could not be built.

use std::fmt::{Display, Formatter};

/// Why an object of kubeadm's phases could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One of the user's patches cannot be carried out.
    #[error("apply spec.kubernetes.kubelet.configurationJSONPatches[{index}], {verb} {path:?}")]
    Patch {
        /// Place of the patch in the list, from 0.
        index: usize,
        /// Its verb.
        verb: &'static str,
        /// Its path; the beginning, if it is long.
        path: String,
        /// Why not, and what to do.
        #[source]
        problem: PatchProblem,
    },
    /// The user's patches cannot be used as a whole.
    #[error("apply spec.kubernetes.kubelet.configurationJSONPatches")]
    Patches(#[source] PatchProblem),
    /// A document could not be written out.
    #[error("write out the content of ConfigMap {config_map}")]
    Encode {
        /// Name of the ConfigMap.
        config_map: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a patch of the kubelets' configuration cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchProblem {
    /// `path` is not in the format of RFC 6901.
    PathMalformed,
    /// `from` is not in the format of RFC 6901.
    FromMalformed,
    /// `from` is missing.
    FromMissing,
    /// `value` is missing.
    ValueMissing,
    /// There is nothing to put a value into.
    NoParent,
    /// There is nothing at `path`.
    NothingThere,
    /// There is nothing at `from`.
    NothingToTake,
    /// A test found another value.
    OtherValue,
    /// A value would move into itself.
    IntoItself,
    /// Values would be nested too deeply.
    TooDeep,
    /// The patches carry more than any configuration needs.
    TooMuch,
    /// There are more patches than any configuration needs.
    TooMany,
    /// What the patches leave is not a configuration of a kubelet.
    NotKubelet,
}

impl std::error::Error for PatchProblem {}

impl Display for PatchProblem {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::PathMalformed => {
                "path is not a JSON pointer: begin it with /, and write ~1 for / and ~0 for ~ inside of a name"
            }
            Self::FromMalformed => {
                "from is not a JSON pointer: begin it with /, and write ~1 for / and ~0 for ~ inside of a name"
            }
            Self::FromMissing => "from is missing: say where the value is to be taken from",
            Self::ValueMissing => {
                "value is missing (null counts as missing): give a value, or use remove to take the field away"
            }
            Self::NoParent => {
                "there is no object or list, or no such place in the list, to put the value into: add the object or list first, or correct path"
            }
            Self::NothingThere => "there is nothing at path: use add to set what is not set yet, or correct path",
            Self::NothingToTake => "there is nothing at from: correct from, or use add with a value",
            Self::OtherValue => "the value at path is another one: correct value, or remove the test",
            Self::IntoItself => "a value cannot be moved into itself: correct path or from",
            Self::TooDeep => "values are nested more than 64 deep: flatten them",
            Self::TooMuch => "the patches carry more than 256 KiB of values: use fewer or smaller ones",
            Self::TooMany => "there are more than 1000 patches: use fewer",
            Self::NotKubelet => {
                "what they leave is not a KubeletConfiguration of kubelet.config.k8s.io/v1beta1: leave apiVersion and kind as they are"
            }
        })
    }
}
