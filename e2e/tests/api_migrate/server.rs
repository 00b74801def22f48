//! Datastores of all kinds, as a tenant and as a test see them.

#[path = "bucket.rs"]
pub(crate) mod bucket;

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use anyhow::{Context, Result};
use etcd_client::{GetOptions, PutOptions, Txn, TxnOp};
use kamaji_datastore::{
    account::{Account, Credential},
    config::{Deadlines, Endpoint, Settings},
    migrate::{Home, Proof},
    store::Store,
};
use kamaji_e2e::{
    etcd::Etcd,
    mariadb::MariaDb,
    nats::Nats,
    postgres::{KINE as TABLE, Postgres, Session},
};

#[path = "server/mysql.rs"]
pub(crate) mod mysql;

/// What a datastore is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Etcd,
    MySql,
    Postgres,
    Nats,
}

/// A datastore.
pub(crate) enum Server {
    Etcd(Etcd),
    MySql(MariaDb),
    Postgres(Postgres),
    Nats(Nats),
}

/// What is under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) value: Vec<u8>,
    pub(crate) expires: bool,
}

/// How much a tenant has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    /// Many pages.
    All,
    /// One page.
    Few,
    /// Many pages, in names that kine keeps in MySQL too.
    AllPlain,
    /// One page of such.
    FewPlain,
}

impl Amount {
    fn is_all(self) -> bool {
        matches!(self, Self::All | Self::AllPlain)
    }

    fn takes(self, name: &str) -> bool {
        matches!(self, Self::All | Self::Few) || name.is_ascii()
    }
}

/// What a machine may take that has other work: whoever gives up earlier would end a migration here, for no Job tries again.
const PATIENT: Deadlines =
    Deadlines { connect: Duration::from_mins(1), request: Duration::from_mins(1), pause: Duration::ZERO };

/// How long what expires lasts, in seconds.
pub(crate) const LASTS: i64 = 600;

impl Kind {
    /// Whether kine keeps rows there, which are copied with their revisions.
    pub(crate) fn has_rows(self) -> bool {
        matches!(self, Self::MySql | Self::Postgres)
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::MySql => "mysql",
            Self::Postgres => "postgres",
            Self::Nats => "nats",
        }
    }
}

