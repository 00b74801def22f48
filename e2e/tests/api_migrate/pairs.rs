//! Each kind to each kind: everything arrives, with greater revisions, and only one side can be written at any time.

use anyhow::Result;
use futures::future::try_join_all;
use kamaji_datastore::migrate::{Next, Servers, Step};
use mysql_async::prelude::Queryable;

use super::{
    Kind, Lab, PAIRS, PAIRS_WITH_MYSQL, PAIRS_WITH_NATS, finish,
    server::{Amount, LASTS, Server, bucket, mysql},
    unwatched,
};

#[tokio::test]
async fn everything_arrives_and_revisions_go_up() -> Result<()> {
    for pair in PAIRS.into_iter().chain(PAIRS_WITH_MYSQL).chain(PAIRS_WITH_NATS) {
        let lab = Lab::start(pair).await?;
        let amount = if lab.amount == Amount::Few { Amount::All } else { Amount::AllPlain };
        let lab = Lab { amount, ..lab };
        lab.settle("blue").await?;
        let (source, target) = (lab.source("blue"), lab.target("blue"));
        let before = lab.from.revision(&source).await?;
        let rows = if pair.0.has_rows() { lab.from.rows(&source).await? } else { Vec::new() };

        let migration = lab.migration("blue", "first")?;
        let next = migration.run(Servers::Running, &mut unwatched).await?;
        assert_eq!(next, Next::StopServers, "{pair:?}");
        assert!(!lab.from.takes_writes(&source).await? && !lab.to.takes_writes(&target).await?, "{pair:?}");
        assert_eq!(migration.run(Servers::Gone, &mut unwatched).await?, Next::Done, "{pair:?}");
        assert_eq!(migration.run(Servers::Running, &mut unwatched).await?, Next::Done, "again: {pair:?}");

        let after = lab.to.revision(&target).await?;
        if pair.0 == pair.1 && pair.0.has_rows() {
            assert_eq!(lab.to.rows(&target).await?, rows, "row by row");
            assert_eq!(after, before);
        } else if pair.0.has_rows() && pair.1.has_rows() {
            assert_eq!(after, before, "kine's rows keep their revisions");
        } else {
            assert!(after > before, "{pair:?}: {after} after {before}");
        }
        lab.assert_moved("blue").await?;
        assert_expiry(&lab).await?;
        migration.drop_source().await?;
        migration.drop_source().await?;
        let residue = lab.from.store()?.residue(&source).await?;
        assert!(residue.is_empty(), "{pair:?}: {residue}");
        assert_eq!(lab.to.store()?.ensure(&target).await?.changes, [], "{pair:?}: an account like any other");
    }
    Ok(())
}

/// What expires does so when it would have.
async fn assert_expiry(lab: &Lab) -> Result<()> {
    let target = lab.target("blue");
    let left = match &lab.to {
        Server::Etcd(etcd) => {
            let mut root = etcd.root().await?;
            let found = root.get(format!("/{}/events/kube-system/0", target.schema), None).await?;
            let lease = found.kvs().first().map_or(0, etcd_client::KeyValue::lease);
            root.lease_time_to_live(lease, None).await?.ttl()
        }
        Server::MySql(server) => {
            let lease = format!(
                "SELECT lease FROM `{}`.kine WHERE name = '/registry/events/kube-system/0' ORDER BY id DESC LIMIT 1",
                target.schema
            );
            mysql::one(server, &lease).await?
        }
        Server::Postgres(postgres) => {
            let root = postgres.superuser(target.schema.as_str()).await?;
            let lease = "SELECT lease FROM kine WHERE name = '/registry/events/kube-system/0' ORDER BY id DESC LIMIT 1";
            root.query_one(lease, &[]).await?.get::<_, i32>(0).into()
        }
        Server::Nats(nats) => Box::pin(bucket::lease(nats, &target, "events/kube-system/0")).await?,
    };
    assert!((LASTS - 120..=LASTS + 12).contains(&left), "{left} s left of {LASTS}");
    Ok(())
}

