//! What a tenant may still write while its writes are limited, asked of a real API server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that panics has failed, which is what it is for"
)]

use std::net::Ipv4Addr;
use std::time::Duration;

use kamaji_addons::{Interior, Object};
use kamaji_api::v1alpha1::WritePermissions;
use kamaji_apply::Cluster;
use kamaji_e2e::api_server::ApiServer;
use kube::Client;
use serde_json::{Value, json};
use xtask::programs::Release;

/// Somebody who was told that system:masters may do everything.
const PRETENDER: [(&str, &str); 2] =
    [("Impersonate-User", "system:kube-controller-manager"), ("Impersonate-Group", "system:masters")];

fn interior(writes: &WritePermissions) -> Interior {
    let fields = json!({ "addons": { "coreDNS": {} }, "writePermissions": writes });
    kamaji_e2e::interior::of(&fields, Ipv4Addr::new(192, 0, 2, 10).into()).unwrap()
}

/// Method, path and body.
type Write = (&'static str, &'static str, Value);

/// Somebody who writes to the tenant.
struct Tenancy {
    client: Client,
    headers: &'static [(&'static str, &'static str)],
}

impl Tenancy {
    /// `Ok` if it was done; else the refusal's code and words.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<(), (u16, String)> {
        let kind = match method {
            "PATCH" => "application/merge-patch+json",
            "APPLY" => "application/apply-patch+yaml",
            _ => "application/json",
        };
        let verb = if method == "APPLY" { "PATCH" } else { method };
        let mut request = http::Request::builder().method(verb).uri(path).header("Content-Type", kind);
        for (name, value) in self.headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        match self.client.request_text(request.body(body).unwrap()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    async fn is_refused(&self, method: &str, path: &str, body: &Value) {
        match self.ask(method, path, body).await {
            Err((403, words)) if words.contains("the provider of this cluster has suspended") => {}
            other => panic!("{method} {path} should be refused for its limits: {other:?}"),
        }
    }

    async fn is_done(&self, method: &str, path: &str, body: &Value) {
        let outcome = self.ask(method, path, body).await;
        assert_eq!(outcome, Ok(()), "{method} {path}");
    }

    async fn are_done(&self, writes: &[Write]) {
        for (method, path, body) in writes {
            self.is_done(method, path, body).await;
        }
    }

    async fn are_refused(&self, writes: &[Write]) {
        for (method, path, body) in writes {
            self.is_refused(method, path, body).await;
        }
    }
}

fn named(kind: &str, version: &str, name: &str) -> Value {
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name } })
}

fn config_map(name: &str) -> Value {
    named("ConfigMap", "v1", name)
}

fn pod(name: &str, owner: Option<&str>) -> Value {
    let owners = owner.map(|owner| {
        json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": "u", "controller": true }])
    });
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "ownerReferences": owners },
        "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "a", "image": "a" }] },
    })
}

async fn apply(cluster: &Cluster, objects: &[Object]) {
    for object in objects {
        cluster.settle_dynamic(&object.resource, &object.desired, None).await.unwrap();
    }
}

/// A tenant with something in it, and then with limited writes.
async fn limited(writes: &WritePermissions) -> (ApiServer, Tenancy, Cluster) {
    let server = ApiServer::start_with(Release::V1_34, "10.96.0.0/16").await.unwrap();
    let client = server.client().await.unwrap();
    let admin = Tenancy { client: client.clone(), headers: &[] };
    let seeds = [
        ("POST", "/api/v1/namespaces/default/serviceaccounts", named("ServiceAccount", "v1", "app")),
        ("POST", "/api/v1/namespaces/default/configmaps", config_map("seed")),
        ("POST", "/api/v1/namespaces/kube-system/configmaps", config_map("seed")),
        ("POST", "/api/v1/namespaces/default/pods", pod("seed", None)),
        ("POST", "/api/v1/namespaces", named("Namespace", "v1", "old")),
        ("POST", "/api/v1/namespaces/old/configmaps", config_map("seed")),
        (
            "POST",
            "/api/v1/namespaces/default/configmaps",
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "ending", "finalizers": ["a/b"] } }),
        ),
        (
            "POST",
            "/apis/apps/v1/namespaces/default/deployments",
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "app" },
                "spec": {
                    "selector": { "matchLabels": { "a": "b" } },
                    "template": {
                        "metadata": { "labels": { "a": "b" } },
                        "spec": { "containers": [{ "name": "a", "image": "a" }] },
                    },
                },
            }),
        ),
        ("POST", "/api/v1/nodes", named("Node", "v1", "worker")),
        (
            "POST",
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases",
            named("Lease", "coordination.k8s.io/v1", "worker"),
        ),
        ("DELETE", "/api/v1/namespaces/default/configmaps/ending", Value::Null),
    ];
    admin.are_done(&seeds).await;
    let cluster = Cluster::new(client, "kamaji-tenant");
    apply(&cluster, &kamaji_addons::desired(&interior(writes)).unwrap()).await;
    // A policy is in force a moment after it was written.
    let (method, path, body) = if interior_blocks_creation(&cluster).await {
        ("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", config_map("probe"))
    } else {
        ("DELETE", "/api/v1/namespaces/default/configmaps/seed?dryRun=All", Value::Null)
    };
    let in_force = async {
        while admin.ask(method, path, &body).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), in_force).await.unwrap();
    (server, admin, cluster)
}

