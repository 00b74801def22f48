//! The one writer to a Kubernetes API: apply, prune, status, adopt.
