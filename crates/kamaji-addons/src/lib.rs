//! From a [`Tenant`](kamaji_api::Tenant) to the objects inside the tenant cluster.
//!
//! Builders only: they return values, and the caller applies them with a client of the tenant's own API server.
//! [`desired`] is everything that should be, [`possible`] everything that an add-on may ever have made: what is possible and
//! not desired is left over, and may go if it carries our label.
//!
//! | Module | What it makes |
//! |---|---|
//! | [`kubeadm`] | what `kubeadm init` leaves for those who join |
//! | [`coredns`] | cluster DNS |
//! | [`kube_proxy`] | service routing on the nodes |
//! | [`konnectivity`] | the nodes' end of the tunnel from the API server |
//! | [`guard`] | limits on what the tenant may write |
//!
//! ```
//! use kamaji_addons::kubeadm::rbac;
//!
//! let binding = rbac::cluster_admins();
//! assert_eq!(binding.role_ref.name, "cluster-admin");
//! // One group, and the administrator's certificate names it as its organisation.
//! let subjects = binding.subjects.unwrap_or_default();
//! assert_eq!(subjects.len(), 1);
//! assert_eq!(subjects[0].name, "kubeadm:cluster-admins");
//! ```

pub mod coredns;
pub mod guard;
mod interior;
pub mod konnectivity;
pub mod kube_proxy;
mod kube_system;
pub mod kubeadm;
mod object;

use std::collections::BTreeSet;

use kamaji_api::v1alpha1::{
    AddonImage, AddonsSpec, KonnectivityAgentMode, KonnectivityAgentSpec, KonnectivitySpec, WritePermissions,
};

pub use interior::Interior;
pub use kubeadm::Error;
pub use object::{Identity, Object};

/// Everything that should be inside the tenant.
///
/// Fails only for what users write freely: the patches of the kubelets' configuration.
pub fn desired(interior: &Interior) -> Result<Vec<Object>, Error> {
    let mut objects = kubeadm::objects(interior)?;
    let kept = || objects.iter().chain(&every_addon(interior)).map(Object::identity).collect();
    let guard = guard::objects(&interior.tenant.writes, kept);
    objects.extend(addons(interior, &interior.tenant.addons));
    objects.extend(guard);
    Ok(objects)
}

/// Everything that may ever have been made inside the tenant and that it can be without. Only names and kinds matter.
pub fn possible(interior: &Interior) -> Vec<Object> {
    let limits = WritePermissions { block_creation: true, ..WritePermissions::default() };
    let mut objects = every_addon(interior);
    objects.extend(guard::objects(&limits, BTreeSet::new));
    objects
}

/// Every add-on in every mode.
fn every_addon(interior: &Interior) -> Vec<Object> {
    let with_agents = |mode| AddonsSpec {
        core_dns: Some(AddonImage::default()),
        kube_proxy: Some(AddonImage::default()),
        konnectivity: Some(KonnectivitySpec {
            agent: KonnectivityAgentSpec { mode, ..KonnectivityAgentSpec::default() },
            ..KonnectivitySpec::default()
        }),
    };
    let modes = [KonnectivityAgentMode::DaemonSet, KonnectivityAgentMode::Deployment];
    modes.into_iter().flat_map(|mode| addons(interior, &with_agents(mode))).collect()
}

fn addons(interior: &Interior, wanted: &AddonsSpec) -> Vec<Object> {
    let core_dns = wanted.core_dns.iter().flat_map(|image| coredns::objects(interior, image));
    let kube_proxy = wanted.kube_proxy.iter().flat_map(|image| kube_proxy::objects(interior, image));
    let konnectivity = wanted.konnectivity.iter().flat_map(|spec| konnectivity::objects(interior, spec));
    core_dns.chain(kube_proxy).chain(konnectivity).collect()
}
