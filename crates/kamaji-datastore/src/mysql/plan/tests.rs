use super::*;
use crate::account::{Credential, Owner, Password, Schema, Seal, User};
use crate::mysql::mark::Row;

fn account(standing: Standing) -> Account {
    Account {
        schema: Schema::parse("a_b").expect("plain"),
        user: User::parse("u").expect("plain"),
        owner: Owner::parse("uid").expect("plain"),
        standing,
        seal: Seal::Open,
        credential: Credential::Password(Password::parse("secret".to_owned()).expect("printable")),
    }
}

fn row(schema: &str, user: &str, owner: &str) -> Mark {
    Mark::Held(Row { schema: schema.to_owned(), user: user.to_owned(), owner: owner.to_owned() })
}

fn complete() -> Observed {
    let account = account(Standing::Claimed);
    Observed {
        ledger: Ledger::Present,
        schema_mark: row("a_b", "u", "uid"),
        user_mark: row("a_b", "u", "uid"),
        user: Some(FoundUser {
            login: Login::AsWanted,
            door: Door::Open,
            grants: wanted(&account),
            sessions: Sessions::None,
        }),
        database: Database::Present,
        migration: Migration::None,
    }
}

fn with_user(change: impl Fn(&mut FoundUser)) -> Observed {
    let mut observed = complete();
    observed.user.iter_mut().for_each(change);
    observed
}

/// Carries out a step, as the server would.
fn act(account: &Account, step: &Step, observed: &mut Observed) {
    let mark = row(account.schema.as_str(), account.user.as_str(), account.owner.as_str());
    match step {
        Step::AddLedger => observed.ledger = Ledger::Present,
        Step::Claim => (observed.schema_mark, observed.user_mark) = (mark.clone(), mark),
        Step::Release => (observed.schema_mark, observed.user_mark) = (Mark::Absent, Mark::Absent),
        Step::AddDatabase => observed.database = Database::Present,
        Step::DropDatabase => observed.database = Database::Absent,
        Step::DropUser => observed.user = None,
        Step::AddUser => {
            observed.user = Some(FoundUser {
                login: Login::AsWanted,
                door: Door::Open,
                grants: BTreeSet::new(),
                sessions: Sessions::None,
            });
        }
        _ => observed.user.iter_mut().for_each(|user| match step {
            Step::SetPassword => user.login = Login::AsWanted,
            Step::Unlock => user.door = Door::Open,
            Step::Lock => user.door = Door::Locked,
            Step::EndSessions => user.sessions = Sessions::None,
            Step::Curb => user.grants.retain(|grant| matches!(grant, Grant::Role { .. })),
            Step::Grant => user.grants.extend(wanted(account)),
            Step::RevokeRole { name, host } => {
                user.grants.remove(&Grant::Role { name: name.clone(), host: host.clone() });
            }
            other => unreachable!("{other:?} is no user's"),
        }),
    }
}

/// Everything that can be found of an account without others' marks.
fn all_states() -> Vec<Observed> {
    let account = account(Standing::Claimed);
    let surplus = [
        Grant::Beyond("SELECT".to_owned()),
        Grant::Role { name: "r".to_owned(), host: String::new() },
        Grant::Databases { pattern: "a_b".to_owned(), privilege: "SELECT".to_owned() },
    ];
    let mut grants = vec![BTreeSet::new(), wanted(&account)];
    grants.extend(surplus.map(|one| wanted(&account).into_iter().chain([one]).collect()));
    let mut users = vec![None];
    for login in [Login::AsWanted, Login::Other] {
        for door in [Door::Open, Door::Locked] {
            for sessions in [Sessions::None, Sessions::Some] {
                let user =
                    |grants: &BTreeSet<Grant>| FoundUser { login, door, sessions, grants: grants.clone() };
                users.extend(grants.iter().map(user).map(Some));
            }
        }
    }
    let mut states = Vec::new();
    for user in users {
        for database in [Database::Present, Database::Absent] {
            let mark = row("a_b", "u", "uid");
            states.push(Observed {
                ledger: Ledger::Present,
                schema_mark: mark.clone(),
                user_mark: mark,
                user: user.clone(),
                database,
                migration: Migration::None,
            });
        }
    }
    states.extend([Ledger::Present, Ledger::Absent].map(|ledger| Observed { ledger, ..Observed::default() }));
    states
}

/// Always the first step of what is decided, until nothing is.
fn run(
    account: &Account,
    mut observed: Observed,
    decide: impl Fn(&Account, &Observed) -> Vec<Step>,
) -> Observed {
    for _ in 0..20 {
        let Some(step) = decide(account, &observed).into_iter().next() else { return observed };
        act(account, &step, &mut observed);
    }
    panic!("no end: {observed:?}");
}

