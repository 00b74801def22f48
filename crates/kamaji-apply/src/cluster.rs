//! The writer itself.

use std::{fmt, time::Duration};

use http::{Method, header::CONTENT_TYPE};
use kube::{
    Client, Resource,
    api::{GetParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject, Request},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Error, ObjectId,
    error::Failure,
    exchange::{self, READ_DEADLINE, WRITE_DEADLINE},
    settled::difference_in,
};

/// A Kubernetes API, and the name under which we write to it.
///
/// Cheap to clone: clones share their connections.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) client: Client,
    pub(crate) manager: &'static str,
}

/// What [`Cluster::settle`] found or did.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied<'a, K> {
    /// Everything was there already; nothing is different now.
    Unchanged(&'a K),
    /// The object is different now, or new: this is what the server made of it.
    Changed(K),
}

impl<K> Applied<'_, K> {
    /// The object as it is now.
    pub fn object(&self) -> &K {
        match self {
            Self::Unchanged(object) => object,
            Self::Changed(object) => object,
        }
    }

    /// The object as it is now; copied when it was there already.
    pub fn into_object(self) -> K
    where
        K: Clone,
    {
        match self {
            Self::Unchanged(object) => object.clone(),
            Self::Changed(object) => object,
        }
    }

    /// Whether the object is different now.
    pub fn is_changed(&self) -> bool {
        matches!(self, Self::Changed(_))
    }
}

impl Cluster {
    /// Writes to the API behind `client` as `manager` (at most 128 characters).
    ///
    /// The manager is what ownership of fields is booked under, so a program keeps its name for ever, and two writers
    /// of one object have two names.
    pub fn new(client: Client, manager: &'static str) -> Self {
        Self { client, manager }
    }

