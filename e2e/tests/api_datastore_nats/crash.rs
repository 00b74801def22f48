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
    nats::Nats,
};

use super::{account, assert_complete, assert_gone, owner};

struct Server(Nats);

impl Scene for Server {
    async fn start() -> Result<Self> {
        Nats::start().await.map(Self)
    }

    fn endpoint(&self) -> &Endpoint {
        self.0.endpoint()
    }

    fn account(&self) -> Account {
        account("swept")
    }

    fn operator(&self, endpoint: &Endpoint) -> Result<Store> {
        let endpoints = vec![endpoint.clone()];
        Ok(Store::nats(Settings { endpoints, ..self.0.settings() })?)
    }

    async fn fill(&self, account: &Account) -> Result<()> {
        owner(&self.0).await?.put(&format!("$KV.{}.L8nZchjdPLL.tzCUBDXD", account.schema), "a").await
    }

    async fn assert_complete(&self, account: &Account) -> Result<()> {
        assert_complete(&owner(&self.0).await?, account).await
    }

    async fn assert_gone(&self, account: &Account) -> Result<()> {
        assert_gone(&owner(&self.0).await?, account).await
    }
}

#[tokio::test]
async fn it_may_die_between_every_two_statements() -> Result<()> {
    // The last one finds nothing to do.
    assert_eq!(between_statements::<Server>().await?, (3, 3));
    Ok(())
}

#[tokio::test]
async fn its_connection_may_be_cut_before_every_message_of_ensure() -> Result<()> {
    let messages = sweep::<Server>(Verb::Ensure, Moment::Before, Aftermath::Dead).await?;
    assert!(messages > 8, "{messages} messages for two statements");
    Ok(())
}

kamaji_e2e::test_losses!(Server);
