//! Applying, and knowing when not to.

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kamaji_apply::{Applied, Cluster, Created, difference, settled, status_settled};
use kamaji_e2e::{api_server::ApiServer, cut::Wire};
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{MANAGER, edit, fixture, objects, owners, read, version};

/// Applies twice, and then settles over a wire that counts.
async fn applies_once_and_for_all<K>(cluster: &Cluster, desired: &K)
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
{
    let first = cluster.apply(desired).await.unwrap();
    assert_eq!(difference(desired, &first, MANAGER), None, "after the first apply");
    let second = cluster.apply(desired).await.unwrap();
    assert_eq!(version(&first), version(&second));

    let live = read(cluster, desired).await;
    let wire = Wire::new();
    let config = ApiServer::shared().await.unwrap().config().await.unwrap();
    let counted = Cluster::new(wire.client(config).unwrap(), MANAGER);
    assert!(matches!(counted.settle(desired, Some(&live)).await.unwrap(), Applied::Unchanged(_)));
    assert_eq!(wire.requests(), 0);
    assert!(!settled(desired, &live, "somebody-who-never-applied"));
}

#[tokio::test]
async fn what_was_applied_is_settled() {
    let (cluster, namespace) = fixture().await;
    applies_once_and_for_all(&cluster, &objects::secret(&namespace)).await;
    applies_once_and_for_all(&cluster, &objects::config_map(&namespace)).await;
    applies_once_and_for_all(&cluster, &objects::service(&namespace)).await;
    applies_once_and_for_all(&cluster, &objects::deployment(&namespace)).await;
    applies_once_and_for_all(&cluster, &objects::role_binding(&format!("{namespace}-binding"))).await;
}

/// Makes each edit in turn to a settled object; each must be noticed, and repaired for good.
async fn notices<K>(desired: &K, cluster: &Cluster, edits: &[Value])
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Serialize
        + DeserializeOwned
        + Clone
        + std::fmt::Debug,
{
    cluster.apply(desired).await.unwrap();
    for patch in edits {
        let edited = edit(cluster, desired, patch).await;
        assert!(!settled(desired, &edited, MANAGER), "not noticed: {patch}");
        let Applied::Changed(repaired) = cluster.settle(desired, Some(&edited)).await.unwrap() else {
            panic!("not repaired: {patch}")
        };
        assert_eq!(difference(desired, &repaired, MANAGER), None, "after the repair of {patch}");
    }
}