    /// The client, for reads and watches.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The name under which we write.
    pub fn manager(&self) -> &'static str {
        self.manager
    }

    /// Makes `desired` true and returns what the server made of it, within 30 s.
    ///
    /// # Guarantees
    /// Fields that this manager said before and no longer says are removed; other managers' fields stay; a field that
    /// both claim is ours. Applying the same twice leaves the `resourceVersion` as it was. `status` is not sent, see
    /// [`Cluster::apply_status`].
    ///
    /// # Fences
    /// With `metadata.uid` the object must exist and be this very one, with `metadata.resourceVersion` it must not have
    /// changed since; else the result is a [conflict](Error::is_conflict).
    pub async fn apply<K>(&self, desired: &K) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        self.apply_at(&ObjectId::of(desired), desired).await
    }

    async fn apply_at<K>(&self, object: &ObjectId, desired: &K) -> Result<K, Error>
    where
        K: Serialize + DeserializeOwned,
    {
        let sent = async { self.patch(object, &main_body(desired)?, Address::Main).await };
        let made =
            sent.await.map_err(|source| Error::Apply { object: object.clone(), source: Box::new(source) })?;
        tracing::debug!(%object, manager = self.manager, "applied");
        Ok(made)
    }

    /// Makes `desired` true, without a request when `live` shows that it is true already.
    ///
    /// `live` is the object as a cache has it, with its `managedFields`; see [`settled`](crate::settled) for what is
    /// compared. Without `live` the object is applied.
    ///
    /// What others added stays, unless the object is invalid together with it (say they made a volume of ours into
    /// another kind of volume): then everything that others wrote into the object goes, but for its metadata and what
    /// came through a subresource.
    pub async fn settle<'a, K>(&self, desired: &K, live: Option<&'a K>) -> Result<Applied<'a, K>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        self.settle_at(&ObjectId::of(desired), desired, live).await
    }

    /// The same as [`Cluster::settle`] for an object of a kind that is known only at run time.
    pub async fn settle_dynamic<'a>(
        &self,
        resource: &ApiResource,
        desired: &DynamicObject,
        live: Option<&'a DynamicObject>,
    ) -> Result<Applied<'a, DynamicObject>, Error> {
        self.settle_at(&ObjectId::of_dynamic(resource, desired), desired, live).await
    }

    async fn settle_at<'a, K>(
        &self,
        object: &ObjectId,
        desired: &K,
        live: Option<&'a K>,
    ) -> Result<Applied<'a, K>, Error>
    where
        K: Resource + Serialize + DeserializeOwned,
    {
        let Some(before) = live else {
            return self.apply_at(object, desired).await.map(|made| self.compared(object, None, made));
        };
        let Some(difference) = difference_in(&object.api_version, desired, before, self.manager) else {
            return Ok(Applied::Unchanged(before));
        };
        tracing::debug!(%object, manager = self.manager, %difference, "differs");
        let made = match self.apply_at(object, desired).await {
            Err(error) if error.is_invalid() => {
                Box::pin(self.apply_alone(object, desired, before, error)).await?
            }
            applied => applied?,
        };
        Ok(self.compared(object, live, made))
    }

    /// Applies what was invalid together with what others wrote once more, without that.
    async fn apply_alone<K>(
        &self,
        object: &ObjectId,
        desired: &K,
        live: &K,
        invalid: Error,
    ) -> Result<K, Error>
    where
        K: Resource + Serialize + DeserializeOwned,
    {
        match self.evict(object, live).await? {
            Some(_) => self.apply_at(object, desired).await,
            None => Err(invalid),
        }
    }

    /// Reads one object, past every cache, within 10 s; `None` when it does not exist.
    pub async fn get_opt<K>(&self, namespace: Option<&str>, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        self.get_at(ObjectId::new::<K>(namespace, name)).await
    }

    /// The same as [`Cluster::get_opt`] for an object of a kind that is known only at run time: the one that has the
    /// name and namespace of `named`.
    pub async fn get_dynamic(
        &self,
        resource: &ApiResource,
        named: &DynamicObject,
    ) -> Result<Option<DynamicObject>, Error> {
        self.get_at(ObjectId::of_dynamic(resource, named)).await
    }

    async fn get_at<K: DeserializeOwned>(&self, object: ObjectId) -> Result<Option<K>, Error> {
        match self.get(&object).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(source) => Err(Error::Read { object, source: Box::new(source) }),
        }
    }

    pub(crate) async fn get<K>(&self, object: &ObjectId) -> Result<K, Failure>
    where
        K: DeserializeOwned,
    {
        let path = exchange::collection(object)?;
        let request = Request::new(path).get(&object.name, &GetParams::default()).map_err(Failure::build)?;
        exchange::read_object(&self.client, request, READ_DEADLINE).await
    }

    /// Sends a forced server-side apply.
    pub(crate) async fn patch<K>(
        &self,
        object: &ObjectId,
        body: &Value,
        address: Address,
    ) -> Result<K, Failure>
    where
        K: DeserializeOwned,
    {
        let request = Request::new(exchange::collection(object)?);
        let params = PatchParams::apply(self.manager).force();
        let patch = Patch::Apply(body);
        let request = match address {
            Address::Main => request.patch(&object.name, &params, &patch),
            Address::Status => request.patch_subresource("status", &object.name, &params, &patch),
        };
        exchange::read_object(&self.client, request.map_err(Failure::build)?, WRITE_DEADLINE).await
    }

    /// Sends a JSON patch and returns the answer's body.
    pub(crate) async fn json_patch(&self, object: &ObjectId, patch: &Value) -> Result<Vec<u8>, Failure> {
        let collection = exchange::collection(object)?;
        let request = http::Request::builder()
            .method(Method::PATCH)
            .uri(format!("{collection}/{}?fieldManager={}", object.name, self.manager))
            .header(CONTENT_TYPE, "application/json-patch+json")
            .body(patch.to_string().into_bytes())
            .map_err(Failure::build)?;
        exchange::send(&self.client, request, WRITE_DEADLINE).await
    }

    /// Tells a request that changed something from one that the server found to be true already.
    pub(crate) fn compared<'a, K>(&self, object: &ObjectId, live: Option<&'a K>, made: K) -> Applied<'a, K>
    where
        K: Resource,
    {
        let version = |object: &K| object.meta().resource_version.clone();
        match live {
            Some(live) if version(live).is_some() && version(live) == version(&made) => {
                Applied::Unchanged(live)
            }
            _ => {
                let generation = made.meta().generation;
                tracing::info!(%object, manager = self.manager, generation, "changed");
                Applied::Changed(made)
            }
        }
    }
}

/// Which of an object's addresses a patch goes to.
#[derive(Clone, Copy)]
pub(crate) enum Address {
    Main,
    Status,
}

/// What the server is to see of an object, without its status.
pub(crate) fn main_body(desired: &impl Serialize) -> Result<Value, Failure> {
    let mut body = exchange::body(desired)?;
    if let Some(fields) = body.as_object_mut() {
        fields.remove("status");
    }
    Ok(body)
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("manager", &self.manager).finish_non_exhaustive()
    }
}

/// How long each kind of request may take.
impl Cluster {
    /// The longest that a write takes, whatever the server does.
    pub const WRITE_DEADLINE: Duration = WRITE_DEADLINE;
    /// The longest that a read takes, whatever the server does.
    pub const READ_DEADLINE: Duration = READ_DEADLINE;
}