#[test]
fn from_every_state_either_verb_reaches_its_end() {
    let account = account(Standing::Claimed);
    let ensured = |account: &Account, observed: &Observed| ensure(account, observed).expect("ours");
    for state in all_states() {
        let mut end = run(&account, state.clone(), ensured);
        end.user.iter_mut().for_each(|user| user.sessions = Sessions::None);
        assert_eq!(end, complete(), "from {state:?}");
        let end = run(&account, state.clone(), remove);
        assert_eq!(end, Observed { ledger: state.ledger, ..Observed::default() }, "from {state:?}");
        assert!(!leaves_something(&account, &state));
    }
}

#[test]
fn an_account_is_made_claim_first_and_removed_claim_last() {
    let account = account(Standing::Claimed);
    assert_eq!(
        ensure(&account, &Observed::default()),
        Ok(vec![Step::AddLedger, Step::Claim, Step::AddUser, Step::AddDatabase, Step::Grant])
    );
    assert_eq!(ensure(&account, &complete()), Ok(vec![]));
    assert_eq!(
        remove(&account, &with_user(|user| user.sessions = Sessions::Some)),
        [Step::Lock, Step::EndSessions, Step::DropDatabase, Step::DropUser, Step::Release]
    );
    assert_eq!(remove(&account, &Observed::default()), []);
}

#[test]
fn what_anothers_mark_names_is_foreign() {
    let (schema, user) = (account(Standing::Claimed).schema, account(Standing::Claimed).user);
    let other = Owner::parse("other").expect("plain");
    let of_schema = |owner: Option<Owner>| Foreign::Schema { schema: schema.clone(), owner };
    let cases = [
        (row("a_b", "u", "other"), Mark::Absent, of_schema(Some(other.clone()))),
        // Of the same tenant, with another user; in other letters; of an owner that cannot be read.
        (row("a_b", "v", "uid"), Mark::Absent, of_schema(Owner::parse("uid").ok())),
        (row("A_B", "u", "uid"), Mark::Absent, of_schema(Owner::parse("uid").ok())),
        (row("a_b", "u", "not a uid"), Mark::Absent, of_schema(None)),
        (Mark::Absent, row("x", "u", "other"), Foreign::User { user, owner: Some(other) }),
    ];
    for standing in [Standing::Claimed, Standing::Recorded] {
        let account = account(standing);
        for (schema_mark, user_mark, foreign) in cases.clone() {
            let observed = Observed { schema_mark, user_mark, ..complete() };
            assert_eq!(ensure(&account, &observed), Err(foreign));
            assert_eq!(remove(&account, &observed), []);
            assert!(leaves_something(&account, &observed));
        }
    }
}

#[test]
fn what_bears_no_mark_is_taken_over_only_if_it_is_recorded_and_looks_like_a_tenants() {
    let unmarked =
        |observed: Observed| Observed { schema_mark: Mark::Absent, user_mark: Mark::Absent, ..observed };
    let (claimed, recorded) = (account(Standing::Claimed), account(Standing::Recorded));
    let user = Foreign::UnmarkedUser(claimed.user.clone());
    let database = Foreign::UnmarkedDatabase(claimed.schema.clone());
    assert_eq!(ensure(&claimed, &unmarked(complete())), Err(user.clone()));
    assert_eq!(ensure(&claimed, &unmarked(Observed { user: None, ..complete() })), Err(database));
    assert_eq!(ensure(&recorded, &unmarked(complete())), Ok(vec![Step::Claim]));
    // As it was granted before patterns were escaped.
    let pattern = |pattern: &str| {
        let grant = Grant::Databases { pattern: pattern.to_owned(), privilege: "SELECT".to_owned() };
        unmarked(with_user(|user| user.grants = BTreeSet::from([grant.clone()])))
    };
    assert_eq!(ensure(&recorded, &pattern("a_b")), Ok(vec![Step::Claim, Step::Curb, Step::Grant]));
    for beyond in [
        pattern("a%"),
        unmarked(with_user(|user| {
            user.grants.insert(Grant::Beyond("PROCESS".to_owned()));
        })),
        unmarked(with_user(|user| {
            user.grants.insert(Grant::Role { name: "r".to_owned(), host: String::new() });
        })),
    ] {
        assert_eq!(ensure(&recorded, &beyond), Err(user.clone()));
        assert_eq!(remove(&recorded, &beyond), []);
    }
}
