//! What the driver alone takes.

use std::time::{Duration, Instant};

use anyhow::Result;
use kamaji_api::v1alpha1::Driver;
use kamaji_datastore::account::{Account, Credential, Owner, Password, Schema, Seal, Standing, User};
use kamaji_e2e::database::Database;

/// The password of every tenant.
pub(crate) const PASSWORD: &str = "only-for-a-measurement";

/// How long each took.
pub(crate) struct Times {
    pub(crate) ensure: Vec<Duration>,
    pub(crate) remove: Vec<Duration>,
}

/// So many accounts are made and removed over one connection.
pub(crate) async fn measure<D: Database>(database: &D, count: usize) -> Result<Times> {
    let store = D::OPEN(database.settings())?;
    store.initialise().await?;
    store.check().await?;
    let mut times = Times { ensure: Vec::new(), remove: Vec::new() };
    for number in 0..count {
        let account = account(D::DRIVER, &format!("bench_{number}"))?;
        let start = Instant::now();
        store.ensure(&account).await?;
        times.ensure.push(start.elapsed());
        let start = Instant::now();
        store.remove(&account).await?;
        times.remove.push(start.elapsed());
    }
    Ok(times)
}

/// The account of this name in a store of this kind.
pub(crate) fn account(driver: Driver, name: &str) -> Result<Account> {
    Ok(Account {
        schema: Schema::parse(name)?,
        user: User::parse(name)?,
        owner: Owner::parse(&format!("uid-of-{name}"))?,
        standing: Standing::Claimed,
        seal: Seal::Open,
        credential: match driver {
            Driver::Etcd | Driver::Nats => Credential::Certificate,
            Driver::MySql | Driver::PostgreSql => Credential::Password(Password::parse(PASSWORD.to_owned())?),
        },
    })
}
