//! What migrations leave: a Job, its Secret, the copy of a try that was given up, and the place that the tenant has left.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::TenantId;
use kamaji_resources::conditions::Concern;
use kamaji_resources::migration::{Retired, name};
use kamaji_resources::status::{Facts, Moves};
use kube::Resource;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;

use super::engine::{Engine, between};
use super::{BEAT, STAGE, Site, Stance, job_of, job_selector, living_pods};
use crate::context::Context;
use crate::converge::Pass;
use crate::error::{Error, chain};
use crate::stores::Examined;

/// How long something is left alone that cannot be removed now.
const PAUSE: Duration = Duration::from_secs(10);

impl Pass<'_> {
    /// What is left of tries is removed, and what the tenant has left when its time has come.
    pub(super) async fn look_after_leftovers(
        &self,
        site: Site<'_>,
        facts: &mut Facts,
    ) -> Result<Stance, Error> {
        if !self.tidy(site, facts).await? {
            return Ok(Stance::Works { again: Some(BEAT) });
        }
        let mut again: Option<Duration> = None;
        for left in &self.memory.retired {
            let until = left.since.saturating_add(self.retention()).unwrap_or(jiff::Timestamp::MAX);
            if let Ok(rest) = Duration::try_from(self.clock.now.duration_until(until))
                && !rest.is_zero()
            {
                again = Some(again.map_or(rest, |again| again.min(rest)));
                continue;
            }
            match self.drop_source(site, left).await {
                Ok(()) => return self.without(site, left).await,
                Err(why) => {
                    add(
                        facts,
                        &format!("it cannot be removed from DataStore {}: {why}", left.claim.data_store),
                    );
                    again = Some(PAUSE);
                }
            }
        }
        Ok(Stance::Works { again })
    }

    /// Whether something of a try that is over is still to be removed.
    pub(super) fn has_leftovers(&self) -> bool {
        job_of(self.cx, &self.tenant.id).is_some() || secret_of(self.cx, &self.tenant.id).is_some()
    }

    /// Nothing of the tenant is left in a place that it has left.
    async fn drop_source(&self, site: Site<'_>, left: &Retired) -> Result<(), String> {
        let source = match self.cx.stores.get(&left.claim.data_store) {
            Some(Examined::Usable(source)) => source,
            Some(Examined::Unusable { message, .. }) => return Err(message),
            None => return Err("it does not exist, or has not been examined yet".to_owned()),
        };
        let migration = between(self, (&source, &left.claim), (site.open, site.claim), &left.token);
        let migration = migration.map_err(|error| error.chain())?;
        self.cx.tenants.unstored(&self.tenant.id, &source);
        Box::pin(migration.drop_source()).await.map_err(|error| chain(&error))
    }

    async fn without(&self, site: Site<'_>, gone: &Retired) -> Result<Stance, Error> {
        let retired = self.memory.retired.iter().filter(|left| *left != gone).cloned().collect();
        let moves = Moves { attempt: self.memory.attempt.clone(), retired };
        let stance = self.remember(site.claim, moves).await?;
        let note = format!("nothing of this tenant is left in DataStore {}", gone.claim.data_store);
        self.cx.event(self.tcp, EventType::Normal, "MigrationSourceRemoved", note).await;
        Ok(stance)
    }

    /// Job, copy and Secret of a try that is over are gone; false while they are not. The Secret goes last: as long as it is
    /// there, something may be left.
    pub(super) async fn tidy(&self, site: Site<'_>, facts: &mut Facts) -> Result<bool, Error> {
        if let Some(job) = job_of(self.cx, &self.tenant.id) {
            remove(self.cx, job.as_ref()).await?;
            return Ok(false);
        }
        let Some(secret) = secret_of(self.cx, &self.tenant.id) else { return Ok(true) };
        if let Some(attempt) = self.memory.attempt.as_ref().filter(|attempt| attempt.failure.is_some()) {
            let discarded = match Engine::of(self, site, attempt)? {
                Engine::Half { why, .. } => Err(why),
                Engine::Whole { migration, target } => {
                    self.cx.tenants.unstored(&self.tenant.id, &target);
                    Box::pin(migration.discard_target()).await.map_err(|error| chain(&error))
                }
            };
            if let Err(why) = discarded {
                let store = &attempt.claim.data_store;
                add(
                    facts,
                    &format!("what it has left in DataStore {store} is removed once that works: {why}"),
                );
                return Ok(false);
            }
        }
        remove(self.cx, secret.as_ref()).await?;
        Ok(true)
    }
}

/// Adds to what is told of migrations.
fn add(facts: &mut Facts, note: &str) {
    if let Some(finding) = facts.findings.get_mut(&Concern::Migration) {
        finding.message = format!("{}; {note}", finding.message);
    }
}

fn secret_of(cx: &Context, id: &TenantId) -> Option<Arc<Secret>> {
    cx.caches.secrets.get(&ObjectRef::new(&name(id)).within(&cx.settings.migration.namespace))
}

/// The object is deleted, or is about to go already.
async fn remove(cx: &Context, object: &impl Resource<DynamicType = ()>) -> Result<(), Error> {
    if object.meta().deletion_timestamp.is_none() {
        cx.cluster.delete(object).await.map_err(|source| Error::kubernetes(STAGE, source))?;
    }
    Ok(())
}

/// Nobody copies any more for a tenant that is to go.
pub(crate) async fn withdraw(cx: &Context, id: &TenantId) -> Result<(), Error> {
    let Some(job) = job_of(cx, id) else { return Ok(()) };
    remove(cx, job.as_ref()).await?;
    let selector = job_selector(id);
    while living_pods(cx, &cx.settings.migration.namespace, &selector).await? > 0 {
        tokio::time::sleep(BEAT).await;
    }
    Ok(())
}

/// What told the Job of both stores is gone.
pub(crate) async fn forget(cx: &Context, id: &TenantId) -> Result<(), Error> {
    match secret_of(cx, id) {
        Some(secret) => remove(cx, secret.as_ref()).await,
        None => Ok(()),
    }
}
