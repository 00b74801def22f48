//! What comes next for a tenant whose data is to be in another DataStore, decided from what is known.

use std::time::Duration;

use jiff::Timestamp;
use kamaji_api::v1alpha1::{Driver, LeftStorageStatus, MigrationStatus};

use super::{Errand, Trouble};
use crate::memory::Claim;

/// How long nothing may be done while the tenant can write nowhere. With what giving up takes it is below a minute.
const SILENCE: Duration = Duration::from_secs(40);
/// How long what Pods tell is behind what the stores tell, at most.
const DELAY: Duration = Duration::from_secs(5);
/// How long the switch may take once the copy is complete: half a minute of it is what Kubernetes gives Pods to end.
const LINGERING: Duration = Duration::from_secs(50);

/// One try to move a tenant's data. It is written down before anything is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The tenant's place in the store that it goes to.
    pub claim: Claim,
    /// Names the try; both stores bear it. Once given up, it is spent.
    pub token: String,
    /// The generation of the spec that asked for it.
    pub generation: i64,
    /// When it began.
    pub started: Timestamp,
    /// Why it was given up, if it was.
    pub failure: Option<String>,
}

/// A place that the tenant has left, which takes no writes and is removed when its time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// The place.
    pub claim: Claim,
    /// Under which token it was left.
    pub token: String,
    /// Since when.
    pub since: Timestamp,
}

/// What to do about where the data is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// The data is where it should be.
    Rest,
    /// A new try is to be written down.
    Begin,
    /// This try goes on.
    Continue(Attempt),
    /// This try is to be ended, and the tenant to be let in where it was: it is to go elsewhere, or nowhere.
    TurnBack(Attempt),
    /// The last try was given up, and nobody has asked again.
    Failed(Attempt),
}

/// What to do about where the data is to be, given where it `is`, where the spec of this `generation` wants it, and what was
/// `tried` last.
pub fn course(is: &Claim, wanted: &str, generation: i64, tried: Option<&Attempt>) -> Course {
    let moves = is.data_store != wanted;
    match tried {
        None if moves => Course::Begin,
        None => Course::Rest,
        Some(attempt) if attempt.failure.is_none() => {
            let same = attempt.claim.data_store == wanted;
            if same { Course::Continue(attempt.clone()) } else { Course::TurnBack(attempt.clone()) }
        }
        Some(_) if !moves => Course::Rest,
        Some(attempt) if attempt.generation == generation && attempt.claim.data_store == wanted => {
            Course::Failed(attempt.clone())
        }
        Some(_) => Course::Begin,
    }
}

/// What the two stores say of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The tenant can still write where it is.
    Open,
    /// It can write nowhere, and its data is being copied.
    Fenced,
    /// Its data is copied and compared: once its API servers are gone, it can be switched.
    Ready,
    /// It is switched.
    Switched,
}

/// What is known of a try that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// How far the Job is.
    pub errand: Errand,
    /// What the stores say.
    pub hint: Hint,
    /// How many of the tenant's Pods are there, whatever their state.
    pub pods: usize,
    /// For how long the stores have shown no sign of anything being done.
    pub silence: Duration,
    /// What keeps the Job from its work, as far as its Pods tell.
    pub trouble: Option<Trouble>,
}

/// What to do for a try that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Move {
    /// The Job is to be made.
    Send,
    /// The tenant goes on as it is; a look later tells more.
    Wait,
    /// The tenant's Pods are to go, and to stay away.
    Stop,
    /// The switch is to be made: nobody is there who could notice.
    Switch,
    /// The tenant is on the target: that is to be written down.
    Arrive,
    /// The try is to be given up: why.
    GiveUp(String),
}

/// What to do for a try that goes on.
///
/// A Job that is gone is made again: what it did before, the stores tell it. A tenant that stands waits for no Job that has
/// failed again and again, nor long for one of which nothing is seen: before the fence there is time.
pub fn next(given: &Given) -> Move {
    if let Some(why) = loss(given) {
        return Move::GiveUp(why);
    }
    match (given.hint, &given.errand) {
        (Hint::Switched, _) => Move::Arrive,
        // Pods that never end would keep the tenant out for ever.
        (Hint::Ready, Errand::Failed(why)) if given.pods > 0 => Move::GiveUp(why.clone()),
        (Hint::Ready, _) if given.pods > 0 => Move::Stop,
        (Hint::Ready, _) => Move::Switch,
        (_, Errand::Failed(why)) => Move::GiveUp(why.clone()),
        (_, Errand::Absent) => Move::Send,
        (Hint::Fenced, _) => Move::Stop,
        (Hint::Open, Errand::Running | Errand::Complete) => Move::Wait,
    }
}

