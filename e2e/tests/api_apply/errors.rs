//! What a real server's refusals are taken for.

use k8s_openapi::api::core::v1::{Namespace, ResourceQuota};
use kube::{Api, api::DeleteParams};
use serde_json::json;

use crate::{fixture, objects};

#[tokio::test]
async fn a_namespace_that_is_not_there() {
    let (cluster, _) = fixture().await;
    let error = cluster.apply(&objects::secret("never-made")).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_transient() && !error.is_forbidden_namespace_terminating());
    assert_eq!(error.to_string(), "could not apply Secret never-made/ca");
}

#[tokio::test]
async fn a_namespace_that_is_going() {
    let (cluster, namespace) = fixture().await;
    let live = cluster.apply(&objects::secret(&namespace)).await.unwrap();
    let api = Api::<Namespace>::all(cluster.client().clone());
    api.delete(&namespace, &DeleteParams::default()).await.unwrap();
    let mut another = objects::secret(&namespace);
    another.metadata.name = Some("another".into());
    for error in [cluster.apply(&another).await.unwrap_err(), cluster.create(&another).await.unwrap_err()] {
        assert!(
            error.is_forbidden_namespace_terminating() && error.is_forbidden() && !error.is_quota(),
            "{error:?}"
        );
    }
    cluster.delete(&live).await.expect("deleting still works");
}

#[tokio::test]
async fn an_invalid_object() {
    let (cluster, namespace) = fixture().await;
    let mut secret = objects::secret(&namespace);
    secret.metadata.name = Some("Not_A_Name".into());
    let error = cluster.apply(&secret).await.unwrap_err();
    assert!(error.is_invalid() && !error.is_transient(), "{error:?}");
    assert!(!format!("{error:?}").contains("S0VZ"), "no body in errors");
}

#[tokio::test]
async fn a_quota_that_is_used_up() {
    let (cluster, namespace) = fixture().await;
    let quota: ResourceQuota = objects::typed(json!({
        "metadata": { "name": "little", "namespace": namespace },
        "spec": { "hard": { "secrets": "1" } },
        // Nobody here counts, so the test says what was counted.
        "status": { "hard": { "secrets": "1" }, "used": { "secrets": "1" } },
    }));
    cluster.apply(&quota).await.unwrap();
    cluster.apply_status(&quota).await.unwrap();
    let secret = objects::secret(&namespace);
    // The server's quota admission sees the new quota through a watch.
    let error = loop {
        match cluster.apply(&secret).await {
            Ok(live) => drop(cluster.delete(&live).await),
            Err(error) => break error,
        }
    };
    assert!(error.is_quota() && error.is_forbidden() && !error.is_transient(), "{error:?}");
}
