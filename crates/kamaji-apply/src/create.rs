//! Objects that are made once, for what cannot be made twice.

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Cluster, Error, ObjectId,
    cluster::{Address, main_body},
    error::Failure,
};

/// A `resourceVersion` that no object ever has.
///
/// An apply that names a version fails on an object of another version, and creates one that is absent; so this one can
/// create and nothing else. A POST would do that too, but would book the fields under the operation `Update`, where a
/// later apply by the same manager cannot remove them.
const NO_VERSION: &str = "9223372036854775807";

/// What [`Cluster::create`] found or did.
#[derive(Clone, Debug, PartialEq)]
pub enum Created<K> {
    /// The object was absent and is now as desired.
    Made(K),
    /// The object was there already, like this, and was not touched. Whose it is, is for the caller to judge.
    Existed(K),
}

impl<K> Created<K> {
    /// The object as it is now, whoever made it.
    pub fn into_object(self) -> K {
        match self {
            Self::Made(object) | Self::Existed(object) => object,
        }
    }
}

impl Cluster {
    /// Creates `desired` if it does not exist, and otherwise reads what exists, past every cache, and leaves it alone.
    ///
    /// For random material (keys, passwords) that must be born once: of two callers that race, exactly one makes its
    /// object, and both return that same one. The fields are booked as if applied, so [`Cluster::apply`] may follow.
    pub async fn create<K>(&self, desired: &K) -> Result<Created<K>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let object = ObjectId::of(desired);
        match self.create_or_read(&object, desired).await {
            Ok(Created::Made(made)) => {
                tracing::info!(%object, manager = self.manager, "created");
                Ok(Created::Made(made))
            }
            Ok(existed) => Ok(existed),
            Err(source) => Err(Error::Create { object, source: Box::new(source) }),
        }
    }

    async fn create_or_read<K>(&self, object: &ObjectId, desired: &K) -> Result<Created<K>, Failure>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let mut body = main_body(desired)?;
        body["metadata"]["resourceVersion"] = NO_VERSION.into();
        let conflict = match self.patch(object, &body, Address::Main).await {
            Ok(made) => return Ok(Created::Made(made)),
            Err(failure) if failure.is_conflict() => failure,
            Err(failure) => return Err(failure),
        };
        match self.get(object).await {
            Ok(found) => Ok(Created::Existed(found)),
            // Deleted in between: the next try may create it.
            Err(failure) if failure.is_not_found() => Err(conflict),
            Err(failure) => Err(failure),
        }
    }
}
