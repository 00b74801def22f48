//! A tenant with a real API server goes on working: it loses no write that was acknowledged, and sees no revision go back.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, pin_mut};
use kamaji_datastore::{
    account::{Account, Credential},
    migrate::{Next, Servers},
};
use kamaji_e2e::api_server::front::{Behind, Site};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Kind, Lab, finish, server::Server, unwatched};

/// How many writes each writer makes before the migration, and again after it.
const WRITES: usize = 40;
/// How many objects each writer writes to in turn.
const OBJECTS: usize = 5;
/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_mins(4);
/// How long nobody may be able to write, on a machine that does nothing else: 10 s and one more for 10 MiB.
const FREEZE: Duration = Duration::from_secs(11);
/// How much slower a machine may be that does much else.
const SLOWNESS: u32 = 9;
/// How often whoever has failed tries again.
const AGAIN: Duration = Duration::from_millis(50);
/// Where the count stands in every object.
const COUNT: &str = "e2e/count";

/// A kind of object, in a namespace, that one writer has for itself.
#[derive(Clone)]
struct Realm {
    namespace: &'static str,
    resource: ApiResource,
    base: Value,
}

/// What was acknowledged for one object, in order: the count and the revision.
type Log = Arc<Mutex<BTreeMap<String, Vec<(usize, u64)>>>>;

/// What one watcher knows: the count of every object, and how far it is.
#[derive(Clone, Debug, Default)]
struct View {
    counts: BTreeMap<String, usize>,
    revision: u64,
    went_back: Vec<String>,
}

struct Load {
    log: Log,
    acknowledged: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    views: Vec<(Realm, Arc<Mutex<View>>)>,
    writers: JoinSet<()>,
    watchers: JoinSet<()>,
}

fn realms() -> Vec<Realm> {
    let resource = |group, version, kind| ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    let configmaps = resource("", "v1", "ConfigMap");
    let event = json!({ "involvedObject": { "namespace": "kube-system" }, "reason": "Load" });
    vec![
        Realm { namespace: "default", resource: configmaps.clone(), base: json!({ "data": { "a": "b" } }) },
        Realm { namespace: "kube-system", resource: configmaps, base: json!({ "data": { "a": "b" } }) },
        Realm {
            namespace: "kube-node-lease",
            resource: resource("coordination.k8s.io", "v1", "Lease"),
            base: json!({ "spec": { "holderIdentity": "e2e" } }),
        },
        Realm { namespace: "kube-system", resource: resource("", "v1", "Event"), base: event },
        Realm {
            namespace: "default",
            resource: resource("e2e.example.com", "v1", "Widget"),
            base: json!({ "spec": { "size": 1 } }),
        },
    ]
}

fn behind(server: &Server, account: &Account) -> Result<Behind> {
    let (schema, user) = (account.schema.to_string(), account.user.as_str());
    Ok(match server {
        Server::Etcd(etcd) => {
            let pair = etcd.certificate_of(user)?;
            Behind::Etcd {
                endpoint: format!("https://{}", etcd.endpoint()),
                schema,
                ca_pem: etcd.authority().certificate().pem().to_owned(),
                certificate_pem: pair.certificate().pem().to_owned(),
                key_pem: pair.key().pem().to_owned(),
            }
        }
        Server::MySql(mysql) => {
            let Credential::Password(password) = &account.credential else {
                anyhow::bail!("it has a password")
            };
            Behind::Kine {
                endpoint: format!("mysql://{user}:{}@tcp({})/{schema}", password.reveal(), mysql.endpoint()),
                ca_pem: mysql.authority().certificate().pem().to_owned(),
            }
        }
        Server::Postgres(postgres) => {
            let Credential::Password(password) = &account.credential else {
                anyhow::bail!("it has a password")
            };
            Behind::Kine {
                endpoint: format!("postgres://{user}:{}@{}/{schema}", password.reveal(), postgres.endpoint()),
                ca_pem: postgres.authority().certificate().pem().to_owned(),
            }
        }
        Server::Nats(nats) => Behind::Kine {
            endpoint: super::server::bucket::endpoint(nats, account),
            ca_pem: nats.authority().certificate().pem().to_owned(),
        },
    })
}

impl Realm {
    fn api(&self, client: &Client) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), self.namespace, &self.resource)
    }

    fn key(&self, name: &str) -> String {
        format!("{} {}/{name}", self.resource.kind, self.namespace)
    }
}

