//! The chart's etcd, seen from this machine.

use anyhow::{Context, Result};
use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, TlsOptions};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Api;
use xtask::install;

use super::{LIMIT, Lab};

/// The chart's only member, and its Secret with the certificate of the user root.
const POD: &str = "kamaji-etcd-0";
const ROOT: &str = "kamaji-etcd-root-client-certs";

/// Where the chart's etcd is, and whom it trusts.
pub struct Store {
    endpoint: String,
    authority: Vec<u8>,
    root: Identity,
}

impl Lab {
    /// The etcd that all tenants share.
    pub async fn store(&self) -> Result<Store> {
        let pod = Api::<Pod>::namespaced(self.client(), install::NAMESPACE).get(POD).await?;
        let address = pod.status.and_then(|status| status.pod_ip).context("the etcd Pod has no address")?;
        let secret = Api::<Secret>::namespaced(self.client(), install::NAMESPACE).get(ROOT).await?;
        let data = secret.data.unwrap_or_default();
        let part = |key: &str| {
            data.get(key).map(|part| part.0.clone()).with_context(|| format!("{ROOT} has no {key}"))
        };
        Ok(Store {
            endpoint: format!("https://{address}:2379"),
            authority: part("ca.crt")?,
            root: Identity::from_pem(part("tls.crt")?, part("tls.key")?),
        })
    }
}

impl Store {
    /// A client that may do everything.
    pub async fn root(&self) -> Result<Client> {
        self.client(self.root.clone()).await
    }

    /// A client with this certificate and key.
    pub async fn client(&self, identity: Identity) -> Result<Client> {
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(&self.authority))
            // The certificate has no Pod's address.
            .domain_name("localhost")
            .identity(identity);
        let options = ConnectOptions::new().with_tls(tls).with_timeout(LIMIT);
        Ok(Client::connect([&self.endpoint], Some(options)).await?)
    }

    /// Every key, user and role whose name contains this word.
    pub async fn traces_of(&self, word: &str) -> Result<Vec<String>> {
        let mut root = self.root().await?;
        let everything = GetOptions::new().with_all_keys().with_keys_only();
        let keys = root.get("", Some(everything)).await?;
        let mut found: Vec<String> =
            keys.kvs().iter().map(|pair| format!("key {}", String::from_utf8_lossy(pair.key()))).collect();
        found.extend(root.user_list().await?.users().iter().map(|user| format!("user {user}")));
        found.extend(root.role_list().await?.roles().iter().map(|role| format!("role {role}")));
        found.retain(|name| name.contains(word));
        Ok(found)
    }
}
