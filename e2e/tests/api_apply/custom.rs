//! Kinds of our own: their definitions, and objects whose schema the server knows only from there.

use kamaji_api::{
    crd,
    v1alpha1::{DataStore, TenantControlPlane},
};
use kamaji_apply::{Applied, Cluster, difference, status_difference};
use kube::{
    Api,
    api::{Patch, PatchParams},
    runtime::wait::{await_condition, conditions::is_crd_established},
};
use serde_json::{Value, json};

use crate::{MANAGER, fixture, objects::typed, read, version};

/// A writer and a namespace, in an API that knows our kinds.
async fn with_our_kinds() -> (Cluster, String) {
    let (cluster, namespace) = fixture().await;
    for definition in crd::all() {
        let made = cluster.apply(&definition).await.unwrap();
        let name = made.metadata.name.unwrap();
        await_condition(Api::all(cluster.client().clone()), &name, is_crd_established()).await.unwrap();
        let live = read(&cluster, &definition).await;
        assert_eq!(difference(&definition, &live, MANAGER), None, "{name}");
    }
    (cluster, namespace)
}

fn tenant(namespace: &str) -> TenantControlPlane {
    typed(json!({
        "metadata": { "name": "blue", "namespace": namespace, "finalizers": ["finalizer.test/one"] },
        "spec": {
            "dataStore": "default",
            "controlPlane": {
                "deployment": { "replicas": 2, "resources": { "apiServer": { "requests": { "cpu": "1000m" } } },
                    "extraArgs": { "apiServer": ["--v=1"] } },
                "service": { "serviceType": "ClusterIP" },
            },
            "kubernetes": { "version": "v1.34.4", "kubelet": { "cgroupfs": "systemd" } },
            "networkProfile": { "certSANs": ["blue.example.com"] },
            "addons": { "coreDNS": {} },
        },
    }))
}

fn status(namespace: &str, status: Value) -> TenantControlPlane {
    let mut object = json!(tenant(namespace));
    object["status"] = status;
    typed(object)
}

#[tokio::test]
async fn are_settled_by_their_own_schema() {
    let (cluster, namespace) = with_our_kinds().await;
    let desired = tenant(&namespace);
    let live = cluster.apply(&desired).await.unwrap();
    assert_eq!(difference(&desired, &live, MANAGER), None);
    assert_eq!(version(&cluster.apply(&desired).await.unwrap()), version(&live));

    let api = Api::<TenantControlPlane>::namespaced(cluster.client().clone(), &namespace);
    for edit in [
        json!({ "spec": { "controlPlane": { "deployment": { "resources": { "apiServer": { "requests": { "cpu": "2" } } } } } } }),
        json!({ "spec": { "controlPlane": { "deployment": { "extraArgs": { "apiServer": ["--v=1", "--v=2"] } } } } }),
        json!({ "spec": { "addons": { "coreDNS": null } } }),
        json!({ "spec": { "networkProfile": { "certSANs": [] } } }),
        json!({ "metadata": { "finalizers": null } }),
    ] {
        let edited = api.patch("blue", &PatchParams::default(), &Patch::Merge(&edit)).await.unwrap();
        assert!(difference(&desired, &edited, MANAGER).is_some(), "not noticed: {edit}");
        let repaired = cluster.settle(&desired, Some(&edited)).await.unwrap().into_object();
        assert_eq!(difference(&desired, &repaired, MANAGER), None, "after the repair of {edit}");
    }

    let reference =
        |key: &str| json!({ "secretReference": { "name": "root", "namespace": "default", "keyPath": key } });
    let store: DataStore = typed(json!({
        "metadata": { "name": format!("{namespace}-store") },
        "spec": { "driver": "PostgreSQL", "endpoints": ["10.0.0.1:5432"],
            "basicAuth": { "username": reference("user"), "password": reference("password") } },
    }));
    let live = cluster.apply(&store).await.unwrap();
    assert_eq!(difference(&store, &live, MANAGER), None);
}

#[tokio::test]
async fn have_a_status_that_settles() {
    let (cluster, namespace) = with_our_kinds().await;
    cluster.apply(&tenant(&namespace)).await.unwrap();
    let ready = |status: &str| {
        json!({ "type": "Ready", "status": status, "reason": "Test", "message": "",
            "lastTransitionTime": "2026-11-23T02:00:00Z" })
    };
    let desired = status(
        &namespace,
        json!({
            "observedGeneration": 1,
            "conditions": [ready("True")],
            "controlPlaneEndpoint": "10.0.0.1:6443",
            "certificates": { "ca": { "secretName": "blue-ca", "lastUpdate": "2026-11-23T02:00:00Z" } },
            "kubernetesResources": {
                "version": { "version": "v1.34.4", "status": "Ready" },
                "deployment": { "name": "blue", "replicas": 0, "readyReplicas": 0,
                    "selector": "kamaji.clastix.io/name=blue", "lastUpdate": "2026-11-23T02:00:00Z" },
                "service": { "name": "blue", "namespace": namespace, "port": 6443, "loadBalancer": {} },
            },
        }),
    );
    let live = cluster.apply_status(&desired).await.unwrap();
    assert_eq!(status_difference(&desired, &live, MANAGER), None);
    assert_eq!(difference(&tenant(&namespace), &live, MANAGER), None);
    assert_eq!(version(&cluster.apply_status(&desired).await.unwrap()), version(&live));

    let mut changed = json!(desired);
    changed["status"]["conditions"][0] = ready("False");
    changed["status"].as_object_mut().unwrap().remove("controlPlaneEndpoint");
    let changed: TenantControlPlane = typed(changed);
    let Applied::Changed(live) = cluster.settle_status(&changed, Some(&live)).await.unwrap() else {
        panic!("no change")
    };
    let status = live.status.unwrap();
    assert_eq!((status.control_plane_endpoint, status.conditions.len()), (None, 1));
}