fn revision(object: &DynamicObject) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}

fn count(object: &DynamicObject) -> Option<usize> {
    object.annotations().get(COUNT)?.parse().ok()
}

/// What is behind this lock: nobody panics while holding it.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the kind of custom resource, once the API server serves it.
async fn define_widgets(client: &Client) -> Result<()> {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.e2e.example.com" },
        "spec": {
            "group": "e2e.example.com",
            "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            } } }],
        },
    });
    let crds = ApiResource::from_gvk(&GroupVersionKind::gvk(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
    ));
    let crds: Api<DynamicObject> = Api::all_with(client.clone(), &crds);
    crds.create(&PostParams::default(), &serde_json::from_value(crd)?).await?;
    let mut tick = tokio::time::interval(AGAIN);
    for realm in realms() {
        while realm.api(client).list(&ListParams::default()).await.is_err() {
            tick.tick().await;
        }
        let namespaces = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace"));
        let namespaces: Api<DynamicObject> = Api::all_with(client.clone(), &namespaces);
        while namespaces.get(realm.namespace).await.is_err() {
            tick.tick().await;
        }
    }
    Ok(())
}

/// Writes its objects in turn, each with the next count, and notes what was acknowledged, until it is told to stop.
async fn write(
    realm: Realm,
    client: Client,
    log: Log,
    acknowledged: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
) {
    let api = realm.api(&client);
    let mut tick = tokio::time::interval(AGAIN);
    for next in 1.. {
        let name = format!("{}-{}", realm.resource.plural, next % OBJECTS);
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let mut object = realm.base.clone();
            object["apiVersion"] = realm.resource.api_version.clone().into();
            object["kind"] = realm.resource.kind.clone().into();
            object["metadata"] = json!({
                "name": name, "namespace": realm.namespace, "annotations": { COUNT: next.to_string() },
            });
            let patch = PatchParams::apply("e2e").force();
            let written =
                tokio::time::timeout(DEADLINE, api.patch(&name, &patch, &Patch::Apply(&object))).await;
            if let Ok(Ok(written)) = written {
                let mut log = held(&log);
                log.entry(realm.key(&name)).or_default().push((next, revision(&written)));
                acknowledged.fetch_add(1, Ordering::Relaxed);
                break;
            }
            tick.tick().await;
        }
    }
}

/// Keeps a view of a realm as informers do: a list, then a watch from where it ended, and anew only when told so.
async fn watch(realm: Realm, client: Client, view: Arc<Mutex<View>>) {
    let api = realm.api(&client);
    let mut tick = tokio::time::interval(AGAIN);
    loop {
        tick.tick().await;
        let Ok(list) = api.list(&ListParams::default()).await else { continue };
        let from = list.metadata.resource_version.clone().unwrap_or_default();
        {
            let mut view = held(&view);
            view.see(&realm, from.parse().unwrap_or(0), "a list");
            view.counts =
                list.items.iter().filter_map(|item| Some((item.name_any(), count(item)?))).collect();
        }
        follow(&realm, &api, &view).await;
    }
}

/// Watches, again and again from the last revision that was seen, until the server says that it is too old.
async fn follow(realm: &Realm, api: &Api<DynamicObject>, view: &Mutex<View>) {
    let mut tick = tokio::time::interval(AGAIN);
    loop {
        tick.tick().await;
        let from = held(view).revision.to_string();
        let Ok(events) = api.watch(&WatchParams::default().timeout(60), &from).await else { continue };
        pin_mut!(events);
        while let Some(event) = events.next().await {
            let mut view = held(view);
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    view.see(realm, revision(&object), "an event");
                    if let Some(count) = count(&object) {
                        view.counts.insert(object.name_any(), count);
                    }
                }
                Ok(WatchEvent::Deleted(object)) => {
                    view.see(realm, revision(&object), "a deletion");
                    view.counts.remove(&object.name_any());
                }
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    view.see(realm, bookmark.metadata.resource_version.parse().unwrap_or(0), "a bookmark");
                }
                Ok(WatchEvent::Error(status)) if status.code == 410 => return,
                Ok(WatchEvent::Error(_)) | Err(_) => break,
            }
        }
    }
}

