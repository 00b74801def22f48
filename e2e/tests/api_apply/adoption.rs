//! Taking over from a program that wrote with `Update`.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kamaji_apply::{Cluster, adoption, settled};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{MANAGER, edit, fixture, objects, owners};

/// The program that we replace.
const OLD: &str = "kamaji";

async fn made_by_the_old_one(cluster: &Cluster, secret: &Secret) -> Secret {
    let api = Api::<Secret>::namespaced(cluster.client().clone(), &secret.namespace().unwrap());
    let params = PostParams { field_manager: Some(OLD.to_owned()), ..Default::default() };
    let made = api.create(&params, secret).await.unwrap();
    assert_eq!(owners(&made), [(OLD.to_owned(), "Update".to_owned(), String::new())]);
    made
}

#[tokio::test]
async fn what_the_old_one_wrote_can_be_removed_afterwards() {
    let (cluster, namespace) = fixture().await;
    let old = objects::secret(&namespace);
    let live = made_by_the_old_one(&cluster, &old).await;
    let mut desired = old.clone();
    desired.data.as_mut().unwrap().remove("empty");
    desired.metadata.annotations = None;

    // Without adoption the old owner holds on to what we do not say.
    let stuck = cluster.apply(&desired).await.unwrap();
    assert_eq!(stuck.data.as_ref().unwrap().len(), 3);

    assert!(cluster.adopt(&live, &[OLD]).await.unwrap_err().is_conflict(), "it has changed since");
    let adopted = cluster.adopt(&stuck, &[OLD]).await.unwrap().expect("there is something to take");
    assert_eq!(adopted.data, stuck.data, "values do not change");
    assert_eq!(owners(&adopted), [(MANAGER.to_owned(), "Apply".to_owned(), String::new())]);
    assert!(!settled(&desired, &adopted, MANAGER));

    let applied = cluster.apply(&desired).await.unwrap();
    assert_eq!(applied.data, desired.data);
    assert_eq!(applied.metadata.annotations, None);
    assert_eq!(applied.metadata.labels, desired.metadata.labels);
    assert!(settled(&desired, &applied, MANAGER));
    assert_eq!(cluster.adopt(&applied, &[OLD]).await.unwrap(), None, "once is enough");
}

#[tokio::test]
async fn what_others_wrote_stays_theirs() {
    let (cluster, namespace) = fixture().await;
    let old = objects::secret(&namespace);
    made_by_the_old_one(&cluster, &old).await;
    let live = edit(&cluster, &old, &json!({ "metadata": { "labels": { "theirs": "1" } } })).await;
    let adopted = cluster.adopt(&live, &[OLD]).await.unwrap().expect("there is something to take");
    let mut desired = old.clone();
    desired.metadata.labels = None;
    let adopted = cluster.settle(&desired, Some(&adopted)).await.unwrap().into_object();
    assert_eq!(adopted.metadata.labels, Some([("theirs".to_owned(), "1".to_owned())].into()));
    assert!(settled(&desired, &adopted, MANAGER));
}

/// The Go operator wrote some objects by both operations.
#[tokio::test]
async fn what_the_old_one_applied_is_taken_as_well() {
    let (cluster, namespace) = fixture().await;
    let before: ConfigMap = objects::config_map(&namespace);
    let old = Cluster::new(cluster.client().clone(), OLD);
    old.apply(&before).await.unwrap();
    let api = Api::<ConfigMap>::namespaced(cluster.client().clone(), &namespace);
    let params = PatchParams { field_manager: Some(OLD.to_owned()), ..Default::default() };
    let patch = Patch::Merge(json!({ "data": { "updated": "1", "text": "other" } }));
    let live = api.patch("settings", &params, &patch).await.unwrap();
    assert_eq!(owners(&live).len(), 2);

    let adopted = cluster.adopt(&live, &[OLD]).await.unwrap().expect("there is something to take");
    assert_eq!(owners(&adopted), [(MANAGER.to_owned(), "Apply".to_owned(), String::new())]);
    let mut desired = before.clone();
    desired.binary_data = None;
    let applied = cluster.apply(&desired).await.unwrap();
    assert_eq!((applied.data.clone(), applied.binary_data.clone()), (desired.data.clone(), None));
    assert!(settled(&desired, &applied, MANAGER));
}

#[tokio::test]
async fn the_same_name_is_adopted_from_update_to_apply() {
    let (cluster, namespace) = fixture().await;
    let same_name = Cluster::new(cluster.client().clone(), OLD);
    let desired = objects::secret(&namespace);
    let live = made_by_the_old_one(&cluster, &desired).await;
    let adopted = same_name.adopt(&live, &[OLD]).await.unwrap().expect("there is something to take");
    assert_eq!(owners(&adopted), [(OLD.to_owned(), "Apply".to_owned(), String::new())]);
    assert_eq!(adoption(&adopted.metadata, &[OLD], OLD), None);
}
