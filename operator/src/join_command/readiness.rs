//! Whether a machine could join a tenant now.

use std::fmt::{Display, Formatter};

use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_resources::conditions::READY;
use kube::ResourceExt;

/// Why nobody can join a tenant now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotJoinable {
    /// It is being deleted.
    Leaving,
    /// Its Pods are not to run.
    Asleep {
        /// What wakes it.
        remedy: String,
    },
    /// The operator has said nothing about it.
    Unseen,
    /// It is not Ready.
    NotReady {
        /// Reason of the condition.
        reason: String,
        /// Message of the condition.
        message: String,
        /// What waits for it.
        remedy: String,
    },
}

impl Display for NotJoinable {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Leaving => formatter.write_str("it is being deleted"),
            Self::Asleep { remedy } => write!(formatter, "it is asleep; `{remedy}` wakes it"),
            Self::Unseen => formatter.write_str(
                "no operator has looked at it yet; see that the operator runs, and what its log says",
            ),
            Self::NotReady { reason, message, remedy } => {
                write!(formatter, "it is not Ready ({reason}: {message}); `{remedy}` waits until it is")
            }
        }
    }
}

/// Whether a machine could join this tenant now.
pub(super) fn joinable(tcp: &TenantControlPlane) -> Result<(), NotJoinable> {
    let kubectl = format!("kubectl --namespace {}", tcp.namespace().unwrap_or_default());
    let name = tcp.name_any();
    if tcp.metadata.deletion_timestamp.is_some() {
        return Err(NotJoinable::Leaving);
    }
    if tcp.spec.control_plane.deployment.replicas == Some(0) {
        return Err(NotJoinable::Asleep { remedy: format!("{kubectl} scale tcp {name} --replicas=1") });
    }
    let conditions = tcp.status.iter().flat_map(|status| &status.conditions);
    let ready =
        conditions.into_iter().find(|condition| condition.type_ == READY).ok_or(NotJoinable::Unseen)?;
    if ready.status == "True" {
        return Ok(());
    }
    Err(NotJoinable::NotReady {
        reason: ready.reason.clone(),
        message: ready.message.clone(),
        remedy: format!("{kubectl} wait --for=condition=Ready tcp/{name} --timeout=5m"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn verdict(replicas: i32, metadata: &Value, conditions: &Value) -> Result<(), NotJoinable> {
        let mut tcp = json!({
            "apiVersion": "kamaji.clastix.io/v1alpha1",
            "kind": "TenantControlPlane",
            "metadata": { "name": "blue", "namespace": "teams" },
            "spec": {
                "controlPlane": {
                    "deployment": { "replicas": replicas },
                    "service": { "serviceType": "ClusterIP" },
                },
                "kubernetes": { "version": "v1.34.4", "kubelet": {} },
            },
            "status": { "conditions": conditions },
        });
        for (field, value) in metadata.as_object().unwrap() {
            tcp["metadata"][field] = value.clone();
        }
        joinable(&serde_json::from_value(tcp).unwrap())
    }

    fn ready(status: &str) -> Value {
        json!([{
            "type": "Ready", "status": status, "reason": "RollingOut", "message": "1 of 2 Pods run",
            "lastTransitionTime": "2026-11-23T06:00:00Z",
        }])
    }

    #[test]
    fn only_a_ready_tenant_can_be_joined() {
        assert_eq!(verdict(2, &json!({}), &ready("True")), Ok(()));
        let why = verdict(2, &json!({}), &ready("False")).unwrap_err().to_string();
        assert_eq!(
            why,
            "it is not Ready (RollingOut: 1 of 2 Pods run); `kubectl --namespace teams wait --for=condition=Ready tcp/blue --timeout=5m` waits until it is"
        );
        assert!(matches!(verdict(2, &json!({}), &ready("Unknown")), Err(NotJoinable::NotReady { .. })));
        assert_eq!(verdict(2, &json!({}), &json!([])), Err(NotJoinable::Unseen));
    }

    #[test]
    fn one_that_sleeps_or_goes_is_told_apart() {
        let why = verdict(0, &json!({}), &ready("False")).unwrap_err().to_string();
        assert_eq!(why, "it is asleep; `kubectl --namespace teams scale tcp blue --replicas=1` wakes it");
        let leaving = json!({ "deletionTimestamp": "2026-11-23T06:00:00Z" });
        assert_eq!(verdict(0, &leaving, &ready("True")), Err(NotJoinable::Leaving));
    }
}
