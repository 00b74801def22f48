//! The verdict on what is held: kept while it may be, replaced for a reason, never in a circle.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use kamaji_pki::{
    Authority, Certificate, Error, Leaf, Names, Pair, PrivateKey, Usage,
    leaf::MAX_VALIDITY,
    verdict::{Held, NamesPolicy, Reissue, Wanted, deadline, renew, verdict},
};
use proptest::prelude::*;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const SECOND: SignedDuration = SignedDuration::from_secs(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn now() -> Timestamp {
    "2026-11-23T02:00:00Z".parse().unwrap()
}

fn leaf() -> Leaf {
    Leaf {
        common_name: "kube-apiserver".to_owned(),
        organizations: vec!["staff".to_owned()],
        usage: Usage::Server,
        names: Names { dns: ["LocalHost".to_owned()].into(), ips: ["127.0.0.1".parse().unwrap()].into() },
        valid_for: MAX_VALIDITY,
    }
}

fn authority() -> Authority {
    Authority::create("kubernetes", now(), DAY * 3650).unwrap()
}

fn wanted<'a>(leaf: &'a Leaf, authority: &'a Authority) -> Wanted<'a> {
    Wanted { leaf, authority: authority.certificate(), renew_before: DAY, names: NamesPolicy::Exactly }
}

fn held(pair: &Pair) -> Held<'_> {
    Held {
        certificate: pair.certificate().pem().as_bytes(),
        key: pair.key().pem().as_bytes(),
        requested: false,
    }
}

#[test]
fn what_was_just_issued_is_kept() {
    let (leaf, authority) = (leaf(), authority());
    let wanted = wanted(&leaf, &authority);
    let first = renew(None, &wanted, &authority, now()).unwrap();
    assert_eq!(first.reason, Some(Reissue::Missing));
    let second = renew(Some(&held(&first.pair)), &wanted, &authority, now()).unwrap();
    assert_eq!(second.reason, None);
    assert_eq!(second.pair.certificate().pem(), first.pair.certificate().pem());
    assert_eq!(second.pair.key().pem(), first.pair.key().pem());
}

#[test]
fn what_is_absent_unreadable_or_unwanted_is_replaced_once() {
    let (leaf, authority) = (leaf(), authority());
    let wanted = wanted(&leaf, &authority);
    let good = authority.issue(&leaf, now()).unwrap();
    let good = held(&good);
    let other_key = PrivateKey::generate().unwrap();
    let table = [
        (None, Reissue::Missing),
        (Some(Held { key: b"", ..good }), Reissue::Missing),
        (Some(Held { certificate: b"", ..good }), Reissue::Missing),
        (Some(Held { requested: true, ..good }), Reissue::Requested),
        (Some(Held { key: b"\xff\0", ..good }), Reissue::Unreadable),
        (Some(Held { certificate: b"garbage", ..good }), Reissue::Unreadable),
        (Some(Held { key: other_key.pem().as_bytes(), ..good }), Reissue::KeyMismatch),
    ];
    for (found, reason) in table {
        let renewal = renew(found.as_ref(), &wanted, &authority, now()).unwrap();
        assert_eq!(renewal.reason, Some(reason));
        assert_eq!(verdict(Some(&held(&renewal.pair)), &wanted, now()), None);
    }
}

fn judged(change: impl FnOnce(&mut Leaf), issued_at: Timestamp) -> Option<Reissue> {
    let (leaf, authority) = (leaf(), authority());
    let mut other = leaf.clone();
    change(&mut other);
    let pair = authority.issue(&other, issued_at).unwrap();
    verdict(Some(&held(&pair)), &wanted(&leaf, &authority), now())
}

#[test]
fn every_difference_has_its_reason() {
    assert_eq!(judged(|_| {}, now()), None);
    assert_eq!(judged(|leaf| leaf.names.dns = ["localhost".to_owned()].into(), now()), None);
    let subject = Some(Reissue::SubjectDiffers);
    assert_eq!(judged(|leaf| leaf.common_name.push('x'), now()), subject);
    assert_eq!(judged(|leaf| leaf.organizations.clear(), now()), subject);
    assert_eq!(judged(|leaf| leaf.organizations.push("more".to_owned()), now()), subject);
    assert_eq!(judged(|leaf| leaf.usage = Usage::Client, now()), Some(Reissue::UsageDiffers));
    let names = Some(Reissue::NamesDiffer);
    assert_eq!(judged(|leaf| leaf.names.dns.clear(), now()), names);
    assert_eq!(judged(|leaf| leaf.names.ips.clear(), now()), names);
    assert_eq!(judged(|leaf| leaf.names.ips.extend(["::1".parse::<IpAddr>().unwrap()]), now()), names);
    assert_eq!(judged(|_| {}, now() + DAY), Some(Reissue::NotYetValid));
    assert_eq!(judged(|leaf| leaf.valid_for = SECOND, now() - HOUR), Some(Reissue::NearExpiry));
}

