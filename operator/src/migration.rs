//! A tenant's data moves to another DataStore: what `kamaji_resources::migration` decides is done.
//!
//! The status says where to and under which token before anything is made. A Job copies; the operator stops the tenant's
//! Pods once the source is fenced, and makes the switch when they are gone. Whatever is cut off is taken up by the next pass:
//! the marks in both datastores tell it how far things are.

mod engine;
mod leftovers;
mod news;
mod pods;

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use k8s_openapi::api::batch::v1::Job;
use kamaji_api::v1alpha1::Driver;
use kamaji_api::{TenantId, labels};
use kamaji_datastore::migrate::{self, Next, Position, Servers, Sight};
use kamaji_resources::Claim;
use kamaji_resources::conditions::{Concern, Finding};
use kamaji_resources::migration::{
    Attempt, Cleanup, Course, Errand, Given, Hint, Migration as Objects, Move, Retired, course, next,
};
use kamaji_resources::status::{self, Facts, Moves};
use kube::ResourceExt;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;

use self::engine::Engine;
pub(crate) use self::leftovers::{forget, withdraw};
use self::news::News;
use self::pods::{job_selector, living_pods};
use crate::cli::duration;
use crate::context::Context;
use crate::converge::Pass;
use crate::error::{Error, chain};
use crate::place::{Inheritance, Reach};
use crate::stores::{Examined, OpenStore};

const STAGE: &str = "migration";
/// How often a migration that goes on is looked at: nobody tells of what the Job does in the datastores.
pub(crate) const BEAT: Duration = Duration::from_secs(1);
/// How long a migration may take unless the tenant says otherwise, as in Go.
const TIMEOUT: Duration = Duration::from_mins(5);

/// What the command line decides about migrations.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where Jobs run: the operator's own namespace.
    pub namespace: String,
    /// Image of the Jobs: the operator's own. Without it nothing is migrated.
    pub image: Option<String>,
    /// Service account of the Jobs, which get no token of it.
    pub service_account: String,
    /// How long the data stays where the tenant has left it.
    pub retention: Duration,
}

/// Why a tenant with so many kinds elsewhere cannot be moved to a store of this driver, whatever the stores say.
pub(crate) fn obstacle(settings: &Settings, overrides: usize, target: Driver) -> Option<String> {
    if settings.image.is_none() {
        return Some(
            "the operator was started without --migrate-image: give it its own image there".to_owned(),
        );
    }
    (overrides > 0 && target != Driver::Etcd).then(|| {
        "single kinds are kept in other etcds, which only works beside etcd: remove spec.dataStoreOverrides first".to_owned()
    })
}

/// What a migration lets the rest of the pass do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stance {
    /// The tenant works where it is; it is looked at again after so long, if not before.
    Works {
        /// How long.
        again: Option<Duration>,
    },
    /// Its Pods are to be gone, and its account is left alone.
    Stands,
    /// The status was written, which starts another pass.
    Written,
}

/// Where the tenant is.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) open: &'a Arc<OpenStore>,
    pub(crate) claim: &'a Claim,
}