#[tokio::test]
async fn a_foreign_edit_of_a_deployment_is_noticed() {
    let (cluster, namespace) = fixture().await;
    let pod = |spec: Value| json!({ "spec": { "template": { "spec": spec } } });
    let server = |mut fields: Value| {
        fields["name"] = "server".into();
        json!({ "spec": { "template": { "spec": { "containers": [fields] } } } })
    };
    let edits = [
        json!({ "metadata": { "labels": { "tier": null } } }),
        json!({ "metadata": { "labels": { "tier": "other" } } }),
        json!({ "spec": { "replicas": 3 } }),
        json!({ "spec": { "strategy": { "rollingUpdate": { "maxUnavailable": 1 } } } }),
        json!({ "spec": { "template": { "metadata": { "annotations": null } } } }),
        pod(json!({ "nodeSelector": { "disk": "slow" } })),
        pod(json!({ "nodeSelector": { "more": "x" } })),
        pod(json!({ "tolerations": [] })),
        pod(json!({ "affinity": null })),
        pod(json!({ "securityContext": { "fsGroup": 1 } })),
        pod(json!({ "enableServiceLinks": true })),
        pod(json!({ "hostAliases": [{ "ip": "10.0.0.1", "hostnames": ["a"] }] })),
        pod(
            json!({ "topologySpreadConstraints": [{ "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { "app": "red" } } }] }),
        ),
        pod(json!({ "volumes": [{ "name": "scratch", "emptyDir": { "sizeLimit": "2Gi" } }] })),
        pod(json!({ "volumes": [{ "name": "plain", "emptyDir": null, "hostPath": { "path": "/" } }] })),
        pod(
            json!({ "volumes": [{ "name": "pki", "projected": { "sources": [{ "secret": { "name": "ca" } }] } }] }),
        ),
        pod(json!({ "volumes": [{ "name": "settings", "$patch": "delete" }] })),
        pod(json!({ "containers": [{ "name": "sidecar", "$patch": "delete" }] })),
        pod(json!({ "$setElementOrder/containers": [{ "name": "sidecar" }, { "name": "server" }] })),
        server(json!({ "image": "other" })),
        server(json!({ "args": ["--secure-port=6443"] })),
        server(json!({ "command": null })),
        server(json!({ "env": [{ "name": "A", "value": "1" }] })),
        server(json!({ "env": [{ "name": "A", "$patch": "delete" }] })),
        server(
            json!({ "env": [{ "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.hostIP" } } }] }),
        ),
        server(json!({ "ports": [{ "containerPort": 6443, "$patch": "delete" }] })),
        server(json!({ "resources": { "limits": { "cpu": "2" } } })),
        server(json!({ "resources": { "limits": null } })),
        server(json!({ "startupProbe": { "periodSeconds": 10 } })),
        server(json!({ "readinessProbe": null })),
        server(json!({ "securityContext": { "capabilities": { "drop": [] } } })),
        server(json!({ "volumeMounts": [{ "mountPath": "/tmp", "name": "pki" }] })),
    ];
    notices(&objects::deployment(&namespace), &cluster, &edits).await;
}

/// What others added makes the object invalid together with what we say, so it goes; what they wrote elsewhere stays.
#[tokio::test]
async fn a_foreign_edit_that_does_not_go_with_ours_is_undone() {
    let (cluster, namespace) = fixture().await;
    let mut desired = json!(objects::deployment(&namespace));
    desired["spec"]["strategy"] = json!({ "type": "Recreate" });
    desired["spec"].as_object_mut().unwrap().remove("replicas");
    let desired: Deployment = objects::typed(desired);
    cluster.apply(&desired).await.unwrap();
    // A scale is booked only where the replicas had an owner before.
    edit(
        &cluster,
        &desired,
        &json!({ "metadata": { "labels": { "theirs": "1" } }, "spec": { "replicas": 2 } }),
    )
    .await;
    let scale = json!({ "spec": { "replicas": 3 } });
    let api = kube::Api::<Deployment>::namespaced(cluster.client().clone(), &namespace);
    let scaler = kube::api::PatchParams { field_manager: Some("scaler".to_owned()), ..Default::default() };
    api.patch_scale("blue", &scaler, &kube::api::Patch::Merge(scale)).await.unwrap();
    let edit_strategy =
        json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 2 } } } });
    let edited = edit(&cluster, &desired, &edit_strategy).await;
    assert!(cluster.apply(&desired).await.unwrap_err().is_invalid());

    let Applied::Changed(repaired) = cluster.settle(&desired, Some(&edited)).await.unwrap() else {
        panic!("no change")
    };
    assert_eq!(difference(&desired, &repaired, MANAGER), None);
    assert_eq!(repaired.spec.replicas, Some(3), "what came through another address stays");
    let is_rescaled =
        |(_, operation, part): &(String, String, String)| operation == "Update" && part == "scale";
    assert!(owners(&repaired).iter().any(is_rescaled), "and stays theirs: {:?}", owners(&repaired));
    assert_eq!(repaired.metadata.labels.unwrap()["theirs"], "1");

    let mut invalid = desired.clone();
    invalid.spec.replicas = Some(-1);
    let live = read(&cluster, &desired).await;
    assert!(cluster.settle(&invalid, Some(&live)).await.unwrap_err().is_invalid());
}

