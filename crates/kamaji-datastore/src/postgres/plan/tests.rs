use super::*;
use crate::account::{Owner, Password, Schema, Seal, User};
use crate::postgres::verifier::Verifier;

fn password(text: &str) -> Credential {
    Credential::Password(Password::parse(text.to_owned()).expect("printable"))
}

fn account(standing: Standing) -> Account {
    Account {
        schema: Schema::parse("x").expect("plain"),
        user: User::parse("u").expect("plain"),
        owner: Owner::parse("uid").expect("plain"),
        standing,
        seal: Seal::Open,
        credential: password("right"),
    }
}

fn held(owner: &str, counterpart: &str) -> Mark {
    let password = Some(Verifier::with_salt("right", [7; 16]).fingerprint());
    Mark::Held { owner: Owner::parse(owner).expect("plain"), counterpart: counterpart.to_owned(), password }
}

fn user() -> FoundUser {
    FoundUser {
        mark: held("uid", "x"),
        login: Login::Allowed,
        powers: BTreeSet::new(),
        roles: BTreeSet::new(),
        acting: Acting::Allowed,
        sessions: Sessions::None,
        comment: None,
    }
}

fn database() -> FoundDatabase {
    FoundDatabase {
        mark: held("uid", "u"),
        holder: Holder::User,
        kind: Kind::Plain,
        public: Public::Nothing,
        grants: Grants::Complete,
        door: Door::Open,
        table: Table::Settled,
    }
}

fn with(user: impl Into<Option<FoundUser>>, database: impl Into<Option<FoundDatabase>>) -> Observed {
    Observed { user: user.into(), database: database.into() }
}

/// As the Go operator leaves it.
fn unmarked() -> (FoundUser, FoundDatabase) {
    let user = FoundUser { mark: Mark::Absent, ..user() };
    (user, FoundDatabase { mark: Mark::Absent, public: Public::Something, ..database() })
}

/// As it is right after it was made.
fn fresh() -> FoundDatabase {
    FoundDatabase { mark: Mark::Absent, public: Public::Something, door: Door::Shut, ..database() }
}

fn ensured(observed: &Observed) -> Vec<Step> {
    ensure(&account(Standing::Claimed), observed).expect("nothing foreign")
}

const BOTH: [Standing; 2] = [Standing::Claimed, Standing::Recorded];

#[test]
fn a_new_account_has_its_role_first_and_its_database_opened_last() {
    for standing in BOTH {
        assert_eq!(
            ensure(&account(standing), &Observed::default()).expect("nothing foreign"),
            [Step::AddUser, Step::AddDatabase, Step::Confine, Step::MarkDatabase, Step::Open]
        );
    }
}

#[test]
fn an_account_that_is_as_it_should_be_is_left_alone() {
    for standing in BOTH {
        assert_eq!(ensure(&account(standing), &with(user(), database())), Ok(vec![]));
    }
}

#[test]
fn whatever_was_cut_off_is_gone_on_with() {
    assert_eq!(ensured(&with(user(), None)), database_steps(&account(Standing::Claimed), None));
    assert_eq!(ensured(&with(user(), fresh())), [Step::Confine, Step::MarkDatabase, Step::Open]);
    let confined = FoundDatabase { public: Public::Nothing, ..fresh() };
    assert_eq!(ensured(&with(user(), confined.clone())), [Step::MarkDatabase, Step::Open]);
    let marked = FoundDatabase { mark: held("uid", "u"), ..confined };
    assert_eq!(ensured(&with(user(), marked)), [Step::Open]);
    let locked = FoundUser { login: Login::Denied, ..user() };
    assert_eq!(ensured(&with(locked, database())), [Step::Admit]);
    let apart = FoundUser { acting: Acting::Denied, ..user() };
    assert_eq!(ensured(&with(apart, None))[..2], [Step::Join, Step::AddDatabase]);
}

#[test]
fn what_is_wrong_with_a_marked_account_is_mended() {
    let powers = BTreeSet::from([Power::Superuser, Power::CreateRole]);
    let mighty = FoundUser { powers: powers.clone(), roles: ["y".to_owned()].into(), ..user() };
    assert_eq!(ensured(&with(mighty, database())), [Step::Curb(powers), Step::RevokeRole("y".to_owned())]);
    let cases = [
        (FoundDatabase { public: Public::Something, ..database() }, Step::Confine),
        (FoundDatabase { grants: Grants::Missing, ..database() }, Step::Grant),
        (FoundDatabase { door: Door::Shut, ..database() }, Step::Open),
        (FoundDatabase { holder: Holder::Us, ..database() }, Step::OwnDatabase),
        (FoundDatabase { table: Table::Other, ..database() }, Step::OwnTable),
    ];
    for (found, step) in cases {
        assert_eq!(ensured(&with(user(), found)), [step]);
    }
}

#[test]
fn a_password_is_set_when_it_is_another() {
    let observed = with(user(), database());
    let of = |credential| Account { credential, ..account(Standing::Claimed) };
    assert_eq!(ensure(&of(password("new")), &observed), Ok(vec![Step::SetPassword]));
    assert_eq!(ensure(&of(Credential::Certificate), &observed), Ok(vec![Step::SetPassword]));
    let none = Mark::Held {
        owner: Owner::parse("uid").expect("plain"),
        counterpart: "x".to_owned(),
        password: None,
    };
    let observed = with(FoundUser { mark: none, ..user() }, database());
    assert_eq!(ensure(&of(password("right")), &observed), Ok(vec![Step::SetPassword]));
    assert_eq!(ensure(&of(Credential::Certificate), &observed), Ok(vec![]));
}

