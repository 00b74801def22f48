//! The add-ons inside the tenant, as the status shows them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kamaji_api::v1alpha1::{
    AddonImage, AddonStatus, AddonsStatus, ExternalObject, KonnectivityAgentStatus, KonnectivitySpec,
    KonnectivityStatus,
};

use super::{Facts, Stamp};
use crate::konnectivity::{AGENT_NAME, AGENT_NAMESPACE, SERVER_USER};

impl Stamp<'_> {
    /// What is known of the add-ons after this pass.
    pub(super) fn addons(&self, known: Option<AddonsStatus>, facts: &Facts) -> Option<AddonsStatus> {
        let mut addons = self.tunnelled(known.unwrap_or_default(), facts);
        // Until everything inside is as the spec has it, it is as it was.
        if facts.inside_is_kept {
            let wanted = &self.tenant.addons;
            addons.core_dns = self.addon(wanted.core_dns.as_ref(), addons.core_dns);
            addons.kube_proxy = self.addon(wanted.kube_proxy.as_ref(), addons.kube_proxy);
            addons.konnectivity =
                addons.konnectivity.map(|known| self.agents(wanted.konnectivity.as_ref(), known));
        }
        (addons != AddonsStatus::default()).then_some(addons)
    }

    /// An add-on that never was is not spoken of.
    fn addon(&self, wish: Option<&AddonImage>, known: Option<AddonStatus>) -> Option<AddonStatus> {
        let enabled = wish.is_some();
        match known {
            Some(known) if known.enabled == enabled => Some(known),
            None if !enabled => None,
            _ => Some(AddonStatus { enabled, last_update: Some(Time(self.now)) }),
        }
    }

    /// The tunnel's end inside the tenant.
    fn agents(&self, wanted: Option<&KonnectivitySpec>, known: KonnectivityStatus) -> KonnectivityStatus {
        let Some(wanted) = wanted else {
            return KonnectivityStatus { sa: None, cluster_role_binding: None, agent: None, ..known };
        };
        KonnectivityStatus {
            sa: self.external(AGENT_NAME, Some(AGENT_NAMESPACE), known.sa),
            cluster_role_binding: self.external(SERVER_USER, None, known.cluster_role_binding),
            agent: match known.agent {
                Some(agent) if agent.mode == Some(wanted.agent.mode) => Some(agent),
                _ => Some(KonnectivityAgentStatus {
                    name: Some(AGENT_NAME.to_owned()),
                    namespace: Some(AGENT_NAMESPACE.to_owned()),
                    last_update: Some(Time(self.now)),
                    mode: Some(wanted.agent.mode),
                }),
            },
            ..known
        }
    }

    fn external(
        &self,
        name: &str,
        namespace: Option<&str>,
        known: Option<ExternalObject>,
    ) -> Option<ExternalObject> {
        known.or_else(|| {
            Some(ExternalObject {
                name: Some(name.to_owned()),
                namespace: namespace.map(str::to_owned),
                last_update: Some(Time(self.now)),
                ..ExternalObject::default()
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use kamaji_api::tenant::fixtures;
    use kamaji_api::v1alpha1::AddonImage;

    use super::*;

    const ON: Option<AddonImage> =
        Some(AddonImage { image_repository: String::new(), image_tag: String::new() });
    const OFF: Option<AddonImage> = None;

    fn before(known: Option<&AddonsStatus>, wish: Option<AddonImage>) -> Option<AddonsStatus> {
        pass(known, wish, 0, &Facts::default())
    }

    fn after(known: Option<&AddonsStatus>, wish: Option<AddonImage>, second: i64) -> Option<AddonsStatus> {
        pass(known, wish, second, &Facts { inside_is_kept: true, ..Facts::default() })
    }

    fn pass(
        known: Option<&AddonsStatus>,
        wish: Option<AddonImage>,
        second: i64,
        facts: &Facts,
    ) -> Option<AddonsStatus> {
        let mut tenant = fixtures::tenant();
        tenant.addons.core_dns = wish;
        let now = Timestamp::from_second(second).unwrap();
        let stamp = Stamp { tenant: &tenant, checksums: &BTreeMap::new(), now };
        stamp.addons(known.cloned(), facts)
    }

    #[test]
    fn an_addon_is_enabled_once_it_is_there_and_until_it_is_gone() {
        assert_eq!(after(None, OFF, 1), None);
        assert_eq!(before(None, ON), None);
        let on = after(None, ON, 2);
        assert!(on.clone().unwrap().core_dns.unwrap().enabled);
        assert_eq!(after(on.as_ref(), ON, 3), on, "the time moves only with the state");
        assert_eq!(before(on.as_ref(), OFF), on);
        assert!(!after(on.as_ref(), OFF, 5).unwrap().core_dns.unwrap().enabled);
    }
}
