//! How we connect as the administrator of a tenant.

use kamaji_resources::Kubeconfig;
use kube::Config;
use kube::config::{self, KubeConfigOptions};

/// The configuration of a client with these credentials; nothing if they cannot be used.
///
/// Only address, certificates and key count: whoever can write the Secret cannot make us run a command or use a proxy.
/// There is no reason beside, as what is wrong with a file of credentials may be a part of them.
pub(crate) async fn config(administrator: &Kubeconfig) -> Option<Config> {
    let file = administrator.to_yaml().ok()?;
    let file = config::Kubeconfig::from_yaml(&file).ok()?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.ok()
}