#[tokio::test]
async fn a_foreign_edit_of_other_kinds_is_noticed() {
    let (cluster, namespace) = fixture().await;
    let secret = [
        json!({ "data": { "ca.key": null } }),
        json!({ "data": { "ca.key": "T1RIRVI=" } }),
        json!({ "data": null }),
        json!({ "metadata": { "ownerReferences": null } }),
        json!({ "metadata": { "ownerReferences": [{ "uid": "a-b-c", "controller": false }] } }),
        json!({ "metadata": { "annotations": { "note": "1" } } }),
    ];
    notices(&objects::secret(&namespace), &cluster, &secret).await;
    let config_map = [
        json!({ "data": { "limits": "1" } }),
        json!({ "data": { "sizeLimit": "1Gi" } }),
        json!({ "binaryData": { "bytes": "AAED" } }),
        json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["test.kamaji/one"] } }),
    ];
    notices(&objects::config_map(&namespace), &cluster, &config_map).await;
    let service = [
        json!({ "spec": { "selector": { "app": "red" } } }),
        json!({ "spec": { "selector": { "more": "red" } } }),
        json!({ "spec": { "ports": [{ "port": 6443, "targetPort": 1 }] } }),
        json!({ "spec": { "loadBalancerSourceRanges": ["10.0.0.0/8", "0.0.0.0/0"] } }),
        json!({ "spec": { "type": "NodePort", "loadBalancerSourceRanges": null } }),
        json!({ "spec": { "type": "ExternalName", "externalName": "x.y", "loadBalancerSourceRanges": null } }),
    ];
    notices(&objects::service(&namespace), &cluster, &service).await;
}

/// Somebody sets a field to something else and back: the value is right again, but no longer ours.
#[tokio::test]
async fn a_field_that_was_claimed_is_claimed_back() {
    let (cluster, namespace) = fixture().await;
    let desired = objects::secret(&namespace);
    cluster.apply(&desired).await.unwrap();
    edit(&cluster, &desired, &json!({ "data": { "ca.key": "T1RIRVI=" } })).await;
    let edited = edit(&cluster, &desired, &json!({ "data": { "ca.key": "S0VZ" } })).await;
    assert_eq!(desired.data, edited.data);
    assert!(!settled(&desired, &edited, MANAGER));
    let repaired = cluster.apply(&desired).await.unwrap();
    assert!(settled(&desired, &repaired, MANAGER));
}

#[tokio::test]
async fn what_others_add_is_no_difference() {
    let (cluster, namespace) = fixture().await;
    let desired = objects::deployment(&namespace);
    cluster.apply(&desired).await.unwrap();
    let additions = json!({
        "metadata": { "labels": { "theirs": "1" }, "annotations": { "theirs": "1" } },
        "spec": { "paused": true, "template": { "spec": {
            "containers": [
                { "name": "theirs", "image": "pause:1" },
                { "name": "server", "tty": true, "env": [{ "name": "THEIRS", "value": "1" }],
                    "resources": { "limits": { "ephemeral-storage": "1Gi" } } },
            ],
            "volumes": [{ "name": "theirs", "emptyDir": {} }],
            "$setElementOrder/containers": [{ "name": "theirs" }, { "name": "server" }, { "name": "sidecar" }],
        } } },
    });
    let edited = edit(&cluster, &desired, &additions).await;
    assert_eq!(difference(&desired, &edited, MANAGER), None);
    let applied = cluster.apply(&desired).await.unwrap();
    assert_eq!(version(&edited), version(&applied), "what is settled is not changed by an apply");
    assert_eq!(applied.spec.template.spec.unwrap().containers.len(), 3);
}

