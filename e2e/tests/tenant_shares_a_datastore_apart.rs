//! Two tenants in one etcd, one's names beginning with the other's, cannot read or change each other's data.

use anyhow::{Context, Result, ensure};
use etcd_client::{Client as Etcd, GetOptions, Identity};
use k8s_openapi::api::core::v1::Namespace;
use kamaji_api::Child;
use kamaji_e2e::tenant::{Lab, client_of, in_lab};
use kube::{Api, api::ListParams};
use serde_json::json;
use xtask::programs::Release;

#[tokio::test(flavor = "multi_thread")]
async fn tenants_of_one_datastore_cannot_reach_each_other() -> Result<()> {
    in_lab("apart", async |lab| {
        tokio::try_join!(make(lab, "red"), make(lab, "redder"))?;
        for (own, other) in [("red", "redder"), ("redder", "red")] {
            is_confined(lab, own, other).await.with_context(|| format!("as {own}"))?;
            is_unknown_to(lab, own, other).await.with_context(|| format!("as {own}"))?;
        }
        Ok(())
    })
    .await
}

/// The place in the datastore is called as the tenant is.
async fn make(lab: &Lab, name: &str) -> Result<()> {
    let spec = json!({ "dataStoreSchema": name, "dataStoreUsername": name });
    lab.create(name, Release::V1_34, &spec).await?;
    lab.ready(name).await.map(drop)
}

async fn is_confined(lab: &Lab, own: &str, other: &str) -> Result<()> {
    let mut etcd = etcd_of(lab, own).await?;
    let (mine, theirs) = (format!("/{own}/"), format!("/{other}/"));
    let everything_of = || Some(GetOptions::new().with_prefix());
    ensure!(!etcd.get(mine.as_str(), everything_of()).await?.kvs().is_empty(), "its own data is hidden");
    etcd.put(format!("{mine}test"), "1", None).await.context("writing its own data")?;

    let others = GetOptions::new().with_all_keys();
    denied("reading the other's data", etcd.get(theirs.as_str(), everything_of()).await)?;
    denied("reading a key that begins like its own", etcd.get(format!("/{other}"), everything_of()).await)?;
    denied("reading everything", etcd.get("", Some(others)).await)?;
    denied("writing into the other's data", etcd.put(format!("{theirs}test"), "1", None).await)?;
    denied("deleting the other's data", etcd.delete(format!("{theirs}test"), None).await)?;
    denied("listing users", etcd.user_list().await)?;
    denied("making a user", etcd.user_add("intruder", "intruder", None).await)?;
    denied("granting itself the role root", etcd.user_grant_role(own, "root").await)?;
    denied("turning authentication off", etcd.auth_disable().await)?;
    Ok(())
}

/// The tenant's own API server uses this certificate.
async fn etcd_of(lab: &Lab, tenant: &str) -> Result<Etcd> {
    let secret = lab.secret(tenant, Child::DatastoreCertificate).await?;
    let part = |key: &str| secret.get(key).with_context(|| format!("there is no {key}"));
    lab.store().await?.client(Identity::from_pem(part("server.crt")?, part("server.key")?)).await
}

fn denied<T>(what: &str, answer: Result<T, etcd_client::Error>) -> Result<()> {
    match answer {
        Ok(_) => anyhow::bail!("{what} is allowed"),
        Err(etcd_client::Error::GRpcStatus(status)) => {
            ensure!(status.message().contains("permission denied"), "{what}: {status}");
            Ok(())
        }
        Err(error) => Err(error).with_context(|| what.to_owned()),
    }
}

/// One tenant's administrator is nobody to the other's API server.
async fn is_unknown_to(lab: &Lab, own: &str, other: &str) -> Result<()> {
    let (mine, mut theirs) = (lab.kubeconfig(own).await?, lab.kubeconfig(other).await?);
    theirs.auth_infos[0].auth_info.clone_from(&mine.auth_infos[0].auth_info);
    let intruder = client_of(theirs).await?;
    match Api::<Namespace>::all(intruder).list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) => {
            ensure!(status.code == 401, "it is refused with {status}");
            Ok(())
        }
        Err(error) => Err(error).context("asking the other's API server"),
        Ok(_) => anyhow::bail!("it is let in"),
    }
}
