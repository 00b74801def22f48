use super::*;
use crate::account::{Credential, Owner, Schema, User};

fn account(standing: Standing) -> Account {
    Account {
        seal: Seal::Open,
        credential: Credential::Certificate,
        schema: Schema::parse("x").expect("plain"),
        user: User::parse("u").expect("plain"),
        owner: Owner::parse("uid").expect("plain"),
        standing,
    }
}

fn held(owner: &str, counterpart: &str) -> Mark {
    Mark::Held {
        owner: Owner::parse(owner).expect("plain"),
        counterpart: counterpart.to_owned(),
        revision: 7,
    }
}

fn grant(start: &str, end: &str, access: Access) -> Grant {
    Grant { range: Range { start: start.into(), end: end.into() }, access }
}

fn range(start: &str, end: &str) -> Range {
    Range { start: start.into(), end: end.into() }
}

fn right() -> Grant {
    grant("/x/", "/x0", Access::ReadWrite)
}

/// Marked, complete and right.
fn settled() -> Observed {
    Observed {
        schema_mark: held("uid", "u"),
        user_mark: held("uid", "x"),
        user: Some(["x".to_owned()].into()),
        role: Some([right()].into()),
        has_keys: true,
        ..Observed::default()
    }
}

/// As the Go operator leaves it.
fn unmarked() -> Observed {
    Observed { schema_mark: Mark::Absent, user_mark: Mark::Absent, ..settled() }
}

const CLAIM: Step = Step::Claim { schema: Expected::Absent, user: Expected::Absent };

fn ensured(observed: &Observed) -> Vec<Step> {
    ensure(&account(Standing::Claimed), observed).expect("nothing foreign")
}

#[test]
fn a_new_account_is_claimed_before_anything_is_made() {
    for standing in [Standing::Claimed, Standing::Recorded] {
        let steps = ensure(&account(standing), &Observed::default()).expect("nothing foreign");
        assert_eq!(steps, [CLAIM, Step::AddUser, Step::AddRole, Step::Grant(right()), Step::GrantRole]);
    }
}

#[test]
fn an_account_that_is_as_it_should_be_is_left_alone() {
    for standing in [Standing::Claimed, Standing::Recorded] {
        assert_eq!(ensure(&account(standing), &settled()), Ok(vec![]));
    }
}

#[test]
fn whatever_is_missing_of_a_marked_account_is_made() {
    let own = || Step::Grant(right());
    let no_user = Observed { user: None, ..settled() };
    assert_eq!(ensured(&no_user), [Step::AddUser, Step::GrantRole]);
    let user_without_role = Observed { user: Some([].into()), ..settled() };
    assert_eq!(ensured(&user_without_role), [Step::GrantRole]);
    let no_role = Observed { role: None, ..settled() };
    assert_eq!(ensured(&no_role), [Step::AddRole, own()]);
    let role_without_range = Observed { role: Some([].into()), ..settled() };
    assert_eq!(ensured(&role_without_range), [own()]);
}

#[test]
fn a_missing_mark_is_put_only_while_the_other_stays() {
    let no_user = Observed { user_mark: Mark::Absent, user: None, ..settled() };
    let claim = Step::Claim { schema: Expected::Ours(7), user: Expected::Absent };
    assert_eq!(ensured(&no_user), [claim, Step::AddUser, Step::GrantRole]);
    let no_role = Observed { schema_mark: Mark::Absent, role: None, has_keys: false, ..settled() };
    let claim = Step::Claim { schema: Expected::Absent, user: Expected::Ours(7) };
    assert_eq!(ensured(&no_role), [claim, Step::AddRole, Step::Grant(right())]);
}

#[test]
fn wrong_grants_of_a_marked_account_are_replaced() {
    let own = || Step::Grant(right());
    let cases = [
        (vec![grant("/x", "/y", Access::ReadWrite)], vec![own(), Step::RevokeRange(range("/x", "/y"))]),
        (vec![grant("/x/", "/x0", Access::Read)], vec![own()]),
        (vec![grant("/x/", "/x0", Access::Write)], vec![own()]),
        (vec![grant("/x/", "", Access::ReadWrite)], vec![own(), Step::RevokeRange(range("/x/", ""))]),
        (vec![grant("\0", "\0", Access::Read), right()], vec![Step::RevokeRange(range("\0", "\0"))]),
    ];
    for (grants, steps) in cases {
        let observed = Observed { role: Some(grants.into_iter().collect()), ..settled() };
        assert_eq!(ensured(&observed), steps, "{observed:?}");
    }
}

