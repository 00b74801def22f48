//! What may be changed later, and what must stay.

use kamaji_api::crd;
use kamaji_e2e::api_server::ApiServer;
use serde_json::{Value, json};

use super::{Trial, api, change, create, data_store, install, tenant};

/// A spec with everything that cannot be changed or taken back.
fn settled() -> Value {
    json!({
        "dataStore": "default",
        "dataStoreSchema": "schema",
        "dataStoreUsername": "user",
        "controlPlane": { "service": { "serviceType": "LoadBalancer" } },
        "networkProfile": { "loadBalancerClass": "x.io/y", "clusterDomain": "a.b" },
    })
}

fn network(profile: Value) -> Value {
    json!({ "networkProfile": profile })
}

fn version(version: &str) -> Value {
    json!({ "kubernetes": { "version": version } })
}

fn trial(version: &str, emulated: &str) -> Value {
    json!({ "kubernetes": { "version": version, "emulatedVersion": emulated } })
}

fn service_type(name: &str) -> Value {
    json!({ "controlPlane": { "service": { "serviceType": name } } })
}

#[tokio::test]
async fn what_is_settled_stays() {
    let api = api().await;
    let client = api.client().await.unwrap();
    let namespace = api.fresh_namespace().await.unwrap();
    let manifest = tenant(&namespace, "settled", &settled());
    create(&client, &manifest, Trial::Real).await.unwrap();
    let cases = [
        (json!({ "dataStore": null }), "unsetting the dataStore is not supported"),
        (json!({ "dataStore": "" }), "unsetting the dataStore is not supported"),
        (json!({ "dataStoreSchema": null }), "unsetting the dataStoreSchema is not supported"),
        (json!({ "dataStoreSchema": "another" }), "changing the dataStoreSchema is not supported"),
        (json!({ "dataStoreUsername": null }), "unsetting the dataStoreUsername is not supported"),
        (json!({ "dataStoreUsername": "another" }), "changing the dataStoreUsername is not supported"),
        (network(json!({ "clusterDomain": "c.d" })), "changing the cluster domain is not supported"),
        (network(json!({ "clusterDomain": null })), "changing the cluster domain is not supported"),
        (network(json!({ "loadBalancerClass": "x.io/z" })), "LoadBalancerClass is immutable"),
        (network(json!({ "loadBalancerClass": null })), "LoadBalancer class can be neither set nor unset"),
        (service_type("ClusterIP"), "LoadBalancer class is supported only with LoadBalancer service type"),
        (version("v1.33.9"), "going back to an older minor version is not supported"),
        (version("v1.36.0"), "minor versions cannot be skipped: go up by one at a time"),
        (version("v1.35"), "the version must look like v1.34.4"),
        (trial("v1.35.4", "1.34"), "the version must look like v1.34.4"),
        (
            trial("v1.35.4", "v1.33.4"),
            "emulatedVersion must be of the minor version before spec.kubernetes.version",
        ),
        (
            trial("v1.34.4", "v1.35.4"),
            "emulatedVersion must be of the minor version before spec.kubernetes.version",
        ),
    ];
    for (spec, words) in cases {
        let message =
            change(&client, &manifest, &json!({ "spec": spec }), Trial::Dry).await.expect_err(words);
        assert!(message.contains(words), "expected {words:?}, got {message:?}");
    }
}

#[tokio::test]
async fn an_upgrade_that_is_tried_out_may_be_taken_back_and_one_that_is_complete_may_not() {
    let api = api().await;
    let client = api.client().await.unwrap();
    let namespace = api.fresh_namespace().await.unwrap();
    let manifest = tenant(&namespace, "tried", &settled());
    create(&client, &manifest, Trial::Real).await.unwrap();
    let back = json!({ "kubernetes": { "version": "v1.34.4", "emulatedVersion": null } });
    for spec in [trial("v1.35.4", "v1.34.4"), back.clone(), trial("v1.35.4", "v1.34.4")] {
        change(&client, &manifest, &json!({ "spec": spec }), Trial::Real).await.unwrap();
    }
    let complete = json!({ "kubernetes": { "emulatedVersion": null } });
    change(&client, &manifest, &json!({ "spec": complete }), Trial::Real).await.unwrap();
    let message =
        change(&client, &manifest, &json!({ "spec": back }), Trial::Dry).await.expect_err("no way back");
    assert!(message.contains("going back to an older minor version is not supported"), "{message}");
}

#[tokio::test]
async fn a_class_cannot_be_added_to_a_load_balancer() {
    let api = api().await;
    let client = api.client().await.unwrap();
    let namespace = api.fresh_namespace().await.unwrap();
    let manifest = tenant(&namespace, "classless", &service_type("LoadBalancer"));
    create(&client, &manifest, Trial::Real).await.unwrap();
    let class = json!({ "spec": network(json!({ "loadBalancerClass": "x.io/y" })) });
    let message = change(&client, &manifest, &class, Trial::Dry).await.unwrap_err();
    assert!(message.contains("LoadBalancer class can be neither set nor unset"), "{message}");
}