/// Why a tenant that stands is to be let in again where it was.
fn loss(Given { hint, pods, silence, trouble, .. }: &Given) -> Option<String> {
    match (hint, trouble) {
        (Hint::Fenced, Some(Trouble::Lasting(why))) if *silence > DELAY => Some(why.clone()),
        (Hint::Fenced, trouble) if *silence > SILENCE => {
            let why = trouble.as_ref().map(|trouble| format!(": {}", trouble.why())).unwrap_or_default();
            Some(format!("nothing was done for {SILENCE:?} while the tenant stood{why}"))
        }
        (Hint::Ready, _) if *silence > LINGERING => Some(match pods {
            0 => format!("the tenant could not be switched within {LINGERING:?}"),
            _ => format!(
                "{pods} of the tenant's Pods did not end within {LINGERING:?}: see why, or delete them"
            ),
        }),
        _ => None,
    }
}

impl Attempt {
    /// A new try to move what is at `from` to a DataStore of this name and kind. The names stay, where they may.
    ///
    /// MySQL takes no more than 32 characters for a user, which a UID has without its dashes.
    pub fn begin(
        from: &Claim,
        (data_store, driver): (&str, Driver),
        generation: i64,
        now: Timestamp,
    ) -> Self {
        let fits = driver != Driver::MySql || from.user.len() <= 32;
        Self {
            claim: Claim {
                data_store: data_store.to_owned(),
                driver,
                schema: from.schema.clone(),
                user: if fits { from.user.clone() } else { from.user.replace('-', "") },
            },
            token: format!("{generation}-{}", now.as_millisecond()),
            generation,
            started: now,
            failure: None,
        }
    }

    /// As the status keeps it.
    pub fn status(&self) -> MigrationStatus {
        MigrationStatus {
            data_store_name: self.claim.data_store.clone(),
            driver: Some(self.claim.driver),
            schema: self.claim.schema.clone(),
            user: self.claim.user.clone(),
            token: self.token.clone(),
            generation: self.generation,
            started: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.started)),
            failure: self.failure.clone(),
        }
    }

    /// What [`status`](Self::status) wrote.
    pub(crate) fn of(status: &MigrationStatus) -> Option<Self> {
        let claim = claim(&status.data_store_name, status.driver, (&status.schema, &status.user))?;
        (!status.token.is_empty()).then(|| Self {
            claim,
            token: status.token.clone(),
            generation: status.generation,
            started: status.started.as_ref().map(|time| time.0).unwrap_or_default(),
            failure: status.failure.clone(),
        })
    }
}

impl Retired {
    /// As the status keeps it.
    pub fn status(&self) -> LeftStorageStatus {
        LeftStorageStatus {
            data_store_name: self.claim.data_store.clone(),
            driver: Some(self.claim.driver),
            schema: self.claim.schema.clone(),
            user: self.claim.user.clone(),
            token: self.token.clone(),
            since: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.since)),
        }
    }

    pub(crate) fn of(status: &LeftStorageStatus) -> Option<Self> {
        let claim = claim(&status.data_store_name, status.driver, (&status.schema, &status.user))?;
        (!status.token.is_empty()).then(|| Self {
            claim,
            token: status.token.clone(),
            since: status.since.as_ref().map(|time| time.0).unwrap_or_default(),
        })
    }
}