#[test]
fn other_roles_are_taken_from_a_marked_user() {
    let observed =
        Observed { user: Some(["root".to_owned(), "x".to_owned(), "y".to_owned()].into()), ..settled() };
    assert_eq!(ensured(&observed), [Step::RevokeRole("root".to_owned()), Step::RevokeRole("y".to_owned())]);
}

fn foreign_schema(owner: Option<&str>) -> Foreign {
    let owner = owner.map(|owner| Owner::parse(owner).expect("plain"));
    Foreign::Schema { schema: Schema::parse("x").expect("plain"), owner }
}

fn foreign_user(owner: Option<&str>) -> Foreign {
    let owner = owner.map(|owner| Owner::parse(owner).expect("plain"));
    Foreign::User { user: User::parse("u").expect("plain"), owner }
}

fn unmarked_user() -> Foreign {
    Foreign::UnmarkedUser(User::parse("u").expect("plain"))
}

fn unmarked_role() -> Foreign {
    Foreign::UnmarkedRole(Schema::parse("x").expect("plain"))
}

#[test]
fn what_bears_another_mark_is_refused() {
    let unreadable = || Mark::Unreadable { revision: 3 };
    let schema = |schema_mark| Observed { schema_mark, ..settled() };
    let user = |user_mark| Observed { user_mark, ..Observed::default() };
    let cases = [
        (schema(held("other", "u")), foreign_schema(Some("other"))),
        (schema(held("uid", "v")), foreign_schema(Some("uid"))),
        (schema(unreadable()), foreign_schema(None)),
        (user(held("other", "x")), foreign_user(Some("other"))),
        (user(held("uid", "y")), foreign_user(Some("uid"))),
        (user(unreadable()), foreign_user(None)),
    ];
    for (observed, foreign) in cases {
        for standing in [Standing::Claimed, Standing::Recorded] {
            assert_eq!(ensure(&account(standing), &observed), Err(foreign.clone()), "{observed:?}");
        }
    }
}

#[test]
fn what_bears_no_mark_is_refused() {
    let keys = Foreign::UnmarkedKeys(Schema::parse("x").expect("plain"));
    let cases = [
        (Observed { user: Some([].into()), ..Observed::default() }, unmarked_user()),
        (Observed { role: Some([].into()), ..Observed::default() }, unmarked_role()),
        (Observed { has_keys: true, ..Observed::default() }, keys),
        (Observed { user_mark: Mark::Absent, ..settled() }, unmarked_user()),
        (unmarked(), unmarked_role()),
    ];
    for (observed, foreign) in cases {
        assert_eq!(ensure(&account(Standing::Claimed), &observed), Err(foreign), "{observed:?}");
    }
}

#[test]
fn a_recorded_account_is_marked_as_it_is() {
    assert_eq!(ensure(&account(Standing::Recorded), &unmarked()), Ok(vec![CLAIM]));
}

#[test]
fn a_recorded_account_with_the_range_of_earlier_versions_is_narrowed() {
    let observed = Observed { role: Some([grant("/x", "/y", Access::ReadWrite)].into()), ..unmarked() };
    assert_eq!(
        ensure(&account(Standing::Recorded), &observed),
        Ok(vec![CLAIM, Step::Grant(right()), Step::RevokeRange(range("/x", "/y"))])
    );
}

#[test]
fn a_recorded_account_never_takes_over_what_does_not_fit() {
    let administrator = Observed { user: Some(["root".to_owned()].into()), ..unmarked() };
    let elsewhere = [right(), grant("/w/", "/w0", Access::Read)];
    let beyond = Observed { role: Some(elsewhere.into()), ..unmarked() };
    for (observed, foreign) in [(administrator, unmarked_user()), (beyond, unmarked_role())] {
        assert_eq!(ensure(&account(Standing::Recorded), &observed), Err(foreign), "{observed:?}");
    }
}

#[test]
fn a_marked_account_is_removed_whole_marks_last() {
    for standing in [Standing::Claimed, Standing::Recorded] {
        assert_eq!(
            remove(&account(standing), &settled()),
            [
                Step::DeleteUser,
                Step::DeleteRole,
                Step::DeleteKeys { mark: 7 },
                Step::Release { schema: Some(7), user: Some(7) },
            ]
        );
    }
}

