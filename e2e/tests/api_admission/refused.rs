//! What is refused, filled in and let through, with an operator and without one.

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use super::ground::{Ground, data_store};

fn deployment(deployment: &Value) -> Value {
    json!({ "controlPlane": { "deployment": deployment } })
}

/// What only a comparison with other objects tells; without an operator it becomes a condition.
fn compared(ground: &Ground) -> Vec<(Value, &'static str)> {
    let specs = [
        (
            json!({ "dataStore": "absent" }),
            "spec.dataStore: DataStore \"absent\" does not exist: create it first",
        ),
        (
            json!({ "dataStoreOverrides": [{ "resource": "/events", "dataStore": "absent" }] }),
            "spec.dataStoreOverrides[0].dataStore: DataStore \"absent\" does not exist",
        ),
        (
            json!({ "dataStore": "postgres", "dataStoreOverrides": [{ "resource": "/events", "dataStore": "default" }] }),
            "spec.dataStoreOverrides: single kinds can be kept elsewhere beside etcd only",
        ),
        (
            json!({ "dataStore": "postgres", "dataStoreSchema": "a".repeat(64) }),
            "longer than the 63 characters that the DataStore takes",
        ),
        (
            deployment(&json!({ "extraArgs": { "apiServer": ["--etcd-servers=http://192.0.2.1:2379"] } })),
            "extraArgs.apiServer[0]: --etcd-servers is set by Kamaji",
        ),
        (
            json!({ "kubernetes": { "kubelet": { "configurationJSONPatches": [{ "op": "remove", "path": "/no" }] } } }),
            "spec.kubernetes.kubelet: ",
        ),
        // Only the server knows: a Deployment is tried out.
        (
            deployment(
                &json!({ "additionalVolumeMounts": { "apiServer": [{ "name": "nowhere", "mountPath": "/x" }] } }),
            ),
            "volumeMounts[0].name: Not found: \"nowhere\"",
        ),
        (
            deployment(&json!({ "additionalContainers": [{ "name": "a" }] })),
            "containers[0].image: Required value",
        ),
        (
            deployment(
                &json!({ "additionalContainers": [{ "name": "a", "image": "i" }, { "name": "a", "image": "i" }] }),
            ),
            "Duplicate value: \"a\"",
        ),
    ];
    specs.into_iter().map(|(spec, words)| (ground.tenant(&spec), words)).collect()
}

/// What must never be stored. The whole table is in `api_crds`; here is one of each kind.
fn never(ground: &Ground) -> Vec<(Value, &'static str)> {
    let generator = |spec: Value| {
        json!({ "apiVersion": "kamaji.clastix.io/v1alpha1", "kind": "KubeconfigGenerator",
            "metadata": { "name": "all" }, "spec": spec })
    };
    let mut schemed = data_store("bad", "etcd");
    schemed["spec"]["endpoints"] = json!(["https://etcd:2379"]);
    let specs = [
        (json!({ "dataStoreUsername": "root" }), "belongs to the store itself"),
        (json!({ "dataStoreSchema": "a;DROP" }), "consists of letters, digits, underscores and hyphens"),
        (
            deployment(&json!({ "extraArgs": { "apiServer": ["--authorization-mode=AlwaysAllow"] } })),
            "AlwaysAllow would let anybody do anything",
        ),
        (
            deployment(&json!({ "additionalContainers": [{ "name": "kube-apiserver", "image": "i" }] })),
            "is taken by",
        ),
        (json!({ "networkProfile": { "port": 10257 } }), "this port is taken by another program in the Pod"),
        (json!({ "networkProfile": { "serviceCidr": "10.244.0.0/20" } }), "must not overlap"),
        (json!({ "kubernetes": { "version": "v1.99.0" } }), "the newest supported minor version is v1.36"),
        (json!({ "addons": { "coreDNS": { "imageRepository": "x y" } } }), "addons.coreDNS.imageRepository"),
    ];
    let mut cases: Vec<_> = specs.into_iter().map(|(spec, words)| (ground.tenant(&spec), words)).collect();
    cases.extend([
        (schemed, "every endpoint must be host:port without a scheme"),
        (
            generator(json!({ "user": { "stringValue": "system:admin" } })),
            "spec.user.stringValue begins with system:",
        ),
        (
            generator(
                json!({ "user": { "stringValue": "a" }, "groups": [{ "stringValue": "system:masters" }] }),
            ),
            "an entry of spec.groups begins with system:",
        ),
    ]);
    cases
}

