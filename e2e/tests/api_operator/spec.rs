//! Specs that admission lets in and that cannot be carried out are named, field by field, and heal once they are right.

use futures::future::join_all;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::operator::{Lane, condition, message};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

/// What is wrong, as a JSON pointer into the manifest and a value, and the field that the condition must name.
const BAD: &[(&str, &str, &str, &str)] = &[
    ("latest", "/spec/kubernetes/version", r#""latest""#, "spec.kubernetes.version"),
    ("no-v", "/spec/kubernetes/version", r#""1.34.4""#, "spec.kubernetes.version"),
    ("newer", "/spec/kubernetes/version", r#""v1.99.0""#, "spec.kubernetes.version"),
    ("wild", "/spec/kubernetes/version", r#""v1.x""#, "spec.kubernetes.version"),
    ("shell", "/spec/kubernetes/version", r#""v1.34.4;id""#, "spec.kubernetes.version"),
    ("build", "/spec/kubernetes/version", r#""v1.34.4+x""#, "spec.kubernetes.version"),
    ("port-0", "/spec/networkProfile/port", "0", "spec.networkProfile.port"),
    ("port-65536", "/spec/networkProfile/port", "65536", "spec.networkProfile.port"),
    ("port-negative", "/spec/networkProfile/port", "-1", "spec.networkProfile.port"),
    ("dns", "/spec/networkProfile/dnsServiceIPs", r#"["192.0.2.1"]"#, "spec.networkProfile.dnsServiceIPs"),
    ("address", "/spec/networkProfile/address", r#""nowhere""#, "spec.networkProfile.address"),
    ("sans", "/spec/networkProfile/certSANs", r#"["a b"]"#, "spec.networkProfile.certSANs"),
    (
        "taken-port",
        "/spec/controlPlane/service/additionalPorts",
        r#"[{"name":"kube-apiserver","port":1,"targetPort":1}]"#,
        "spec.controlPlane.service.additionalPorts[0].name",
    ),
    ("sans-wild", "/spec/networkProfile/certSANs", r#"["*.*.example.com"]"#, "spec.networkProfile.certSANs"),
    ("store-empty", "/spec/dataStore", r#""""#, "spec.dataStore"),
    ("replicas", "/spec/controlPlane/deployment/replicas", "-1", "spec.controlPlane.deployment.replicas"),
    ("no-store", "/spec/dataStore", "null", "spec.dataStore"),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_spec_that_cannot_be_carried_out_is_named_by_field_and_heals() {
    let lane = Lane::new().await.unwrap();
    let operator = lane.operator().await.unwrap();
    let refused = join_all(BAD.iter().map(|bad| Box::pin(try_bad(&lane, *bad)))).await;
    let refused: Vec<_> = refused.into_iter().flatten().collect();
    println!("refused at admission: {refused:?}");
    // What the API refuses by itself is proved with the definitions; whatever it lets through must end here.
    assert!(refused.len() < BAD.len());
    operator.stop().await.unwrap();
}

/// The name of the case if the API refused it at once.
async fn try_bad(lane: &Lane, (name, pointer, value, field): (&str, &str, &str, &str)) -> Option<String> {
    let good = lane.manifest(name);
    let value: Value = serde_json::from_str(value).unwrap();
    let mut bad = good.clone();
    put(&mut bad, pointer, value);
    let params = PatchParams::apply("user").force();
    if lane.tenants().patch(name, &params, &Patch::Apply(&bad)).await.is_err() {
        return Some(name.to_owned());
    }
    let rejected = lane
        .tenant_that(name, "rejected", |tcp| condition(tcp, "SpecAccepted") == "False/InvalidSpec")
        .await
        .unwrap();
    assert!(
        message(&rejected, "SpecAccepted").contains(field),
        "{name}: {}",
        message(&rejected, "SpecAccepted")
    );
    assert_eq!(condition(&rejected, "Ready"), "False/InvalidSpec", "{name}");
    assert!(
        lane.children_of(name).await.unwrap().is_empty(),
        "{name}: nothing is made of a spec that is not sound"
    );

    lane.tenants().patch(name, &params, &Patch::Apply(&good)).await.unwrap();
    let healed: TenantControlPlane = lane.converged(name).await.unwrap();
    assert!(condition(&healed, "SpecAccepted").starts_with("True"), "{name}");
    None
}

fn put(manifest: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let mut place = manifest;
    for step in parent.split('/').skip(1) {
        place = place.as_object_mut().unwrap().entry(step).or_insert_with(|| json!({}));
    }
    let fields = place.as_object_mut().unwrap();
    if value.is_null() {
        fields.remove(key)
    } else {
        fields.insert(key.to_owned(), value)
    };
}
