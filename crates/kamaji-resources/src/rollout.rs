//! How far a Deployment's rollout has come.

use k8s_openapi::api::apps::v1::Deployment;

/// A Deployment's rollout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rollout {
    /// True when the numbers below speak of the newest spec.
    pub observed: bool,
    /// Pods wanted.
    pub wanted: i32,
    /// Pods there, of any template.
    pub total: i32,
    /// Pods of the newest template.
    pub updated: i32,
    /// Pods that are ready.
    pub ready: i32,
}

impl Rollout {
    /// Reads it off a Deployment as the server has it.
    pub fn of(deployment: &Deployment) -> Self {
        let status = deployment.status.clone().unwrap_or_default();
        Self {
            observed: deployment.metadata.generation.is_some()
                && status.observed_generation == deployment.metadata.generation,
            wanted: deployment.spec.replicas.unwrap_or(1),
            total: status.replicas.unwrap_or_default(),
            updated: status.updated_replicas.unwrap_or_default(),
            ready: status.ready_replicas.unwrap_or_default(),
        }
    }

    /// True when every Pod runs the newest template and is ready, and no other Pod is left.
    pub fn is_complete(&self) -> bool {
        self.observed && [self.total, self.updated, self.ready].iter().all(|count| *count == self.wanted)
    }

    /// True when no Pod of an earlier template is left, so that what only those read may go.
    pub fn has_replaced_all(&self) -> bool {
        self.total == 0 || (self.observed && self.total == self.updated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_pods_read_may_go_when_none_of_them_is_left_ready_or_not() {
        let rollout = |observed, total, updated| Rollout { observed, total, updated, ..Rollout::default() };
        let table = [
            (rollout(true, 2, 2), true),
            (rollout(true, 2, 1), false),
            (rollout(false, 2, 2), false),
            (rollout(false, 0, 0), true),
        ];
        for (rollout, expected) in table {
            assert_eq!(rollout.has_replaced_all(), expected, "{rollout:?}");
        }
    }
}
