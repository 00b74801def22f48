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
    mariadb::MariaDb,
};
use mysql_async::prelude::Queryable;

use super::{account, assert_complete, assert_gone};

struct Server(MariaDb);

impl Scene for Server {
    async fn start() -> Result<Self> {
        MariaDb::start().await.map(Self)
    }

    fn endpoint(&self) -> &Endpoint {
        self.0.endpoint()
    }

    fn account(&self) -> Account {
        account("swept", "swept-user")
    }

    fn operator(&self, endpoint: &Endpoint) -> Result<Store> {
        let endpoints = vec![endpoint.clone()];
        Ok(Store::mysql(Settings { endpoints, ..self.0.settings() })?)
    }

    async fn fill(&self, account: &Account) -> Result<()> {
        // Not by the tenant's own session, which would have to be ended in some rounds and not in others.
        let mut root = self.0.superuser().await?;
        root.query_drop(format!("CREATE TABLE `{}`.kine (name text)", account.schema)).await?;
        Ok(root.disconnect().await?)
    }

    async fn assert_complete(&self, account: &Account) -> Result<()> {
        assert_complete(&self.0, account).await
    }

    async fn assert_gone(&self, account: &Account) -> Result<()> {
        assert_gone(&self.0, account).await
    }
}

/// The first account of a server makes the table of the marks too.
#[tokio::test]
async fn it_may_die_between_every_two_statements() -> Result<()> {
    assert_eq!(between_statements::<Server>().await?, (5, 5));
    Ok(())
}

/// Cut anywhere, and first of all while the table of the marks is made.
#[tokio::test]
async fn its_connection_may_be_cut_before_every_message_of_ensure() -> Result<()> {
    let messages = sweep::<Server>(Verb::Ensure, Moment::Before, Aftermath::Dead).await?;
    assert!(messages > 15, "{messages} messages for five statements");
    Ok(())
}

kamaji_e2e::test_losses!(Server);