#[test]
fn nothing_is_removed_where_nothing_is() {
    for standing in [Standing::Claimed, Standing::Recorded] {
        assert_eq!(remove(&account(standing), &Observed::default()), []);
        assert!(!leaves_something(&account(standing), &Observed::default()));
    }
}

#[test]
fn a_recorded_account_is_removed_without_marks_too() {
    assert_eq!(
        remove(&account(Standing::Recorded), &unmarked()),
        [Step::DeleteUser, Step::DeleteRole, Step::DeleteKeys { mark: 0 }]
    );
}

#[test]
fn removing_never_touches_what_is_not_ours() {
    let foreign_schema = Observed { schema_mark: held("other", "v"), ..settled() };
    let unfit = Observed { user: Some(["root".to_owned()].into()), ..unmarked() };
    let cases = [
        (Standing::Claimed, unmarked(), vec![]),
        (
            Standing::Recorded,
            Observed {
                user_mark: Mark::Absent,
                user: Some(["root".to_owned()].into()),
                ..foreign_schema.clone()
            },
            vec![],
        ),
        (
            Standing::Claimed,
            foreign_schema,
            vec![Step::DeleteUser, Step::Release { schema: None, user: Some(7) }],
        ),
        (Standing::Recorded, unfit, vec![Step::DeleteRole, Step::DeleteKeys { mark: 0 }]),
        (
            Standing::Claimed,
            Observed { user_mark: held("other", "x"), ..settled() },
            vec![
                Step::DeleteRole,
                Step::DeleteKeys { mark: 7 },
                Step::Release { schema: Some(7), user: None },
            ],
        ),
    ];
    for (standing, observed, steps) in cases {
        assert_eq!(remove(&account(standing), &observed), steps, "{observed:?}");
        assert!(leaves_something(&account(standing), &observed), "{observed:?}");
    }
}

/// What a statement makes of what there is, as etcd does it.
fn done(step: &Step, observed: &Observed) -> Observed {
    let mut after = observed.clone();
    match step {
        Step::Claim { .. } => (after.schema_mark, after.user_mark) = (held("uid", "u"), held("uid", "x")),
        Step::AddUser => after.user = Some(BTreeSet::new()),
        Step::DeleteUser => after.user = None,
        Step::AddRole => after.role = Some(BTreeSet::new()),
        Step::DeleteRole => {
            after.role = None;
            after.user.iter_mut().for_each(|roles| roles.retain(|role| role != "x"));
        }
        Step::Grant(given) => after.role.iter_mut().for_each(|grants| {
            grants.retain(|grant| grant.range != given.range);
            grants.insert(given.clone());
        }),
        Step::RevokeRange(range) => {
            after.role.iter_mut().for_each(|grants| grants.retain(|grant| grant.range != *range));
        }
        Step::GrantRole => after.user.iter_mut().for_each(|roles| roles.extend(["x".to_owned()])),
        Step::RevokeRole(role) => after.user.iter_mut().for_each(|roles| roles.retain(|other| other != role)),
        Step::DeleteKeys { .. } => after.has_keys = false,
        Step::Release { schema, user } => {
            if schema.is_some() {
                after.schema_mark = Mark::Absent;
            }
            if user.is_some() {
                after.user_mark = Mark::Absent;
            }
        }
    }
    after
}

/// Every combination of what may be seen of each part.
fn every_state() -> Vec<Observed> {
    let marks = |other: &str| {
        [
            Mark::Absent,
            held("uid", other),
            held("uid", "?"),
            held("other", other),
            Mark::Unreadable { revision: 3 },
        ]
    };
    let users = [None, Some(vec![]), Some(vec!["x"]), Some(vec!["root"]), Some(vec!["root", "x"])];
    let open = || grant("/x", "/y", Access::ReadWrite);
    let roles = [
        None,
        Some(vec![]),
        Some(vec![right()]),
        Some(vec![grant("/x/", "/x0", Access::Read)]),
        Some(vec![open()]),
        Some(vec![open(), right(), grant("\0", "\0", Access::Read)]),
    ];
    let mut states = Vec::new();
    for (schema_mark, user_mark) in marks("u").iter().flat_map(|a| marks("x").map(|b| (a.clone(), b))) {
        for (user, role) in users.iter().flat_map(|user| roles.iter().map(move |role| (user, role))) {
            for has_keys in [false, true] {
                states.push(Observed {
                    schema_mark: schema_mark.clone(),
                    user_mark: user_mark.clone(),
                    user: user.as_ref().map(|roles| roles.iter().map(ToString::to_string).collect()),
                    role: role.as_ref().map(|grants| grants.iter().cloned().collect()),
                    has_keys,
                    ..Observed::default()
                });
            }
        }
    }
    states
}