#[tokio::test]
async fn what_we_stop_saying_vanishes() {
    let (cluster, namespace) = fixture().await;
    let mut desired = json!(objects::deployment(&namespace));
    let removals = [
        "/metadata/labels/tier",
        "/spec/replicas",
        "/spec/template/spec/affinity",
        "/spec/template/spec/tolerations",
        "/spec/template/spec/volumes/3",
        "/spec/template/spec/volumes/2/projected/sources/2",
        "/spec/template/spec/containers/0/env/1",
        "/spec/template/spec/containers/0/env/1/valueFrom",
        "/spec/template/spec/containers/0/args/1",
        "/spec/template/spec/containers/0/ports/1",
        "/spec/template/spec/containers/0/resources/limits/cpu",
        "/spec/template/spec/containers/0/readinessProbe",
        "/spec/template/spec/containers/0/volumeMounts/1",
        "/spec/template/spec/containers/1",
    ];
    let mut live: Deployment = cluster.apply(&objects::typed::<Deployment>(desired.clone())).await.unwrap();
    for removal in removals {
        remove(&mut desired, removal);
        let less: Deployment = objects::typed(desired.clone());
        assert!(!settled(&less, &live, MANAGER), "not noticed: {removal}");
        live = cluster.apply(&less).await.unwrap();
        assert_eq!(difference(&less, &live, MANAGER), None, "without {removal}");
        assert_eq!(version(&live), version(&cluster.apply(&less).await.unwrap()));
    }
    let spec = live.spec;
    let pod = spec.template.spec.unwrap();
    assert_eq!((spec.replicas, pod.containers.len(), pod.volumes.unwrap().len()), (Some(1), 1, 3));
    assert!(pod.affinity.is_none() && pod.tolerations.is_none());
}

fn remove(object: &mut Value, pointer: &str) {
    let (holder, field) = pointer.rsplit_once('/').unwrap();
    match object.pointer_mut(holder).unwrap() {
        Value::Array(items) => drop(items.remove(field.parse().unwrap())),
        Value::Object(fields) => drop(fields.remove(field).expect("the field is there")),
        other => panic!("{other} holds nothing"),
    }
}

#[tokio::test]
async fn another_value_of_the_same_field_is_noticed() {
    let (cluster, namespace) = fixture().await;
    let live = cluster.apply(&objects::service(&namespace)).await.unwrap();
    let changes = [
        ("/spec/selector", json!({ "app": "blue" })),
        ("/spec/selector", json!({ "app": "blue", "tier": "api", "more": "x" })),
        ("/spec/loadBalancerSourceRanges", json!([])),
        ("/spec/loadBalancerSourceRanges", json!(["10.0.0.0/8", "10.0.0.0/9"])),
        ("/spec/ports/0/targetPort", json!("6443")),
        ("/metadata/annotations/a.b~1c_d", json!("y")),
        ("/metadata/labels", json!({ "new": "label" })),
    ];
    for (pointer, value) in changes {
        let mut desired = json!(objects::service(&namespace));
        *desired.pointer_mut(pointer).unwrap() = value;
        assert!(!settled(&objects::typed::<Service>(desired), &live, MANAGER), "not noticed: {pointer}");
    }
    let mut other_namespace = objects::service(&namespace);
    other_namespace.metadata.namespace = Some("other".into());
    assert!(!settled(&other_namespace, &live, MANAGER));
}

#[tokio::test]
async fn of_two_who_create_one_makes_it_and_both_have_it() {
    let (cluster, namespace) = fixture().await;
    let config = ApiServer::shared().await.unwrap().config().await.unwrap();
    let rival = Cluster::new(kube::Client::try_from(config).unwrap(), MANAGER);
    for round in 0..20 {
        let of = |who: &str| {
            let mut secret = objects::secret(&namespace);
            secret.metadata.name = Some(format!("round-{round}"));
            secret.data =
                Some([("born".to_owned(), k8s_openapi::ByteString(who.as_bytes().to_vec()))].into());
            secret
        };
        let (left, right) = (of("left"), of("right"));
        let (left, right) = tokio::join!(cluster.create(&left), rival.create(&right));
        let (left, right) = (left.unwrap(), right.unwrap());
        let made = [&left, &right].iter().filter(|created| matches!(created, Created::Made(_))).count();
        assert_eq!(made, 1, "round {round}");
        assert_eq!(version(&left.into_object()), version(&right.into_object()));
    }
}

