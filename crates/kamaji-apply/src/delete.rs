//! Deleting the very object that was meant.

use kube::{
    Resource,
    api::{DeleteParams, GetParams, Preconditions},
    core::{ApiResource, DynamicObject, ObjectMeta, Request, metadata::PartialObjectMeta},
};
use serde_json::Value;

use crate::{
    Cluster, Error, ObjectId,
    error::Failure,
    exchange::{self, READ_DEADLINE, WRITE_DEADLINE},
};

/// What [`Cluster::delete`] found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It was there and is gone now.
    Gone,
    /// It is marked for deletion and stays until its finalizers (or, for a Pod, its processes) have ended.
    Terminating,
    /// It was gone before we came.
    AlreadyGone,
    /// It was gone before we came; another object has its name now, and was not touched.
    Replaced,
}

impl Cluster {
    /// Deletes the object that was read as `live`, and no other, within 30 s.
    ///
    /// The server compares the UID of `live`, and its `resourceVersion` if it has one: an object that changed since is
    /// a [conflict](Error::is_conflict), so clear the version of an object that may go whatever became of it. What it
    /// owns is collected in the background.
    pub async fn delete<K>(&self, live: &K) -> Result<Deleted, Error>
    where
        K: Resource<DynamicType = ()>,
    {
        self.delete_at(ObjectId::of(live), live.meta()).await
    }

    /// The same as [`Cluster::delete`] for an object of a kind that is known only at run time.
    pub async fn delete_dynamic(
        &self,
        resource: &ApiResource,
        live: &DynamicObject,
    ) -> Result<Deleted, Error> {
        self.delete_at(ObjectId::of_dynamic(resource, live), &live.metadata).await
    }

    async fn delete_at(&self, object: ObjectId, live: &ObjectMeta) -> Result<Deleted, Error> {
        match self.delete_exactly(&object, live).await {
            Ok(deleted) => {
                if matches!(deleted, Deleted::Gone | Deleted::Terminating) {
                    tracing::info!(%object, manager = self.manager, "deleted");
                }
                Ok(deleted)
            }
            Err(source) => Err(Error::Delete { object, source: Box::new(source) }),
        }
    }

    async fn delete_exactly(&self, object: &ObjectId, meta: &ObjectMeta) -> Result<Deleted, Failure> {
        let Some(uid) = meta.uid.clone() else {
            return Err(Failure::NeverRead);
        };
        let preconditions =
            Preconditions { uid: Some(uid.clone()), resource_version: meta.resource_version.clone() };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        let request = Request::new(exchange::collection(object)?);
        let request = request.delete(&object.name, &params).map_err(Failure::build)?;
        let failure = match exchange::read_object::<Value>(&self.client, request, WRITE_DEADLINE).await {
            // The server answers with a `Status` when the object is gone, or with the object as it was or still is.
            Ok(answer) => return Ok(verdict(&answer)),
            Err(failure) => failure,
        };
        match failure.status() {
            Some(status) if status.is_not_found() => Ok(Deleted::AlreadyGone),
            Some(status) if status.is_conflict() => self.why_not(object, &uid, failure).await,
            _ => Err(failure),
        }
    }

    /// Tells a changed object, which is for the caller to judge again, from another object.
    async fn why_not(&self, object: &ObjectId, uid: &str, conflict: Failure) -> Result<Deleted, Failure> {
        let request = Request::new(exchange::collection(object)?);
        let request = request.get_metadata(&object.name, &GetParams::default()).map_err(Failure::build)?;
        match exchange::read_object::<PartialObjectMeta>(&self.client, request, READ_DEADLINE).await {
            Ok(found) if found.metadata.uid.as_deref() == Some(uid) => Err(conflict),
            Ok(_) => Ok(Deleted::Replaced),
            Err(failure) if failure.is_not_found() => Ok(Deleted::AlreadyGone),
            Err(failure) => Err(failure),
        }
    }
}

fn verdict(answer: &Value) -> Deleted {
    if answer.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
        Deleted::Terminating
    } else {
        Deleted::Gone
    }
}
