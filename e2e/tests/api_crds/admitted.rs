//! What must be admitted, and what the server makes of it.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::{Trial, api, change, create, data_store, generator, objects, tenant, without_empty};

/// Documents of the YAML files in a folder of the checkout whose names begin like this.
fn documents(folder: &str, prefix: &str) -> Vec<(String, Value)> {
    let folder: PathBuf = xtask::workspace::path(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(prefix));
    paths.sort();
    let read = |path: &PathBuf| -> Vec<(String, Value)> {
        let text = fs::read_to_string(path).unwrap();
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        documents.into_iter().map(|document| (path.display().to_string(), document)).collect()
    };
    paths.iter().flat_map(read).collect()
}

async fn assert_admitted(manifests: impl IntoIterator<Item = Value>) {
    let client = api().await.client().await.unwrap();
    for manifest in manifests {
        let answer = create(&client, &manifest, Trial::Dry).await;
        assert!(answer.is_ok(), "{}: {manifest}", answer.unwrap_err());
    }
}

#[tokio::test]
async fn every_sample() {
    let mut samples = documents("docs/samples", "");
    samples.retain(|(_, sample)| sample["kind"] != "Namespace");
    for (_, sample) in &mut samples {
        if sample["metadata"].get("namespace").is_some() {
            sample["metadata"]["namespace"] = json!("default");
        }
    }
    assert!(samples.len() >= 6, "only {} samples", samples.len());
    assert_admitted(samples.into_iter().map(|(_, sample)| sample)).await;
}

#[tokio::test]
async fn what_users_may_leave_out_or_write_in_several_ways() {
    let balanced = |profile: Value| json!({ "networkProfile": profile, "controlPlane": { "service": { "serviceType": "LoadBalancer" } } });
    let specs = [
        json!({}),
        json!({ "networkProfile": { "serviceCidr": "", "podCidr": "fd00::/64", "loadBalancerSourceRanges": [] } }),
        json!({ "networkProfile": { "serviceCidrs": ["fd00::/108", "10.97.0.0/16"], "dnsServiceIPs": ["fd00::10", "10.97.0.10"] } }),
        json!({ "networkProfile": { "advertiseAddress": "fd00::1", "certSANs": ["*.example.com", "::1", "10.0.0.1", "a-b.c"] } }),
        balanced(
            json!({ "loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"], "loadBalancerClass": "x.io/y" }),
        ),
        json!({ "dataStoreSchema": "0c5d9f1a-Schema_1", "dataStoreUsername": "x-" }),
        json!({ "kubernetes": { "version": "v1.36.0-rc.1" } }),
        json!({ "addons": { "coreDNS": {}, "kubeProxy": {}, "konnectivity": {} } }),
        json!({ "addons": { "konnectivity": { "agent": { "mode": "Deployment" } } } }),
        json!({ "controlPlane": { "deployment": { "replicas": 0, "additionalContainers": [{ "name": "kine", "image": "k" }] } } }),
        json!({ "controlPlane": { "deployment": { "additionalVolumes": [{ "name": "v", "configMap": { "name": "c" } }] } } }),
        json!({ "controlPlane": { "service": { "additionalPorts": [{ "name": "konnectivity-server", "port": 53, "protocol": "UDP", "targetPort": "dns" }] } } }),
        json!({ "controlPlane": { "gateway": { "hostname": "*.example.com", "parentRefs": [{ "name": "g" }] } } }),
    ];
    assert_admitted(specs.iter().map(|spec| tenant("default", "good", spec))).await;
    let content = json!({ "content": "c2VjcmV0" });
    assert_admitted([
        data_store("good", &json!({})),
        data_store("good", &json!({ "driver": "NATS", "tlsConfig": { "clientCertificate": null } })),
        data_store("good", &json!({ "driver": "MySQL", "tlsConfig": null, "basicAuth": { "username": content, "password": content } })),
        generator("good", &json!({ "groups": [{ "fromDefinition": "metadata.namespace" }] })),
    ])
    .await;
}