async fn assert_refused(ground: &Ground, cases: &[(Value, &str)]) {
    let mut complaints = Vec::new();
    for (manifest, words) in cases {
        match ground.try_to_create(manifest).await {
            Ok(_) => complaints.push(format!("admitted, expected {words:?}: {manifest}")),
            Err(message) if !message.contains(words) => {
                complaints.push(format!("expected {words:?}, got {message:?}"));
            }
            Err(_) => {}
        }
    }
    assert!(complaints.is_empty(), "{} of {}:\n{}", complaints.len(), cases.len(), complaints.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_is_refused_and_nothing_waits_for_an_operator_that_is_away() {
    let ground = Box::pin(Ground::new()).await;
    let operator = ground.plain_operator();
    for (name, driver) in [("default", "etcd"), ("postgres", "PostgreSQL")] {
        ground.create(&data_store(name, driver)).await.unwrap();
    }
    ground.in_force().await;
    assert_refused(&ground, &compared(&ground)).await;
    // A policy begins to count some time after it was made.
    let system = never(&ground).pop().unwrap();
    ground.until("the policy is in force", async || ground.try_to_create(&system.0).await.is_err()).await;
    assert_refused(&ground, &never(&ground)).await;
    what_is_left_out_is_filled_in(&ground).await;
    what_was_wrong_before_can_stay(&ground).await;

    operator.kill().await;
    assert_refused(&ground, &never(&ground)).await;
    for (manifest, words) in compared(&ground) {
        assert!(ground.try_to_create(&manifest).await.is_ok(), "an operator that is away is missed: {words}");
    }
    nothing_that_must_go_on_waits(&ground).await;
}

async fn what_is_left_out_is_filled_in(ground: &Ground) {
    let made = ground.try_to_create(&ground.tenant(&json!({}))).await.unwrap();
    assert_eq!(made["spec"]["dataStore"], "default");
    let profile = &made["spec"]["networkProfile"];
    assert_eq!(profile["serviceCidrs"], json!(["10.96.0.0/16"]));
    assert_eq!(profile["podCidrs"], json!(["10.244.0.0/16"]));
    assert_eq!(profile["dnsServiceIPs"], json!(["10.96.0.10"]));
}

/// A tenant whose DataStore is gone can still be changed, only not for the worse.
async fn what_was_wrong_before_can_stay(ground: &Ground) {
    let store = data_store("passing", "PostgreSQL");
    ground.create(&store).await.unwrap();
    let mut tenant = ground.tenant(&json!({ "dataStore": "passing" }));
    tenant["metadata"]["name"] = json!("green");
    // Nobody looks after it, so that nothing keeps the DataStore.
    tenant["metadata"]["annotations"] = json!({ "kamaji.clastix.io/paused": "" });
    ground.create(&tenant).await.unwrap();
    ground.objects(&store).delete("passing", &DeleteParams::default()).await.unwrap();
    ground
        .until("the DataStore is gone", async || {
            // The operator may hold it, for the tenant uses it.
            let freed = ground.change(&store, &json!({ "metadata": { "finalizers": null } })).await;
            freed.is_err_and(|message| message.contains("not found"))
        })
        .await;
    let sleep = json!({ "spec": { "controlPlane": { "deployment": { "replicas": 0 } } } });
    ground.change(&tenant, &sleep).await.unwrap();
    let worse = json!({ "spec": { "dataStore": "absent" } });
    let message = ground.change(&tenant, &worse).await.unwrap_err();
    assert!(message.contains("DataStore \"absent\" does not exist"), "{message}");
}

/// Even where unanswered questions refuse: whoever removes a finalizer, deletes, or changes labels is not asked about.
async fn nothing_that_must_go_on_waits(ground: &Ground) {
    let mut tenant = ground.tenant(&json!({}));
    tenant["metadata"]["finalizers"] = json!(["example.com/held"]);
    ground.create(&tenant).await.unwrap();
    ground.ask("Fail").await;
    let change = json!({ "spec": { "controlPlane": { "deployment": { "replicas": 1 } } } });
    ground
        .until("an unanswered question refuses", async || {
            let refused = ground.change(&tenant, &change).await;
            refused.is_err_and(|message| message.contains("failed calling webhook"))
        })
        .await;
    ground.change(&tenant, &json!({ "metadata": { "labels": { "a": "b" } } })).await.unwrap();
    ground.change(&tenant, &json!({ "metadata": { "finalizers": ["example.com/other"] } })).await.unwrap();
    let tenants = ground.objects(&tenant);
    tenants.delete("blue", &DeleteParams::default()).await.unwrap();
    ground.change(&tenant, &json!({ "metadata": { "finalizers": null } })).await.unwrap();
    assert!(tenants.get_opt("blue").await.unwrap().is_none(), "it is gone");
    // Nor does anybody else's object wait.
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": "another" } })).unwrap();
    Api::<Namespace>::all(ground.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
}
