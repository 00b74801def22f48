//! What is not to be migrated is refused, and left as it was; a fence cannot be climbed.

mod mysql;

use anyhow::Result;
use etcd_client::Permission;
use kamaji_datastore::{
    account::{Account, Owner},
    migrate::{Error, Migration, Next, Servers, Side, Step, Token},
};
use kamaji_e2e::etcd::proxy::{Mode, Proxy};

use super::{EACH, Kind, Lab, advance, finish, server::Server, unwatched};

/// Why a migration of this tenant is refused.
async fn refusal(migration: &Migration) -> &'static str {
    finish(migration).await.expect_err("refused").reason()
}

#[tokio::test]
async fn a_target_that_is_anothers_or_in_use_is_left_alone() -> Result<()> {
    for pair in EACH {
        let lab = Lab::start(pair).await?;
        lab.settle("blue").await?;
        let target = lab.target("blue");
        let stranger = Account { owner: Owner::parse("another")?, ..target.clone() };
        let store = lab.to.store()?;
        store.ensure(&stranger).await?;
        lab.to.fill(&stranger, lab.amount).await?;
        let before = lab.to.contents(&target).await?;
        assert_eq!(refusal(&lab.migration("blue", "first")?).await, "ForeignObject", "{pair:?}");
        assert_eq!(lab.to.contents(&target).await?, before);
        assert!(lab.to.takes_writes(&target).await? && lab.from.takes_writes(&lab.source("blue")).await?);
        store.remove(&stranger).await?;

        store.ensure(&target).await?;
        lab.to.fill(&target, lab.amount).await?;
        assert_eq!(refusal(&lab.migration("blue", "first")?).await, "TargetInUse", "{pair:?}");
        assert_eq!(lab.to.contents(&target).await?, before);
        assert!(lab.to.takes_writes(&target).await? && lab.from.takes_writes(&lab.source("blue")).await?);
        store.remove(&target).await?;

        // One that was set up and never used may be.
        store.ensure(&target).await?;
        finish(&lab.migration("blue", "first")?).await?;
        lab.assert_moved("blue").await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_migration_at_a_time_and_no_way_back_after_the_switch() -> Result<()> {
    for pair in EACH {
        let lab = Lab::start(pair).await?;
        lab.settle("blue").await?;
        let (first, second) = (lab.migration("blue", "first")?, lab.migration("blue", "second")?);
        assert_eq!(first.run(Servers::Running, &mut unwatched).await?, Next::StopServers);
        assert_eq!(refusal(&second).await, "MigrationHeld", "{pair:?}");
        assert_eq!(second.abort().await.expect_err("not its own").reason(), "MigrationHeld");
        assert_eq!(first.drop_source().await.expect_err("not yet").reason(), "MigrationNotSwitched");
        assert_eq!(first.discard_target().await.expect_err("not yet").reason(), "MigrationNotSwitched");
        for (server, account) in [(&lab.from, lab.source("blue")), (&lab.to, lab.target("blue"))] {
            let refused =
                server.store()?.ensure(&account).await.expect_err("a fence is not opened by accident");
            assert_eq!(refused.reason(), "Moving");
            assert!(!server.takes_writes(&account).await?);
        }
        finish(&first).await?;
        assert_eq!(first.abort().await.expect_err("too late").reason(), "MigrationSwitched", "{pair:?}");
        assert_eq!(second.abort().await.expect_err("too late").reason(), "TenantGone");
        assert_eq!(refusal(&second).await, "TenantGone");
        let refused = lab.from.store()?.ensure(&lab.source("blue")).await.expect_err("left for good");
        assert_eq!(refused.reason(), "Moving");
        lab.assert_moved("blue").await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_pair_that_is_none_is_refused() -> Result<()> {
    let lab = Lab::start((Kind::Etcd, Kind::Postgres)).await?;
    assert_eq!(refusal(&lab.migration("nobody", "first")?).await, "NoSource");
    lab.settle("blue").await?;
    let to_itself = Migration::new(lab.leaving("blue")?, lab.leaving("blue")?, Token::parse("first")?)?;
    assert_eq!(refusal(&to_itself).await, "TargetInUse");
    let mut to = lab.entering("blue")?;
    to.account.owner = Owner::parse("another")?;
    let error = Migration::new(lab.leaving("blue")?, to, Token::parse("first")?).expect_err("two tenants");
    assert!(matches!(error, Error::OtherTenant));
    lab.assert_stayed("blue").await
}

#[tokio::test]
async fn sessions_of_postgres_end_and_none_can_write_after_the_fence() -> Result<()> {
    let lab = Lab::start((Kind::Postgres, Kind::Etcd)).await?;
    lab.settle("blue").await?;
    let source = lab.source("blue");
    let before = lab.from.session(&source).await?;
    let migration = lab.migration("blue", "first")?;
    assert_eq!(migration.run(Servers::Running, &mut unwatched).await?, Next::StopServers);
    assert!(before.batch_execute("SELECT 1").await.is_err(), "the session has ended");
    let Server::Postgres(postgres) = &lab.from else { unreachable!("as started") };
    // A session that nobody has seen, of one who logged in just before.
    let hidden = postgres.superuser(source.schema.as_str()).await?;
    hidden.batch_execute(&format!("SET SESSION AUTHORIZATION \"{}\"", source.user)).await?;
    let write = "INSERT INTO public.kine (name, created, deleted) VALUES ('/registry/late', 1, 0)";
    let refused = hidden.batch_execute(write).await.expect_err("no right");
    assert_eq!(refused.code().map(|code| code.code().to_owned()).as_deref(), Some("42501"));
    assert_eq!(migration.next(Servers::Gone).await?, Next::Step(Step::Switch));
    Ok(())
}

#[tokio::test]
async fn whoever_opens_the_fence_is_seen_and_what_was_written_is_copied() -> Result<()> {
    let lab = Lab::start((Kind::Etcd, Kind::Postgres)).await?;
    lab.settle("blue").await?;
    let (source, migration) = (lab.source("blue"), lab.migration("blue", "first")?);
    assert_eq!(migration.run(Servers::Running, &mut unwatched).await?, Next::StopServers);
    let Server::Etcd(etcd) = &lab.from else { unreachable!("as started") };
    let range =
        Permission::read_write(format!("/{}/", source.schema)).with_range_end(format!("/{}0", source.schema));
    etcd.root().await?.role_grant_permission(source.schema.as_str(), range).await?;
    let mut tenant = etcd.client(source.user.as_str()).await?;
    tenant.put(format!("/{}/configmaps/default/late", source.schema), "acknowledged", None).await?;
    assert_eq!(
        migration.next(Servers::Gone).await?,
        Next::Step(Step::Fence),
        "the copy is not trusted any more"
    );
    finish(&migration).await?;
    let contents = lab.to.contents(&lab.target("blue")).await?;
    assert_eq!(
        contents["configmaps/default/late"].value, b"acknowledged",
        "what was acknowledged is not lost"
    );
    assert!(!lab.from.takes_writes(&source).await?);
    Ok(())
}

#[tokio::test]
async fn what_a_tenant_hides_in_its_database_is_not_run() -> Result<()> {
    let lab = Lab::start((Kind::Postgres, Kind::Postgres)).await?;
    let traps = [
        ("view", "ALTER TABLE kine RENAME TO rows; CREATE VIEW kine AS SELECT *, trap(1) FROM rows"),
        ("trigger", "CREATE TRIGGER t BEFORE UPDATE ON kine EXECUTE FUNCTION trigger_trap()"),
        ("index", "CREATE INDEX i ON kine (fold(id::int4))"),
        ("rule", "CREATE RULE r AS ON UPDATE TO kine DO ALSO SELECT trap(1)"),
        ("row", "ALTER TABLE kine ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON kine USING (trap(1) = 1)"),
        ("check", "ALTER TABLE kine ADD CHECK (trap(1) = 1) NOT VALID"),
        ("value", "ALTER TABLE kine ALTER COLUMN lease SET DEFAULT trap(1)"),
        ("column", "ALTER TABLE kine ADD COLUMN more int4"),
    ];
    for (name, trap) in traps {
        lab.settle(name).await?;
        let source = lab.source(name);
        let tenant = lab.from.session(&source).await?;
        tenant
            .batch_execute(
                "CREATE TABLE caught (who text); GRANT ALL ON caught TO PUBLIC; \
                 CREATE FUNCTION trap(i int4) RETURNS int4 LANGUAGE plpgsql AS \
                  $$BEGIN INSERT INTO public.caught VALUES (session_user); RETURN 1; END$$; \
                 CREATE FUNCTION fold(i int4) RETURNS int4 LANGUAGE sql IMMUTABLE AS $$SELECT 1$$; \
                 CREATE FUNCTION trigger_trap() RETURNS trigger LANGUAGE plpgsql AS \
                  $$BEGIN INSERT INTO public.caught VALUES (session_user); RETURN NULL; END$$",
            )
            .await?;
        tenant.batch_execute(trap).await?;
        assert_eq!(refusal(&lab.migration(name, "first")?).await, "TableOdd", "{name}");
        let caught: i64 = tenant.query_one("SELECT count(*) FROM caught", &[]).await?.get(0);
        assert_eq!(caught, 0, "{name}: something of the tenant's ran as us");
        assert!(tenant.batch_execute("SELECT 1").await.is_ok(), "{name}: refused before the fence");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_the_target_cannot_keep_is_named_and_the_tenant_comes_back() -> Result<()> {
    let lab = Lab::start((Kind::Etcd, Kind::Postgres)).await?;
    let cases: [(&str, &[u8], &[u8]); 3] = [
        ("latin", b"\xff", b"v"),
        ("zero", b"a\0b", b"v"),
        ("bound", b"secrets/a/b", b"k8s:enc:aesgcm:v1:key1:x"),
    ];
    for (name, key, value) in cases {
        lab.settle(name).await?;
        let source = lab.source(name);
        let Server::Etcd(etcd) = &lab.from else { unreachable!("as started") };
        let mut tenant = etcd.client(source.user.as_str()).await?;
        let key = [format!("/{}/", source.schema).as_bytes(), key].concat();
        tenant.put(key.clone(), value, None).await?;
        let migration = lab.migration(name, "first")?;
        assert_eq!(refusal(&migration).await, "KeyUnfit", "{name}");
        migration.abort().await?;
        tenant.delete(key, None).await?;
        lab.assert_stayed(name).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_etcd_that_is_too_far_behind_is_refused_before_the_fence() -> Result<()> {
    let lab = Lab::start((Kind::Etcd, Kind::Etcd)).await?;
    lab.settle("blue").await?;
    let Server::Etcd(etcd) = &lab.from else { unreachable!("as started") };
    let mut root = etcd.root().await?;
    for _ in 0..50 {
        root.put("/neighbour/busy", "", None).await?;
    }
    let mut migration = lab.migration("blue", "first")?;
    migration.furthest(9);
    assert_eq!(refusal(&migration).await, "RevisionFarBehind");
    lab.assert_stayed("blue").await?;
    migration.furthest(1_000_000);
    finish(&migration).await?;
    lab.assert_moved("blue").await
}

#[tokio::test]
async fn a_tenant_comes_back_although_the_target_is_gone() -> Result<()> {
    for pair in EACH {
        let lab = Lab::start(pair).await?;
        for steps in [3, 6] {
            let tenant = format!("steps{steps}");
            lab.settle(&tenant).await?;
            let proxy = Proxy::start(lab.to.endpoint()).await?;
            let mut to = lab.entering(&tenant)?;
            to.store = lab.to.store_at(proxy.endpoint())?;
            let migration = Migration::new(lab.leaving(&tenant)?, to, Token::parse("first")?)?;
            assert!(advance(&migration, steps).await?);
            proxy.set(Mode::Refuse);
            let gone = Migration::new(
                lab.leaving(&tenant)?,
                kamaji_datastore::migrate::Home {
                    store: lab.to.store_at(proxy.endpoint())?,
                    ..lab.entering(&tenant)?
                },
                Token::parse("first")?,
            )?;
            let error = finish(&gone).await.expect_err("the target is gone");
            assert!(matches!(error, Error::Store { side: Side::Target, .. }), "{error}");
            assert_eq!(error.reason(), "Unreachable");
            gone.abort().await?;
            lab.assert_stayed(&tenant).await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn neighbours_in_both_datastores_notice_nothing() -> Result<()> {
    // In NATS there are none.
    for pair in EACH.into_iter().filter(|(kind, _)| *kind != Kind::Nats) {
        let lab = Lab::start(pair).await?;
        lab.settle("blue").await?;
        lab.settle("green").await?;
        let neighbour = lab.target("red");
        lab.to.store()?.ensure(&neighbour).await?;
        lab.to.fill(&neighbour, lab.amount).await?;
        finish(&lab.migration("blue", "first")?).await?;
        lab.migration("blue", "first")?.drop_source().await?;
        lab.assert_stayed("green").await?;
        super::server::assert_filled(&lab.to.contents(&neighbour).await?, lab.amount);
        assert!(lab.to.takes_writes(&neighbour).await?);
    }
    Ok(())
}
