use std::collections::BTreeSet;

use super::*;

fn token(word: &str) -> Token {
    Token::parse(word).expect("plain")
}

fn terms() -> Terms {
    Terms { token: token("mine"), shape: Shape::Live, furthest: Some(100) }
}

fn mark(whose: &str, stage: Stage) -> Mark {
    let fence = is_of_target(stage).then(|| "fence".to_owned());
    Mark { token: token(whose), stage, nonce: "fence".to_owned(), fence, read: None, of: None }
}

/// An account in use.
fn open(revision: i64) -> Found {
    Found { presence: Presence::Present, mark: None, door: Door::Open, data: Data::Some, odd: None, revision }
}

/// One that nobody can write to, marked so.
fn shut(stage: Stage, revision: i64) -> Found {
    Found { mark: Some(mark("mine", stage)), door: Door::Shut, ..open(revision) }
}

fn nothing() -> Found {
    Found { presence: Presence::Absent, door: Door::Shut, data: Data::None, ..open(0) }
}

fn next(servers: Servers, source: &Found, target: &Found) -> Result<Next, &'static str> {
    decide(&terms(), servers, source, target).map_err(|error| error.reason())
}

#[test]
fn the_steps_of_the_table_follow_each_other() {
    use Servers::{Gone, Running};
    let fenced = || shut(Stage::Fenced, 50);
    let cases = [
        (Running, open(50), nothing(), Next::Step(Step::Claim)),
        (Running, open(50), shut(Stage::Claimed, 9), Next::Step(Step::Prepare)),
        (
            Running,
            open(50),
            Found { door: Door::Ajar, ..shut(Stage::Copying, 9) },
            Next::Step(Step::Shut(Side::Target)),
        ),
        (Running, open(50), shut(Stage::Copying, 50), Next::Step(Step::Raise)),
        (Running, open(50), shut(Stage::Copying, 51), Next::Step(Step::Fence)),
        (
            Running,
            Found { door: Door::Ajar, ..fenced() },
            shut(Stage::Copying, 51),
            Next::Step(Step::Shut(Side::Source)),
        ),
        (Gone, Found { door: Door::Ajar, ..fenced() }, shut(Stage::Verified, 51), Next::Step(Step::Fence)),
        (Running, fenced(), shut(Stage::Copying, 51), Next::Step(Step::Copy)),
        (Running, fenced(), shut(Stage::Copied, 51), Next::Step(Step::Verify)),
        (Running, fenced(), shut(Stage::Verified, 51), Next::StopServers),
        (Gone, fenced(), shut(Stage::Copying, 50), Next::Step(Step::Raise)),
        (Gone, fenced(), shut(Stage::Copying, 51), Next::Step(Step::Copy)),
        (Gone, fenced(), shut(Stage::Copied, 51), Next::Step(Step::Verify)),
        (Gone, fenced(), shut(Stage::Verified, 51), Next::Step(Step::Switch)),
        (Gone, shut(Stage::Left, 50), shut(Stage::Verified, 51), Next::Step(Step::Open)),
        (Gone, shut(Stage::Left, 50), Found { door: Door::Ajar, ..open(51) }, Next::Step(Step::Open)),
        (Running, shut(Stage::Left, 50), open(51), Next::Done),
    ];
    for (servers, source, target, expected) in cases {
        assert_eq!(next(servers, &source, &target), Ok(expected), "{source:?} {target:?}");
    }
}

#[test]
fn what_another_fence_saw_is_copied_again() {
    let refenced = Found {
        mark: Some(Mark { nonce: "another".to_owned(), ..mark("mine", Stage::Fenced) }),
        ..shut(Stage::Fenced, 50)
    };
    for stage in [Stage::Copied, Stage::Verified] {
        assert_eq!(next(Servers::Gone, &refenced, &shut(stage, 51)), Ok(Next::Step(Step::Copy)));
    }
}

