//! Compares what is inside a tenant with what should be, and makes it so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kamaji_addons::{Identity, Interior, Object};
use kamaji_api::labels;
use kamaji_apply::{Cluster, Error};
use kube::api::{ApiResource, DynamicObject, PostParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use super::pace::Pace;
use super::plan::{Inside, Plan};
use super::{Cause, told};
use crate::backoff;

/// How soon something that could not be repaired is tried again, at first.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// How late, at last.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// After so much quiet, what should be is no longer kept in memory.
const QUIET: Duration = Duration::from_secs(1);

/// Keeps the objects of one plan.
pub(super) struct Keeper {
    cluster: Cluster,
    plan: Arc<Plan>,
    watched: Vec<Arc<ApiResource>>,
    unwatched: Vec<Arc<ApiResource>>,
    /// Rendered again when it is needed.
    rendered: Option<Rendered>,
    /// What a list that is coming in has not shown yet, by kind.
    missing: BTreeMap<String, BTreeSet<Identity>>,
    /// Kinds whose first list is in.
    listed: BTreeSet<String>,
    /// Objects to look at again, and when.
    waiting: BTreeMap<Identity, Wait>,
    pace: Pace,
}

struct Rendered {
    /// What should be.
    objects: BTreeMap<Identity, Object>,
    /// What may have been left, and should not be.
    leftovers: BTreeMap<Identity, Object>,
    until: Instant,
}

struct Wait {
    until: Instant,
    failures: u32,
    /// Why it could not be repaired; `None` when it only has to wait its turn.
    problem: Option<String>,
}

impl Keeper {
    pub(super) fn new(cluster: Cluster, plan: &Arc<Plan>) -> Result<Self, kamaji_addons::Error> {
        let rendered = Rendered::of(&plan.interior)?;
        let watched = kinds(rendered.objects.values().map(|object| &object.resource));
        let mut unwatched = kinds(rendered.leftovers.values().map(|object| &object.resource));
        unwatched.retain(|kind| !watched.contains(kind));
        Ok(Self {
            cluster,
            plan: Arc::clone(plan),
            watched,
            unwatched,
            rendered: Some(rendered),
            missing: BTreeMap::new(),
            listed: BTreeSet::new(),
            waiting: BTreeMap::new(),
            pace: Pace::default(),
        })
    }

    /// The kinds of which something should be.
    pub(super) fn watched(&self) -> Vec<Arc<ApiResource>> {
        self.watched.clone()
    }

    /// The kinds of which nothing should be, but something may be left.
    pub(super) fn unwatched(&self) -> Vec<Arc<ApiResource>> {
        self.unwatched.clone()
    }

    /// What became of everything so far.
    pub(super) fn state(&self) -> Inside {
        let problem = self.waiting.iter().find_map(|(identity, wait)| {
            // The first failures are those of a cluster that is coming up.
            let problem = wait.problem.as_ref().filter(|_| wait.failures > 4)?;
            Some(format!("{} {}: {problem}", identity.plural, place(identity)))
        });
        match problem {
            Some(message) => Inside::Failing { reason: "ObjectFailed", message },
            None if self.listed.len() < self.watched.len()
                || self.waiting.values().any(|wait| wait.problem.is_some()) =>
            {
                Inside::Unknown
            }
            None => Inside::Kept,
        }
    }

    /// Takes in what a watch tells.
    pub(super) async fn note(
        &mut self,
        resource: &Arc<ApiResource>,
        event: watcher::Event<DynamicObject>,
    ) -> Result<(), Cause> {
        match event {
            watcher::Event::Init => {
                let objects = &self.rendered()?.objects;
                let wanted = objects.keys().filter(|object| is_of(object, resource)).cloned().collect();
                self.missing.insert(resource.plural.clone(), wanted);
                Ok(())
            }
            watcher::Event::InitApply(live) => {
                if let Some(missing) = self.missing.get_mut(&resource.plural) {
                    missing.remove(&identity(resource, &live));
                }
                self.look(resource, &live).await
            }
            watcher::Event::InitDone => {
                for absent in self.missing.remove(&resource.plural).unwrap_or_default() {
                    self.settle(&absent, None).await?;
                }
                self.listed.insert(resource.plural.clone());
                Ok(())
            }
            watcher::Event::Apply(live) => self.look(resource, &live).await,
            watcher::Event::Delete(gone) => self.settle(&identity(resource, &gone), None).await,
        }
    }

    /// Looks at one object that carries our label.
    async fn look(&mut self, resource: &ApiResource, live: &DynamicObject) -> Result<(), Cause> {
        let identity = identity(resource, live);
        let rendered = self.rendered()?;
        if rendered.objects.contains_key(&identity) {
            return self.settle(&identity, Some(live)).await;
        }
        if rendered.leftovers.contains_key(&identity) && live.metadata.deletion_timestamp.is_none() {
            let removed = self.cluster.delete_dynamic(resource, live).await.map(drop);
            return self.judge(&identity, removed);
        }
        self.waiting.remove(&identity);
        Ok(())
    }

    /// Looks once more at something that could not be removed.
    async fn remove(&mut self, identity: &Identity) -> Result<(), Cause> {
        let Some(Object { resource, desired }) = self.rendered()?.leftovers.get(identity).cloned() else {
            self.waiting.remove(identity);
            return Ok(());
        };
        match self.cluster.get_dynamic(&resource, &desired).await {
            Ok(Some(live)) if is_ours(&live) => self.look(&resource, &live).await,
            found => self.judge(identity, found.map(drop)),
        }
    }

    /// When something has to be looked at again.
    pub(super) async fn due(&self) {
        let waits = self.waiting.values().map(|wait| wait.until);
        match waits.chain(self.rendered.as_ref().map(|rendered| rendered.until)).min() {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// What should be is rendered again when it is needed, which may be never.
    pub(super) fn forget(&mut self) {
        self.rendered = None;
    }

    /// Looks again at what was put off.
    pub(super) async fn mend(&mut self) -> Result<(), Cause> {
        let now = Instant::now();
        let due = self.waiting.iter().filter(|(_, wait)| wait.until <= now);
        let due: Vec<Identity> = due.map(|(identity, _)| identity.clone()).collect();
        for identity in due {
            if self.rendered()?.objects.contains_key(&identity) {
                self.settle(&identity, None).await?;
            } else {
                self.remove(&identity).await?;
            }
        }
        if self.rendered.as_ref().is_some_and(|rendered| rendered.until <= now) {
            self.rendered = None;
        }
        Ok(())
    }

    /// The object is as it should be, if it should be at all.
    async fn settle(&mut self, identity: &Identity, live: Option<&DynamicObject>) -> Result<(), Cause> {
        let Some(object) = self.rendered()?.objects.get(identity).cloned() else {
            self.waiting.remove(identity);
            return Ok(());
        };
        let is_settled = live.is_some_and(|live| {
            let manager = self.cluster.manager();
            kamaji_apply::dynamic_difference(&object.resource, &object.desired, live, manager).is_none()
        });
        if is_settled {
            self.waiting.remove(identity);
            return Ok(());
        }
        if let Err(until) = self.pace.take(identity, Instant::now()) {
            let wait = self.waiting.entry(identity.clone());
            wait.or_insert(Wait { until, failures: 0, problem: None }).until = until;
            return Ok(());
        }
        let ensured = ensure(&self.cluster, &object, live).await;
        self.judge(identity, ensured)
    }

    /// A failure that is the connection's ends the visit; one of the object's own is tried again later.
    fn judge(&mut self, identity: &Identity, outcome: Result<(), Error>) -> Result<(), Cause> {
        let Err(error) = outcome else {
            self.waiting.remove(identity);
            return Ok(());
        };
        if error.status().is_none() {
            return Err(error.into());
        }
        let failures = self.waiting.get(identity).map_or(0, |wait| wait.failures) + 1;
        let pause = backoff::doubled(SHORTEST_PAUSE, failures, LONGEST_PAUSE);
        let wait = Wait { until: Instant::now() + pause, failures, problem: Some(told(&error)) };
        self.waiting.insert(identity.clone(), wait);
        Ok(())
    }

    /// What should be and what should not, rendered if it is not at hand.
    fn rendered(&mut self) -> Result<&Rendered, kamaji_addons::Error> {
        let rendered = match self.rendered.take() {
            Some(rendered) => Rendered { until: Instant::now() + QUIET, ..rendered },
            None => Rendered::of(&self.plan.interior)?,
        };
        Ok(self.rendered.insert(rendered))
    }
}

impl Rendered {
    fn of(interior: &Interior) -> Result<Self, kamaji_addons::Error> {
        let by_identity = |object: Object| (object.identity(), object);
        let objects: BTreeMap<_, _> =
            kamaji_addons::desired(interior)?.into_iter().map(by_identity).collect();
        let mut leftovers: BTreeMap<_, _> =
            kamaji_addons::possible(interior).into_iter().map(by_identity).collect();
        leftovers.retain(|identity, _| !objects.contains_key(identity));
        Ok(Self { objects, leftovers, until: Instant::now() + QUIET })
    }
}

/// The object is there, and as it should be.
pub(super) async fn ensure(
    cluster: &Cluster,
    object: &Object,
    live: Option<&DynamicObject>,
) -> Result<(), Error> {
    let Object { resource, desired } = object;
    match cluster.settle_dynamic(resource, desired, live).await {
        // What cannot be changed (whom a binding binds to, whom a Deployment selects) is made anew.
        Err(error) if error.is_invalid() => {
            let Some(live) = cluster.get_dynamic(resource, desired).await? else { return Err(error) };
            if !would_be_accepted(cluster, object).await {
                return Err(error);
            }
            cluster.delete_dynamic(resource, &live).await?;
            cluster.settle_dynamic(resource, desired, None).await.map(drop)
        }
        settled => settled.map(drop),
    }
}

/// Whether the object is sound by itself. If not, the one that is there is better than none.
async fn would_be_accepted(cluster: &Cluster, object: &Object) -> bool {
    let Object { resource, desired } = object;
    let mut trial = desired.clone();
    trial.metadata.name = trial.metadata.name.map(|name| format!("{name}-trial"));
    let client = cluster.client().clone();
    let api: Api<DynamicObject> = match &desired.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, resource),
        None => Api::all_with(client, resource),
    };
    api.create(&PostParams { dry_run: true, ..PostParams::default() }, &trial).await.is_ok()
}

fn is_ours(live: &DynamicObject) -> bool {
    live.labels().get(labels::PROJECT).is_some_and(|value| value == labels::PROJECT_VALUE)
}

fn kinds<'a>(resources: impl Iterator<Item = &'a ApiResource>) -> Vec<Arc<ApiResource>> {
    let distinct: BTreeMap<&str, &ApiResource> =
        resources.map(|resource| (resource.plural.as_str(), resource)).collect();
    distinct.into_values().cloned().map(Arc::new).collect()
}

fn identity(resource: &ApiResource, live: &DynamicObject) -> Identity {
    Identity {
        group: resource.group.clone(),
        plural: resource.plural.clone(),
        namespace: live.metadata.namespace.clone(),
        name: live.metadata.name.clone().unwrap_or_default(),
    }
}

fn is_of(identity: &Identity, resource: &ApiResource) -> bool {
    identity.plural == resource.plural && identity.group == resource.group
}

fn place(identity: &Identity) -> String {
    match &identity.namespace {
        Some(namespace) => format!("{namespace}/{}", identity.name),
        None => identity.name.clone(),
    }
}
