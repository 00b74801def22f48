//! What we leave is what kubeadm leaves, but for what is meant to differ; and once applied it rests.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;
use kamaji_addons::{Identity, Object};
use kamaji_apply::dynamic_difference;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    config::AuthInfo,
};
use serde_json::{Value, json};
use xtask::programs::Release;

use crate::{
    lab::{Lab, MANAGER, objects},
    reference,
};

/// What kubeadm leaves and we do not, by kind and beginning of the name.
const THEIRS_ALONE: [(&str, &str); 2] = [
    // We make no token: `kamaji join-command` does, for a person who asks.
    ("secrets", "bootstrap-token-"),
    // Before 1.34 the phase notes the socket of the runtime on the node; ours are workers, who do that as they join.
    ("nodes", "first"),
];

/// What we leave and the phases of kubeadm do not, and the releases of which that is so.
const OURS_ALONE: [(&str, &[Release]); 2] = [
    // No phase makes it, but whatever of kubeadm first uses its own admin.conf.
    ("kubeadm:cluster-admins", &[Release::V1_33, Release::V1_34, Release::V1_35, Release::V1_36]),
    // In these two patch releases the API server's certificate is in the group of administrators instead; ours is in no group.
    ("kubeadm:apiserver-kubelet-client", &[Release::V1_34, Release::V1_35]),
];

#[tokio::test]
async fn of_1_33() {
    leaves_what_kubeadm_leaves(Release::V1_33).await;
}

#[tokio::test]
async fn of_1_34() {
    leaves_what_kubeadm_leaves(Release::V1_34).await;
}

#[tokio::test]
async fn of_1_35() {
    leaves_what_kubeadm_leaves(Release::V1_35).await;
}

#[tokio::test]
async fn of_1_36() {
    leaves_what_kubeadm_leaves(Release::V1_36).await;
}

async fn leaves_what_kubeadm_leaves(release: Release) {
    let lab = Lab::start(release).await;
    let interior = lab.interior(&json!({}));
    let mut theirs = reference::take(&lab, &interior).await;
    theirs.retain(|identity, _| {
        !THEIRS_ALONE
            .iter()
            .any(|(plural, name)| identity.plural == *plural && identity.name.starts_with(name))
    });
    let desired = objects(&interior);
    rests(&lab, &desired).await;
    let mut ours = live(&lab, &desired).await;
    ours.retain(|identity, _| {
        !OURS_ALONE.iter().any(|(name, releases)| identity.name == *name && releases.contains(&release))
    });

    let names = |objects: &BTreeMap<Identity, Object>| objects.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&ours), names(&theirs));
    assert!(theirs.len() >= 14, "kubeadm did less than it is known to do: {:?}", names(&theirs));
    for (identity, theirs) in &theirs {
        let ours = leaves(&meaning(identity, &ours[identity]));
        let theirs = leaves(&meaning(identity, theirs));
        let (more, less): (Vec<_>, Vec<_>) =
            (ours.difference(&theirs).collect(), theirs.difference(&ours).collect());
        assert!(
            more.is_empty() && less.is_empty(),
            "{identity:?}: ours alone {more:#?}, theirs alone {less:#?}"
        );
    }
}

/// The objects as the server has them.
async fn live(lab: &Lab, desired: &[Object]) -> BTreeMap<Identity, Object> {
    let mut live = BTreeMap::new();
    for object in desired {
        let found = lab.cluster.get_dynamic(&object.resource, &object.desired).await.unwrap().unwrap();
        let found = Object { resource: object.resource.clone(), desired: found };
        live.insert(found.identity(), found);
    }
    live
}

/// Applies all of it twice; the second time changes nothing, and is seen to be needless.
async fn rests(lab: &Lab, desired: &[Object]) {
    let first = lab.apply(desired).await;
    let second = lab.apply(desired).await;
    for ((object, first), second) in desired.iter().zip(first).zip(second) {
        let name = object.identity();
        assert_eq!(first.metadata.resource_version, second.metadata.resource_version, "{name:?}");
        let difference = dynamic_difference(&object.resource, &object.desired, &second, MANAGER);
        assert_eq!(difference.map(|difference| difference.to_string()), None, "{name:?}");
    }
}

/// What an object says, apart from what is about it: no label, no annotation, no version.
///
/// kubeadm signs `kubelet-config` with an annotation, and takes a signed one for its own: it may make it anew from its
/// defaults. Ours is unsigned, so that it is left as it is.
fn meaning(identity: &Identity, object: &Object) -> Value {
    let mut said = object.desired.data.clone();
    if identity.plural != "configmaps" {
        return said;
    }
    for (_, document) in said["data"].as_object_mut().unwrap() {
        *document = serde_saphyr::from_str(document.as_str().unwrap()).unwrap();
        // kubelet-config is the same to the last empty field; the others have empty sections more or less, as in
        // `dns: {}` and, before 1.34, `preferences: {}`.
        if identity.name != "kubelet-config" {
            remove_empty(document);
        }
    }
    said
}

/// Every value that holds no other, as `path = value`, so that a failure shows what differs and nothing else.
fn leaves(value: &Value) -> BTreeSet<String> {
    let under = |name: &str, value: &Value| -> Vec<String> {
        leaves(value).into_iter().map(|leaf| format!("/{name}{leaf}")).collect()
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields.iter().flat_map(|(name, value)| under(name, value)).collect()
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().flat_map(|(index, item)| under(&index.to_string(), item)).collect()
        }
        leaf => BTreeSet::from([format!(" = {leaf}")]),
    }
}

fn remove_empty(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(remove_empty);
        fields.retain(|_, value| !matches!(value, Value::Null) && *value != json!({}));
    }
}

/// The keys of `cluster-info` that sign for tokens belong to kube-controller-manager.
#[tokio::test]
async fn the_signatures_of_tokens_stay() {
    let lab = Lab::start(Release::V1_34).await;
    let desired = objects(&lab.interior(&json!({})));
    lab.apply(&desired).await;
    let api = Api::<ConfigMap>::namespaced(lab.cluster.client().clone(), "kube-public");
    let signer =
        PatchParams { field_manager: Some("kube-controller-manager".to_owned()), ..PatchParams::default() };
    let signature = Patch::Merge(json!({ "data": { "jws-kubeconfig-abcdef": "x..y" } }));
    api.patch("cluster-info", &signer, &signature).await.unwrap();
    rests(&lab, &desired).await;
    let data = api.get("cluster-info").await.unwrap().data.unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["jws-kubeconfig-abcdef", "kubeconfig"]);
}

/// Who wants to join knows nobody yet.
#[tokio::test]
async fn anybody_may_read_where_the_api_server_is_and_nothing_else() {
    let lab = Lab::start(Release::V1_34).await;
    lab.apply(&objects(&lab.interior(&json!({})))).await;
    let mut config = lab.api.config().await.unwrap();
    config.auth_info = AuthInfo::default();
    let anybody = Client::try_from(config).unwrap();
    let read = async |namespace: &str, name: &str| {
        Api::<ConfigMap>::namespaced(anybody.clone(), namespace).get(name).await
    };
    assert!(read("kube-public", "cluster-info").await.unwrap().data.unwrap().contains_key("kubeconfig"));
    for name in ["kubeadm-config", "kubelet-config"] {
        assert!(read("kube-system", name).await.is_err(), "{name}");
    }
}