#[tokio::test]
async fn the_next_write_on_kine_in_mysql_follows_the_newest_row() -> Result<()> {
    for pair in [(Kind::MySql, Kind::MySql), (Kind::Etcd, Kind::MySql)] {
        let lab = Lab::start(pair).await?;
        lab.settle("blue").await?;
        let before = lab.from.revision(&lab.source("blue")).await?;
        finish(&lab.migration("blue", "first")?).await?;
        let target = lab.target("blue");
        let newest = lab.to.revision(&target).await?;
        let Server::MySql(server) = &lab.to else { unreachable!("as started") };
        let mut tenant = mysql::session(server, &target).await?;
        tenant.query_drop("INSERT INTO kine (name, prev_revision) VALUES ('/registry/next', 0)").await?;
        assert_eq!(lab.to.revision(&target).await?, newest + 1, "{pair:?}: kine would fill a gap row by row");
        let compacted = "SELECT prev_revision FROM kine WHERE name = 'compact_rev_key'";
        let compacted: Vec<i64> = tenant.query(compacted).await?;
        assert_eq!(compacted.len(), 1, "{pair:?}");
        if pair.0 == Kind::Etcd {
            assert!(compacted[0] >= before, "who has seen less than {before} starts over: {compacted:?}");
        } else {
            assert_eq!(compacted, [3], "as it was");
        }
        tenant.disconnect().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_next_write_on_kine_follows_the_newest_row() -> Result<()> {
    for pair in [(Kind::Postgres, Kind::Postgres), (Kind::Etcd, Kind::Postgres)] {
        let lab = Lab::start(pair).await?;
        lab.settle("blue").await?;
        let before = lab.from.revision(&lab.source("blue")).await?;
        finish(&lab.migration("blue", "first")?).await?;
        let target = lab.target("blue");
        let newest = lab.to.revision(&target).await?;
        let tenant = lab.to.session(&target).await?;
        let next: i64 = tenant.query_one("SELECT nextval('kine_id_seq')", &[]).await?.get(0);
        assert_eq!(next, newest + 1, "{pair:?}: kine would fill a gap row by row");
        let compacted = "SELECT count(*), max(prev_revision) FROM kine WHERE name = 'compact_rev_key'";
        let row = tenant.query_one(compacted, &[]).await?;
        let (marks, revision): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(marks, 1, "{pair:?}");
        if pair.0 == Kind::Etcd {
            assert!(
                revision >= before,
                "who has seen less than {before} starts over, not only before {revision}"
            );
        } else {
            assert_eq!(revision, 3, "as it was");
        }
    }
    Ok(())
}

#[tokio::test]
async fn who_watches_etcd_from_before_the_switch_starts_over() -> Result<()> {
    let lab = Lab::start((Kind::Postgres, Kind::Etcd)).await?;
    lab.settle("blue").await?;
    let before = lab.from.revision(&lab.source("blue")).await?;
    finish(&lab.migration("blue", "first")?).await?;
    let Server::Etcd(etcd) = &lab.to else { unreachable!("as started") };
    let mut root = etcd.root().await?;
    let at = |revision| Some(etcd_client::GetOptions::new().with_revision(revision));
    let refused = root.get("/", at(before)).await.expect_err("forgotten");
    assert!(refused.to_string().contains("compacted"), "{refused}");
    root.get("/", at(before + 1)).await?;
    let left =
        root.get("/_kamaji/", Some(etcd_client::GetOptions::new().with_prefix().with_keys_only())).await?;
    assert_eq!(left.kvs().len(), 2, "the account's own marks and nothing else");
    Ok(())
}

#[tokio::test]
async fn a_tenant_can_go_there_and_back_again() -> Result<()> {
    // The way back of a pair is that of another one there.
    let is_one = |(from, to): &(Kind, Kind)| from.word() <= to.word();
    for pair in PAIRS.into_iter().chain(PAIRS_WITH_MYSQL).filter(is_one).chain(PAIRS_WITH_NATS) {
        let lab = Lab::start(pair).await?;
        lab.settle("blue").await?;
        finish(&lab.migration("blue", "there")?).await?;
        let there = lab.to.revision(&lab.target("blue")).await?;
        let back = Lab { from: lab.to, to: lab.from, amount: lab.amount };
        finish(&back.migration("blue", "back")?).await?;
        back.assert_moved("blue").await?;
        assert!(back.to.revision(&back.target("blue")).await? >= there, "{pair:?}");
    }
    Ok(())
}

/// Every kind as the target, with whole rows and with what is there now.
const TARGETS: [(Kind, Kind); 6] = [
    (Kind::Nats, Kind::Nats),
    (Kind::Postgres, Kind::Etcd),
    (Kind::Postgres, Kind::Postgres),
    (Kind::Etcd, Kind::Postgres),
    (Kind::MySql, Kind::MySql),
    (Kind::Etcd, Kind::MySql),
];

#[tokio::test]
async fn what_differs_is_seen_before_the_switch() -> Result<()> {
    for pair in TARGETS {
        let lab = Lab::start(pair).await?;
        lab.settle("blue").await?;
        let migration = lab.migration("blue", "first")?;
        while migration.next(Servers::Gone).await? != Next::Step(Step::Verify) {
            migration.step(Servers::Gone, &mut unwatched).await?;
        }
        spoil(&lab).await?;
        migration.step(Servers::Gone, &mut unwatched).await?;
        assert_eq!(migration.next(Servers::Gone).await?, Next::Step(Step::Copy), "{pair:?}");
        assert_eq!(migration.run(Servers::Gone, &mut unwatched).await?, Next::Done);
        lab.assert_moved("blue").await?;
    }
    Ok(())
}

/// One key of the copy is gone, one is changed, and one is too many.
async fn spoil(lab: &Lab) -> Result<()> {
    let target = lab.target("blue");
    match &lab.to {
        Server::Etcd(etcd) => {
            let mut root = etcd.root().await?;
            let key = |name: &str| format!("/{}/configmaps/default/{name}", target.schema);
            root.delete(key("0000"), None).await?;
            root.put(key("0001"), "changed", None).await?;
            root.put(key("9999"), "too many", None).await?;
        }
        Server::MySql(server) => {
            let mut root = server.superuser().await?;
            root.query_drop(format!(
                "USE `{}`; DELETE FROM kine WHERE name = '/registry/configmaps/default/0000'; \
                 UPDATE kine SET value = 'changed' WHERE name = '/registry/configmaps/default/0001'; \
                 INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value) \
                 VALUES ('/registry/configmaps/default/9999', 1, 0, 0, 0, 0, 'too many')",
                target.schema
            ))
            .await?;
            root.disconnect().await?;
        }
        Server::Postgres(postgres) => {
            let root = postgres.superuser(target.schema.as_str()).await?;
            root.batch_execute(
                "DELETE FROM kine WHERE name = '/registry/configmaps/default/0000'; \
                 UPDATE kine SET value = 'changed' WHERE name = '/registry/configmaps/default/0001'; \
                 INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value) \
                 VALUES ('/registry/configmaps/default/9999', 1, 0, 0, 0, 0, 'too many')",
            )
            .await?;
        }
        Server::Nats(nats) => Box::pin(bucket::spoil(nats, &target)).await?,
    }
    Ok(())
}

#[tokio::test]
async fn a_copy_in_nats_outnumbers_an_etcd_that_others_write_to() -> Result<()> {
    let lab = Lab::start((Kind::Etcd, Kind::Nats)).await?;
    lab.settle("blue").await?;
    let migration = lab.migration("blue", "first")?;
    // The copy is complete, and API servers that still run show what others' writes bring.
    assert_eq!(migration.run(Servers::Running, &mut unwatched).await?, Next::StopServers);
    let Server::Etcd(etcd) = &lab.from else { unreachable!("as started") };
    let root = etcd.root().await?;
    while lab.from.revision(&lab.source("blue")).await? < lab.to.revision(&lab.target("blue")).await? {
        let put = |_| {
            let mut root = root.clone();
            async move { root.put("/neighbour/busy", "", None).await }
        };
        try_join_all((0..100).map(put)).await?;
    }
    assert_eq!(migration.next(Servers::Gone).await?, Next::Step(Step::Raise));
    assert_eq!(migration.run(Servers::Gone, &mut unwatched).await?, Next::Done);
    assert!(lab.to.revision(&lab.target("blue")).await? > lab.from.revision(&lab.source("blue")).await?);
    lab.assert_moved("blue").await
}