#[tokio::test]
async fn what_was_created_is_settled_and_ours_to_change() {
    let (cluster, namespace) = fixture().await;
    let mut desired = objects::secret(&namespace);
    let Created::Made(made) = cluster.create(&desired).await.unwrap() else {
        panic!("nothing was there before")
    };
    assert!(settled(&desired, &made, MANAGER));
    assert_eq!(owners(&made), [(MANAGER.to_owned(), "Apply".to_owned(), String::new())]);

    desired.data.as_mut().unwrap().remove("empty");
    let Created::Existed(same) = cluster.create(&desired).await.unwrap() else { panic!("made twice") };
    assert_eq!(version(&made), version(&same));
    let applied = cluster.apply(&desired).await.unwrap();
    assert_eq!(applied.data.unwrap().len(), 2, "what we stopped saying is gone");

    let cluster_scoped = objects::role_binding(&format!("{namespace}-created"));
    assert!(matches!(cluster.create(&cluster_scoped).await.unwrap(), Created::Made(_)));
    assert!(matches!(cluster.create(&cluster_scoped).await.unwrap(), Created::Existed(_)));
}

#[tokio::test]
async fn two_managers_share_a_status() {
    let (cluster, namespace) = fixture().await;
    let addons = Cluster::new(cluster.client().clone(), "blue-addons");
    let desired = cluster.apply(&objects::deployment(&namespace)).await.unwrap();
    let condition = |kind: &str, status: &str| -> Deployment {
        objects::typed(json!({
            "metadata": { "name": desired.metadata.name, "namespace": namespace },
            "status": { "conditions": [{ "type": kind, "status": status, "reason": "Test" }] },
        }))
    };
    let (ours, theirs) = (condition("Available", "True"), condition("Addons", "True"));
    cluster.apply_status(&ours).await.unwrap();
    addons.apply_status(&theirs).await.unwrap();
    let live = read(&cluster, &desired).await;
    assert_eq!(live.status.as_ref().unwrap().conditions.as_ref().unwrap().len(), 2);
    assert!(status_settled(&ours, &live, MANAGER) && status_settled(&theirs, &live, "blue-addons"));
    assert!(settled(&objects::deployment(&namespace), &live, MANAGER), "a status does not unsettle the rest");
    assert_eq!(version(&cluster.apply_status(&ours).await.unwrap()), version(&live));

    assert!(!status_settled(&condition("Available", "False"), &live, MANAGER));
    assert!(!status_settled(&theirs, &live, MANAGER));
    let moved = condition("Progressing", "True");
    let Applied::Changed(live) = cluster.settle_status(&moved, Some(&live)).await.unwrap() else {
        panic!("no change")
    };
    let conditions = live.status.unwrap().conditions.unwrap();
    let kinds: Vec<_> = conditions.into_iter().filter_map(|condition| condition.type_).collect();
    assert!(
        kinds.contains(&"Addons".to_owned()) && kinds.contains(&"Progressing".to_owned()) && kinds.len() == 2
    );
}

#[tokio::test]
async fn a_fence_holds() {
    let (cluster, namespace) = fixture().await;
    let mut desired: ConfigMap = objects::config_map(&namespace);
    desired.metadata.uid = Some("00000000-0000-0000-0000-000000000000".into());
    assert!(cluster.apply(&desired).await.unwrap_err().is_conflict(), "it must exist");
    desired.metadata.uid = None;
    let live = cluster.apply(&desired).await.unwrap();
    desired.metadata.uid = live.metadata.uid.clone();
    assert!(settled(&desired, &live, MANAGER));
    desired.metadata.resource_version = Some("1".into());
    assert!(!settled(&desired, &live, MANAGER));
    assert!(cluster.apply(&desired).await.unwrap_err().is_conflict(), "it must not have changed");
    desired.metadata.resource_version = live.metadata.resource_version.clone();
    assert!(settled(&desired, &live, MANAGER));
    assert_eq!(version(&cluster.apply(&desired).await.unwrap()), version(&live));
}

#[tokio::test]
async fn reading_what_is_not_there_is_no_error() {
    let (cluster, namespace) = fixture().await;
    assert_eq!(cluster.get_opt::<Secret>(Some(&namespace), "none").await.unwrap(), None);
}
