//! The wire that the crash tests cut.

use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Secret;
use kamaji_apply::Cluster;
use kamaji_e2e::{
    api_server::ApiServer,
    cut::{Fault, Moment, Wire},
};
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};

use crate::{MANAGER, objects};

async fn over(wire: &Wire) -> (Cluster, String) {
    let api = ApiServer::shared().await.unwrap();
    let namespace = api.fresh_namespace().await.unwrap();
    (Cluster::new(wire.client(api.config().await.unwrap()).unwrap(), MANAGER), namespace)
}

#[tokio::test]
async fn is_cut_before_or_after_the_server_acts() {
    for (moment, happens) in [(Moment::Before, false), (Moment::After, true)] {
        let wire = Wire::new();
        let (cluster, namespace) = over(&wire).await;
        let (first, mut second) = (objects::secret(&namespace), objects::secret(&namespace));
        second.metadata.name = Some("second".into());
        wire.cut_at(1, moment);
        cluster.apply(&first).await.unwrap();
        let error = cluster.apply(&second).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert!(wire.is_cut());
        assert!(cluster.get_opt::<Secret>(Some(&namespace), "ca").await.is_err(), "reads are lost as well");
        assert_eq!(wire.writes().len(), if happens { 2 } else { 1 });

        wire.restore();
        let found = cluster.get_opt::<Secret>(Some(&namespace), "second").await.unwrap();
        assert_eq!(found.is_some(), happens, "{moment:?}");
        let log = wire.writes();
        assert_eq!(log[0].to_string(), format!("PATCH /api/v1/namespaces/{namespace}/secrets/ca"));
        assert!(log[0].query.contains("fieldManager=blue-operator"));
    }
}

#[tokio::test]
async fn a_cut_ends_watches() {
    let wire = Wire::new();
    let (cluster, namespace) = over(&wire).await;
    let api = Api::<Secret>::namespaced(cluster.client().clone(), &namespace);
    let mut events = Box::pin(api.watch(&WatchParams::default(), "0").await.unwrap());
    cluster.apply(&objects::secret(&namespace)).await.unwrap();
    while !matches!(events.try_next().await.unwrap().expect("the watch goes on"), WatchEvent::Added(_)) {}
    wire.cut_now();
    wire.until_cut().await;
    assert!(!matches!(events.try_next().await, Ok(Some(_))));
}

#[tokio::test]
async fn each_call_fails_once() {
    let wire = Wire::new();
    let (cluster, namespace) = over(&wire).await;
    let secret = objects::secret(&namespace);
    wire.fail_each_once(Fault::Refusal { code: 429, reason: "TooManyRequests", retry_after: Some(2) });
    let error = cluster.apply(&secret).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    cluster.apply(&secret).await.unwrap();
    assert!(cluster.get_opt::<Secret>(Some(&namespace), "ca").await.is_err());
    assert!(cluster.get_opt::<Secret>(Some(&namespace), "ca").await.unwrap().is_some());

    wire.fail_each_once(Fault::Reset);
    assert!(cluster.apply(&secret).await.unwrap_err().is_transient());
    cluster.apply(&secret).await.unwrap();
    assert_eq!(wire.writes().len(), 2, "what was refused was never sent");

    wire.fail_each_once(Fault::Refusal { code: 409, reason: "Conflict", retry_after: None });
    assert!(cluster.apply(&secret).await.unwrap_err().is_conflict());
}

#[tokio::test]
async fn what_comes_by_the_clock_can_be_left_out() {
    let wire = Wire::without(&["secrets"]);
    let (cluster, namespace) = over(&wire).await;
    cluster.apply(&objects::secret(&namespace)).await.unwrap();
    cluster.apply(&objects::config_map(&namespace)).await.unwrap();
    assert_eq!(wire.writes().len(), 1);
    assert_eq!(wire.requests(), 2);
    wire.clear();
    assert_eq!((wire.writes().len(), wire.requests()), (0, 0));
}
