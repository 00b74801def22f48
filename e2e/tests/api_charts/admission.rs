//! A real API server takes what the chart renders, also where Pods are restricted.

use k8s_openapi::{
    api::core::v1::{Namespace, Pod},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kamaji_api::crd;
use kamaji_e2e::api_server::ApiServer;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::GroupVersionKind,
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};

use super::{NAMESPACE, documents, object, render, template};

/// An API server with the definitions, and with the operator's namespace, in which Pods are restricted.
async fn prepared() -> ApiServer {
    let api = ApiServer::start().await.unwrap();
    let client = api.client().await.unwrap();
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    for definition in crd::all() {
        let name = definition.metadata.name.clone().unwrap();
        definitions.create(&PostParams::default(), &definition).await.unwrap();
        await_condition(definitions.clone(), &name, conditions::is_crd_established()).await.unwrap();
    }
    let namespace: Namespace = serde_json::from_value(json!({
        "metadata": { "name": NAMESPACE, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/enforce-version": "latest",
        } },
    }))
    .unwrap();
    Api::<Namespace>::all(client).create(&PostParams::default(), &namespace).await.unwrap();
    api
}

/// Applies an object without keeping it; the server checks every field.
async fn try_to_apply(client: &Client, manifest: &Value) -> kube::Result<DynamicObject> {
    let object: DynamicObject = serde_json::from_value(manifest.clone()).unwrap();
    let kind = GroupVersionKind::try_from(object.types.clone().unwrap_or_default()).unwrap();
    // The kinds of the chart have regular plurals.
    let kind = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = match object.metadata.namespace.as_deref() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind),
        None => Api::all_with(client.clone(), &kind),
    };
    let params =
        PatchParams { dry_run: true, ..PatchParams::apply("api-charts").force() }.validation_strict();
    api.patch(object.metadata.name.as_deref().unwrap(), &params, &Patch::Apply(&object)).await
}

/// The Pod that a workload makes, with every volume that its containers mount.
fn pod_of(workload: &Value) -> Pod {
    let template = &workload["spec"]["template"];
    let mut spec = template["spec"].clone();
    for claim in workload["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
        let name = &claim["metadata"]["name"];
        let volume = json!({ "name": name, "persistentVolumeClaim": { "claimName": name } });
        spec["volumes"].as_array_mut().unwrap().push(volume);
    }
    let name = workload["metadata"]["name"].as_str().unwrap();
    let metadata = json!({ "name": format!("{name}-pod"), "labels": template["metadata"]["labels"] });
    serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
}

#[tokio::test]
async fn everything_that_is_rendered_is_sound() {
    let api = prepared().await;
    let client = api.client().await.unwrap();
    let variants = [
        vec![],
        vec![
            "kamaji-etcd.replicas=3",
            "podDisruptionBudget.enabled=true",
            "replicaCount=2",
            "fullnameOverride=other",
            "webhook.failurePolicy=Fail",
        ],
        vec![
            "kamaji-etcd.persistence.enabled=false",
            "loggingDevel.enable=true",
            "imagePullSecrets[0].name=s",
            "webhook.enabled=false",
            "kubeconfigGenerator.allowSystemIdentities=true",
        ],
    ];
    for settings in variants {
        for manifest in render(&settings) {
            if let Err(problem) = try_to_apply(&client, &manifest).await {
                panic!("{} {}: {problem}", manifest["kind"], manifest["metadata"]["name"]);
            }
        }
    }
    for manifest in documents(&template("kamaji-crds", &[]).unwrap()) {
        assert_eq!(manifest["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
        try_to_apply(&client, &manifest).await.unwrap();
    }
}

#[tokio::test]
async fn every_pod_satisfies_the_restricted_standard() {
    let api = prepared().await;
    let pods = Api::<Pod>::namespaced(api.client().await.unwrap(), NAMESPACE);
    let dry_run = PostParams { dry_run: true, ..Default::default() };
    let objects = render(&[]);
    let workloads = [("Deployment", "kamaji"), ("StatefulSet", "kamaji-etcd"), ("Job", "kamaji-etcd-init-")];
    for (kind, name) in workloads {
        let mut pod = pod_of(object(&objects, kind, name));
        if let Err(problem) = pods.create(&dry_run, &pod).await {
            panic!("{kind} {name}: {problem}");
        }
        for container in &mut pod.spec.as_mut().unwrap().containers {
            let context = container.security_context.as_mut().unwrap();
            assert_eq!(context.read_only_root_filesystem, Some(true), "{kind} {name}");
            context.allow_privilege_escalation = Some(true);
        }
        let refused = pods.create(&dry_run, &pod).await.unwrap_err().to_string();
        assert!(refused.contains("violates PodSecurity \"restricted:latest\""), "{refused}");
    }
}
