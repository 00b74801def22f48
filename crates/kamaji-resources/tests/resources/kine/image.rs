//! A new image of kine reaches a tenant without a rollout of its own.

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_resources::kine::{Choice, DEFAULT_IMAGE, NAME, When};
use serde_json::json;

use super::{Store, everything, plain, postgres};

const NEW: &str = "registry.example.com/kine:v9";

fn image(deployment: &Deployment) -> Option<&str> {
    let containers = &deployment.spec.template.spec.as_ref().unwrap().containers;
    containers.iter().find(|container| container.name == NAME)?.image.as_deref()
}

/// What becomes of a Deployment when the setting names a new image.
fn then(store: &Store, running: &Deployment, when: When) -> Deployment {
    store.deployment(&Choice { image: NEW, running: Some(running), when })
}

/// The server adds fields of its own, and another controller an annotation.
fn as_served(mut deployment: Deployment) -> Deployment {
    deployment.metadata.generation = Some(7);
    deployment
        .metadata
        .annotations
        .get_or_insert_default()
        .insert("deployment.kubernetes.io/revision".into(), "3".into());
    let pod = deployment.spec.template.spec.as_mut().unwrap();
    pod.restart_policy = Some("Always".into());
    pod.containers
        .iter_mut()
        .for_each(|container| container.termination_message_path = Some("/dev/null".into()));
    deployment
}

fn running() -> Deployment {
    as_served(postgres().deployment(&Choice::default()))
}

#[test]
fn a_tenant_starts_with_the_image_of_the_setting() {
    assert_eq!(image(&running()), Some(DEFAULT_IMAGE));
    let chosen = postgres().deployment(&Choice { image: NEW, running: None, when: When::default() });
    assert_eq!(image(&chosen), Some(NEW));
}

#[test]
fn a_running_tenant_keeps_its_image_and_with_it_its_pods() {
    let before = postgres().deployment(&Choice::default());
    let after = then(&postgres(), &running(), When::WithNextRollout);
    assert_eq!(before, after, "nothing is written, so nothing rolls");
    assert_eq!(then(&postgres(), &as_served(after), When::WithNextRollout), before, "and so it stays");
}

#[test]
fn it_takes_the_new_one_along_when_its_pods_are_replaced_anyway() {
    let table = [
        Store::of(postgres().ground.storage.driver, &["pg.stores:5433"], plain(), json!({})),
        Store::of(
            postgres().ground.storage.driver,
            &["pg.stores:5432"],
            plain(),
            json!({ "kubernetes": { "version": "v1.35.4" } }),
        ),
        postgres().knowing("rotated"),
    ];
    for store in table {
        let next = then(&store, &running(), When::WithNextRollout);
        assert_eq!(image(&next), Some(NEW));
        // From then on it is the one that runs, also if the setting goes back.
        let back = store.deployment(&Choice { running: Some(&as_served(next.clone())), ..Choice::default() });
        assert_eq!(back, next);
    }
}

#[test]
fn more_replicas_are_no_reason() {
    let spec = json!({ "controlPlane": { "deployment": { "replicas": 5 } } });
    let wider = Store::of(postgres().ground.storage.driver, &["pg.stores:5432"], plain(), spec);
    assert_eq!(image(&then(&wider, &running(), When::WithNextRollout)), Some(DEFAULT_IMAGE));
}

#[test]
fn it_takes_it_at_once_when_told_to_or_asleep() {
    assert_eq!(image(&then(&postgres(), &running(), When::Now)), Some(NEW));
    let spec = json!({ "controlPlane": { "deployment": { "replicas": 0 } } });
    let asleep = Store::of(postgres().ground.storage.driver, &["pg.stores:5432"], plain(), spec);
    assert_eq!(image(&then(&asleep, &running(), When::WithNextRollout)), Some(NEW));
}

#[test]
fn what_go_left_is_replaced_anyway() {
    let mut go = running();
    go.metadata.annotations = None;
    assert_eq!(image(&then(&postgres(), &go, When::WithNextRollout)), Some(NEW));
    let mut other = running();
    other.spec.template.spec.as_mut().unwrap().containers.retain(|container| container.name != NAME);
    assert_eq!(image(&then(&postgres(), &other, When::WithNextRollout)), Some(NEW));
}

#[test]
fn the_users_own_image_comes_first() {
    let store = Store::of(postgres().ground.storage.driver, &["pg.stores:5432"], plain(), everything());
    let own = "registry.example.com/kine@sha256:0123";
    for when in [When::WithNextRollout, When::Now] {
        assert_eq!(image(&then(&store, &running(), when)), Some(own));
    }
    let containers = store.pod().containers;
    let (names, commands): (Vec<_>, Vec<_>) =
        containers.into_iter().map(|container| (container.name, container.command)).unzip();
    assert_eq!(
        names,
        ["proxy", "kube-apiserver", "kube-scheduler", "kube-controller-manager", NAME, "konnectivity-server"]
    );
    assert_eq!(
        commands[4],
        Some(vec!["/bin/kine".to_owned()]),
        "of the user's container only the image counts"
    );
}