impl Pass<'_> {
    /// What can be done now about where the data is to be was done.
    pub(crate) async fn migrate(&self, site: Site<'_>, facts: &mut Facts) -> Result<Stance, Error> {
        let (wanted, tried) = (self.tenant.data_store.as_str(), self.memory.attempt.as_ref());
        if !self.memory.storage_is_set_up {
            return Ok(Stance::Works { again: None });
        }
        match course(site.claim, wanted, self.tenant.generation, tried) {
            Course::Rest => self.rest(site, facts).await,
            Course::Begin => self.begin(site, facts).await,
            Course::Continue(attempt) => Box::pin(self.go_on(site, &attempt, facts)).await,
            Course::TurnBack(attempt) => {
                facts.migrating = true;
                self.give_up(site, &attempt, format!("spec.dataStore says {wanted} now")).await
            }
            Course::Failed(attempt) => self.remain(site, &attempt, facts).await,
        }
    }

    /// The data is where it should be: what migrations have left is removed when its time has come.
    async fn rest(&self, site: Site<'_>, facts: &mut Facts) -> Result<Stance, Error> {
        let Claim { data_store, .. } = site.claim;
        let is_known = self.memory.attempt.is_some() || !self.memory.retired.is_empty() || self.was_told();
        if is_known {
            let left: Vec<&str> =
                self.memory.retired.iter().map(|left| left.claim.data_store.as_str()).collect();
            let kept = if left.is_empty() {
                String::new()
            } else {
                format!(
                    "; what was left in DataStore {} takes no writes and is kept for a while",
                    left.join(", ")
                )
            };
            let message = format!("the data is in DataStore {data_store}{kept}");
            facts.find(Concern::Migration, Finding::holds("Settled", message));
        }
        let stance = self.look_after_leftovers(site, facts).await?;
        match stance {
            Stance::Works { .. } if self.memory.attempt.is_none() => Ok(stance),
            Stance::Works { .. } if self.has_leftovers() => Ok(Stance::Works { again: Some(BEAT) }),
            Stance::Works { .. } => {
                let moves = Moves { attempt: None, retired: self.memory.retired.clone() };
                self.remember(site.claim, moves).await
            }
            Stance::Stands | Stance::Written => Ok(stance),
        }
    }

    /// The last try was given up: the tenant stays, and the conditions say why and what to do.
    async fn remain(&self, site: Site<'_>, attempt: &Attempt, facts: &mut Facts) -> Result<Stance, Error> {
        let (from, to) = (&site.claim.data_store, &attempt.claim.data_store);
        let message = format!(
            "the data stays in DataStore {from}, where the tenant works: the migration to {to} was given up, because {}; to \
             try again set spec.dataStore to {from} and then to {to}",
            attempt.failure.as_deref().unwrap_or_default(),
        );
        facts.find(Concern::SpecAccepted, Finding::fails("MigrationFailed", message.clone()));
        facts.find(Concern::Migration, Finding::fails("MigrationFailed", message));
        self.look_after_leftovers(site, facts).await
    }

    /// A try is written down, unless something is in its way that can be seen from here.
    async fn begin(&self, site: Site<'_>, facts: &mut Facts) -> Result<Stance, Error> {
        let wanted = self.tenant.data_store.as_str();
        if !self.tidy(site, facts).await? {
            return Ok(Stance::Works { again: Some(BEAT) });
        }
        let target = match self.target(wanted) {
            Ok(Some(target)) => target,
            Ok(None) => return Ok(Stance::Works { again: Some(BEAT) }),
            Err((reason, message)) => {
                let message = format!(
                    "the migration from DataStore {} waits for DataStore {wanted}: {message}",
                    site.claim.data_store
                );
                facts.find(Concern::Migration, Finding::fails(reason, message));
                return Ok(Stance::Works { again: None });
            }
        };
        let to = (wanted, target.driver);
        let attempt = Attempt::begin(site.claim, to, self.tenant.generation, self.clock.now);
        if let Err(why) = self.admit(site, (&target, &attempt)) {
            let finding = Finding::fails(
                "MigrationRefused",
                format!(
                    "the data stays in DataStore {} and is not moved to {wanted}: {why}; or set spec.dataStore back",
                    site.claim.data_store
                ),
            );
            facts.find(Concern::SpecAccepted, finding.clone());
            facts.find(Concern::Migration, finding);
            return Ok(Stance::Works { again: None });
        }
        let moves = Moves { attempt: Some(attempt), retired: self.memory.retired.clone() };
        self.remember(site.claim, moves).await
    }

    /// What nothing but another spec or another command line can mend.
    fn admit(&self, site: Site<'_>, (target, attempt): (&OpenStore, &Attempt)) -> Result<(), String> {
        let overrides = self.tenant.overrides.len() + self.memory.overrides.len();
        if let Some(why) = obstacle(&self.cx.settings.migration, overrides, target.driver) {
            return Err(why);
        }
        let way = engine::between(self, (site.open, site.claim), (target, &attempt.claim), &attempt.token);
        way.map_err(|error| error.chain())?;
        self.take_name(&attempt.claim).map_err(|error| error.chain())
    }

    /// The store that the data goes to; nothing if it has not been examined yet.
    fn target(&self, name: &str) -> Result<Option<Arc<OpenStore>>, (&'static str, String)> {
        match self.cx.stores.get(name) {
            Some(Examined::Usable(open)) => Ok(Some(open)),
            Some(Examined::Unusable { reason, message, .. }) => Err((reason, message)),
            None if self.cx.caches.data_stores.get(&ObjectRef::new(name)).is_none() => {
                Err(("DataStoreMissing", "it does not exist: create it, or name another".to_owned()))
            }
            None => Ok(None),
        }
    }

    /// A try goes on.
    async fn go_on(&self, site: Site<'_>, attempt: &Attempt, facts: &mut Facts) -> Result<Stance, Error> {
        facts.migrating = true;
        let engine = Engine::of(self, site, attempt)?;
        let sight = engine.sight(attempt).await.map_err(|error| {
            self.cx.tenants.unseen(&self.tenant.id);
            told(facts, error)
        })?;
        let hint = match sight.position {
            Position::Open => Hint::Open,
            Position::Fenced => Hint::Fenced,
            Position::Ready => Hint::Ready,
            Position::Switched => Hint::Switched,
            Position::Aborted => return self.give_up(site, attempt, "it was aborted".to_owned()).await,
        };
        let errand = self.errand(attempt);
        if let Some(why) = self.obstacle(&sight, hint, &errand) {
            return self.give_up(site, attempt, why).await;
        }
        let given = self.given(errand, hint, &sight).await?;
        let news = News { site, attempt, engine: &engine, sight: &sight, given: &given };
        facts.find(Concern::Migration, news.finding(self.timeout()));
        match next(&given) {
            Move::Send => {
                if let Engine::Whole { target, .. } = &engine {
                    self.send(site, attempt, target).await?;
                }
            }
            Move::Switch | Move::Arrive => {
                let stance = self.arrive(site, attempt, &engine, facts).await?;
                if stance == Stance::Written {
                    self.cx.event(self.tcp, EventType::Normal, "MigrationSwitched", news.arrival()).await;
                }
                return Ok(stance);
            }
            Move::GiveUp(why) => return self.give_up(site, attempt, why).await,
            Move::Wait | Move::Stop => {}
        }
        Ok(if hint == Hint::Open { Stance::Works { again: Some(BEAT) } } else { Stance::Stands })
    }

    /// What is known beside what the stores say.
    async fn given(&self, errand: Errand, hint: Hint, sight: &Sight) -> Result<Given, Error> {
        let pods = if hint == Hint::Ready { self.pods().await? } else { 0 };
        let trouble = if matches!(hint, Hint::Open | Hint::Fenced) { self.trouble().await } else { None };
        let silence = self.cx.tenants.silence(&self.tenant.id, (sight.sign.clone(), pods));
        Ok(Given { errand, hint, pods, silence, trouble })
    }

    /// What makes this try hopeless, and needs to be changed first.
    fn obstacle(&self, sight: &Sight, hint: Hint, errand: &Errand) -> Option<String> {
        let error = sight.obstacle.as_ref().filter(|_| matches!(hint, Hint::Open | Hint::Fenced))?;
        let is_cleaned = matches!(error, migrate::Error::InUse)
            && self.cleanup() == Cleanup::Allowed
            && matches!(errand, Errand::Absent | Errand::Running);
        (error.needs_a_change() && !is_cleaned).then(|| chain(error))
    }

    fn errand(&self, attempt: &Attempt) -> Errand {
        let job = job_of(self.cx, &self.tenant.id);
        Errand::of(job.as_deref(), attempt.started, self.timeout(), self.clock.now)
    }

    /// The Job is there, and what it is to know.
    async fn send(&self, site: Site<'_>, attempt: &Attempt, target: &Arc<OpenStore>) -> Result<(), Error> {
        let objects = self.objects(attempt);
        let route = engine::route(self, site, (target, attempt))?;
        let text = route.text().map_err(|source| Error::Route { source })?;
        let reach = Reach { tenant: &self.tenant.id, inheritance: Inheritance::Invited, stage: STAGE };
        self.cx.place(reach, &self.cx.caches.secrets, &objects.secret(text)).await?;
        let made = self.cx.cluster.create(&objects.job()).await;
        let made = made.map_err(|source| Error::kubernetes(STAGE, source))?.into_object();
        self.cx.caches.jobs.wrote(made);
        Ok(())
    }

    fn objects<'a>(&'a self, attempt: &'a Attempt) -> Objects<'a> {
        let settings = &self.cx.settings.migration;
        Objects {
            tenant: &self.tenant.id,
            target: &attempt.claim.data_store,
            namespace: &settings.namespace,
            image: settings.image.as_deref().unwrap_or_default(),
            service_account: &settings.service_account,
            timeout: self.timeout(),
            cleanup: self.cleanup(),
        }
    }

    /// The tenant is on the target, and that is written down.
    async fn arrive(
        &self,
        site: Site<'_>,
        attempt: &Attempt,
        engine: &Engine,
        facts: &mut Facts,
    ) -> Result<Stance, Error> {
        let Engine::Whole { migration, target } = engine else { return Ok(Stance::Stands) };
        let mut unwatched = |_| {};
        let ran = Box::pin(migration.run(Servers::Gone, &mut unwatched)).await;
        if ran.map_err(|source| told(facts, failed(attempt, source)))? != Next::Done {
            return Ok(Stance::Stands);
        }
        self.cx.tenants.unstored(&self.tenant.id, site.open);
        self.cx.tenants.unstored(&self.tenant.id, target);
        self.cx.tenants.unseen(&self.tenant.id);
        let here = |left: &Retired| left.claim.data_store == attempt.claim.data_store;
        let mut retired: Vec<Retired> =
            self.memory.retired.iter().filter(|left| !here(left)).cloned().collect();
        let (claim, token) = (site.claim.clone(), attempt.token.clone());
        retired.push(Retired { claim, token, since: self.clock.now });
        self.remember(&attempt.claim, Moves { attempt: None, retired }).await
    }

    /// The tenant can write where it was, and why is written down.
    async fn give_up(&self, site: Site<'_>, attempt: &Attempt, why: String) -> Result<Stance, Error> {
        let engine = Engine::of(self, site, attempt)?;
        match Box::pin(engine.migration().abort()).await {
            Ok(()) | Err(migrate::Error::NoSource) => {}
            // It was faster. What the spec wants is looked at again from there.
            Err(migrate::Error::Switched) => {
                return Box::pin(self.arrive(site, attempt, &engine, &mut Facts::default())).await;
            }
            Err(source) => return Err(failed(attempt, source)),
        }
        self.cx.tenants.unstored(&self.tenant.id, site.open);
        self.cx.tenants.unseen(&self.tenant.id);
        let attempt = Attempt { failure: Some(why), ..attempt.clone() };
        self.remember(site.claim, Moves { attempt: Some(attempt), retired: self.memory.retired.clone() })
            .await
    }

    /// The status says so, before anything else is done.
    async fn remember(&self, claim: &Claim, moves: Moves) -> Result<Stance, Error> {
        let facts = Facts { claim: Some(claim.clone()), moves: Some(moves), ..Facts::default() };
        let status = status::claimed(self.tenant, self.tcp.status.as_ref(), &facts, self.clock.now);
        Box::pin(self.cx.write_status(self.tcp, status)).await?;
        Ok(Stance::Written)
    }

    fn was_told(&self) -> bool {
        let conditions = self.tcp.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|condition| condition.type_ == Concern::Migration.as_str())
    }

    fn cleanup(&self) -> Cleanup {
        let wish = self.tcp.annotations().get(labels::CLEANUP_PRIOR_MIGRATION);
        if wish.is_some_and(|wish| wish == "true") { Cleanup::Allowed } else { Cleanup::Refused }
    }

    /// What cannot be read counts as not said.
    fn timeout(&self) -> Duration {
        self.annotated(labels::MIGRATION_TIMEOUT).unwrap_or(TIMEOUT)
    }

    fn retention(&self) -> SignedDuration {
        let wish = self.annotated(labels::MIGRATION_RETENTION);
        let retention = wish.unwrap_or(self.cx.settings.migration.retention);
        SignedDuration::try_from(retention).unwrap_or(SignedDuration::MAX)
    }

    fn annotated(&self, annotation: &str) -> Option<Duration> {
        duration(self.tcp.annotations().get(annotation)?).ok()
    }
}

fn failed(attempt: &Attempt, source: migrate::Error) -> Error {
    Error::Migration { data_store: attempt.claim.data_store.clone(), source: Box::new(source) }
}

/// Notes what stopped a migration.
fn told(facts: &mut Facts, error: Error) -> Error {
    facts.find(Concern::Migration, Finding::fails(error.reason(), error.chain()));
    error
}

/// The tenant's Job, whatever it does.
fn job_of(cx: &Context, id: &TenantId) -> Option<Arc<Job>> {
    let name = kamaji_resources::migration::name(id);
    cx.caches.jobs.get(&ObjectRef::new(&name).within(&cx.settings.migration.namespace))
}

/// The tenant that a Job of a migration is for.
pub(crate) fn tenant_of(job: &Job) -> Option<ObjectRef<kamaji_api::v1alpha1::TenantControlPlane>> {
    let labels = job.labels();
    let name = labels.get(kamaji_api::labels::MIGRATION_TENANT_NAME)?;
    let namespace = labels.get(kamaji_api::labels::MIGRATION_TENANT_NAMESPACE)?;
    Some(ObjectRef::new(name).within(namespace))
}
