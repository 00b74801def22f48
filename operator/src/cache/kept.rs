//! How a cache keeps an object: what takes far more room as values than as text is kept as text.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, PodSpec, PodTemplateSpec, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::v1alpha1::{DataStore, TenantControlPlane};

/// An object that can be kept in little room.
pub(crate) trait Kept: Clone {
    /// The same, in as little room as can be. It may be packed already.
    fn pack(&mut self) {}

    /// The same, to be read.
    fn unpack(self: Arc<Self>) -> Arc<Self> {
        self
    }
}

impl Kept for ConfigMap {}
impl Kept for DataStore {}
impl Kept for Job {}
impl Kept for PodDisruptionBudget {}
impl Kept for Secret {}
impl Kept for Service {}
impl Kept for TenantControlPlane {}

/// Every volume and every container has a place for each field that there is: 36 KiB for what is 6 KiB of text.
impl Kept for Deployment {
    fn pack(&mut self) {
        let template = &mut self.spec.template;
        let Some(text) = template.spec.as_ref().and_then(|pod| serde_json::to_string(pod).ok()) else {
            return;
        };
        let metadata = template.metadata.get_or_insert_default();
        metadata.annotations.get_or_insert_default().insert(POD.to_owned(), text);
        template.spec = None;
    }

    fn unpack(self: Arc<Self>) -> Arc<Self> {
        let Some(pod) = packed_pod(&self.spec.template) else { return self };
        let mut deployment = Arc::unwrap_or_clone(self);
        deployment.spec.template.spec = Some(pod);
        forget_text(&mut deployment.spec.template);
        Arc::new(deployment)
    }
}

/// Where the text of a Pod is kept. No annotation that a server takes has such a name.
const POD: &str = "/pod";

fn packed_pod(template: &PodTemplateSpec) -> Option<PodSpec> {
    let annotations = template.metadata.as_ref()?.annotations.as_ref()?;
    serde_json::from_str(annotations.get(POD)?).ok()
}

/// What was made for the text alone goes with it.
fn forget_text(template: &mut PodTemplateSpec) {
    let Some(metadata) = &mut template.metadata else { return };
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(POD);
        metadata.annotations = metadata.annotations.take().filter(|annotations| !annotations.is_empty());
    }
    if *metadata == ObjectMeta::default() {
        template.metadata = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_is_read_as_it_was_kept() {
        let empty = serde_json::json!({ "spec": { "selector": {}, "template": {} } });
        let bare = serde_json::json!({ "spec": { "selector": {}, "template": {
            "spec": { "containers": [{ "name": "a", "args": ["--b"] }], "volumes": [{ "name": "c" }] },
        } } });
        let mut annotated = bare.clone();
        annotated["spec"]["template"]["metadata"] = serde_json::json!({ "annotations": { "d": "e" } });
        for original in [empty, bare, annotated] {
            let original: Deployment = serde_json::from_value(original).unwrap();
            let mut kept = original.clone();
            kept.pack();
            kept.pack();
            assert_eq!(kept.spec.template.spec, None);
            assert_eq!(*Arc::new(kept).unpack(), original);
            assert_eq!(*Arc::new(original.clone()).unpack(), original);
        }
    }
}
