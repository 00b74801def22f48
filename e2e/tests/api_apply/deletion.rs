//! Deleting what was meant, and nothing else.

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kamaji_apply::{Deleted, ObjectId};
use kube::ResourceExt;
use serde_json::json;

use crate::{edit, fixture, objects, read};

fn of_any_version(secret: &Secret) -> Secret {
    let mut secret = secret.clone();
    secret.metadata.resource_version = None;
    secret
}

#[tokio::test]
async fn only_the_object_that_was_read_is_deleted() {
    let (cluster, namespace) = fixture().await;
    let desired = objects::secret(&namespace);
    let first = cluster.apply(&desired).await.unwrap();
    assert_eq!(cluster.delete(&first).await.unwrap(), Deleted::Gone);
    assert_eq!(cluster.delete(&first).await.unwrap(), Deleted::AlreadyGone);

    let second = cluster.apply(&desired).await.unwrap();
    assert_eq!(cluster.delete(&first).await.unwrap(), Deleted::Replaced);
    assert_eq!(cluster.delete(&of_any_version(&first)).await.unwrap(), Deleted::Replaced);
    assert_eq!(read(&cluster, &desired).await.uid(), second.uid());

    edit(&cluster, &desired, &json!({ "metadata": { "labels": { "theirs": "1" } } })).await;
    assert!(cluster.delete(&second).await.unwrap_err().is_conflict(), "it has changed since it was read");
    assert_eq!(cluster.delete(&of_any_version(&second)).await.unwrap(), Deleted::Gone);
    assert!(cluster.delete(&desired).await.is_err(), "what was never read has no UID");
}

#[tokio::test]
async fn a_finalizer_is_waited_for_and_removed() {
    let (cluster, namespace) = fixture().await;
    let stale = cluster.apply(&objects::config_map(&namespace)).await.unwrap();
    let theirs = json!({ "metadata": { "finalizers": ["test.kamaji/theirs"] } });
    let live = edit(&cluster, &stale, &theirs).await;
    assert_eq!(cluster.delete(&live).await.unwrap(), Deleted::Terminating);
    let ours = ["test.kamaji/one"];
    assert!(
        cluster.remove_finalizers(&stale, &ours).await.unwrap_err().is_conflict(),
        "it has changed since"
    );
    cluster.remove_finalizers(&read(&cluster, &live).await, &ours).await.unwrap();
    let going = read(&cluster, &live).await;
    assert_eq!(going.metadata.finalizers, Some(vec!["test.kamaji/theirs".to_owned()]));
    cluster.remove_finalizers(&going, &["test.kamaji/theirs"]).await.unwrap();
    assert_eq!(cluster.delete(&live).await.unwrap(), Deleted::AlreadyGone);
    cluster.remove_finalizers(&going, &["test.kamaji/theirs"]).await.expect("gone is as good");
}

#[tokio::test]
async fn an_owner_loses_what_it_no_longer_wants() {
    let (cluster, namespace) = fixture().await;
    let owned = |name: &str, uid: &str| {
        let mut secret = objects::secret(&namespace);
        secret.metadata.name = Some(name.to_owned());
        let owner = OwnerReference {
            api_version: "v1".into(),
            kind: "Namespace".into(),
            name: "blue".into(),
            uid: uid.into(),
            controller: Some(true),
            ..Default::default()
        };
        secret.metadata.owner_references = Some(vec![owner]);
        secret
    };
    let mut live = Vec::new();
    for secret in [owned("kept", "mine"), owned("old", "mine"), owned("foreign", "other")] {
        live.push(cluster.apply(&secret).await.unwrap());
    }
    let pruned = cluster.prune(&live, "mine", &[ObjectId::of(&live[0])]).await.unwrap();
    assert_eq!(pruned, [ObjectId::of(&live[1])]);
    for (secret, stays) in live.iter().zip([true, false, true]) {
        let found = cluster.get_opt::<Secret>(Some(&namespace), &secret.name_any()).await.unwrap();
        assert_eq!(found.is_some(), stays, "{}", secret.name_any());
    }
}