#[test]
fn an_authority_of_the_same_name_is_another_one() {
    let (leaf, authority) = (leaf(), authority());
    let stranger = self::authority();
    let pair = stranger.issue(&leaf, now()).unwrap();
    let reason = verdict(Some(&held(&pair)), &wanted(&leaf, &authority), now());
    assert_eq!(reason, Some(Reissue::ForeignIssuer));
}

#[test]
fn more_than_was_asked_for_stays_where_the_policy_is_gentle() {
    let (leaf, authority) = (leaf(), authority());
    let exactly = wanted(&leaf, &authority);
    let at_least = Wanted { names: NamesPolicy::AtLeast, ..exactly };
    let mut names = leaf.names.clone();
    names.dns.insert("extra".to_owned());
    let organizations = vec!["staff".to_owned(), "system:masters".to_owned()];
    for (generous, reason) in [
        (Leaf { names, ..leaf.clone() }, Reissue::NamesDiffer),
        (Leaf { organizations, ..leaf.clone() }, Reissue::SubjectDiffers),
    ] {
        let pair = authority.issue(&generous, now()).unwrap();
        assert_eq!(verdict(Some(&held(&pair)), &exactly, now()), Some(reason));
        assert_eq!(verdict(Some(&held(&pair)), &at_least, now()), None);
    }
}

#[test]
fn less_than_was_asked_for_goes_under_either_policy() {
    let (leaf, authority) = (leaf(), authority());
    let at_least = Wanted { names: NamesPolicy::AtLeast, ..wanted(&leaf, &authority) };
    let without = |dns: bool, ips: bool| Names {
        dns: leaf.names.dns.iter().filter(|_| dns).cloned().collect(),
        ips: leaf.names.ips.iter().filter(|_| ips).copied().collect(),
    };
    for (lesser, reason) in [
        (Leaf { names: without(false, true), ..leaf.clone() }, Reissue::NamesDiffer),
        (Leaf { names: without(true, false), ..leaf.clone() }, Reissue::NamesDiffer),
        (Leaf { organizations: vec![], ..leaf.clone() }, Reissue::SubjectDiffers),
        (Leaf { usage: Usage::Client, ..leaf.clone() }, Reissue::UsageDiffers),
    ] {
        let pair = authority.issue(&lesser, now()).unwrap();
        assert_eq!(verdict(Some(&held(&pair)), &at_least, now()), Some(reason));
    }
}

#[test]
fn what_the_go_implementation_issued_is_taken_over_untouched() {
    let authority = Certificate::from_pem(include_bytes!("fixtures/go-datastore-ca.crt")).unwrap();
    let held = Held {
        certificate: include_bytes!("fixtures/go-datastore.crt"),
        key: include_bytes!("fixtures/go-datastore.key"),
        requested: false,
    };
    let leaf = Leaf {
        common_name: "4746b6dc-a96d-4b56-9a1c-e561fad1fc10".to_owned(),
        organizations: vec![],
        usage: Usage::Client,
        names: Names::default(),
        valid_for: MAX_VALIDITY,
    };
    let at_least =
        Wanted { leaf: &leaf, authority: &authority, renew_before: DAY, names: NamesPolicy::AtLeast };
    let exactly = Wanted { names: NamesPolicy::Exactly, ..at_least };
    assert_eq!(verdict(Some(&held), &at_least, now()), None);
    assert_eq!(verdict(Some(&held), &exactly, now()), Some(Reissue::SubjectDiffers));
}

#[test]
fn renewal_begins_at_the_deadline() {
    let (leaf, authority) = (leaf(), authority());
    let wanted = wanted(&leaf, &authority);
    let pair = authority.issue(&leaf, now()).unwrap();
    let due = deadline(pair.certificate(), DAY);
    assert_eq!(due, now() + MAX_VALIDITY - DAY);
    for (at, reason) in [
        (due - SECOND, None),
        (due, Some(Reissue::NearExpiry)),
        (due + SECOND, Some(Reissue::NearExpiry)),
        (now() + MAX_VALIDITY + SECOND, Some(Reissue::NearExpiry)),
    ] {
        assert_eq!(verdict(Some(&held(&pair)), &wanted, at), reason, "{at}");
    }
}