impl View {
    fn see(&mut self, realm: &Realm, revision: u64, what: &str) {
        if revision < self.revision {
            let kind = &realm.resource.kind;
            self.went_back.push(format!("{kind}: {what} at {revision} after {}", self.revision));
        }
        self.revision = self.revision.max(revision);
    }
}

impl Load {
    async fn start(site: &Site) -> Result<Self> {
        let (log, acknowledged, stop) = (Log::default(), Arc::default(), Arc::default());
        let (mut writers, mut watchers, mut views) = (JoinSet::new(), JoinSet::new(), Vec::new());
        for realm in realms() {
            let view = Arc::new(Mutex::new(View::default()));
            let client = site.client().await?;
            writers.spawn(write(
                realm.clone(),
                client,
                Arc::clone(&log),
                Arc::clone(&acknowledged),
                Arc::clone(&stop),
            ));
            watchers.spawn(watch(realm.clone(), site.client().await?, Arc::clone(&view)));
            views.push((realm, view));
        }
        Ok(Self { log, acknowledged, stop, views, writers, watchers })
    }

    /// Waits until so many more writes have been acknowledged.
    async fn until_written(&self, more: usize) -> Result<()> {
        let goal = self.acknowledged.load(Ordering::Relaxed) + more;
        let mut tick = tokio::time::interval(AGAIN);
        let written = async {
            while self.acknowledged.load(Ordering::Relaxed) < goal {
                tick.tick().await;
            }
        };
        tokio::time::timeout(DEADLINE, written).await.with_context(|| format!("no {more} more writes"))
    }

    /// No write that was acknowledged is lost, revisions only grew, and every watcher has all that there is.
    async fn check(mut self, client: &Client) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = async { while self.writers.join_next().await.is_some() {} };
        tokio::time::timeout(DEADLINE, ended).await.context("a writer does not end")?;
        let log = held(&self.log).clone();
        let mut objects = 0;
        for (realm, view) in &self.views {
            let list = realm.api(client).list(&ListParams::default()).await?;
            let newest: u64 = list.metadata.resource_version.clone().unwrap_or_default().parse()?;
            let counts: BTreeMap<_, _> =
                list.items.iter().filter_map(|item| Some((item.name_any(), count(item)?))).collect();
            for (name, count) in &counts {
                let key = realm.key(name);
                let acknowledged = log.get(&key).with_context(|| format!("{key} comes from nowhere"))?;
                let newest_count = acknowledged.last().map_or(0, |(count, _)| *count);
                ensure!(
                    *count >= newest_count,
                    "{key}: {newest_count} was acknowledged, and {count} is there"
                );
                let grows = acknowledged.windows(2).all(|pair| pair[0].1 < pair[1].1);
                ensure!(grows, "{key}: revisions went back: {acknowledged:?}");
                ensure!(
                    acknowledged.iter().all(|(_, revision)| *revision <= newest),
                    "{key} is ahead of its list"
                );
                objects += 1;
            }
            let caught_up = async {
                let mut tick = tokio::time::interval(AGAIN);
                while held(view).counts != counts {
                    tick.tick().await;
                }
            };
            let kind = &realm.resource.kind;
            let caught_up = tokio::time::timeout(Duration::from_mins(1), caught_up).await;
            ensure!(caught_up.is_ok(), "a watcher of {kind} has {:?} and not {counts:?}", held(view));
            let went_back = held(view).went_back.clone();
            ensure!(went_back.is_empty(), "{went_back:?}");
        }
        ensure!(objects == log.len(), "{} of {} objects are there", objects, log.len());
        self.watchers.shutdown().await;
        Ok(())
    }
}

/// Tries to write with the tenant's own credentials, again and again, and notes when that went well.
async fn probe(server: &Server, account: &Account, done: &AtomicBool) -> Result<Vec<(Instant, Instant)>> {
    let mut tick = tokio::time::interval(AGAIN);
    let mut written = Vec::new();
    while !done.load(Ordering::Relaxed) {
        tick.tick().await;
        let begun = Instant::now();
        if server.takes_writes(account).await.unwrap_or(false) {
            written.push((begun, Instant::now()));
        }
    }
    Ok(written)
}

