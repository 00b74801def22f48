//! The container of kine as a tenant's Deployment has it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::tenant::{Settings, Tenant};
use kamaji_api::v1alpha1::Driver;
use kamaji_resources::anchors::{self, ANCHORS};
use kamaji_resources::deployment::{self, Inputs};
use kamaji_resources::storage::Access;
use kamaji_resources::{
    Anchors, Clock, Credentials, Endpoint, HeldSecrets, Storage, StorageCredentials, kine, service,
};
use serde_json::json;

/// What reaches kine.
pub(crate) struct Rendered {
    /// Its command line.
    pub(crate) arguments: Vec<String>,
    /// Its one variable.
    pub(crate) endpoint: String,
    /// The file that the variable names, if it names one.
    pub(crate) context: Option<String>,
}

fn tenant() -> Tenant {
    let tcp = json!({
        "apiVersion": "kamaji.clastix.io/v1alpha1",
        "kind": "TenantControlPlane",
        "metadata": { "name": "blue", "namespace": "teams", "uid": "4746b6dc-a96d-4b56-9a1c-e561fad1fc10" },
        "spec": {
            "dataStore": "default",
            "controlPlane": { "service": { "serviceType": "ClusterIP" } },
            "kubernetes": { "version": "v1.35.4", "kubelet": {} },
        },
    });
    Tenant::resolve(&serde_json::from_value(tcp).unwrap(), &Settings::default()).unwrap()
}

/// A tenant's place in a store.
pub(crate) struct Place<'a> {
    pub(crate) driver: Driver,
    pub(crate) address: &'a str,
    pub(crate) user: &'a str,
    /// The tenant's Secret holds it already.
    pub(crate) password: &'a str,
    pub(crate) schema: &'a str,
    /// Certificates of the store's authority, if it is to be verified.
    pub(crate) ca_pem: Option<&'a str>,
}

/// The container for a tenant with its data in this place.
pub(crate) fn container(place: &Place<'_>) -> Rendered {
    let Place { driver, address, user, password, schema, ca_pem } = *place;
    let tenant = tenant();
    let now: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
    let clock = Clock { now, renew_before: SignedDuration::from_hours(24) };
    let mut service = service::build(&tenant);
    service.spec.get_or_insert_default().cluster_ip = Some("10.97.11.12".into());
    let endpoint = Endpoint::assigned(&tenant, &service).unwrap();
    let anchors =
        ANCHORS.map(|child| (child, Arc::new(anchors::create(&tenant.id, child, clock.now).unwrap())));
    let mut held = HeldSecrets::from(anchors);
    let anchors = Anchors::read(&held, |_| None).unwrap();
    let credentials = Credentials::renew(&tenant, &endpoint, &anchors, &held, clock).unwrap();
    let data = [("DB_PASSWORD".to_owned(), ByteString(password.into()))].into();
    let secret = Secret { data: Some(data), ..Secret::default() };
    held.insert(kamaji_api::Child::DatastoreConfig, Arc::new(secret));
    let storage = Storage {
        driver,
        data_store: "default".into(),
        endpoints: vec![address.to_owned()],
        schema: schema.to_owned(),
        user: user.to_owned(),
    };
    let access = Access {
        ca_pem: ca_pem.map(str::to_owned),
        client_pem: None,
        login: Some((user.to_owned(), password.to_owned().into())),
    };
    let storage_credentials = StorageCredentials::for_kine(&tenant, &storage, &access, &held).unwrap();
    let deployment = deployment::build(&Inputs {
        overrides: &[],
        tenant: &tenant,
        endpoint: &endpoint,
        credentials: &credentials,
        storage: &storage,
        storage_credentials: &storage_credentials,
    });
    let containers = deployment.spec.template.spec.unwrap().containers;
    let found = containers.into_iter().find(|container| container.name == kine::NAME).unwrap();
    Rendered {
        arguments: found.args.unwrap(),
        endpoint: storage_credentials.kine_endpoint().unwrap().to_owned(),
        context: storage_credentials.kine_context().map(str::to_owned),
    }
}