#[test]
fn marks_tell_how_far_it_is() {
    let mine = |stage| Some(mark("mine", stage));
    for (source, target, expected) in [
        (None, mine(Stage::Copying), Position::Open),
        (Some(mark("other", Stage::Fenced)), None, Position::Open),
        (mine(Stage::Fenced), None, Position::Fenced),
        (mine(Stage::Fenced), mine(Stage::Copied), Position::Fenced),
        (mine(Stage::Fenced), Some(mark("other", Stage::Verified)), Position::Fenced),
        (mine(Stage::Fenced), mine(Stage::Verified), Position::Ready),
        (
            mine(Stage::Fenced).map(|mark| Mark { nonce: "later".to_owned(), ..mark }),
            mine(Stage::Verified),
            Position::Fenced,
        ),
        (mine(Stage::Left), None, Position::Switched),
        (mine(Stage::Aborted), mine(Stage::Verified), Position::Aborted),
    ] {
        let found = position(&token("mine"), source.as_ref(), target.as_ref());
        assert_eq!(found, expected, "{source:?} {target:?}");
    }
}

#[test]
fn rows_bring_their_own_revisions() {
    let rows = Terms { shape: Shape::Rows, ..terms() };
    let next = decide(&rows, Servers::Gone, &shut(Stage::Fenced, 50), &shut(Stage::Copying, 0));
    assert_eq!(next.expect("no obstacle"), Next::Step(Step::Copy));
}

#[test]
fn the_way_up_has_a_limit_where_every_step_is_a_write() {
    let far = |terms: &Terms| decide(terms, Servers::Running, &open(151), &shut(Stage::Copying, 50));
    assert_eq!(far(&terms()).expect_err("too far").reason(), "RevisionFarBehind");
    assert_eq!(far(&Terms { furthest: None, ..terms() }).expect("near"), Next::Step(Step::Raise));
}

#[test]
fn a_stale_copy_is_claimed_and_anything_else_is_left_alone() {
    let with = |mark| Found { mark, ..open(9) };
    let old = [Stage::Claimed, Stage::Copying, Stage::Copied, Stage::Verified, Stage::Left];
    for stage in old {
        assert_eq!(
            next(Servers::Running, &open(5), &with(Some(mark("old", stage)))),
            Ok(Next::Step(Step::Claim))
        );
    }
    assert_eq!(
        next(Servers::Running, &open(5), &with(Some(mark("mine", Stage::Left)))),
        Ok(Next::Step(Step::Claim))
    );
    assert_eq!(next(Servers::Running, &open(5), &with(None)), Err("TargetInUse"));
    assert_eq!(
        next(Servers::Running, &open(5), &with(Some(mark("old", Stage::Aborted)))),
        Err("TargetInUse")
    );
    assert_eq!(
        next(Servers::Running, &open(5), &with(Some(mark("old", Stage::Fenced)))),
        Err("MigrationHeld")
    );
    let empty = Found { data: Data::None, ..open(9) };
    assert_eq!(next(Servers::Running, &open(5), &empty), Ok(Next::Step(Step::Claim)));
}

#[test]
fn a_source_that_is_not_free_is_refused() {
    let with = |mark| Found { mark, ..open(5) };
    let cases = [
        (with(Some(mark("mine", Stage::Aborted))), "MigrationAborted"),
        (with(Some(mark("other", Stage::Fenced))), "MigrationHeld"),
        (with(Some(mark("other", Stage::Left))), "TenantGone"),
        (with(Some(mark("other", Stage::Copying))), "MigrationHeld"),
        (with(Some(mark("mine", Stage::Copying))), "SamePlace"),
        (nothing(), "NoSource"),
        (Found { odd: Some("it has triggers".to_owned()), ..open(5) }, "TableOdd"),
    ];
    for (source, reason) in cases {
        assert_eq!(next(Servers::Running, &source, &nothing()), Err(reason), "{source:?}");
    }
    let aborted = with(Some(mark("other", Stage::Aborted)));
    assert_eq!(next(Servers::Running, &aborted, &nothing()), Ok(Next::Step(Step::Claim)));
}