#[tokio::test]
async fn what_may_be_changed() {
    let api = api().await;
    let client = api.client().await.unwrap();
    let namespace = api.fresh_namespace().await.unwrap();
    let manifest = tenant(&namespace, "changing", &json!({ "dataStore": "default" }));
    create(&client, &manifest, Trial::Real).await.unwrap();
    let mut balanced = service_type("LoadBalancer");
    balanced["networkProfile"] = json!({ "loadBalancerClass": "x.io/y" });
    let mut back = service_type("ClusterIP");
    back["networkProfile"] = json!({ "loadBalancerClass": null });
    let steps = [
        json!({ "dataStore": "another" }),
        json!({ "dataStoreSchema": "late", "dataStoreUsername": "late" }),
        version("v1.34.3"),
        version("v1.35.4"),
        version("v1.36.0-rc.1"),
        json!({ "controlPlane": { "deployment": { "replicas": 0 } } }),
        balanced,
        back,
        network(json!({ "port": 7443, "certSANs": ["a.b"] })),
        json!({ "addons": { "konnectivity": {} } }),
        json!({ "addons": null }),
    ];
    for spec in steps {
        let answer = change(&client, &manifest, &json!({ "spec": spec }), Trial::Real).await;
        assert!(answer.is_ok(), "{}: {spec}", answer.unwrap_err());
    }
}

#[tokio::test]
async fn the_driver_of_a_data_store_stays() {
    let client = api().await.client().await.unwrap();
    let manifest = data_store("driven", &json!({}));
    create(&client, &manifest, Trial::Real).await.unwrap();
    let driver = json!({ "spec": { "driver": "NATS" } });
    let message = change(&client, &manifest, &driver, Trial::Dry).await.unwrap_err();
    assert!(message.contains("Datastore driver is immutable"), "{message}");
    let endpoints = json!({ "spec": { "endpoints": ["other:2379"] } });
    change(&client, &manifest, &endpoints, Trial::Real).await.unwrap();
}

/// The definitions without their rules and bounds, as an older release may have had them.
fn lenient(definition: impl serde::Serialize) -> Value {
    fn relax(schema: &mut Value) {
        match schema {
            Value::Object(keywords) => {
                for rule in
                    ["x-kubernetes-validations", "pattern", "minimum", "maximum", "maxItems", "maxLength"]
                {
                    keywords.remove(rule);
                }
                keywords.values_mut().for_each(relax);
            }
            Value::Array(items) => items.iter_mut().for_each(relax),
            _ => {}
        }
    }
    let mut definition = serde_json::to_value(definition).unwrap();
    relax(&mut definition["spec"]["versions"][0]["schema"]);
    definition
}

#[tokio::test]
async fn what_was_admitted_once_can_still_be_changed_and_deleted() {
    let api = ApiServer::start().await.unwrap();
    let client = api.client().await.unwrap();
    install(&client, [serde_json::from_value(lenient(crd::tenant_control_plane())).unwrap()]).await;
    let mut manifest = tenant(
        "default",
        "1st.tenant",
        &json!({
            "dataStoreSchema": "postgres",
            "dataStoreUsername": "a%b",
            "dataStoreOverrides": [{ "resource": "/events" }],
            "kubernetes": { "version": "1.34.4" },
            "controlPlane": { "deployment": { "additionalVolumes": [{ "name": "etc-kubernetes-pki" }] } },
            "networkProfile": { "dnsServiceIPs": ["192.0.2.1"], "certSANs": ["Upper"] },
        }),
    );
    manifest["metadata"]["finalizers"] = json!(["finalizer.kamaji.clastix.io"]);
    create(&client, &manifest, Trial::Real).await.unwrap();

    install(&client, [crd::tenant_control_plane()]).await;
    let refused = create(&client, &tenant("default", "1st.other", &json!({})), Trial::Dry).await;
    assert!(refused.unwrap_err().contains("the name must be a DNS label"), "the rules are in force");
    for patch in [
        json!({ "metadata": { "labels": { "a": "b" } } }),
        json!({ "spec": { "controlPlane": { "deployment": { "replicas": 3 } } } }),
        json!({ "spec": { "writePermissions": { "blockCreation": true } } }),
        json!({ "metadata": { "finalizers": null } }),
    ] {
        let answer = change(&client, &manifest, &patch, Trial::Real).await;
        assert!(answer.is_ok(), "{}: {patch}", answer.unwrap_err());
    }
}