#[test]
fn from_every_state_ensure_settles_or_refuses_and_each_step_leads_on() {
    for (state, standing) in
        every_state().into_iter().flat_map(|s| [(s.clone(), Standing::Claimed), (s, Standing::Recorded)])
    {
        let account = account(standing);
        let Ok(mut steps) = ensure(&account, &state) else {
            continue;
        };
        let mut now = state.clone();
        while let Some(step) = steps.first() {
            now = done(step, &now);
            let next = ensure(&account, &now).expect("what was begun is never foreign afterwards");
            assert_eq!(next.len() + 1, steps.len(), "from {state:?} by {step:?}");
            steps = next;
        }
        assert_eq!(Observed { has_keys: true, ..now }, settled(), "from {state:?}");
    }
}

#[test]
fn from_every_state_remove_ends_and_leaves_what_is_not_ours_as_it_was() {
    for (state, standing) in
        every_state().into_iter().flat_map(|s| [(s.clone(), Standing::Claimed), (s, Standing::Recorded)])
    {
        let account = account(standing);
        let left_alone = leaves_something(&account, &state);
        let mut now = state.clone();
        for round in 0.. {
            let Some(step) = remove(&account, &now).into_iter().next() else {
                break;
            };
            assert!(round < 8, "no end from {state:?}");
            now = done(&step, &now);
        }
        assert_eq!(now == Observed::default(), !left_alone, "from {state:?} to {now:?}");
        let ensurable = ensure(&account, &state).is_ok();
        assert!(!ensurable || now == Observed::default(), "what ensure would own, remove leaves: {state:?}");
    }
}

fn sealed_account(seal: Seal) -> Account {
    Account { seal, ..account(Standing::Claimed) }
}

fn keys() -> Vec<String> {
    vec!["policies/a".to_owned(), "bindings/a".to_owned()]
}

/// Whether the role lets its holder write this key.
fn may_write(observed: &Observed, key: &str) -> bool {
    let covers = |grant: &Grant| {
        grant.access != Access::Read
            && *grant.range.start <= *key.as_bytes()
            && *key.as_bytes() < *grant.range.end
    };
    observed.role.iter().flatten().any(covers)
}

#[test]
fn sealed_keys_are_read_only_and_all_others_stay_writable_on_the_way_there_and_back() {
    let unsealed =
        ["/x/a", "/x/bindings/a/b", "/x/bindings/aa", "/x/pods/default/a", "/x/policies/", "/x/zzz"];
    let mut state = settled();
    for (seal, is_sealed) in [(Seal::Closed(keys()), true), (Seal::Open, false)] {
        let account = sealed_account(seal);
        loop {
            let steps = ensure(&account, &state).expect("nothing foreign");
            let Some(step) = steps.first() else { break };
            state = done(step, &state);
            assert!(unsealed.iter().all(|key| may_write(&state, key)), "{step:?}");
        }
        for key in ["/x/policies/a", "/x/bindings/a"] {
            assert_eq!(may_write(&state, key), !is_sealed, "{key}");
        }
        let all = Range { start: b"/x/".to_vec(), end: b"/x0".to_vec() };
        assert!(state.role.iter().flatten().any(|grant| grant.range == all), "everything may be read");
    }
    assert_eq!(state, settled());
}

#[test]
fn who_does_not_know_yet_leaves_a_seal_as_it_is() {
    let mut state = settled();
    let undecided = sealed_account(Seal::AsFound(keys()));
    assert_eq!(ensure(&undecided, &state), Ok(vec![]));
    while let Some(step) =
        ensure(&sealed_account(Seal::Closed(keys())), &state).expect("nothing foreign").first()
    {
        state = done(step, &state);
    }
    assert_eq!(ensure(&undecided, &state), Ok(vec![]));
    // Another seal is none of ours: it is opened.
    let others = sealed_account(Seal::AsFound(vec!["pods/".to_owned()]));
    assert!(!ensure(&others, &state).expect("nothing foreign").is_empty());
}