fn claim(data_store: &str, driver: Option<Driver>, (schema, user): (&str, &str)) -> Option<Claim> {
    let named = [data_store, schema, user].iter().all(|name| !name.is_empty());
    named.then_some(Claim {
        data_store: data_store.to_owned(),
        driver: driver?,
        schema: schema.to_owned(),
        user: user.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(data_store: &str) -> Claim {
        Claim {
            data_store: data_store.into(),
            driver: Driver::Etcd,
            schema: "blue".into(),
            user: "blue".into(),
        }
    }

    fn attempt(to: &str, failure: Option<&str>) -> Attempt {
        Attempt {
            claim: claim(to),
            token: "try".into(),
            generation: 3,
            started: Timestamp::UNIX_EPOCH,
            failure: failure.map(str::to_owned),
        }
    }

    #[test]
    fn a_tenant_goes_where_its_spec_says_and_nowhere_else() {
        let (going, failed) = (attempt("b", None), attempt("b", Some("down")));
        for (wanted, generation, tried, expected) in [
            ("a", 3, None, Course::Rest),
            ("b", 3, None, Course::Begin),
            ("b", 3, Some(&going), Course::Continue(going.clone())),
            // Another change of the spec does not begin it anew.
            ("b", 4, Some(&going), Course::Continue(going.clone())),
            ("a", 4, Some(&going), Course::TurnBack(going.clone())),
            ("c", 4, Some(&going), Course::TurnBack(going.clone())),
            ("b", 3, Some(&failed), Course::Failed(failed.clone())),
            ("b", 4, Some(&failed), Course::Begin),
            ("c", 3, Some(&failed), Course::Begin),
            ("a", 4, Some(&failed), Course::Rest),
        ] {
            assert_eq!(
                course(&claim("a"), wanted, generation, tried),
                expected,
                "{wanted} {generation} {tried:?}"
            );
        }
    }

    #[test]
    fn nothing_is_switched_while_a_pod_is_there_and_nothing_given_up_that_is_ready() {
        let failed = || Errand::Failed("deadline".into());
        for (hint, errand, pods, expected) in [
            (Hint::Open, Errand::Absent, 2, Move::Send),
            (Hint::Open, Errand::Running, 2, Move::Wait),
            (Hint::Open, Errand::Complete, 2, Move::Wait),
            (Hint::Open, failed(), 2, Move::GiveUp("deadline".into())),
            (Hint::Fenced, Errand::Running, 2, Move::Stop),
            (Hint::Fenced, Errand::Running, 0, Move::Stop),
            (Hint::Fenced, Errand::Absent, 0, Move::Send),
            (Hint::Fenced, failed(), 0, Move::GiveUp("deadline".into())),
            (Hint::Ready, Errand::Complete, 1, Move::Stop),
            (Hint::Ready, failed(), 0, Move::Switch),
            (Hint::Ready, failed(), 1, Move::GiveUp("deadline".into())),
            (Hint::Ready, Errand::Complete, 0, Move::Switch),
            (Hint::Switched, failed(), 0, Move::Arrive),
            (Hint::Switched, Errand::Absent, 1, Move::Arrive),
        ] {
            let given = Given { errand, hint, pods, silence: Duration::ZERO, trouble: None };
            assert_eq!(next(&given), expected, "{given:?}");
        }
    }

    #[test]
    fn a_tenant_that_stands_waits_for_no_job_that_is_lost() {
        let passing = || Some(Trouble::Passing("no room".into()));
        let lasting = || Some(Trouble::Lasting("it fails".into()));
        let silent = || Move::GiveUp("nothing was done for 40s while the tenant stood".into());
        for (hint, pods, seconds, trouble, expected) in [
            // Before the fence there is time.
            (Hint::Open, 1, 90, lasting(), Move::Wait),
            (Hint::Fenced, 0, 40, passing(), Move::Stop),
            (Hint::Fenced, 0, 5, lasting(), Move::Stop),
            (Hint::Fenced, 0, 6, lasting(), Move::GiveUp("it fails".into())),
            (Hint::Fenced, 0, 41, None, silent()),
            (
                Hint::Fenced,
                0,
                41,
                passing(),
                Move::GiveUp("nothing was done for 40s while the tenant stood: no room".into()),
            ),
            // Its work is done.
            (Hint::Ready, 0, 50, lasting(), Move::Switch),
            (Hint::Ready, 0, 51, None, Move::GiveUp("the tenant could not be switched within 50s".into())),
            (Hint::Ready, 1, 50, lasting(), Move::Stop),
            (
                Hint::Ready,
                1,
                51,
                None,
                Move::GiveUp("1 of the tenant's Pods did not end within 50s: see why, or delete them".into()),
            ),
            (Hint::Switched, 1, 90, lasting(), Move::Arrive),
        ] {
            let silence = Duration::from_secs(seconds);
            let given = Given { errand: Errand::Running, hint, pods, silence, trouble };
            assert_eq!(next(&given), expected, "{given:?}");
        }
        let absent = Given {
            errand: Errand::Absent,
            hint: Hint::Fenced,
            pods: 0,
            silence: Duration::from_secs(41),
            trouble: None,
        };
        assert_eq!(next(&absent), silent());
    }

    #[test]
    fn a_try_keeps_the_names_that_the_target_can_have() {
        let from = Claim { user: "c2a1c9f0-0f5e-4f2c-8d4e-0a3b5a6f7e11".into(), ..claim("a") };
        let begin = |driver| Attempt::begin(&from, ("b", driver), 3, Timestamp::UNIX_EPOCH);
        let same = begin(Driver::PostgreSql).claim;
        assert_eq!((&same.schema, &same.user, same.data_store.as_str()), (&from.schema, &from.user, "b"));
        assert_eq!(begin(Driver::MySql).claim.user, "c2a1c9f00f5e4f2c8d4e0a3b5a6f7e11");
    }

    #[test]
    fn what_is_written_down_is_read_again() {
        for attempt in [attempt("b", None), attempt("b", Some("down"))] {
            assert_eq!(Attempt::of(&attempt.status()), Some(attempt));
        }
        let retired = Retired { claim: claim("a"), token: "try".into(), since: Timestamp::UNIX_EPOCH };
        assert_eq!(Retired::of(&retired.status()), Some(retired));
        assert_eq!(Attempt::of(&MigrationStatus::default()), None);
    }
}
