//! What can stop a pass, and when to try again.

use std::fmt::Write as _;

/// What stopped a pass over an object.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The management cluster refused or did not answer.
    #[error("stage {stage} failed")]
    Kubernetes {
        /// Which part of the pass.
        stage: &'static str,
        /// Why.
        #[source]
        source: Box<kamaji_apply::Error>,
    },
    /// The datastore refused or did not answer.
    #[error("stage {stage} failed: DataStore {data_store}")]
    DataStore {
        /// Which part of the pass.
        stage: &'static str,
        /// Name of the DataStore.
        data_store: String,
        /// Why.
        #[source]
        source: Box<kamaji_datastore::error::Error>,
    },
    /// The datastore cannot be used at all.
    #[error("{message}")]
    DataStoreUnusable {
        /// Name of the DataStore.
        data_store: String,
        /// One of a closed set.
        reason: &'static str,
        /// What is wrong with it, and what to do.
        message: String,
    },
    /// The management cluster answered with something else than was asked for.
    #[error("stage {stage} failed: read the answer of the management cluster")]
    Unreadable {
        /// Which part of the pass.
        stage: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A migration could not go on.
    #[error("the migration to DataStore {data_store} cannot go on")]
    Migration {
        /// Name of the DataStore that the data goes to.
        data_store: String,
        /// Why.
        #[source]
        source: Box<kamaji_datastore::migrate::Error>,
    },
    /// What the Job of a migration is to know could not be written.
    #[error("write down what the Job of the migration is to know")]
    Route {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The management cluster does not tell of Pods.
    #[error("list the Pods that still run")]
    Listing {
        /// Why.
        #[source]
        source: Box<kube::Error>,
    },
    /// An object could not be rendered.
    #[error("stage {stage} failed")]
    Render {
        /// Which part of the pass.
        stage: &'static str,
        /// Why.
        #[source]
        source: kamaji_resources::Error,
    },
    /// Somebody else's object bears a name that we need.
    #[error("{object} exists and does not belong to this tenant: remove it, or give the tenant another name")]
    NameConflict {
        /// The object.
        object: kamaji_apply::ObjectId,
    },
    /// Another tenant has the user name in a store whose certificates are signed by the same authority.
    #[error(
        "user name {user} belongs to another tenant, in DataStore {other}, which has the certificate authority of DataStore \
         {data_store}, so that each could open the other's data: make this tenant anew with another spec.dataStoreUsername, \
         or with none"
    )]
    UserNameTaken {
        /// The name.
        user: String,
        /// DataStore of the tenant that is refused.
        data_store: String,
        /// DataStore of the tenant that has it.
        other: String,
    },
    /// The pass took too long.
    #[error("gave up after {0:?}: something it depends on does not answer")]
    TimedOut(std::time::Duration),
}

impl Error {
    /// The management cluster refused or did not answer.
    pub(crate) fn kubernetes(stage: &'static str, source: kamaji_apply::Error) -> Self {
        Self::Kubernetes { stage, source: Box::new(source) }
    }

    /// Reason of Events and label of metrics: one of a closed set.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Kubernetes { source, .. } if source.is_quota() => "QuotaExceeded",
            Self::Kubernetes { .. } | Self::Listing { .. } | Self::Unreadable { .. } => "KubernetesFailed",
            Self::DataStore { source, .. } => source.reason(),
            Self::DataStoreUnusable { reason, .. } => reason,
            Self::Migration { source, .. } => source.reason(),
            Self::Render { .. } | Self::Route { .. } => "RenderFailed",
            Self::NameConflict { .. } => "NameConflict",
            Self::UserNameTaken { .. } => "UserNameTaken",
            Self::TimedOut(_) => "TimedOut",
        }
    }

    /// The error and its causes, in one line.
    pub(crate) fn chain(&self) -> String {
        chain(self)
    }
}

/// An error and its causes, in one line; a cause that its effect quotes already is not repeated.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            // Writing to a String cannot fail.
            let _ = write!(text, ": {said}");
        }
        next = cause.source();
    }
    text
}