impl Server {
    pub(crate) async fn start(kind: Kind) -> Result<Self> {
        Ok(match kind {
            Kind::Etcd => Self::Etcd(Box::pin(Etcd::start()).await?),
            Kind::MySql => Self::MySql(Box::pin(MariaDb::start()).await?),
            Kind::Postgres => Self::Postgres(Box::pin(Postgres::start()).await?),
            Kind::Nats => Self::Nats(Box::pin(Nats::start_with(bucket::options())).await?),
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Etcd(_) => Kind::Etcd,
            Self::MySql(_) => Kind::MySql,
            Self::Postgres(_) => Kind::Postgres,
            Self::Nats(_) => Kind::Nats,
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Etcd(etcd) => etcd.endpoint(),
            Self::MySql(mysql) => mysql.endpoint(),
            Self::Postgres(postgres) => postgres.endpoint(),
            Self::Nats(nats) => nats.endpoint(),
        }
    }

    /// The operator's view of it.
    pub(crate) fn store(&self) -> Result<Store> {
        self.store_at(self.endpoint())
    }

    /// The same, through something that listens elsewhere.
    pub(crate) fn store_at(&self, endpoint: &Endpoint) -> Result<Store> {
        let endpoints = vec![endpoint.clone()];
        Ok(match self {
            Self::Etcd(etcd) => Store::etcd(Settings { endpoints, deadlines: PATIENT, ..etcd.settings() })?,
            Self::MySql(mysql) => {
                Store::mysql(Settings { endpoints, deadlines: PATIENT, ..mysql.settings() })?
            }
            Self::Postgres(postgres) => {
                Store::postgres(Settings { endpoints, deadlines: PATIENT, ..postgres.settings() })?
            }
            Self::Nats(nats) => Store::nats(Settings { endpoints, deadlines: PATIENT, ..nats.settings() })?,
        })
    }

    /// Nothing of an earlier tenant is there, where there is room for one only.
    pub(crate) async fn make_room(&self) -> Result<()> {
        match self {
            Self::Etcd(_) | Self::MySql(_) | Self::Postgres(_) => Ok(()),
            Self::Nats(nats) => Box::pin(bucket::clear(nats)).await,
        }
    }

    pub(crate) fn home(&self, account: &Account) -> Result<Home> {
        let proof = match self {
            Self::Etcd(etcd) => {
                let pair = etcd.certificate_of(account.user.as_str())?;
                let key_pem = pair.key().pem().as_bytes().to_vec().into();
                Some(Proof { certificate_pem: pair.certificate().pem().into(), key_pem })
            }
            Self::MySql(_) | Self::Postgres(_) | Self::Nats(_) => None,
        };
        Ok(Home { store: self.store()?, account: account.clone(), proof })
    }

    /// The tenant's own connection to its database.
    pub(crate) async fn session(&self, account: &Account) -> Result<Session> {
        let (Self::Postgres(postgres), Credential::Password(password)) = (self, &account.credential) else {
            anyhow::bail!("only PostgreSQL has sessions")
        };
        Ok(postgres.connect(account.user.as_str(), password.reveal(), account.schema.as_str()).await?)
    }

    /// Whether the tenant can write with its own credentials. What it writes is gone afterwards.
    pub(crate) async fn takes_writes(&self, account: &Account) -> Result<bool> {
        match self {
            Self::Etcd(etcd) => {
                let mut tenant = etcd.client(account.user.as_str()).await?;
                let key = format!("/{}/probe", account.schema);
                let written = tenant.put(key.clone(), "probe", None).await.is_ok();
                if written {
                    tenant.delete(key, None).await?;
                }
                Ok(written)
            }
            Self::MySql(mysql) => Ok(mysql::takes_writes(mysql, account).await),
            Self::Postgres(_) => {
                let Ok(session) = self.session(account).await else { return Ok(false) };
                let probe =
                    "INSERT INTO kine (id, name) VALUES (-1, 'probe'); DELETE FROM kine WHERE id = -1";
                Ok(session.batch_execute(probe).await.is_ok())
            }
            Self::Nats(nats) => Box::pin(bucket::takes_writes(nats, account)).await,
        }
    }

    /// The tenant writes what [`wanted`] says, over a history of other things.
    pub(crate) async fn fill(&self, account: &Account, amount: Amount) -> Result<()> {
        match self {
            Self::Etcd(etcd) => {
                let mut tenant = etcd.client(account.user.as_str()).await?;
                let prefix = format!("/{}", account.schema);
                let deleted = format!("{prefix}/deleted");
                tenant.put(deleted.clone(), "x", None).await?;
                tenant.delete(deleted, None).await?;
                // Only who may do everything may grant leases that others see.
                let lease = etcd.root().await?.lease_grant(LASTS, None).await?.id();
                let put = |(key, content): (String, Content)| {
                    let options = content.expires.then(|| PutOptions::new().with_lease(lease));
                    TxnOp::put(format!("{prefix}/{key}"), content.value, options)
                };
                let (large, small): (Vec<_>, Vec<_>) =
                    wanted(amount).into_iter().partition(|(_, content)| content.value.len() > 100_000);
                let puts: Vec<TxnOp> = small.into_iter().map(put).collect();
                for puts in puts.chunks(100) {
                    tenant.txn(Txn::new().and_then(puts)).await?;
                }
                for (key, content) in large {
                    tenant.put(format!("{prefix}/{key}"), content.value, None).await?;
                }
            }
            Self::MySql(server) => mysql::fill(server, account, &wanted(amount)).await?,
            Self::Postgres(_) => {
                let tenant = self.session(account).await?;
                tenant.batch_execute(TABLE).await?;
                tenant.batch_execute(HISTORY).await?;
                let wanted = wanted(amount);
                let names: Vec<String> = wanted.keys().map(|key| format!("/registry/{key}")).collect();
                let lease =
                    |content: &Content| if content.expires { i32::try_from(LASTS).unwrap_or(0) } else { 0 };
                let leases: Vec<i32> = wanted.values().map(lease).collect();
                let values: Vec<&[u8]> = wanted.values().map(|content| content.value.as_slice()).collect();
                let older = "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value) \
                     SELECT n, 1, 0, NULL, 0, 0, 'older' FROM unnest($1::text[]) AS n";
                tenant.execute(older, &[&names]).await?;
                let newer = "INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value, \
                     old_value) SELECT n, 0, 0, k.id, k.id, l, v, 'older' \
                     FROM unnest($1::text[], $2::int4[], $3::bytea[]) AS u (n, l, v) JOIN kine k ON k.name = n";
                tenant.execute(newer, &[&names, &leases, &values]).await?;
            }
            Self::Nats(nats) => Box::pin(bucket::fill(nats, account, amount)).await?,
        }
        Ok(())
    }

    /// What there is of the tenant, without what stands before every key.
    pub(crate) async fn contents(&self, account: &Account) -> Result<BTreeMap<String, Content>> {
        match self {
            Self::Etcd(etcd) => {
                let prefix = format!("/{}/", account.schema);
                let mut root = etcd.root().await?;
                let keys = GetOptions::new().with_prefix().with_keys_only();
                let keys = root.get(prefix.clone(), Some(keys)).await?;
                let mut contents = BTreeMap::new();
                for key in keys.kvs() {
                    let found = root.get(key.key(), None).await?;
                    let Some(found) = found.kvs().first() else { continue };
                    let content = Content { value: found.value().into(), expires: found.lease() != 0 };
                    contents.insert(found.key_str()?.trim_start_matches(&prefix).to_owned(), content);
                }
                Ok(contents)
            }
            Self::MySql(server) => mysql::contents(server, account).await,
            Self::Postgres(postgres) => {
                let root = postgres.superuser(account.schema.as_str()).await?;
                let live = "SELECT DISTINCT ON (name) name, value, lease, deleted FROM public.kine \
                     WHERE name LIKE '/registry/%' ORDER BY name, id DESC";
                let rows = root.query(live, &[]).await?;
                let content = |row: &tokio_postgres::Row| {
                    let name: &str = row.get("name");
                    let content =
                        Content { value: row.get("value"), expires: row.get::<_, i32>("lease") > 0 };
                    (name.trim_start_matches("/registry/").to_owned(), content)
                };
                Ok(rows.iter().filter(|row| row.get::<_, i32>("deleted") == 0).map(content).collect())
            }
            Self::Nats(nats) => Box::pin(bucket::contents(nats, account)).await,
        }
    }

    /// The newest revision that an API server can have seen.
    pub(crate) async fn revision(&self, account: &Account) -> Result<i64> {
        match self {
            Self::Etcd(etcd) => {
                let found = etcd.root().await?.get("/", None).await?;
                Ok(found.header().context("every answer has one")?.revision())
            }
            Self::MySql(server) => mysql::revision(server, account).await,
            Self::Postgres(postgres) => {
                let root = postgres.superuser(account.schema.as_str()).await?;
                Ok(root.query_one("SELECT max(id) FROM public.kine", &[]).await?.get(0))
            }
            Self::Nats(nats) => Box::pin(bucket::revision(nats, account)).await,
        }
    }

    /// All rows, as text that can be compared.
    pub(crate) async fn rows(&self, account: &Account) -> Result<Vec<String>> {
        if let Self::MySql(server) = self {
            return mysql::rows(server, account).await;
        }
        let Self::Postgres(postgres) = self else { anyhow::bail!("only kine has rows") };
        let root = postgres.superuser(account.schema.as_str()).await?;
        let rows = "SELECT format('%s %s %s %s %s %s %s %s %s', id, name, created, deleted, create_revision, \
             prev_revision, lease, md5(value), md5(old_value)) FROM public.kine ORDER BY id";
        Ok(root.query(rows, &[]).await?.iter().map(|row| row.get(0)).collect())
    }
}

/// What kine leaves beside keys: its mark of compaction, a row for a gap, a key that was deleted, and gaps.
const HISTORY: &str = "\
INSERT INTO kine (name, created, deleted, create_revision, prev_revision, lease, value) VALUES \
 ('compact_rev_key', 1, 0, NULL, 3, 0, ''), \
 ('gap-3', 0, 1, 0, 0, 0, NULL), ('/registry/deleted', 1, 0, 0, 0, 0, 'x'), ('/registry/deleted', 0, 1, 3, 3, 0, 'x'); \
SELECT nextval('kine_id_seq'), nextval('kine_id_seq')";

/// What a tenant has: ordinary things, hostile ones, large ones, and some that expire.
pub(crate) fn wanted(amount: Amount) -> BTreeMap<String, Content> {
    let forever = |value: Vec<u8>| Content { value, expires: false };
    let mut wanted = BTreeMap::new();
    wanted.insert("health".to_owned(), forever(b"{\"health\":\"true\"}".to_vec()));
    wanted.insert("empty".to_owned(), forever(Vec::new()));
    wanted.insert("binary/every-byte".to_owned(), forever((0..=255).collect()));
    if amount.is_all() {
        wanted.insert("binary/large".to_owned(), forever(large(1_500_000)));
        wanted.insert("binary/larger".to_owned(), forever(large(1_550_000)));
    }
    for name in
        ["it's", "\"quoted\"", "per%cent_", "back\\slash", "\u{fc}ml\u{e4}ut \u{1f600}", "$1;--", "\x7f\t"]
    {
        wanted.insert(format!("configmaps/odd/{name}"), forever(name.as_bytes().to_vec()));
    }
    let configmaps = if amount.is_all() { 700 } else { 3 };
    for index in 0..configmaps {
        let mut value = String::from("k8s\0");
        write!(value, "configmap {index}").expect("into memory");
        wanted.insert(format!("configmaps/default/{index:04}"), forever(value.into_bytes()));
    }
    for index in 0..2 {
        let content = Content { value: format!("event {index}").into_bytes(), expires: true };
        wanted.insert(format!("events/kube-system/{index}"), content);
    }
    wanted.retain(|name, _| amount.takes(name));
    wanted
}

fn large(length: usize) -> Vec<u8> {
    // Not compressible by anything simple, and the same every time.
    let mut state = 88_172_645_463_325_252_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(next).collect()
}

/// Everything that the tenant wrote is there, and nothing else.
pub(crate) fn assert_filled(contents: &BTreeMap<String, Content>, amount: Amount) {
    assert_contents(contents, &wanted(amount));
}

/// These are there, and nothing else.
pub(crate) fn assert_contents(contents: &BTreeMap<String, Content>, wanted: &BTreeMap<String, Content>) {
    let names = |contents: &BTreeMap<String, Content>| contents.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(contents), names(wanted));
    for (name, content) in wanted {
        assert!(contents.get(name) == Some(content), "{name} differs");
    }
}
