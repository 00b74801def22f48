//! Putting one object in its place: created if absent, applied if it drifted, left alone if it is as it should be or not ours.

use std::fmt::Debug;
use std::sync::Arc;

use kamaji_api::TenantId;
use kamaji_apply::{Applied, Created, ObjectId};
use kamaji_resources::object::{Ownership, ownership};
use kube::Resource;
use kube::runtime::reflector::{Lookup, ObjectRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::Cache;
use crate::context::Context;
use crate::error::Error;

/// Whether an object of a namesake may be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inheritance {
    /// The tenant was restored from a backup, with its status: what bears its name was its own.
    Accepted,
    /// The tenant is new: what bears its name is about to be collected.
    Refused,
    /// The tenant says that this very object may be used, whoever made it.
    Invited,
}

/// What a tenant may touch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) inheritance: Inheritance,
    pub(crate) stage: &'static str,
}

impl Reach<'_> {
    /// Refuses what is somebody else's.
    pub(crate) fn check<K: Resource<DynamicType = ()>>(&self, live: &K) -> Result<(), Error> {
        match ownership(self.tenant, live.meta()) {
            Ownership::Ours => Ok(()),
            Ownership::Inherited if self.inheritance == Inheritance::Accepted => Ok(()),
            _ if self.inheritance == Inheritance::Invited => Ok(()),
            _ => Err(Error::NameConflict { object: ObjectId::of(live) }),
        }
    }

    fn failed(&self, source: kamaji_apply::Error) -> Error {
        Error::kubernetes(self.stage, source)
    }
}

/// A kind of object that we make, watch and apply.
pub(crate) trait Managed:
    Resource<DynamicType = ()>
    + Lookup<DynamicType = ()>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
}

impl<K> Managed for K where
    K: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static
{
}

impl Context {
    /// The object is as `desired`, and the newest state of it is returned.
    ///
    /// No request is made when it is so already.
    pub(crate) async fn place<K>(
        &self,
        reach: Reach<'_>,
        cache: &Cache<K>,
        desired: &K,
    ) -> Result<Arc<K>, Error>
    where
        K: Managed,
    {
        let live = match cache.get(&ObjectRef::from_obj(desired)) {
            Some(live) => live,
            None => match self.cluster.create(desired).await.map_err(|source| reach.failed(source))? {
                Created::Made(made) => return Ok(cache.wrote(made)),
                Created::Existed(found) => Arc::new(found),
            },
        };
        reach.check(live.as_ref())?;
        match self.cluster.settle(desired, Some(live.as_ref())).await {
            Ok(Applied::Unchanged(_)) => Ok(live),
            Ok(Applied::Changed(made)) => Ok(cache.wrote(made)),
            Err(source) => Err(reach.failed(source)),
        }
    }

    /// As [`Context::place`], for objects that hold nothing of their own: one that cannot be changed into what it should
    /// be is deleted, and made anew by the pass that its deletion starts.
    pub(crate) async fn place_or_replace<K>(
        &self,
        reach: Reach<'_>,
        cache: &Cache<K>,
        desired: &K,
    ) -> Result<Arc<K>, Error>
    where
        K: Managed,
    {
        let placed = self.place(reach, cache, desired).await;
        let Err(Error::Kubernetes { source, .. }) = &placed else { return placed };
        if !is_immutable(source) {
            return placed;
        }
        if let Some(live) = cache.get(&ObjectRef::from_obj(desired)) {
            tracing::warn!(object = %ObjectId::of(desired), "cannot be changed in place, so it is replaced");
            self.cluster.delete(live.as_ref()).await.map_err(|source| reach.failed(source))?;
        }
        placed
    }
}

fn is_immutable(error: &kamaji_apply::Error) -> bool {
    error.is_invalid()
        && error.status().is_some_and(|status| {
            ["immutable", "may not be changed", "may not change"]
                .iter()
                .any(|words| status.message.contains(words))
        })
}
