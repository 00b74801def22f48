use kamaji_api::Child;

use crate::kine::Unsayable;

/// Why an object could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key or certificate could not be made.
    #[error("issue the credentials of {child}", child = .child.component())]
    Issue {
        /// What they are for.
        child: Child,
        /// Why.
        #[source]
        source: kamaji_pki::Error,
    },
    /// A kubeconfig or ConfigMap could not be written out.
    #[error("write out {child}", child = .child.component())]
    Encode {
        /// What was to be written.
        child: Child,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// kine cannot be told where the store is or how to log in there.
    #[error("write the endpoint that kine is given")]
    KineEndpoint {
        /// Why.
        #[source]
        source: Unsayable,
    },
    /// The system gave no randomness.
    #[error("draw a random password")]
    Randomness,
}