async fn interior_blocks_creation(cluster: &Cluster) -> bool {
    use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
    let policy: ValidatingAdmissionPolicy =
        cluster.get_opt(None, kamaji_addons::guard::NAME).await.unwrap().unwrap();
    let rules = policy.spec.unwrap().match_constraints.unwrap().resource_rules.unwrap();
    rules[0].operations.as_ref().unwrap().contains(&"CREATE".to_owned())
}

/// What nobody may do while everything is blocked.
fn suspended() -> Vec<Write> {
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    vec![
        ("POST", "/api/v1/namespaces/default/configmaps", config_map("new")),
        ("POST", "/api/v1/namespaces/kube-system/configmaps", config_map("new")),
        ("APPLY", "/api/v1/namespaces/kube-node-lease/configmaps/new?fieldManager=x", config_map("new")),
        ("POST", "/api/v1/namespaces/kube-system/pods", pod("mine", None)),
        ("POST", "/api/v1/namespaces/kube-system/pods", pod("mine", Some("corednsx-1"))),
        ("POST", "/api/v1/namespaces/default/pods", pod("mine", Some("coredns-1"))),
        ("POST", "/api/v1/namespaces", named("Namespace", "v1", "new")),
        ("PATCH", "/api/v1/namespaces/default/configmaps/seed", label.clone()),
        ("PATCH", "/api/v1/namespaces/kube-system/configmaps/seed", label.clone()),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/default/deployments/app/scale",
            json!({ "spec": { "replicas": 3 } }),
        ),
        (
            "PATCH",
            "/api/v1/namespaces/default/pods/seed/ephemeralcontainers",
            json!({ "spec": { "ephemeralContainers": [{ "name": "x", "image": "x" }] } }),
        ),
        ("POST", "/api/v1/namespaces/default/pods/seed/eviction", named("Eviction", "policy/v1", "seed")),
        ("DELETE", "/api/v1/namespaces/default/configmaps/seed", Value::Null),
        ("DELETE", "/api/v1/namespaces/default/configmaps", Value::Null),
        ("DELETE", "/api/v1/namespaces/old", Value::Null),
        ("DELETE", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/worker", Value::Null),
        (
            "POST",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            named("ClusterRole", "rbac.authorization.k8s.io/v1", "new"),
        ),
    ]
}

/// What a cluster needs to stay as it is.
fn going_on() -> Vec<Write> {
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    vec![
        (
            "PATCH",
            "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/worker",
            json!({ "spec": { "holderIdentity": "worker" } }),
        ),
        ("PATCH", "/api/v1/nodes/worker/status", json!({ "status": { "conditions": [] } })),
        ("PATCH", "/api/v1/nodes/worker", json!({ "spec": { "unschedulable": true } })),
        ("PATCH", "/api/v1/namespaces/default/pods/seed/status", json!({ "status": { "phase": "Running" } })),
        (
            "POST",
            "/api/v1/namespaces/default/serviceaccounts/app/token",
            json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [] } }),
        ),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": { "resourceAttributes": { "verb": "get", "resource": "pods" } },
            }),
        ),
        // What was to end before ends.
        (
            "PATCH",
            "/api/v1/namespaces/default/configmaps/ending",
            json!({ "metadata": { "finalizers": null } }),
        ),
        ("POST", "/api/v1/namespaces/kube-system/pods", pod("dns", Some("coredns-5d78c9869d"))),
        ("DELETE", "/api/v1/namespaces/kube-system/pods/dns?gracePeriodSeconds=0", Value::Null),
        ("PATCH", "/apis/apps/v1/namespaces/kube-system/deployments/coredns", label),
        ("DELETE", "/api/v1/namespaces/kube-system/configmaps/coredns", Value::Null),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn with_everything_blocked_nobody_writes_and_the_cluster_lives() {
    let all = WritePermissions { block_creation: true, block_update: true, block_deletion: true };
    let (_server, admin, cluster) = limited(&all).await;
    admin.are_refused(&suspended()).await;
    let pretender = Tenancy { client: admin.client.clone(), headers: &PRETENDER };
    pretender.are_refused(&suspended()).await;
    admin.are_done(&going_on()).await;
    // What Kamaji keeps inside is kept.
    apply(&cluster, &kamaji_addons::desired(&interior(&all)).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_limit_leaves_the_other_writes_alone() {
    let (_server, admin, _) =
        limited(&WritePermissions { block_deletion: true, ..WritePermissions::default() }).await;
    let label = json!({ "metadata": { "labels": { "a": "b" } } });
    admin.is_refused("DELETE", "/api/v1/namespaces/default/configmaps/seed", &Value::Null).await;
    let eviction = named("Eviction", "policy/v1", "seed");
    admin.is_refused("POST", "/api/v1/namespaces/default/pods/seed/eviction", &eviction).await;
    admin.is_done("POST", "/api/v1/namespaces/default/configmaps", &config_map("new")).await;
    admin.is_done("PATCH", "/api/v1/namespaces/default/configmaps/new", &label).await;

    let (_server, admin, _) =
        limited(&WritePermissions { block_creation: true, ..WritePermissions::default() }).await;
    admin.is_refused("POST", "/api/v1/namespaces/default/configmaps", &config_map("new")).await;
    admin.is_done("PATCH", "/api/v1/namespaces/default/configmaps/seed", &label).await;
    admin.is_done("DELETE", "/api/v1/namespaces/default/configmaps/seed", &Value::Null).await;
}
