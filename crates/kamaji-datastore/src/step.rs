//! One step towards what an account should be: look, decide, make one statement.

use std::fmt::Debug;
use std::future::Future;

use crate::account::{self, Account};
use crate::connection::Failure;
use crate::error::{Error, Foreign};
use crate::store::{Change, Residue};

/// How often a statement whose outcome is unknown, or in which another was faster, leads to a new look.
const LOOKS: usize = 8;

/// What an account should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// It exists, and reaches its own data and nothing else.
    Ensured,
    /// Nothing of it is left.
    Removed,
}

/// How one kind of datastore looks, decides and makes statements.
pub(crate) trait Driver: Sync {
    /// What there is under the names of an account.
    type Observed: Debug + Send + Sync;
    /// One statement.
    type Step: Send + Sync;

    /// The longest name that a new user should have here, in bytes.
    fn longest_user(&self) -> usize {
        account::LONGEST_USER
    }

    /// Nothing, if the account's names can be names here.
    fn fits(account: &Account) -> Result<(), Error>;

    /// What may have been made for the account.
    fn footprint(&self, account: &Account) -> Residue;

    /// What there is, as of a moment during this call.
    fn observe(
        &self,
        account: &Account,
        aim: Aim,
    ) -> impl Future<Output = Result<Self::Observed, Failure>> + Send;

    /// Whether the account is on its way from or to another datastore, or has left. Never, for a driver that takes no part in
    /// migrations.
    fn is_moving(_: &Self::Observed) -> bool {
        false
    }

    /// What must be done, in order, until the account is ensured; or what bears its names and is not the account's.
    fn ensure(account: &Account, observed: &Self::Observed) -> Result<Vec<Self::Step>, Foreign>;

    /// What must be done, in order, until nothing of the account is left.
    fn remove(account: &Account, observed: &Self::Observed) -> Vec<Self::Step>;

    /// Whether anything that bears the account's names is left alone by [`remove`](Self::remove).
    fn leaves_something(account: &Account, observed: &Self::Observed) -> bool;

    /// The statement was made.
    fn make(
        &self,
        account: &Account,
        step: &Self::Step,
    ) -> impl Future<Output = Result<Change, Failure>> + Send;
}

/// Observes, decides, makes the first statement of the decision, and says which one it was.
pub(crate) async fn towards<D: Driver>(
    driver: &D,
    account: &Account,
    aim: Aim,
) -> Result<Option<Change>, Error> {
    match (D::fits(account), aim) {
        (Err(error), Aim::Ensured) => return Err(error),
        // What can have no such name was never made.
        (Err(_), Aim::Removed) => return Ok(None),
        (Ok(()), _) => {}
    }
    let mut looks = 0;
    loop {
        looks += 1;
        match once(driver, account, aim).await {
            Ok(change) => return Ok(change),
            Err(failure) if failure.refusal.is_settled_by_another_look() && looks < LOOKS => {
                tracing::debug!(error = %failure.error, "looking again");
            }
            Err(failure) => return Err(failure.error),
        }
    }
}

async fn once<D: Driver>(driver: &D, account: &Account, aim: Aim) -> Result<Option<Change>, Failure> {
    let observed = driver.observe(account, aim).await?;
    let Some(step) = decide::<D>(account, &observed, aim)?.into_iter().next() else { return Ok(None) };
    let change = driver.make(account, &step).await.inspect_err(|_| tracing::debug!(?observed, "in vain"))?;
    let (schema, user) = (account.schema.as_str(), account.user.as_str());
    tracing::info!(schema, user, change = ?change, "changed the account");
    Ok(Some(change))
}

fn decide<D: Driver>(account: &Account, observed: &D::Observed, aim: Aim) -> Result<Vec<D::Step>, Error> {
    if aim == Aim::Ensured {
        if D::is_moving(observed) {
            return Err(Error::Moving { schema: account.schema.clone() });
        }
        return D::ensure(account, observed).map_err(|what| Error::Foreign { what });
    }
    let steps = D::remove(account, observed);
    if steps.is_empty() && D::leaves_something(account, observed) {
        let (schema, user) = (account.schema.as_str(), account.user.as_str());
        tracing::warn!(schema, user, owner = account.owner.as_str(), "left what is another's");
    }
    Ok(steps)
}
