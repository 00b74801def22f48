//! The one word that people see.

use kamaji_api::v1alpha1::Phase;

use crate::rollout::Rollout;

/// What the word depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhaseFacts {
    /// Pods that the spec asks for.
    pub replicas_wanted: i32,
    /// State of the Deployment.
    pub rollout: Rollout,
    /// The data is on its way to another DataStore.
    pub migrating: bool,
    /// A trust anchor is being replaced.
    pub rotating: bool,
    /// Some kind of write is refused.
    pub writes_limited: bool,
    /// Version that ran last.
    pub installed: Option<String>,
    /// Version that the spec asks for.
    pub wanted: String,
}

type Rule = (Phase, fn(&PhaseFacts) -> bool);

/// First match wins; each line is a sentence of the manual.
const PHASES: &[Rule] = &[
    (Phase::Migrating, |facts| facts.migrating),
    (Phase::Sleeping, |facts| facts.replicas_wanted == 0),
    (Phase::NotReady, |facts| facts.rollout.ready == 0),
    (Phase::WriteLimited, |facts| facts.writes_limited),
    (Phase::Ready, |facts| facts.rollout.is_complete()),
    (Phase::CaRotating, |facts| facts.rotating),
    (Phase::Upgrading, |facts| facts.installed.as_ref().is_some_and(|installed| *installed != facts.wanted)),
    (Phase::Provisioning, |facts| facts.installed.is_none()),
];

/// The word. Nothing decides anything by reading it back.
pub fn phase(facts: &PhaseFacts) -> Phase {
    PHASES.iter().find(|(_, holds)| holds(facts)).map_or(Phase::Unknown, |(phase, _)| *phase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(change: impl FnOnce(&mut PhaseFacts)) -> PhaseFacts {
        let rollout = Rollout { observed: true, wanted: 2, total: 2, updated: 2, ready: 2 };
        let mut facts = PhaseFacts {
            replicas_wanted: 2,
            rollout,
            migrating: false,
            rotating: false,
            writes_limited: false,
            installed: Some("v1.34.4".into()),
            wanted: "v1.34.4".into(),
        };
        change(&mut facts);
        facts
    }

    #[test]
    fn the_table_is_read_from_the_top() {
        let table: Vec<(PhaseFacts, Phase)> = vec![
            (facts(|_| {}), Phase::Ready),
            (facts(|f| (f.migrating, f.replicas_wanted) = (true, 0)), Phase::Migrating),
            (facts(|f| f.replicas_wanted = 0), Phase::Sleeping),
            (facts(|f| f.rollout = Rollout::default()), Phase::NotReady),
            (facts(|f| f.writes_limited = true), Phase::WriteLimited),
            (facts(|f| f.rollout.observed = false), Phase::Unknown),
            (facts(|f| (f.rotating, f.rollout.updated) = (true, 1)), Phase::CaRotating),
            (facts(|f| f.rotating = true), Phase::Ready),
            (facts(|f| (f.rollout.updated, f.wanted) = (1, "v1.35.4".into())), Phase::Upgrading),
            (facts(|f| (f.rollout.ready, f.installed) = (1, None)), Phase::Provisioning),
        ];
        for (facts, expected) in table {
            assert_eq!(phase(&facts), expected, "{facts:?}");
        }
    }
}
