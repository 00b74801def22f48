//! Tenants that share an etcd for single kinds see nothing of each other there.

use etcd_client::{Client, GetOptions};
use kamaji_e2e::digest::steady;
use kube::ResourceExt;

use crate::ground::{as_tenant, lane, manifest, put, second, third};

/// Whether a watch of this key is granted.
async fn watches(client: &mut Client, key: String) -> bool {
    let Ok(mut watch) = client.watch(key, None).await else { return false };
    let answer = watch.message().await.unwrap().unwrap();
    answer.created() && !answer.canceled()
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_that_share_an_override_store_see_nothing_of_each_other() {
    let lane = lane().await;
    let _operator = lane.operator().await.unwrap();
    let kinds = [("/events", "second"), ("/configmaps", "third")];
    let names = ["a", "b", "c"];
    let mut tenants = Vec::new();
    for name in names {
        lane.create(&manifest(&lane, name, &kinds)).await.unwrap();
    }
    for name in names {
        tenants.push(lane.converged(name).await.unwrap());
    }
    for etcd in [lane.etcd, second().await, third().await] {
        for tcp in &tenants {
            put(etcd, tcp, "events/secret").await;
        }
        for tcp in &tenants {
            let (name, own) = (tcp.name_any(), tcp.uid().unwrap());
            let mut client = as_tenant(&lane, &name, etcd).await.unwrap();
            let put = async || client.clone().put(format!("/{own}/events/secret"), name.clone(), None).await;
            steady(put).await.unwrap();
            for other in tenants.iter().filter(|other| other.name_any() != name) {
                let key = format!("/{}/events/secret", other.uid().unwrap());
                let prefix = Some(GetOptions::new().with_prefix());
                assert!(client.get(key.clone(), None).await.is_err(), "{name} reads {key}");
                assert!(client.get(key.clone(), prefix).await.is_err(), "{name} lists {key}");
                assert!(client.put(key.clone(), "x", None).await.is_err(), "{name} writes {key}");
                assert!(client.delete(key.clone(), None).await.is_err(), "{name} deletes {key}");
                assert!(!watches(&mut client, key.clone()).await, "{name} watches {key}");
            }
            let everything = GetOptions::new().with_all_keys();
            assert!(client.get(vec![], Some(everything)).await.is_err(), "{name} reads everything");
            assert!(client.get("/_kamaji/", None).await.is_err(), "{name} reads marks");
            assert!(client.user_list().await.is_err(), "{name} lists users");
            assert!(client.role_get(own.clone()).await.is_ok(), "{name} knows its own role");
            assert!(watches(&mut client, format!("/{own}/events/secret")).await, "{name} watches its own");
            let mine = client.get(format!("/{own}/events/secret"), None).await.unwrap();
            assert_eq!(mine.kvs()[0].value(), name.as_bytes());
        }
    }
}
