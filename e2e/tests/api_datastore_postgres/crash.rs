//! An operator may die at any moment, and the connection with it; the next one goes on from there.

use anyhow::Result;
use kamaji_datastore::{
    account::Account,
    config::{Endpoint, Settings},
    store::Store,
};
use kamaji_e2e::{
    crash::{Scene, Verb, between_statements, sweep},
    etcd::proxy::{Aftermath, Moment},
    postgres::Postgres,
};

use super::{account, assert_complete, assert_gone};

struct Server(Postgres);

impl Scene for Server {
    async fn start() -> Result<Self> {
        Postgres::start().await.map(Self)
    }

    fn endpoint(&self) -> &Endpoint {
        self.0.endpoint()
    }

    fn account(&self) -> Account {
        account("swept", "swept-user")
    }

    fn operator(&self, endpoint: &Endpoint) -> Result<Store> {
        let endpoints = vec![endpoint.clone()];
        Ok(Store::postgres(Settings { endpoints, ..self.0.settings() })?)
    }

    async fn fill(&self, account: &Account) -> Result<()> {
        // Not by the tenant's own session, which would have to be ended in some rounds and not in others.
        let inside = self.0.superuser(account.schema.as_str()).await?;
        Ok(inside.batch_execute("CREATE TABLE kine (name text); INSERT INTO kine VALUES ('a')").await?)
    }

    async fn assert_complete(&self, account: &Account) -> Result<()> {
        assert_complete(&self.0, &self.0.superuser("postgres").await?, account).await
    }

    async fn assert_gone(&self, account: &Account) -> Result<()> {
        assert_gone(&self.0.superuser("postgres").await?, account).await
    }
}

#[tokio::test]
async fn it_may_die_between_every_two_statements() -> Result<()> {
    assert_eq!(between_statements::<Server>().await?, (7, 4));
    Ok(())
}

#[tokio::test]
async fn its_connection_may_be_cut_before_every_message_of_ensure() -> Result<()> {
    let messages = sweep::<Server>(Verb::Ensure, Moment::Before, Aftermath::Dead).await?;
    assert!(messages > 10, "{messages} messages for five statements");
    Ok(())
}

kamaji_e2e::test_losses!(Server);
