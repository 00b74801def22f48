//! Tenants' data goes between real datastores: nothing is lost, never two can be written, whatever is cut off.

mod crash;
mod hostile;
mod load;
mod pairs;
mod refused;
mod server;

use anyhow::{Result, ensure};
use kamaji_datastore::{
    account::{Account, Credential, Owner, Password, Schema, Seal, Standing, User},
    migrate::{Error, Home, Migration, Next, Progress, Servers, Token},
};

use server::{Amount, Kind, Server};

/// More steps and messages than any migration needs.
const ENOUGH: usize = 1_000;

/// etcd and PostgreSQL on both sides.
const PAIRS: [(Kind, Kind); 4] = [
    (Kind::Etcd, Kind::Etcd),
    (Kind::Postgres, Kind::Postgres),
    (Kind::Etcd, Kind::Postgres),
    (Kind::Postgres, Kind::Etcd),
];

/// MySQL on both sides.
const PAIRS_WITH_MYSQL: [(Kind, Kind); 5] = [
    (Kind::MySql, Kind::MySql),
    (Kind::MySql, Kind::Etcd),
    (Kind::Etcd, Kind::MySql),
    (Kind::MySql, Kind::Postgres),
    (Kind::Postgres, Kind::MySql),
];

/// Every kind as the source, and as the target.
const EACH: [(Kind, Kind); 4] = [
    (Kind::Etcd, Kind::Postgres),
    (Kind::Postgres, Kind::Etcd),
    (Kind::MySql, Kind::MySql),
    (Kind::Nats, Kind::Nats),
];

/// NATS on both sides. What a kine is started for takes its time, so few tests have them all.
const PAIRS_WITH_NATS: [(Kind, Kind); 3] =
    [(Kind::Nats, Kind::Nats), (Kind::Etcd, Kind::Nats), (Kind::Nats, Kind::Postgres)];

/// The account of a tenant in a datastore of this kind.
fn account(kind: Kind, tenant: &str) -> Account {
    let password = || Password::parse(format!("{tenant}-password")).expect("printable");
    Account {
        schema: Schema::parse(&format!("{tenant}_{}", kind.word())).expect("plain"),
        user: User::parse(&format!("{tenant}-{}", kind.word())).expect("plain"),
        owner: Owner::parse(&format!("uid-of-{tenant}")).expect("plain"),
        standing: Standing::Claimed,
        seal: Seal::Open,
        credential: if kind == Kind::Etcd {
            Credential::Certificate
        } else {
            Credential::Password(password())
        },
    }
}

/// Two datastores, and a tenant that goes from one to the other.
struct Lab {
    from: Server,
    to: Server,
    amount: Amount,
}

impl Lab {
    async fn start((from, to): (Kind, Kind)) -> Result<Self> {
        let (from, to) = tokio::try_join!(Server::start(from), Server::start(to))?;
        let is_plain = from.kind() == Kind::MySql || to.kind() == Kind::MySql;
        Ok(Self { from, to, amount: if is_plain { Amount::FewPlain } else { Amount::Few } })
    }

    fn source(&self, tenant: &str) -> Account {
        account(self.from.kind(), tenant)
    }

    fn target(&self, tenant: &str) -> Account {
        account(self.to.kind(), tenant)
    }

    /// A migration by someone who knows nothing but what the datastores say.
    fn migration(&self, tenant: &str, token: &str) -> Result<Migration> {
        Ok(Migration::new(self.leaving(tenant)?, self.entering(tenant)?, Token::parse(token)?)?)
    }

    fn leaving(&self, tenant: &str) -> Result<Home> {
        self.from.home(&self.source(tenant))
    }

    fn entering(&self, tenant: &str) -> Result<Home> {
        self.to.home(&self.target(tenant))
    }

    /// A tenant that uses the source.
    async fn settle(&self, tenant: &str) -> Result<()> {
        self.from.make_room().await?;
        self.to.make_room().await?;
        let account = self.source(tenant);
        self.from.store()?.ensure(&account).await?;
        self.from.fill(&account, self.amount).await
    }

    /// The tenant is where it was, can write there and nowhere else, and has all that it had.
    async fn assert_stayed(&self, tenant: &str) -> Result<()> {
        let (source, target) = (self.source(tenant), self.target(tenant));
        ensure!(self.from.takes_writes(&source).await?, "the source takes no writes");
        ensure!(!self.to.takes_writes(&target).await?, "the target takes writes");
        server::assert_filled(&self.from.contents(&source).await?, self.amount);
        Ok(())
    }

    /// The tenant is on the target, can write there and nowhere else, and has all that it had.
    async fn assert_moved(&self, tenant: &str) -> Result<()> {
        let (source, target) = (self.source(tenant), self.target(tenant));
        ensure!(!self.from.takes_writes(&source).await?, "the source takes writes");
        server::assert_filled(&self.to.contents(&target).await?, self.amount);
        ensure!(self.to.takes_writes(&target).await?, "the target takes no writes");
        Ok(())
    }
}

fn unwatched(_: Progress) {}

/// All steps, with the API servers stopped when they must be.
async fn finish(migration: &Migration) -> Result<(), Error> {
    let mut next = migration.run(Servers::Running, &mut unwatched).await?;
    if next == Next::StopServers {
        next = migration.run(Servers::Gone, &mut unwatched).await?;
    }
    assert_eq!(next, Next::Done);
    Ok(())
}

/// So many steps, if there are so many; says whether there were.
async fn advance(migration: &Migration, steps: usize) -> Result<bool, Error> {
    let mut servers = Servers::Running;
    let mut made = 0;
    while made < steps {
        match migration.step(servers, &mut unwatched).await? {
            Next::Done => return Ok(false),
            Next::StopServers => servers = Servers::Gone,
            Next::Step(_) => made += 1,
        }
    }
    Ok(true)
}