#[tokio::test]
async fn what_go_wrote_is_kept_whole() {
    let api = api().await;
    let client = api.client().await.unwrap();
    let namespace = api.fresh_namespace().await.unwrap();
    let written: Vec<_> = ["tenant-", "datastore-"]
        .iter()
        .flat_map(|prefix| documents("crates/kamaji-api/tests/fixtures", prefix))
        .collect();
    assert_eq!(written.len(), 6);
    for (file, object) in written {
        let mut manifest = object.clone();
        manifest["metadata"] = json!({ "name": object["metadata"]["name"] });
        if object["kind"] == "TenantControlPlane" {
            manifest["metadata"]["namespace"] = json!(namespace);
        }
        let created = create(&client, &manifest, Trial::Real).await.unwrap();
        assert_eq!(without_empty(&created["spec"]), without_empty(&object["spec"]), "{file}");
        let name = manifest["metadata"]["name"].as_str().unwrap();
        let status = json!({ "status": object["status"] });
        let reported = objects(client.clone(), &manifest)
            .patch_status(name, &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&status))
            .await
            .unwrap();
        assert_eq!(without_empty(&reported.data["status"]), without_empty(&object["status"]), "{file}");
    }
}

#[tokio::test]
async fn what_is_not_said_is_filled_in_as_by_go() {
    let client = api().await.client().await.unwrap();
    let (_, go) = documents("crates/kamaji-api/tests/fixtures", "tenant-plain").remove(0);
    // What the user of that object wrote.
    let spec = json!({
        "addons": { "coreDNS": {}, "kubeProxy": {} },
        "controlPlane": { "deployment": { "replicas": 1 } },
        "dataStore": "default",
        "kubernetes": { "kubelet": { "cgroupfs": "cgroupfs" } },
    });
    let ours = create(&client, &tenant("default", "plain", &spec), Trial::Dry).await.unwrap();
    let mut expected = go["spec"].clone();
    // Go's webhook adds these; here they follow from the single fields at each pass.
    for filled_by_webhook in ["serviceCidrs", "podCidrs", "dnsServiceIPs"] {
        expected["networkProfile"].as_object_mut().unwrap().remove(filled_by_webhook);
    }
    assert_eq!(without_empty(&ours["spec"]), without_empty(&expected));
}

#[tokio::test]
async fn an_explicit_null_is_as_good_as_nothing() {
    let client = api().await.client().await.unwrap();
    let plain = create(&client, &tenant("default", "null", &json!({})), Trial::Dry).await.unwrap();
    let mut manifest = tenant("default", "null", &json!({}));
    manifest["spec"]["controlPlane"]["deployment"] =
        json!({ "replicas": null, "strategy": null, "affinity": null, "extraArgs": null });
    manifest["spec"]["controlPlane"]["ingress"] = Value::Null;
    manifest["spec"]["networkProfile"] = json!({ "loadBalancerClass": null, "port": null, "certSANs": null });
    manifest["spec"]["kubernetes"]["kubelet"] = json!({ "cgroupfs": null, "preferredAddressTypes": null });
    manifest["spec"]["addons"] = json!({ "konnectivity": null });
    let nulls = create(&client, &manifest, Trial::Dry).await.unwrap();
    assert_eq!(without_empty(&nulls["spec"]), without_empty(&plain["spec"]));
}

#[tokio::test]
async fn konnectivity_is_filled_in() {
    let client = api().await.client().await.unwrap();
    let spec = json!({ "addons": { "konnectivity": {} } });
    let made = create(&client, &tenant("default", "tunnel", &spec), Trial::Dry).await.unwrap();
    assert_eq!(
        made["spec"]["addons"]["konnectivity"],
        json!({
            "server": { "image": "registry.k8s.io/kas-network-proxy/proxy-server", "port": 8132 },
            "agent": {
                "image": "registry.k8s.io/kas-network-proxy/proxy-agent",
                "mode": "DaemonSet",
                "hostNetwork": false,
                "tolerations": [{ "key": "CriticalAddonsOnly", "operator": "Exists" }],
            },
        })
    );
}

#[tokio::test]
async fn status_is_written_apart_from_the_spec() {
    let api = api().await;
    let client = api.client().await.unwrap();
    let namespace = api.fresh_namespace().await.unwrap();
    let manifest = tenant(&namespace, "apart", &json!({}));
    create(&client, &manifest, Trial::Real).await.unwrap();
    let both =
        json!({ "spec": { "dataStore": "other" }, "status": { "controlPlaneEndpoint": "10.0.0.1:6443" } });
    let changed = change(&client, &manifest, &both, Trial::Real).await.unwrap();
    assert_eq!(changed["spec"]["dataStore"], "other");
    assert!(changed.get("status").is_none(), "{}", changed["status"]);
    let reported = objects(client, &manifest)
        .patch_status("apart", &kube::api::PatchParams::default(), &kube::api::Patch::Merge(&both))
        .await
        .unwrap();
    assert_eq!(reported.data["status"]["controlPlaneEndpoint"], "10.0.0.1:6443");
    assert_eq!(reported.metadata.generation, Some(2));
}
