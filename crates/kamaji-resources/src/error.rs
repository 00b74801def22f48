use kamaji_api::Child;

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
    /// The system gave no randomness.
    #[error("draw a random password")]
    Randomness,
}