#[test]
fn a_comment_that_the_tenant_wrote_on_its_own_database_changes_nothing() {
    for mark in [Mark::Absent, Mark::Unreadable, held("other", "u"), held("uid", "other")] {
        let observed = with(user(), FoundDatabase { mark, ..database() });
        for standing in BOTH {
            assert_eq!(ensure(&account(standing), &observed), Ok(vec![Step::MarkDatabase]));
            assert_eq!(
                remove(&account(standing), &observed),
                [Step::Lock, Step::DropDatabase, Step::DropUser]
            );
        }
    }
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

fn unmarked_database() -> Foreign {
    Foreign::UnmarkedDatabase(Schema::parse("x").expect("plain"))
}

#[test]
fn what_bears_another_mark_is_refused_and_stays() {
    let elsewhere = |mark| FoundDatabase { mark, holder: Holder::Other, ..database() };
    let other = |mark| FoundUser { mark, ..user() };
    let cases = [
        (with(None, elsewhere(held("other", "v"))), foreign_schema(Some("other"))),
        (with(None, elsewhere(Mark::Unreadable)), foreign_schema(None)),
        (with(other(held("other", "y")), None), foreign_user(Some("other"))),
        (with(other(held("uid", "y")), None), foreign_user(Some("uid"))),
        (with(other(Mark::Unreadable), None), foreign_user(None)),
        // Whoever holds a database can write our mark on it, and fill it before we take it.
        (with(None, elsewhere(held("uid", "u"))), unmarked_database()),
    ];
    for (observed, foreign) in cases {
        for standing in BOTH {
            assert_eq!(ensure(&account(standing), &observed), Err(foreign.clone()), "{observed:?}");
            assert_eq!(remove(&account(standing), &observed), [], "{observed:?}");
            assert!(leaves_something(&account(standing), &observed));
        }
    }
}

#[test]
fn what_bears_no_mark_is_refused_and_stays() {
    let (bare_user, bare_database) = unmarked();
    let ours = FoundDatabase { holder: Holder::Us, ..bare_database.clone() };
    let elsewhere = FoundDatabase { holder: Holder::Other, ..bare_database.clone() };
    let cases = [
        (with(bare_user.clone(), None), unmarked_user()),
        (with(None, ours), unmarked_database()),
        (with(None, elsewhere), unmarked_database()),
        (with(bare_user, bare_database), unmarked_database()),
    ];
    for (observed, foreign) in cases {
        assert_eq!(ensure(&account(Standing::Claimed), &observed), Err(foreign), "{observed:?}");
        assert_eq!(remove(&account(Standing::Claimed), &observed), [], "{observed:?}");
    }
}

#[test]
fn a_recorded_account_is_marked_role_first() {
    let (bare_user, bare_database) = unmarked();
    assert_eq!(
        ensure(&account(Standing::Recorded), &with(bare_user.clone(), bare_database.clone())),
        Ok(vec![Step::MarkUser, Step::Confine, Step::MarkDatabase])
    );
    let ours = FoundDatabase { holder: Holder::Us, table: Table::Other, ..bare_database };
    assert_eq!(
        ensure(&account(Standing::Recorded), &with(bare_user, ours)),
        Ok(vec![Step::MarkUser, Step::OwnDatabase, Step::OwnTable, Step::Confine, Step::MarkDatabase])
    );
}

#[test]
fn a_recorded_account_never_takes_over_what_does_not_fit() {
    let (bare_user, bare_database) = unmarked();
    let recorded = account(Standing::Recorded);
    let mighty = FoundUser { powers: [Power::CreateRole].into(), ..bare_user.clone() };
    let member = FoundUser { roles: ["y".to_owned()].into(), ..bare_user.clone() };
    let template = FoundDatabase { kind: Kind::Template, holder: Holder::Us, ..bare_database.clone() };
    let elsewhere = FoundDatabase { holder: Holder::Other, ..bare_database.clone() };
    let marked = FoundDatabase { mark: held("other", "u"), ..bare_database };
    for (observed, foreign) in [
        (with(mighty, None), unmarked_user()),
        (with(member, None), unmarked_user()),
        (with(bare_user.clone(), template), unmarked_database()),
        (with(bare_user.clone(), elsewhere), unmarked_database()),
        (with(bare_user, marked), foreign_schema(Some("other"))),
    ] {
        assert_eq!(ensure(&recorded, &observed), Err(foreign), "{observed:?}");
    }
}

#[test]
fn an_account_is_removed_whole_role_last() {
    let busy = FoundUser { sessions: Sessions::Some, acting: Acting::Denied, ..user() };
    for standing in BOTH {
        assert_eq!(
            remove(&account(standing), &with(busy.clone(), database())),
            [Step::Lock, Step::Join, Step::EndSessions, Step::DropDatabase, Step::DropUser]
        );
        assert_eq!(remove(&account(standing), &Observed::default()), []);
        assert!(!leaves_something(&account(standing), &Observed::default()));
        let locked = FoundUser { login: Login::Denied, ..user() };
        assert_eq!(remove(&account(standing), &with(locked, None)), [Step::DropUser]);
    }
    let (bare_user, bare_database) = unmarked();
    assert_eq!(
        remove(&account(Standing::Recorded), &with(bare_user, bare_database)),
        [Step::Lock, Step::DropDatabase, Step::DropUser]
    );
}
