//! Nothing that matters changes when the installation is taken over, until something is asked for; then once.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{Secret, Service},
    },
};
use kamaji_api::{labels, tenant::Settings, v1alpha1::TenantControlPlane};
use kamaji_e2e::operator::{Lane, kubelet, wait_for};
use kamaji_operator::{TakeoverQuestion, takeover_check};
use kamaji_resources::checksum;
use kube::ResourceExt;
use serde_json::json;

use crate::{
    SILENCE,
    installation::{State, TENANTS, left_by_go, operator, settled, state},
};

/// What only we add.
const ADDED: [&str; 2] = ["KINE_ENDPOINT", "nats.json"];

fn without_added(data: &BTreeMap<String, ByteString>) -> BTreeMap<String, ByteString> {
    data.iter()
        .filter(|(key, _)| !ADDED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_keys_passwords_and_addresses_stay_and_a_change_rolls_once() {
    let lane = left_by_go().await;
    let before = state(&lane).await;
    foretold(&lane).await;
    assert_eq!(state(&lane).await, before, "the check only reads");
    let first = operator(&lane).await;
    settled(&lane, &first).await;
    for write in first.wire.writes() {
        println!("{} {} {}", write.method, write.path, write.query);
    }
    assert!(first.wire.writes().iter().all(|write| write.method != "DELETE"), "nothing is deleted");
    let after = state(&lane).await;
    for (name, data) in &before.secrets {
        assert_eq!(&without_added(&after.secrets[name]), data, "{name}");
    }
    assert_eq!(after.deployments, before.deployments, "no Pod is restarted");
    assert_eq!(after.services, before.services);
    for (name, metadata) in &before.metadata {
        let mut now = after.metadata[name].clone();
        now["labels"].as_object_mut().unwrap().remove(labels::TAKEN_OVER);
        assert_eq!(&now, metadata, "{name}");
    }
    for tenant in TENANTS {
        let tcp = lane.tenants().get(tenant).await.unwrap();
        for finalizer in ["finalizer.kamaji.clastix.io", "finalizer.kamaji.clastix.io/soot"] {
            assert!(tcp.finalizers().iter().any(|name| name == finalizer), "{tenant} {finalizer}");
        }
    }
    go_finds_its_sums(&lane, &before).await;
    first.stop().await.unwrap();

    let second = operator(&lane).await;
    settled(&lane, &second).await;
    assert_eq!(second.wire.writes(), [], "a restart changes nothing");
    scaled(&lane).await;
    second.silence(SILENCE).await.unwrap();
    for tenant in TENANTS {
        upgraded(&lane, tenant).await;
    }
    second.silence(SILENCE).await.unwrap();
    for tenant in TENANTS {
        let deployment: Deployment = lane.objects().get(tenant).await.unwrap();
        let earlier = before.deployments[tenant].0.unwrap() + i64::from(tenant == "plain");
        assert_eq!(deployment.metadata.generation, Some(earlier + 1), "{tenant}: one rollout");
    }
    assert_eq!(state(&lane).await.secrets, after.secrets, "keys and passwords stay");
    without_tunnel(&lane).await;
    second.stop().await.unwrap();
}

/// What the check says of the installation, and of what is wrong with it.
async fn foretold(lane: &Lane) {
    let question = TakeoverQuestion {
        namespace: None,
        settings: Settings { default_data_store: None },
        renew_before: jiff::SignedDuration::from_hours(24),
    };
    let report = async || takeover_check(&lane.client, &question).await.unwrap();
    let calm = report().await;
    assert_eq!(
        calm.to_string(),
        "tenants/full: the Pods stay as they are\n\
         tenants/plain: the Pods stay as they are\n\
         tenants/postgres: the Pods stay as they are\n\
         3 tenants: 0 restarted once, 0 cannot be taken over\n"
    );
    assert_eq!(calm.code(), 0);
}

/// The Go operator makes another kubeconfig or password where the checksums on a Secret, of its data and in the status are
/// not the same.
async fn go_finds_its_sums(lane: &Lane, before: &State) {
    let sum = |secret: &Secret| secret.annotations()["kamaji.clastix.io/checksum"].clone();
    // It computes that of what it copies from a DataStore anew each time.
    let copied = "postgres-datastore-certificate";
    for name in before.secrets.keys().filter(|name| *name != copied) {
        let secret: Secret = lane.objects().get(name).await.unwrap();
        assert!(checksum::is_of_go(&sum(&secret)), "{name} has a checksum of the Go operator's");
    }
    for tenant in TENANTS {
        let status = lane.tenants().get(tenant).await.unwrap().status.unwrap();
        let config: Secret = lane.objects().get(&format!("{tenant}-datastore-config")).await.unwrap();
        assert_eq!(sum(&config), checksum::of_go(config.data.as_ref().unwrap()), "the password is kept");
        let kubeconfigs = status.kubeconfig.unwrap();
        let admin: Secret = lane.objects().get(&format!("{tenant}-admin-kubeconfig")).await.unwrap();
        assert_eq!(kubeconfigs.admin.unwrap().checksum, Some(sum(&admin)));
        let ca: Secret = lane.objects().get(&format!("{tenant}-ca")).await.unwrap();
        assert_eq!(status.certificates.unwrap().ca.unwrap().checksum, Some(sum(&ca)));
    }
}

/// More Pods of the same kind are no rollout.
async fn scaled(lane: &Lane) {
    let replicas = json!({ "spec": { "controlPlane": { "deployment": { "replicas": 2 } } } });
    let before: Deployment = lane.objects().get("plain").await.unwrap();
    lane.edit::<TenantControlPlane>("plain", &replicas).await.unwrap();
    let scaled = |deployment: &Deployment| deployment.spec.replicas == Some(2);
    let after = wait_for(&lane.objects(), "plain", "scaled", scaled).await.unwrap();
    assert_eq!(after.spec.template, before.spec.template);
    kubelet::report_ready(lane, "plain").await.unwrap();
}

/// Another version is one rollout, to Pods that are wholly ours.
async fn upgraded(lane: &Lane, tenant: &str) {
    let version = if tenant == "full" { "v1.35.5" } else { "v1.34.5" };
    // No API server stands behind these Pods, so none can be asked what is in the way.
    let spec = json!({
        "metadata": { "annotations": { labels::SKIP_PREFLIGHT: version } },
        "spec": { "kubernetes": { "version": version } },
    });
    lane.edit::<TenantControlPlane>(tenant, &spec).await.unwrap();
    let upgraded = |deployment: &Deployment| {
        let pod = deployment.spec.template.spec.as_ref().unwrap();
        let image =
            |name: &str| pod.containers.iter().find(|container| container.name == name)?.image.clone();
        image("kube-apiserver").is_some_and(|image| image.ends_with(version))
    };
    let deployment = wait_for(&lane.objects(), tenant, "upgraded", upgraded).await.unwrap();
    let pod = deployment.spec.template.spec.unwrap();
    let volumes: Vec<String> = pod.volumes.unwrap().into_iter().map(|volume| volume.name).collect();
    assert!(!volumes.contains(&"etc-ca-certificates".to_owned()), "nothing of the Go operator's is left");
    kubelet::report_ready(lane, tenant).await.unwrap();
}

/// What the Go operator had said of a Service goes when it is no longer asked for.
async fn without_tunnel(lane: &Lane) {
    let before: Service = lane.objects().get("full").await.unwrap();
    let off = json!({ "spec": { "addons": { "konnectivity": null } } });
    lane.edit::<TenantControlPlane>("full", &off).await.unwrap();
    let ports = |service: &Service| -> Vec<i32> {
        service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()).map(|port| port.port).collect()
    };
    assert!(ports(&before).contains(&8132));
    let closed = |service: &Service| !ports(service).contains(&8132);
    let after = wait_for(&lane.objects(), "full", "closed", closed).await.unwrap();
    assert_eq!(after.metadata.uid, before.metadata.uid);
    assert_eq!(after.spec.unwrap().cluster_ip, before.spec.unwrap().cluster_ip);
}
