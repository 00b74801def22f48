//! An operator may die at any moment, and the connection with it; the next one goes on from there.

use anyhow::Result;
use kamaji_datastore::{
    account::Account,
    config::{Endpoint, Settings},
    store::Store,
};
use kamaji_e2e::{
    crash::{Scene, Verb, between_statements, sweep},
    etcd::{
        Etcd,
        proxy::{Aftermath, Moment},
    },
};

use super::{account, assert_complete, assert_gone};

struct Server(Etcd);

impl Scene for Server {
    async fn start() -> Result<Self> {
        Etcd::start().await.map(Self)
    }

    fn endpoint(&self) -> &Endpoint {
        self.0.endpoint()
    }

    fn account(&self) -> Account {
        account("swept", "swept-user")
    }

    fn operator(&self, endpoint: &Endpoint) -> Result<Store> {
        let endpoints = vec![endpoint.clone()];
        Ok(Store::etcd(Settings { endpoints, ..self.0.settings() })?)
    }

    async fn fill(&self, account: &Account) -> Result<()> {
        let mut tenant = self.0.client(account.user.as_str()).await?;
        tenant.put(format!("/{}/a", account.schema), "1", None).await?;
        Ok(())
    }

    async fn assert_complete(&self, account: &Account) -> Result<()> {
        let mut root = self.0.root().await?;
        root.delete(format!("/{}/a", account.schema), None).await?;
        assert_complete(&mut root, account).await
    }

    async fn assert_gone(&self, account: &Account) -> Result<()> {
        assert_gone(&mut self.0.root().await?, account).await
    }
}

#[tokio::test]
async fn it_may_die_between_every_two_statements() -> Result<()> {
    assert_eq!(between_statements::<Server>().await?, (6, 5));
    Ok(())
}

#[tokio::test]
async fn its_connection_may_be_cut_before_every_message_of_ensure() -> Result<()> {
    let messages = sweep::<Server>(Verb::Ensure, Moment::Before, Aftermath::Dead).await?;
    assert!(messages > 10, "{messages} messages for five statements");
    Ok(())
}

#[tokio::test]
async fn its_connection_may_be_cut_after_every_message_of_ensure() -> Result<()> {
    sweep::<Server>(Verb::Ensure, Moment::After, Aftermath::Dead).await.map(drop)
}

#[tokio::test]
async fn its_connection_may_be_cut_before_every_message_of_remove() -> Result<()> {
    sweep::<Server>(Verb::Remove, Moment::Before, Aftermath::Dead).await.map(drop)
}

kamaji_e2e::test_losses!(Server);
