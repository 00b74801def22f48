//! Whatever is deleted or edited is as it was soon after.

use std::time::Instant;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret, Service},
    },
};
use kamaji_api::{Child, labels};
use kamaji_e2e::operator::{ChildKind, Lane, Operator, comes_back, wait_for};
use kamaji_pki::Certificate;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    MOMENT, SILENCE,
    state::{self, essence, manifest},
};

const SECRETS: [Child; 3] =
    [Child::KonnectivityCertificate, Child::KonnectivityKubeconfig, Child::KonnectivityServer];

async fn settled() -> (Lane, Operator) {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    lane.create(&manifest(&lane, "blue")).await.unwrap();
    lane.converged("blue").await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    (lane, operator)
}

async fn generation(lane: &Lane) -> i64 {
    lane.objects::<Deployment>().get("blue").await.unwrap().metadata.generation.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_comes_back_and_the_pods_change_only_with_what_they_read() {
    let (lane, operator) = settled().await;
    let before = state::of(&lane, "blue").await;
    for (child, changes) in [
        (Child::KonnectivityKubeconfig, false), // the certificate in it is still there
        (Child::KonnectivityCertificate, true),
        (Child::KonnectivityServer, true),
    ] {
        let first = generation(&lane).await;
        comes_back::<Secret>(&lane, &child.name("blue")).await.unwrap();
        operator.silence(MOMENT).await.unwrap();
        assert_eq!(generation(&lane).await - first, i64::from(changes), "{child:?}");
    }
    let first = generation(&lane).await;
    comes_back::<ConfigMap>(&lane, &Child::EgressSelector.name("blue")).await.unwrap();
    operator.silence(MOMENT).await.unwrap();
    assert_eq!(generation(&lane).await, first);
    operator.silence(SILENCE).await.unwrap();
    let tcp = lane.tenants().get("blue").await.unwrap();
    let after = state::of(&lane, "blue").await;
    assert_eq!(state::alike(&after, &tcp), state::alike(&before, &tcp));
    assert_certificates(&lane).await;
}

/// The kubeconfig has the certificate that stands in the other Secret, and agents accept the server.
async fn assert_certificates(lane: &Lane) {
    let data =
        async |child: Child| lane.objects::<Secret>().get(&child.name("blue")).await.unwrap().data.unwrap();
    let authority = Certificate::from_pem(&data(Child::Ca).await["ca.crt"].0).unwrap();
    let pair = data(Child::KonnectivityCertificate).await;
    let file = data(Child::KonnectivityKubeconfig).await.remove("konnectivity-server.conf").unwrap();
    let file: Value = serde_saphyr::from_slice(&file.0).unwrap();
    let user = &file["users"][0]["user"];
    let said = |key: &str| serde_json::from_value::<ByteString>(user[key].clone()).unwrap();
    assert_eq!(said("client-certificate-data"), pair["tls.crt"]);
    assert_eq!(said("client-key-data"), pair["tls.key"]);
    let client = Certificate::from_pem(&pair["tls.crt"].0).unwrap();
    assert!(client.is_issued_by(&authority) && client.organizations().is_empty());
    assert_eq!(client.common_name(), "system:konnectivity-server");

    let server = data(Child::KonnectivityServer).await;
    let server = Certificate::from_pem(&server["konnectivity-server.crt"].0).unwrap();
    let service = lane.objects::<Service>().get("blue").await.unwrap();
    let address = service.spec.unwrap().cluster_ip.unwrap().parse().unwrap();
    assert!(server.is_issued_by(&authority) && server.ip_addresses().contains(&address));
}

/// One edit after the other, each undone before the next.
async fn undone<K>(lane: &Lane, name: &str, edits: &[Value])
where
    K: ChildKind,
{
    let api = lane.objects::<K>();
    for edit in edits {
        let before = api.get(name).await.unwrap();
        let wanted = comparable(&before);
        let patch: Patch<Value> = Patch::Json(serde_json::from_value(json!([edit])).unwrap());
        let edited = api.patch(name, &PatchParams::default(), &patch).await.unwrap();
        assert_ne!(comparable(&edited), wanted, "{edit} changes something");
        let started = Instant::now();
        let is_back = |object: &K| comparable(object) == wanted;
        wait_for(&api, name, &edit.to_string(), is_back).await.unwrap();
        println!("{} {name}: {} is undone after {:?}", K::kind(&()), edit["path"], started.elapsed());
    }
}

/// Where certificates may be made anew, it counts that there are some.
fn comparable<K: Serialize>(object: &K) -> Value {
    let mut value = essence(object);
    if let Some(annotations) = value["metadata"]["annotations"].as_object_mut() {
        annotations.remove(labels::CHECKSUM);
    }
    if value["kind"] == "Secret" {
        let is_long = |value: &Value| value.as_str().is_some_and(|text| text.len() > 100);
        let data = value["data"].as_object_mut().into_iter().flatten();
        data.filter(|(_, value)| is_long(value)).for_each(|(_, value)| *value = json!("certified"));
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_edited_is_restored() {
    let (lane, operator) = settled().await;
    let replace = |path: &str, value: Value| json!({ "op": "replace", "path": path, "value": value });
    let remove = |path: &str| json!({ "op": "remove", "path": path });
    let component = "/metadata/labels/kamaji.clastix.io~1component";
    let common = [remove(component), replace(component, json!("x"))];

    let file = "/data/egress-selector-configuration.yaml";
    let edits = [replace(file, json!("kind: Nothing")), remove(file), remove("/data")];
    undone::<ConfigMap>(&lane, &Child::EgressSelector.name("blue"), &[&edits[..], &common[..]].concat())
        .await;
    for child in SECRETS {
        let keys: &[&str] = match child {
            Child::KonnectivityCertificate => &["tls.crt", "tls.key"],
            Child::KonnectivityKubeconfig => &["konnectivity-server.conf"],
            _ => &["konnectivity-server.crt", "konnectivity-server.key"],
        };
        let mut edits: Vec<Value> =
            keys.iter().map(|key| replace(&format!("/data/{key}"), json!("eA=="))).collect();
        edits.extend(common.clone());
        undone::<Secret>(&lane, &child.name("blue"), &edits).await;
        operator.silence(MOMENT).await.unwrap();
    }
    undone::<Service>(&lane, "blue", &[remove("/spec/ports/1"), replace("/spec/ports/1/port", json!(8139))])
        .await;
    undone::<Deployment>(&lane, "blue", &pod_edits(&lane).await).await;
    operator.silence(SILENCE).await.unwrap();
    assert_certificates(&lane).await;
}

/// What somebody might do to the server in the Pod.
async fn pod_edits(lane: &Lane) -> Vec<Value> {
    let pod = lane.objects::<Deployment>().get("blue").await.unwrap().spec.template.spec.unwrap();
    let index = pod.containers.iter().position(|container| container.name == "konnectivity-server").unwrap();
    let container = format!("/spec/template/spec/containers/{index}");
    let flag = pod.containers[0].args.as_ref().unwrap();
    let flag = flag.iter().position(|flag| flag.starts_with("--egress-selector-config-file")).unwrap();
    vec![
        json!({ "op": "replace", "path": format!("{container}/image"), "value": "example.com/other:1" }),
        json!({ "op": "remove", "path": format!("{container}/args/0") }),
        json!({ "op": "remove", "path": format!("{container}/ports/0") }),
        json!({ "op": "remove", "path": container }),
        json!({ "op": "remove", "path": format!("/spec/template/spec/containers/0/args/{flag}") }),
    ]
}
