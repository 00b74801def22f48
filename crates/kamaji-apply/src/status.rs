//! The status of an object, which has an address and owners of its own.

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use crate::{
    Applied, Cluster, Error, ObjectId, cluster::Address, error::Failure, exchange, status_difference,
};

impl Cluster {
    /// Makes the status of `desired` true and returns what the server made of it, within 30 s.
    ///
    /// Nothing but the status is sent, and the fences (`metadata.uid`, `metadata.resourceVersion`) if `desired` has
    /// them. The guarantees are those of [`Cluster::apply`]; the object must exist.
    pub async fn apply_status<K>(&self, desired: &K) -> Result<K, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let object = ObjectId::of(desired);
        let sent = async { self.patch(&object, &body(desired, &object)?, Address::Status).await };
        let made = sent
            .await
            .map_err(|source| Error::ApplyStatus { object: object.clone(), source: Box::new(source) })?;
        tracing::debug!(%object, manager = self.manager, "applied status");
        Ok(made)
    }

    /// Makes the status of `desired` true, without a request when `live` shows that it is true already.
    pub async fn settle_status<'a, K>(
        &self,
        desired: &K,
        live: Option<&'a K>,
    ) -> Result<Applied<'a, K>, Error>
    where
        K: Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        let object = ObjectId::of(desired);
        let Some(before) = live else {
            return self.apply_status(desired).await.map(|made| self.compared(&object, None, made));
        };
        let Some(difference) = status_difference(desired, before, self.manager) else {
            return Ok(Applied::Unchanged(before));
        };
        tracing::debug!(%object, manager = self.manager, %difference, "differs");
        self.apply_status(desired).await.map(|made| self.compared(&object, live, made))
    }
}

fn body<K>(desired: &K, object: &ObjectId) -> Result<Value, Failure>
where
    K: Resource<DynamicType = ()> + Serialize,
{
    let status = exchange::body(desired)?.as_object_mut().and_then(|fields| fields.remove("status"));
    let meta = desired.meta();
    let metadata: Map<String, Value> = [
        ("name", Some(object.name.as_str())),
        ("namespace", object.namespace.as_deref()),
        ("uid", meta.uid.as_deref()),
        ("resourceVersion", meta.resource_version.as_deref()),
    ]
    .into_iter()
    .filter_map(|(field, value)| Some((field.to_owned(), value?.into())))
    .collect();
    let mut body = json!({ "apiVersion": object.api_version, "kind": object.kind, "metadata": metadata });
    if let Some(status) = status {
        body["status"] = status;
    }
    Ok(body)
}
