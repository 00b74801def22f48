use super::*;
use crate::account::{Credential, Owner, Schema, Seal, User};
use crate::nats::mark::Underway;

fn account(standing: Standing) -> Account {
    Account {
        schema: Schema::parse("blue").expect("plain"),
        user: User::parse("blue-user").expect("plain"),
        owner: Owner::parse("uid-of-blue").expect("plain"),
        standing,
        seal: Seal::Open,
        credential: Credential::Certificate,
    }
}

fn mark(owner: &str, schema: &str) -> Mark {
    Mark::Held {
        owner: Owner::parse(owner).expect("plain"),
        schema: Schema::parse(schema).expect("plain"),
        user: User::parse("any").expect("plain"),
        sequence: 7,
        underway: Underway::No,
    }
}

/// Everything that can be found.
fn everything() -> Vec<Observed> {
    let marks = [
        Mark::Absent,
        Mark::Unreadable,
        mark("uid-of-blue", "blue"),
        mark("uid-of-blue", "green"),
        mark("uid-of-green", "green"),
        mark("uid-of-green", "blue"),
    ];
    let buckets = [None, Some(Shape::Kine), Some(Shape::Bucket), Some(Shape::Shut), Some(Shape::Other)];
    let mut all = Vec::new();
    for mark in marks {
        for bucket in buckets {
            for neighbour in [None, Some("red".to_owned())] {
                let places: &[Place] =
                    if mark == Mark::Absent { &[Place::Missing, Place::Made] } else { &[Place::Made] };
                all.extend(places.iter().map(|place| Observed {
                    place: *place,
                    mark: mark.clone(),
                    bucket,
                    neighbour: neighbour.clone(),
                    is_moving: false,
                }));
            }
        }
    }
    all
}

/// What there is after a statement.
fn after(account: &Account, observed: &Observed, step: &Step) -> Observed {
    let mut observed = observed.clone();
    match step {
        Step::MakePlace => observed.place = Place::Made,
        Step::Claim => {
            assert_eq!(
                (&observed.mark, observed.place),
                (&Mark::Absent, Place::Made),
                "the server would refuse"
            );
            observed.mark = mark(account.owner.as_str(), account.schema.as_str());
        }
        Step::AddBucket => {
            assert_eq!(observed.bucket, None);
            observed.bucket = Some(Shape::Kine);
        }
        Step::FitBucket => {
            assert!(matches!(observed.bucket, Some(Shape::Bucket | Shape::Shut)));
            observed.bucket = Some(Shape::Kine);
        }
        Step::DeleteBucket => {
            assert!(observed.bucket.take().is_some());
        }
        Step::Release(sequence) => {
            assert_eq!(*sequence, 7);
            observed.mark = Mark::Absent;
        }
    }
    observed
}

/// Makes the first statement again and again, as long as there is one.
fn to_the_end(account: &Account, mut observed: Observed, next: impl Fn(&Observed) -> Vec<Step>) -> Observed {
    for _ in 0..10 {
        match next(&observed).first() {
            Some(step) => observed = after(account, &observed, step),
            None => return observed,
        }
    }
    panic!("no end: {observed:?}")
}

fn is_complete(account: &Account, observed: &Observed) -> bool {
    observed.mark.is_of(account) && observed.bucket == Some(Shape::Kine)
}

#[test]
fn from_everywhere_ensure_completes_the_account_or_alters_nothing() {
    for standing in [Standing::Claimed, Standing::Recorded] {
        let account = account(standing);
        for observed in everything() {
            let Ok(steps) = ensure(&account, &observed) else { continue };
            let end = to_the_end(&account, observed.clone(), |observed| {
                ensure(&account, observed).expect("what was not foreign does not become so")
            });
            assert!(is_complete(&account, &end), "{observed:?}: {end:?}");
            assert_eq!(steps.is_empty(), is_complete(&account, &observed), "{observed:?}");
        }
    }
}

#[test]
fn from_everywhere_remove_leaves_nothing_of_the_account_and_all_of_others() {
    for standing in [Standing::Claimed, Standing::Recorded] {
        let account = account(standing);
        for observed in everything() {
            let end = to_the_end(&account, observed.clone(), |observed| remove(&account, observed));
            assert!(!end.mark.is_of(&account), "{observed:?}");
            let ours = observed.mark.is_of(&account);
            let may_be_ours = observed.mark == Mark::Absent && standing == Standing::Recorded;
            if !ours && !may_be_ours {
                assert_eq!(end, observed, "another's");
            }
            if ours && observed.bucket != Some(Shape::Other) {
                assert_eq!(end.bucket, None);
            }
        }
    }
}

#[test]
fn nobody_gets_what_another_has_marked() {
    for standing in [Standing::Claimed, Standing::Recorded] {
        for observed in everything() {
            let refused = ensure(&account(standing), &observed);
            match &observed.mark {
                Mark::Held { owner, schema, .. }
                    if owner.as_str() != "uid-of-blue" || schema.as_str() != "blue" =>
                {
                    let tenant = Some((schema.clone(), owner.clone()));
                    assert_eq!(refused, Err(Foreign::Occupied { tenant }));
                }
                Mark::Unreadable => assert_eq!(refused, Err(Foreign::Occupied { tenant: None })),
                _ => {}
            }
        }
    }
}

#[test]
fn an_unmarked_bucket_is_taken_over_only_from_an_operator_without_marks() {
    let observed = Observed { bucket: Some(Shape::Bucket), ..Observed::default() };
    let foreign = Foreign::UnmarkedBucket(Schema::parse("blue").expect("plain"));
    assert_eq!(ensure(&account(Standing::Claimed), &observed), Err(foreign.clone()));
    let steps = ensure(&account(Standing::Recorded), &observed);
    assert_eq!(steps, Ok(vec![Step::MakePlace, Step::Claim, Step::FitBucket]));
    let other = Observed { bucket: Some(Shape::Other), ..Observed::default() };
    assert_eq!(ensure(&account(Standing::Recorded), &other), Err(foreign));
}

#[test]
fn a_tenant_is_not_put_beside_the_data_of_another_cluster() {
    let observed = Observed { neighbour: Some("red".to_owned()), ..Observed::default() };
    let refused = ensure(&account(Standing::Claimed), &observed);
    assert_eq!(refused, Err(Foreign::Neighbour { bucket: "red".to_owned() }));
}

#[test]
fn the_mark_comes_first_and_goes_last() {
    let account = account(Standing::Claimed);
    let steps = ensure(&account, &Observed::default());
    assert_eq!(steps, Ok(vec![Step::MakePlace, Step::Claim, Step::AddBucket]));
    let complete = Observed {
        place: Place::Made,
        mark: mark("uid-of-blue", "blue"),
        bucket: Some(Shape::Kine),
        neighbour: None,
        is_moving: false,
    };
    assert_eq!(ensure(&account, &complete), Ok(Vec::new()));
    assert_eq!(remove(&account, &complete), [Step::DeleteBucket, Step::Release(7)]);
}
