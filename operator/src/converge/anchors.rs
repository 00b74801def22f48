//! The trust anchors of a tenant: made once, kept, and missed when they are gone.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{Child, labels};
use kamaji_apply::Created;
use kamaji_resources::anchors::{self, ANCHORS, Birth};
use kamaji_resources::conditions::{Concern, Finding};
use kamaji_resources::status::Facts;
use kamaji_resources::{Anchors, HeldSecrets};
use kube::ResourceExt;

use super::Pass;
use crate::error::Error;
use crate::place::{Inheritance, Reach};

impl Pass<'_> {
    /// The anchors that are there, after those that were never there have been made.
    pub(super) async fn anchor(&self) -> Result<HeldSecrets, Error> {
        let mut held = self.world.secrets.clone();
        let found = futures::future::try_join_all(ANCHORS.map(|child| self.anchor_secret(child))).await?;
        for (child, secret) in ANCHORS.into_iter().zip(found) {
            match secret {
                Some(secret) => held.insert(child, secret),
                None => held.remove(&child),
            };
        }
        Ok(held)
    }

    async fn anchor_secret(&self, child: Child) -> Result<Option<Arc<Secret>>, Error> {
        let cx = self.cx;
        let reach = self.anchor_reach(child);
        let recorded =
            self.memory.anchor(child).or_else(|| self.world.deployment.as_ref().map(|_| "deployed"));
        match anchors::birth(&self.world.secrets, child, recorded) {
            Birth::Due => {
                let made = anchors::create(&self.tenant.id, child, self.clock.now)
                    .map_err(|source| Error::Render { stage: "anchors", source })?;
                let created = cx.cluster.create(&made).await;
                match created.map_err(|source| Error::kubernetes("anchors", source))? {
                    Created::Made(secret) => Ok(Some(cx.caches.secrets.wrote(secret))),
                    Created::Existed(secret) => self.keep(reach, child, &secret).await.map(Some),
                }
            }
            Birth::Held => self.keep(reach, child, &self.world.secrets[&child]).await.map(Some),
            // It may have lost its labels only.
            Birth::Over => {
                let name = child.name(&self.tenant.id.name);
                let read = cx.cluster.get_opt::<Secret>(Some(&self.tenant.id.namespace), &name).await;
                let Some(held) = read.map_err(|source| Error::kubernetes("anchors", source))? else {
                    return Ok(None);
                };
                self.keep(reach, child, &held).await.map(Some)
            }
        }
    }

    /// An anchor that exists has the labels and the owner that it should have; its data stays.
    async fn keep(&self, reach: Reach<'_>, child: Child, held: &Secret) -> Result<Arc<Secret>, Error> {
        reach.check(held)?;
        let kept = anchors::kept(&self.tenant.id, child, held);
        self.cx.place(reach, &self.cx.caches.secrets, &kept).await
    }

    /// A Secret of the user's may serve as the authority if the tenant says so.
    fn anchor_reach(&self, child: Child) -> Reach<'_> {
        let reach = self.reach("anchors");
        let invites =
            self.tcp.annotations().get(labels::USE_EXISTING_CA).is_some_and(|value| value == "true");
        if invites && child == Child::Ca {
            Reach { inheritance: Inheritance::Invited, ..reach }
        } else {
            reach
        }
    }

    pub(super) async fn read_anchors(
        &self,
        held: HeldSecrets,
        facts: &mut Facts,
    ) -> Result<Option<(Anchors, HeldSecrets)>, Error> {
        Ok(match Anchors::read(&held, |child| self.memory.anchor_of(child, held.get(&child)?)) {
            Ok(anchors) => {
                facts.find(
                    Concern::TrustAnchors,
                    Finding::holds("InPlace", "authorities and service-account key are in place"),
                );
                Some((anchors, held))
            }
            Err(unusable) => {
                facts.find(
                    Concern::TrustAnchors,
                    Finding::fails(unusable.reason(), unusable.message(&self.tenant.id)),
                );
                Box::pin(self.make_anew(&unusable, facts)).await?;
                None
            }
        })
    }
}
