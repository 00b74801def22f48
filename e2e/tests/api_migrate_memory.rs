//! The memory of a migration does not grow with the data. It is the only test of its process, whose peak the kernel tells.

#[path = "api_migrate/server.rs"]
#[allow(dead_code, reason = "the other tests need more of it")]
mod server;

use std::fs;

use anyhow::{Context, Result, ensure};
use kamaji_datastore::{
    account::{Account, Credential, Owner, Password, Schema, Seal, Standing, User},
    migrate::{Migration, Next, Progress, Servers, Token},
};

use server::{Kind, Server};

/// How many values of 512 KiB a tenant has.
const VALUES: i32 = 256;
/// How much more than before the process may take, in KiB: a quarter of what is moved.
const BOUND: u64 = 32 * 1024;

/// What the kernel says of this process, in KiB.
fn memory(what: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(what)).context("every process has memory")?;
    Ok(line.split_whitespace().nth(1).context("a number follows")?.parse()?)
}

fn account(kind: Kind) -> Result<Account> {
    let password = Password::parse("only-for-a-test".to_owned())?;
    Ok(Account {
        schema: Schema::parse("big")?,
        user: User::parse("big-user")?,
        owner: Owner::parse("uid-of-big")?,
        standing: Standing::Claimed,
        seal: Seal::Open,
        credential: if kind == Kind::Etcd { Credential::Certificate } else { Credential::Password(password) },
    })
}

/// Moves the tenant; returns how many bytes were copied.
async fn migrate(from: &Server, to: &Server, token: &str) -> Result<u64> {
    let (source, target) = (account(from.kind())?, account(to.kind())?);
    let migration = Migration::new(from.home(&source)?, to.home(&target)?, Token::parse(token)?)?;
    let mut most = 0;
    let mut watch = |progress: Progress| most = progress.bytes.max(most);
    ensure!(migration.run(Servers::Running, &mut watch).await? == Next::StopServers, "not fenced");
    ensure!(migration.run(Servers::Gone, &mut watch).await? == Next::Done, "not done");
    migration.drop_source().await?;
    Ok(most)
}

#[tokio::test]
async fn memory_is_that_of_a_few_pages() -> Result<()> {
    let (first, second) = (Server::start(Kind::Postgres).await?, Server::start(Kind::Postgres).await?);
    let (third, fourth) = (Server::start(Kind::Etcd).await?, Server::start(Kind::Etcd).await?);
    let (fifth, sixth) = (Server::start(Kind::MySql).await?, Server::start(Kind::MySql).await?);
    let source = account(Kind::Postgres)?;
    first.store()?.ensure(&source).await?;
    first.session(&source).await?.fill_kine(VALUES).await?;
    // The first connections, and all that is made once.
    first.store()?.check().await?;
    third.store()?.check().await?;
    fifth.store()?.check().await?;
    let before = memory("VmRSS:")?;
    // The peak begins anew.
    fs::write("/proc/self/clear_refs", "5")?;
    for (from, to, token) in [
        (&first, &fifth, "to-mysql"),
        (&fifth, &sixth, "rows-of-mysql"),
        (&sixth, &second, "from-mysql"),
        (&second, &third, "to-keys"),
        (&third, &fourth, "keys"),
        (&fourth, &first, "to-rows"),
    ] {
        let bytes = migrate(from, to, token).await?;
        assert!(bytes > u64::try_from(VALUES)? * 512 * 1024, "{token}: {bytes} bytes");
        let peak = memory("VmHWM:")?;
        assert!(peak - before < BOUND, "{token}: {before} KiB before, {peak} KiB at most");
    }
    Ok(())
}