#[test]
fn a_lost_target_is_told_and_never_opened_empty() {
    let left = shut(Stage::Left, 50);
    for target in [nothing(), shut(Stage::Claimed, 51), shut(Stage::Copying, 51), shut(Stage::Copied, 51)] {
        assert_eq!(next(Servers::Gone, &left, &target), Err("TargetLost"), "{target:?}");
    }
    let moved_on = Found { mark: Some(mark("later", Stage::Left)), ..shut(Stage::Left, 60) };
    assert_eq!(next(Servers::Gone, &left, &moved_on), Ok(Next::Done));
}

/// Every state that both datastores can say, whatever brought it about.
fn every_state() -> Vec<(Servers, Found, Found)> {
    let doors = [Door::Open, Door::Ajar, Door::Shut];
    let words = [
        Stage::Fenced,
        Stage::Left,
        Stage::Aborted,
        Stage::Claimed,
        Stage::Copying,
        Stage::Copied,
        Stage::Verified,
    ];
    let marks = || {
        std::iter::once(None).chain(
            words.into_iter().flat_map(|stage| ["mine", "other"].map(|whose| Some(mark(whose, stage)))),
        )
    };
    let mut states = Vec::new();
    for (source, target) in marks().flat_map(|source| marks().map(move |target| (source.clone(), target))) {
        for (theirs, ours) in doors.into_iter().flat_map(|theirs| doors.map(|ours| (theirs, ours))) {
            for (servers, revision) in
                [(Servers::Running, 1), (Servers::Running, 99), (Servers::Gone, 1), (Servers::Gone, 99)]
            {
                let from = Found { mark: source.clone(), door: theirs, ..open(50) };
                states.push((servers, from, Found { mark: target.clone(), door: ours, ..open(revision) }));
            }
        }
    }
    states
}

#[test]
fn in_no_state_two_can_be_written() {
    let mut seen = BTreeSet::new();
    for (servers, source, target) in every_state() {
        let Ok(Next::Step(step)) = next(servers, &source, &target) else { continue };
        seen.insert(format!("{step:?}"));
        let fenced = source
            .mark
            .as_ref()
            .is_some_and(|mark| mark.token == token("mine") && mark.stage == Stage::Fenced);
        let left =
            source.mark.as_ref().is_some_and(|mark| mark.token == token("mine") && mark.stage == Stage::Left);
        match step {
            Step::Copy | Step::Verify | Step::Switch => {
                assert!(
                    fenced && source.door == Door::Shut && target.door == Door::Shut,
                    "{source:?} {target:?}"
                );
                assert!(target.revision > source.revision, "{source:?} {target:?}");
                assert!(step != Step::Switch || servers == Servers::Gone, "{source:?} {target:?}");
            }
            Step::Open => assert!(left, "{source:?} {target:?}"),
            Step::Fence => assert!(target.door == Door::Shut && !left, "{source:?} {target:?}"),
            _ => assert!(!left, "{source:?} {target:?}"),
        }
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
}

#[test]
fn a_target_that_does_not_answer_hides_what_was_done_and_is_in_the_way() {
    let (read, of) = (Some(Amount { records: 1, bytes: 2 }), Some(Amount { records: 3, bytes: 4 }));
    let source = shut(Stage::Fenced, 7);
    let copied =
        Found { mark: Some(Mark { read, of, ..mark("mine", Stage::Copied) }), ..shut(Stage::Copied, 8) };
    let seen = sight(&terms(), &source, Ok(Some(copied.clone())));
    assert_eq!((seen.position, seen.read, seen.copied), (Position::Fenced, read, of));
    assert!(seen.obstacle.is_none(), "{seen:?}");
    let later = Found { mark: copied.mark.map(|mark| Mark { nonce: "later".to_owned(), ..mark }), ..copied };
    assert_ne!(sight(&terms(), &source, Ok(Some(later))).sign, seen.sign);
    let unseen = sight(&terms(), &source, Err(Error::InUse));
    assert_eq!(unseen.sign.clone().after(&seen.sign), seen.sign);
    assert_eq!((unseen.position, unseen.read, unseen.copied), (Position::Fenced, None, None));
    assert!(matches!(unseen.obstacle, Some(Error::InUse)), "{unseen:?}");
    assert!(sight(&terms(), &source, Ok(None)).obstacle.is_none());
}
