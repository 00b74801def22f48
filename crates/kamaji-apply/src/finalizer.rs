//! Finalizers, removed one by one.

use kube::Resource;
use serde_json::{Value, json};

use crate::{Cluster, Error, ObjectId};

/// The patch that takes `names` from the finalizers of an object; `None` when it has none of them.
///
/// It names the version that was read, so a finalizer that somebody adds meanwhile is not lost.
fn release<K: Resource>(live: &K, names: &[&str]) -> Option<Value> {
    let meta = live.meta();
    let held = meta.finalizers.as_deref().unwrap_or_default();
    let kept: Vec<&String> = held.iter().filter(|name| !names.contains(&name.as_str())).collect();
    (kept.len() < held.len()).then(|| {
        json!([
            { "op": "replace", "path": "/metadata/finalizers", "value": kept },
            { "op": "replace", "path": "/metadata/resourceVersion", "value": meta.resource_version },
        ])
    })
}

impl Cluster {
    /// `live` has none of the finalizers `names` any more; those of others stay. Gone is as good.
    ///
    /// An object that changed since `live` was read is a [conflict](Error::is_conflict).
    pub async fn remove_finalizers<K>(&self, live: &K, names: &[&str]) -> Result<(), Error>
    where
        K: Resource<DynamicType = ()>,
    {
        let Some(patch) = release(live, names) else { return Ok(()) };
        let object = ObjectId::of(live);
        match self.json_patch(&object, &patch).await {
            Ok(_) => {
                tracing::info!(%object, manager = self.manager, "removed finalizers");
                Ok(())
            }
            Err(failure) if failure.is_not_found() => Ok(()),
            Err(source) => Err(Error::Release { object, source: Box::new(source) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;

    use super::release;

    fn secret(finalizers: &[&str]) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.finalizers = Some(finalizers.iter().map(|name| (*name).to_owned()).collect());
        secret
    }

    #[test]
    fn only_the_named_ones_go() {
        let patch = release(&secret(&["a", "b", "c"]), &["b", "x"]).unwrap();
        assert_eq!(patch[0]["value"], serde_json::json!(["a", "c"]));
    }

    #[test]
    fn nothing_to_remove_is_no_request() {
        assert_eq!(release(&secret(&["a"]), &["b"]), None);
    }
}
