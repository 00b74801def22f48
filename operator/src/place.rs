//! Putting one object in its place: created if absent, applied if it drifted, left alone if it is as it should be or not ours.

use std::fmt::Debug;
use std::sync::Arc;

use kamaji_api::{TenantId, labels};
use kamaji_apply::{Applied, Created, Manner, ObjectId, settled, writers};
use kamaji_resources::object::{Ownership, is_left_without_owner, ownership};
use kube::Resource;
use kube::runtime::reflector::{Lookup, ObjectRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::{Cache, Kept};
use crate::context::{Context, FIELD_MANAGER};
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
            Ownership::Foreign
                if self.inheritance == Inheritance::Accepted && is_left_without_owner(live.meta()) =>
            {
                Ok(())
            }
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
    + Kept
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
        + Kept
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
        let live = match self.let_go(reach, cache.get(&ObjectRef::from_obj(desired))).await? {
            Some(live) => live,
            None => match self.cluster.create(desired).await.map_err(|source| reach.failed(source))? {
                Created::Made(made) => return Ok(cache.wrote(made)),
                Created::Existed(found) => Arc::new(found),
            },
        };
        reach.check(live.as_ref())?;
        let live = self.own(reach, cache, desired, live).await?;
        match self.cluster.settle(desired, Some(live.as_ref())).await {
            Ok(Applied::Unchanged(_)) => Ok(live),
            Ok(Applied::Changed(made)) => Ok(cache.wrote(made)),
            Err(source) => Err(reach.failed(source)),
        }
    }

    /// What the Go operator owns of an object becomes ours before we change what we have said of it: what we say no longer
    /// would stay for ever otherwise. Both write under the same name, one by updates, the other by applying.
    async fn own<K>(
        &self,
        reach: Reach<'_>,
        cache: &Cache<K>,
        desired: &K,
        live: Arc<K>,
    ) -> Result<Arc<K>, Error>
    where
        K: Managed,
    {
        let writers = writers(live.meta(), &[]);
        let wrote =
            |manner| writers.iter().any(|writer| writer.manager == FIELD_MANAGER && writer.manner == manner);
        let is_shared = wrote(Manner::Applied) && wrote(Manner::Updated);
        if !is_shared || settled(desired, live.as_ref(), FIELD_MANAGER) {
            return Ok(live);
        }
        let taken = self.cluster.adopt(live.as_ref(), &[FIELD_MANAGER]).await;
        Ok(taken.map_err(|source| reach.failed(source))?.map_or(live, |taken| cache.wrote(taken)))
    }

    /// An object that is being deleted and waits for us is let go, so that it can be made anew; `None` is left of it.
    async fn let_go<K>(&self, reach: Reach<'_>, live: Option<Arc<K>>) -> Result<Option<Arc<K>>, Error>
    where
        K: Managed,
    {
        let Some(live) = live else { return Ok(None) };
        if !waits_for_us(live.as_ref()) {
            return Ok(Some(live));
        }
        reach.check(live.as_ref())?;
        let released = self.cluster.remove_finalizers(live.as_ref(), OUR_FINALIZERS).await;
        released.map(|()| None).map_err(|source| reach.failed(source))
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

/// Finalizers that we put on objects other than the tenant.
const OUR_FINALIZERS: &[&str] = &[labels::DATASTORE_SECRET_FINALIZER];

fn waits_for_us(object: &impl Resource<DynamicType = ()>) -> bool {
    let meta = object.meta();
    let finalizers = meta.finalizers.iter().flatten();
    meta.deletion_timestamp.is_some()
        && finalizers.into_iter().any(|name| OUR_FINALIZERS.contains(&name.as_str()))
}

fn is_immutable(error: &kamaji_apply::Error) -> bool {
    error.is_invalid()
        && error.status().is_some_and(|status| {
            ["immutable", "may not be changed", "may not change"]
                .iter()
                .any(|words| status.message.contains(words))
        })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;

    use super::*;

    #[test]
    fn only_what_is_being_deleted_and_has_our_finalizer_waits_for_us() {
        let secret = |meta: serde_json::Value| -> Secret {
            serde_json::from_value(serde_json::json!({ "metadata": meta })).unwrap()
        };
        let ours = labels::DATASTORE_SECRET_FINALIZER;
        let going = "2026-01-01T00:00:00Z";
        let json = |text: String| serde_json::from_str(&text).unwrap();
        for (meta, expected) in [
            (format!(r#"{{"finalizers":["{ours}"],"deletionTimestamp":"{going}"}}"#), true),
            (format!(r#"{{"finalizers":["x/y","{ours}"],"deletionTimestamp":"{going}"}}"#), true),
            (format!(r#"{{"finalizers":["x/y"],"deletionTimestamp":"{going}"}}"#), false),
            (format!(r#"{{"finalizers":["{ours}"]}}"#), false),
        ] {
            assert_eq!(waits_for_us(&secret(json(meta.clone()))), expected, "{meta}");
        }
    }
}
