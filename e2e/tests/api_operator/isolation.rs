//! Tenants that share an etcd and have names made to mislead see nothing of each other, and cannot take each other's names.

use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, TlsOptions};
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_e2e::{
    digest::steady,
    etcd::Etcd,
    operator::{Lane, condition, is_converged, wait_gone},
};
use serde_json::json;

/// A client of etcd that is what the tenant's API server is.
async fn as_tenant(lane: &Lane, name: &str) -> Client {
    let secret = lane.objects::<Secret>().get(&format!("{name}-datastore-certificate")).await.unwrap();
    let data = secret.data.unwrap();
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(&data["ca.crt"].0))
        .identity(Identity::from_pem(&data["server.crt"].0, &data["server.key"].0));
    let address = format!("https://{}", lane.etcd.endpoint());
    Client::connect([address], Some(ConnectOptions::new().with_tls(tls))).await.unwrap()
}

async fn tenant_with(lane: &Lane, name: &str, schema: &str, user: &str) {
    let mut manifest = lane.manifest(name);
    manifest["spec"]["dataStoreSchema"] = json!(schema);
    manifest["spec"]["dataStoreUsername"] = json!(user);
    lane.create(&manifest).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_with_misleading_names_cannot_read_each_other() {
    let lane = Lane::new().await.unwrap();
    let _operator = lane.operator().await.unwrap();
    let ns = &lane.namespace;
    // Prefixes of each other; one tenant's user is called what another's schema is.
    let names = [
        ("a", format!("{ns}x"), format!("{ns}u")),
        ("b", format!("{ns}x0"), format!("{ns}x")),
        ("c", format!("{ns}x-"), format!("{ns}x0")),
        ("d", format!("{ns}X"), format!("{ns}U")),
    ];
    for (name, schema, user) in &names {
        tenant_with(&lane, name, schema, user).await;
    }
    for (name, schema, _) in &names {
        lane.converged(name).await.unwrap();
        let client = as_tenant(&lane, name).await;
        let put = async || client.clone().put(format!("/{schema}/secret"), *name, None).await;
        steady(put).await.unwrap();
    }
    for (name, own, _) in &names {
        let mut client = as_tenant(&lane, name).await;
        let read = async || client.clone().get(format!("/{own}/secret"), None).await;
        let read = steady(read).await.unwrap();
        assert_eq!(read.kvs()[0].value(), name.as_bytes());
        for (other, schema, _) in names.iter().filter(|(other, _, _)| other != name) {
            let key = format!("/{schema}/secret");
            assert!(client.get(key.clone(), None).await.is_err(), "{name} reads {other}");
            assert!(client.put(key.clone(), "x", None).await.is_err(), "{name} writes {other}");
            assert!(client.delete(key, None).await.is_err(), "{name} deletes {other}");
        }
        let everything = GetOptions::new().with_all_keys();
        assert!(client.get(vec![], Some(everything)).await.is_err(), "{name} reads everything");
        let beyond = GetOptions::new().with_range(format!("/{own}1"));
        assert!(client.get(format!("/{own}/"), Some(beyond)).await.is_err(), "{name} reads beyond its own");
        assert!(client.user_list().await.is_err(), "{name} lists users");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_another_tenants_are_refused_and_stay_the_other_tenants() {
    let lane = Lane::new().await.unwrap();
    let _operator = lane.operator().await.unwrap();
    let ns = &lane.namespace;
    let (schema, user) = (format!("{ns}s"), format!("{ns}t"));
    tenant_with(&lane, "owner", &schema, &user).await;
    lane.converged("owner").await.unwrap();
    let client = as_tenant(&lane, "owner").await;
    let put = async || client.clone().put(format!("/{schema}/secret"), "mine", None).await;
    steady(put).await.unwrap();

    tenant_with(&lane, "same-schema", &schema, &format!("{ns}v")).await;
    tenant_with(&lane, "same-user", &format!("{ns}w"), &user).await;
    let refused = |tcp: &TenantControlPlane| condition(tcp, "DataStoreReachable") == "False/ForeignObject";
    for name in ["same-schema", "same-user"] {
        lane.tenant_that(name, "refused", refused).await.unwrap();
        lane.delete(name).await.unwrap();
        wait_gone(&lane.tenants(), name).await.unwrap();
    }
    let read = async || client.clone().get(format!("/{schema}/secret"), None).await;
    let read = steady(read).await.unwrap();
    assert_eq!(read.kvs()[0].value(), b"mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn reserved_and_quoted_names_never_reach_the_datastore() {
    let lane = Lane::new().await.unwrap();
    let _operator = lane.operator().await.unwrap();
    let hostile = ["root", "_kamaji", "../x", "a/b", "a;DROP", "a b", "-x"];
    for (number, name) in hostile.iter().enumerate() {
        let tenant = format!("t{number}");
        let mut manifest = lane.manifest(&tenant);
        manifest["spec"]["dataStoreSchema"] = json!(name);
        // Most are refused at admission; what gets in is named.
        if lane.create(&manifest).await.is_err() {
            continue;
        }
        let refused = |tcp: &TenantControlPlane| condition(tcp, "Ready") == "False/InvalidName";
        lane.tenant_that(&tenant, name, refused).await.unwrap();
        lane.delete(&tenant).await.unwrap();
        wait_gone(&lane.tenants(), &tenant).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_name_is_one_tenants_in_all_datastores_of_an_authority() {
    let lane = Lane::new().await.unwrap();
    let twin = Etcd::start_under(lane.etcd.authority(), &[]).await.unwrap();
    let stranger = Etcd::start().await.unwrap();
    let beside = lane.put_further_data_store("twin", &twin, &twin.endpoint().to_string()).await.unwrap();
    let apart = stranger.endpoint().to_string();
    let apart = lane.put_further_data_store("stranger", &stranger, &apart).await.unwrap();
    let operator = lane.operator().await.unwrap();
    let user = format!("{}u", lane.namespace);
    let asked = async |name: &str, data_store: &str| {
        let mut manifest = lane.manifest(name);
        manifest["spec"]["dataStore"] = json!(data_store);
        manifest["spec"]["dataStoreUsername"] = json!(user);
        lane.create(&manifest).await.unwrap();
    };
    let refused = |tcp: &TenantControlPlane| condition(tcp, "DataStoreReachable") == "False/UserNameTaken";

    asked("owner", &lane.data_store).await;
    lane.converged("owner").await.unwrap();
    asked("apart", &apart).await;
    lane.converged("apart").await.unwrap();
    asked("twin", &beside).await;
    lane.tenant_that("twin", "refused", refused).await.unwrap();
    // Also by an operator that knows nothing but what the status says.
    operator.stop().await.unwrap();
    let _operator = lane.operator().await.unwrap();
    asked("second", &beside).await;
    lane.tenant_that("second", "refused", refused).await.unwrap();
    let users = twin.root().await.unwrap().user_list().await.unwrap();
    assert!(!users.users().contains(&user), "{:?}", users.users());

    lane.delete("second").await.unwrap();
    lane.delete("owner").await.unwrap();
    wait_gone(&lane.tenants(), "owner").await.unwrap();
    lane.converged("twin").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tenants_that_ask_for_a_user_name_at_once_one_gets_it() {
    let lane = Lane::new().await.unwrap();
    let twin = Etcd::start_under(lane.etcd.authority(), &[]).await.unwrap();
    let beside = lane.put_further_data_store("twin", &twin, &twin.endpoint().to_string()).await.unwrap();
    for (name, data_store) in [("one", &lane.data_store), ("other", &beside)] {
        let mut manifest = lane.manifest(name);
        manifest["spec"]["dataStore"] = json!(data_store);
        manifest["spec"]["dataStoreUsername"] = json!(format!("{}u", lane.namespace));
        lane.create(&manifest).await.unwrap();
    }
    let _operator = lane.operator().await.unwrap();
    let settled = |tcp: &TenantControlPlane| {
        is_converged(tcp) || condition(tcp, "DataStoreReachable") == "False/UserNameTaken"
    };
    let mut converged = 0;
    for name in ["one", "other"] {
        converged += usize::from(is_converged(&lane.tenant_that(name, "settled", settled).await.unwrap()));
    }
    assert_eq!(converged, 1);
}
