//! Writes that mean one very object, and none that came after it under the same name.

use kube::core::{ObjectMeta, PartialObjectMeta, TypeMeta};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::Error;

/// The metadata of a write that is refused if the object is another one by now.
pub(crate) fn of<K: Resource>(object: &K) -> ObjectMeta {
    let meta = object.meta();
    ObjectMeta {
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        ..ObjectMeta::default()
    }
}

impl Context {
    /// The object cannot go before we have removed `finalizer`. No request is made when it is so already.
    pub(crate) async fn hold<K>(&self, stage: &'static str, object: &K, finalizer: &str) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()> + DeserializeOwned,
    {
        if object.finalizers().iter().any(|name| name == finalizer) {
            return Ok(());
        }
        let desired = PartialObjectMeta::<K> {
            types: Some(TypeMeta::resource::<K>()),
            metadata: ObjectMeta { finalizers: Some(vec![finalizer.to_owned()]), ..of(object) },
            _phantom: std::marker::PhantomData,
        };
        self.cluster.apply(&desired).await.map(drop).map_err(|source| Error::kubernetes(stage, source))
    }
}