async fn under_load(pair: (Kind, Kind)) -> Result<()> {
    let lab = Lab::start(pair).await?;
    let (source, target) = (lab.source("blue"), lab.target("blue"));
    lab.from.store()?.ensure(&source).await?;
    let site = Site::new()?;
    let front = site.start(&behind(&lab.from, &source)?).await?;
    let client = site.client().await?;
    define_widgets(&client).await?;
    let load = Load::start(&site).await?;
    load.until_written(WRITES * realms().len()).await?;

    let done = AtomicBool::new(false);
    let migrate = async {
        let migration = lab.migration("blue", "first")?;
        let next = migration.run(Servers::Running, &mut unwatched).await?;
        ensure!(next == Next::StopServers, "{next:?}");
        drop(front);
        ensure!(migration.run(Servers::Gone, &mut unwatched).await? == Next::Done, "not done");
        let front = site.start(&behind(&lab.to, &target)?).await?;
        load.until_written(WRITES * realms().len()).await?;
        done.store(true, Ordering::Relaxed);
        Ok(front)
    };
    let probes = (probe(&lab.from, &source, &done), probe(&lab.to, &target, &done));
    let (front, before, after) = tokio::try_join!(migrate, probes.0, probes.1)?;
    let (last, first) =
        (before.last().context("it was written before")?, after.first().context("and after")?);
    ensure!(last.1 < first.0, "both could be written at one time");
    let freeze = first.0 - last.1;
    ensure!(freeze < SLOWNESS * FREEZE, "{pair:?}: nobody could write for {freeze:?}");
    load.check(&client).await?;

    let contents = lab.to.contents(&target).await?;
    let expiring = |(key, _): &(&String, &super::server::Content)| key.starts_with("events/");
    ensure!(contents.iter().filter(expiring).count() > 0, "there are events");
    ensure!(contents.iter().filter(expiring).all(|(_, content)| content.expires), "an event lasts for ever");
    drop(front);
    lab.migration("blue", "first")?.drop_source().await?;
    Ok(())
}

#[tokio::test]
async fn from_etcd_to_etcd() -> Result<()> {
    Box::pin(under_load((Kind::Etcd, Kind::Etcd))).await
}

#[tokio::test]
async fn from_postgres_to_postgres() -> Result<()> {
    Box::pin(under_load((Kind::Postgres, Kind::Postgres))).await
}

#[tokio::test]
async fn from_mysql_to_mysql() -> Result<()> {
    Box::pin(under_load((Kind::MySql, Kind::MySql))).await
}

#[tokio::test]
async fn from_etcd_to_postgres() -> Result<()> {
    Box::pin(under_load((Kind::Etcd, Kind::Postgres))).await
}

#[tokio::test]
async fn from_postgres_to_etcd() -> Result<()> {
    Box::pin(under_load((Kind::Postgres, Kind::Etcd))).await
}

#[tokio::test]
async fn from_nats_to_nats() -> Result<()> {
    Box::pin(under_load((Kind::Nats, Kind::Nats))).await
}

/// A server that nobody stopped goes on, and reads and writes nothing.
#[tokio::test]
async fn an_api_server_that_lives_on_can_write_nothing() -> Result<()> {
    for pair in [(Kind::Etcd, Kind::Postgres), (Kind::Postgres, Kind::Etcd), (Kind::Nats, Kind::Nats)] {
        let lab = Lab::start(pair).await?;
        let source = lab.source("blue");
        lab.from.store()?.ensure(&source).await?;
        let site = Site::new()?;
        let _old = site.start(&behind(&lab.from, &source)?).await?;
        let client = site.client().await?;
        let realm = realms().swap_remove(1);
        let api = realm.api(&client);
        let object = |count: usize| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": { "name": "late", "annotations": { COUNT: count.to_string() } },
            })
        };
        let patch = PatchParams::apply("e2e").force();
        let mut tick = tokio::time::interval(AGAIN);
        while api.patch("late", &patch, &Patch::Apply(&object(1))).await.is_err() {
            tick.tick().await;
        }
        finish(&lab.migration("blue", "first")?).await?;
        let written = api.patch("late", &patch, &Patch::Apply(&object(2))).await;
        ensure!(written.is_err(), "{pair:?}: {written:?}");
        let copy = &lab.to.contents(&lab.target("blue")).await?["configmaps/kube-system/late"].value;
        let count = |count: u8| {
            copy.windows(COUNT.len() + 3)
                .any(|text| text.ends_with(&[count]) && text.starts_with(COUNT.as_bytes()))
        };
        ensure!(count(b'1') && !count(b'2'), "{pair:?}: {}", String::from_utf8_lossy(copy));
    }
    Ok(())
}
