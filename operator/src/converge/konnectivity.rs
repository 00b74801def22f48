//! The tunnel's end in the management cluster: its configuration, and that nothing of it is left when it is off.

use std::sync::Arc;

use kamaji_api::Child;
use kamaji_apply::ObjectId;
use kamaji_resources::konnectivity::{self, CHILDREN};
use kamaji_resources::object::{Ownership, ownership};
use kamaji_resources::rollout::Rollout;
use kamaji_resources::status::Facts;

use super::Pass;
use crate::error::Error;
use crate::place::Managed;

const STAGE: &str = "konnectivity";

impl Pass<'_> {
    /// With konnectivity, the API server's configuration of it is in place.
    pub(super) async fn configure_tunnel(&self) -> Result<(), Error> {
        if self.tenant.addons.konnectivity.is_none() {
            return Ok(());
        }
        let desired = konnectivity::egress_selector(&self.tenant.id);
        let placed = self.cx.place_or_replace(self.reach(STAGE), &self.cx.caches.config_maps, &desired);
        placed.await.map(drop)
    }

    pub(super) fn note_tunnel(&self, facts: &mut Facts) {
        if self.tenant.addons.konnectivity.is_some() {
            facts.checksums.insert(Child::EgressSelector, konnectivity::egress_selector_checksum());
        }
    }

    /// Without konnectivity nothing of it is left, once no Pod reads it any more: one that is made anew in the middle of a
    /// rollout would wait for its Secrets for ever.
    pub(super) async fn remove_tunnel(&self, rollout: &Rollout) -> Result<(), Error> {
        if self.tenant.addons.konnectivity.is_some() || !rollout.has_replaced_all() {
            return Ok(());
        }
        let secrets = CHILDREN.iter().filter_map(|child| self.world.secrets.get(child));
        let secrets = futures::future::try_join_all(secrets.map(|secret| self.remove(secret, STAGE)));
        let config_map = async {
            match &self.world.egress_selector {
                Some(config_map) => self.remove(config_map, STAGE).await,
                None => Ok(()),
            }
        };
        tokio::try_join!(secrets, config_map).map(drop)
    }

    /// The object is gone, whatever became of it since it was read, unless it is somebody else's.
    pub(super) async fn remove<K: Managed + Default>(
        &self,
        live: &Arc<K>,
        stage: &'static str,
    ) -> Result<(), Error> {
        let meta = live.meta();
        if ownership(&self.tenant.id, meta) != Ownership::Ours || meta.deletion_timestamp.is_some() {
            return Ok(());
        }
        let mut doomed = K::default();
        let (name, namespace, uid) = (meta.name.clone(), meta.namespace.clone(), meta.uid.clone());
        (doomed.meta_mut().name, doomed.meta_mut().namespace, doomed.meta_mut().uid) = (name, namespace, uid);
        tracing::debug!(object = %ObjectId::of(&doomed), "no longer asked for");
        self.cx.cluster.delete(&doomed).await.map(drop).map_err(|source| Error::kubernetes(stage, source))
    }
}
