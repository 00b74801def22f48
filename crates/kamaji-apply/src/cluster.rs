//! The writer itself.

use std::{fmt, time::Duration};

use kube::{
    Client, Resource,
    api::{GetParams, Patch, PatchParams},
    core::Request,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Error, ObjectId,
    error::Failure,
    exchange::{self, READ_DEADLINE, WRITE_DEADLINE},
    settled,
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
        let object = ObjectId::of(desired);
        let sent = async { self.patch(&object, &main_body(desired)?, Address::Main).await };
        let made = sent.await.map_err(|source| Error::Apply {
            object: object.clone(),
            source: Box::new(source),
        })?;
        tracing::debug!(%object, manager = self.manager, "applied");
        Ok(made)
    }

    /// Makes `desired` true, without a request when `live` shows that it is true already.
    ///
    /// `live` is the object as a cache has it, with its `managedFields`; see [`settled`] for what is compared. Without
    /// `live` the object is applied.
    pub async fn settle<'a, K>(&self, desired: &K, live: Option<&'a K>) -> Result<Applied<'a, K>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        match live {
            Some(live) if settled(desired, live, self.manager) => Ok(Applied::Unchanged(live)),
            _ => self.apply(desired).await.map(|made| self.compared(live, made)),
        }
    }

    /// Reads one object, past every cache, within 10 s; `None` when it does not exist.
    pub async fn get_opt<K>(&self, namespace: Option<&str>, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let object = ObjectId::new::<K>(namespace, name);
        match self.get(&object).await {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(source) => Err(Error::Read {
                object,
                source: Box::new(source),
            }),
        }
    }

    pub(crate) async fn get<K>(&self, object: &ObjectId) -> Result<K, Failure>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let path = exchange::collection::<K>(object)?;
        let request = Request::new(path)
            .get(&object.name, &GetParams::default())
            .map_err(Failure::build)?;
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
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        let request = Request::new(exchange::collection::<K>(object)?);
        let params = PatchParams::apply(self.manager).force();
        let patch = Patch::Apply(body);
        let request = match address {
            Address::Main => request.patch(&object.name, &params, &patch),
            Address::Status => request.patch_subresource("status", &object.name, &params, &patch),
        };
        exchange::read_object(&self.client, request.map_err(Failure::build)?, WRITE_DEADLINE).await
    }

    /// Tells a request that changed something from one that the server found to be true already.
    pub(crate) fn compared<'a, K>(&self, live: Option<&'a K>, made: K) -> Applied<'a, K>
    where
        K: Resource<DynamicType = ()>,
    {
        let version = |object: &K| object.meta().resource_version.clone();
        match live {
            Some(live) if version(live).is_some() && version(live) == version(&made) => {
                Applied::Unchanged(live)
            }
            _ => {
                let generation = made.meta().generation;
                tracing::info!(object = %ObjectId::of(&made), manager = self.manager, generation, "changed");
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
        f.debug_struct("Cluster")
            .field("manager", &self.manager)
            .finish_non_exhaustive()
    }
}

/// How long each kind of request may take.
impl Cluster {
    /// The longest that a write takes, whatever the server does.
    pub const WRITE_DEADLINE: Duration = WRITE_DEADLINE;
    /// The longest that a read takes, whatever the server does.
    pub const READ_DEADLINE: Duration = READ_DEADLINE;
}