/// What lasts two minutes is renewed once a minute, however early renewal was asked for, and never twice at once.
#[test]
fn a_short_life_is_renewed_in_time_and_not_without_end() {
    let (leaf, authority) = (Leaf { valid_for: SECOND * 120, ..leaf() }, authority());
    let wanted = wanted(&leaf, &authority);
    let mut pair = authority.issue(&leaf, now()).unwrap();
    let mut renewals = 0;
    for second in 0..=900 {
        let at = now() + SECOND * second;
        assert!(at < pair.certificate().not_after(), "{second}");
        let renewal = renew(Some(&held(&pair)), &wanted, &authority, at).unwrap();
        renewals += i32::from(renewal.reason.is_some());
        pair = renewal.pair;
    }
    assert_eq!(renewals, 15);
}

#[test]
fn a_certificate_that_ends_with_its_authority_is_not_renewed_over_and_over() {
    let leaf = leaf();
    let authority = Authority::create("short", now(), HOUR).unwrap();
    let wanted = wanted(&leaf, &authority);
    let pair = authority.issue(&leaf, now()).unwrap();
    for at in [now(), now() + HOUR - SECOND, now() + HOUR * 2] {
        assert_eq!(verdict(Some(&held(&pair)), &wanted, at), None);
    }
    let error = renew(None, &wanted, &authority, now() + HOUR * 2).unwrap_err();
    assert!(matches!(error, Error::AuthorityExpired { .. }), "{error:?}");
}

#[test]
fn another_authority_than_the_one_wanted_issues_nothing() {
    let (leaf, authority) = (leaf(), authority());
    let wanted = wanted(&leaf, &authority);
    let other = Authority::create("kubernetes", now(), DAY).unwrap();
    let error = renew(None, &wanted, &other, now()).unwrap_err();
    assert!(matches!(error, Error::WrongAuthority { .. }), "{error:?}");
}

#[test]
fn reasons_are_one_word_and_one_sentence() {
    let all = [
        (Reissue::Requested, "Requested"),
        (Reissue::Missing, "Missing"),
        (Reissue::Unreadable, "Unreadable"),
        (Reissue::KeyMismatch, "KeyMismatch"),
        (Reissue::ForeignIssuer, "ForeignIssuer"),
        (Reissue::SubjectDiffers, "SubjectDiffers"),
        (Reissue::UsageDiffers, "UsageDiffers"),
        (Reissue::NamesDiffer, "NamesDiffer"),
        (Reissue::NotYetValid, "NotYetValid"),
        (Reissue::NearExpiry, "NearExpiry"),
    ];
    for (reason, word) in all {
        assert_eq!(reason.as_str(), word);
        assert_eq!(reason.to_string(), reason.sentence());
    }
}

fn seconds(range: std::ops::Range<i64>) -> impl Strategy<Value = SignedDuration> {
    range.prop_map(SignedDuration::from_secs)
}

const YEAR: i64 = 365 * 24 * 3600;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn renewal_is_due_in_the_window_and_never_before(
        life in seconds(1..YEAR + 1),
        margin in seconds(-10..2 * YEAR),
        after in seconds(-YEAR..2 * YEAR),
    ) {
        let (leaf, authority) = (Leaf { valid_for: life, ..leaf() }, authority());
        let wanted = Wanted { renew_before: margin, ..wanted(&leaf, &authority) };
        let pair = authority.issue(&leaf, now()).unwrap();
        // In half seconds: the window is the margin, cut to half of a life. That it begins five minutes early is no life.
        let window = (2 * margin.as_secs()).clamp(0, life.as_secs());
        let expected = if after.as_secs() < -300 {
            Some(Reissue::NotYetValid)
        } else if 2 * after.as_secs() >= 2 * life.as_secs() - window {
            Some(Reissue::NearExpiry)
        } else {
            None
        };
        prop_assert_eq!(verdict(Some(&held(&pair)), &wanted, now() + after), expected);
    }

    #[test]
    fn no_walk_through_time_renews_twice_at_once(
        life in seconds(1..YEAR + 1),
        margin in seconds(0..2 * YEAR),
        authority_life in seconds(1..4 * YEAR),
        steps in prop::collection::vec(seconds(0..YEAR), 1..12),
    ) {
        let leaf = Leaf { valid_for: life, ..leaf() };
        let authority = Authority::create("kubernetes", now(), authority_life).unwrap();
        let wanted = Wanted { renew_before: margin, ..wanted(&leaf, &authority) };
        let mut pair = authority.issue(&leaf, now()).unwrap();
        let mut at = now();
        for step in steps {
            at += step;
            let due = deadline(pair.certificate(), margin);
            let Ok(renewal) = renew(Some(&held(&pair)), &wanted, &authority, at) else {
                prop_assert!(at >= authority.certificate().not_after());
                break;
            };
            prop_assert!(renewal.reason.is_none() || at >= due);
            let last = pair.certificate().not_after() == authority.certificate().not_after();
            prop_assert!(renewal.reason.is_some() || at < due || last);
            pair = renewal.pair;
            prop_assert_eq!(verdict(Some(&held(&pair)), &wanted, at), None);
        }
    }
}
