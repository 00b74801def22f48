//! Every state that two Pods, a request and the last word can get into.

use std::collections::{BTreeSet, HashSet};

use super::*;

/// What a Pod was made from: whom it trusts, who signed what it shows, and who vouches for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Pod {
    trusted: [bool; 2],
    shows: usize,
    vouched_by: Option<usize>,
}

/// There are two anchors, 0 and 1. At rest one of them is nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct World {
    stage: Stage,
    signer: usize,
    /// Who signed when the last rotation began.
    origin: usize,
    requested: bool,
    served: bool,
    given_up: Option<usize>,
    pods: [Pod; 2],
}

impl World {
    fn new() -> Self {
        let pod = Pod { trusted: [true, false], shows: 0, vouched_by: None };
        Self {
            stage: Stage::Settled,
            signer: 0,
            origin: 0,
            requested: false,
            served: false,
            given_up: None,
            pods: [pod; 2],
        }
    }

    fn template(&self) -> Pod {
        let mut trusted = [self.stage.overlaps(); 2];
        trusted[self.signer] = true;
        let vouched = matches!(self.stage, Stage::Reissued | Stage::TakenBack);
        Pod { trusted, shows: self.signer, vouched_by: vouched.then_some(1 - self.signer) }
    }

    fn view(&self) -> View {
        View {
            stage: self.stage,
            wish: match self.stage {
                _ if !self.requested => Wish::Kept,
                Stage::Settled if self.served => Wish::Served,
                _ => Wish::Rotated,
            },
            followers: if self.pods.iter().all(|pod| *pod == self.template()) {
                Followers::Everybody
            } else {
                Followers::SomePods
            },
            given_up: self.given_up == Some(1 - self.signer),
        }
    }

    /// What the operator does.
    fn pass(mut self) -> Self {
        if self.stage == Stage::Settled && !self.requested {
            self.served = false;
        }
        let Step::Go(to) = next(&self.view()) else { return self };
        match (self.stage, to) {
            (Stage::Settled, _) => (self.origin, self.given_up) = (self.signer, None),
            (_, Stage::Reissued | Stage::TakenBack) => self.signer = 1 - self.signer,
            (Stage::Reissued, Stage::Dropped) => self.served = true,
            _ => {}
        }
        self.stage = to;
        self
    }

    fn rolled(mut self, pod: usize) -> Self {
        self.pods[pod] = self.template();
        self
    }

    /// Everything that may happen.
    fn after(self) -> Vec<Self> {
        let mut all = vec![self.pass(), self.rolled(0), self.rolled(1)];
        all.push(Self { requested: !self.requested, ..self });
        all.extend([None, Some(0), Some(1)].map(|given_up| Self { given_up, ..self }));
        all
    }

    /// Where it ends if the request stays as it is, Pods are replaced and whoever must say the last word says it.
    fn end(mut self) -> Self {
        for _ in 0..12 {
            self = self.pass().rolled(0).rolled(1);
            if self.stage.overlaps() {
                self.given_up = Some(1 - self.signer);
            }
        }
        self
    }

    fn check(&self) {
        let is_dropped = !self.stage.overlaps() && self.stage != Stage::Settled;
        for pod in &self.pods {
            assert!(pod.trusted[self.signer], "a Pod does not trust what signs: {self:?}");
            for other in &self.pods {
                assert!(other.trusted[pod.shows], "a Pod does not trust what another shows: {self:?}");
            }
            let believed = pod.shows == self.origin || pod.vouched_by == Some(self.origin);
            assert!(
                believed || is_dropped || self.stage == Stage::Settled,
                "who trusts only the old anchor is cut off: {self:?}"
            );
        }
    }
}

fn reachable() -> HashSet<World> {
    let (mut seen, mut open) = (HashSet::from([World::new()]), vec![World::new()]);
    while let Some(world) = open.pop() {
        for next in world.after() {
            if seen.insert(next) {
                open.push(next);
            }
        }
    }
    seen
}

#[test]
fn in_no_state_does_a_pod_mistrust_what_is_signed_and_every_stage_is_reached() {
    let all = reachable();
    all.iter().for_each(World::check);
    let stages: BTreeSet<Stage> = all.iter().map(|world| world.stage).collect();
    assert_eq!(stages, Stage::ALL.into());
}

#[test]
fn until_the_last_stage_every_rotation_can_be_completed_and_taken_back() {
    for world in reachable() {
        let forward = World { requested: true, ..world }.end();
        assert_eq!(forward.stage, Stage::Settled, "{world:?}");
        assert!(forward.served, "{world:?}");
        let back = World { requested: false, ..world }.end();
        assert_eq!(back.stage, Stage::Settled, "{world:?}");
        if world.stage.overlaps() {
            assert_eq!((forward.signer, back.signer), (1 - world.origin, world.origin), "{world:?}");
        }
        // What is done stays done, whether or not the request stays.
        assert_eq!((forward.end(), back.end().signer), (forward, back.signer), "{world:?}");
    }
}

/// Nothing is dropped that nodes may hold something of, but by the last word.
#[test]
fn the_last_word_is_never_guessed() {
    for world in reachable().into_iter().filter(|world| world.given_up.is_none()) {
        let after = world.pass();
        let has_signed = matches!(world.stage, Stage::Reissued | Stage::TakenBack);
        assert!(!has_signed || after.stage != Stage::Dropped, "{world:?}");
    }
}

#[test]
fn each_condition_holds_a_stage_back() {
    let free = View {
        stage: Stage::TrustingBoth,
        wish: Wish::Rotated,
        followers: Followers::Everybody,
        given_up: true,
    };
    let held = |view| match next(&view) {
        Step::Wait(what) => what,
        other => panic!("{other:?}"),
    };
    for stage in [Stage::TrustingBoth, Stage::Reissued] {
        let free = View { stage, ..free };
        for (followers, what) in [
            (Followers::Asleep, For::Waking),
            (Followers::SomePods, For::Pods),
            (Followers::AllPods, For::Inside),
        ] {
            assert_eq!(held(View { followers, ..free }), what);
        }
    }
    let last = View { stage: Stage::Reissued, given_up: false, ..free };
    assert_eq!(held(last), For::LastWord);
    assert_eq!(next(&View { stage: Stage::Settled, wish: Wish::Served, ..free }), Step::Rest);
}
