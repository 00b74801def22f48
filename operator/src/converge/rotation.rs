//! Trust anchors that were asked for anew go from stage to stage, see [`kamaji_resources::rotation`].

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{Child, labels};
use kamaji_apply::Created;
use kamaji_resources::anchors::{self, ANCHORS, Unusable};
use kamaji_resources::conditions::Concern;
use kamaji_resources::rollout::Rollout;
use kamaji_resources::rotation::{
    Followers, Record, Stage, Step, View, Wish, changed, is_over, next, other_fingerprint, request,
};
use kamaji_resources::status::{self, Facts};
use kamaji_resources::{HeldSecrets, checksum};
use kube::ResourceExt;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;

use super::Pass;
use super::findings::rotation_finding;
use crate::error::Error;

const STAGE: &str = "rotation";

/// What was decided about one anchor.
pub(super) struct Turn {
    pub(super) child: Child,
    pub(super) stage: Stage,
    pub(super) step: Step,
    /// Whether the request that stands was carried out.
    served: bool,
    /// The first digits of the fingerprint of the anchor that does not sign.
    pub(super) other: Option<String>,
}

impl Pass<'_> {
    /// Every anchor is one stage further, if it is to be and everybody can follow. `placed` is the Deployment that is there for
    /// the `desired` one.
    pub(super) async fn rotate(
        &self,
        held: &HeldSecrets,
        (desired, placed): (&Deployment, &Deployment),
        facts: &mut Facts,
    ) -> Result<(), Error> {
        let followers = self.followers(desired, placed, facts);
        let turns: Vec<Turn> = held
            .iter()
            .filter(|(child, _)| ANCHORS.contains(child))
            .map(|(child, secret)| self.turn(*child, secret, followers))
            .collect();
        let mut records = Vec::new();
        let mut due = Vec::new();
        for turn in &turns {
            let secret = &held[&turn.child];
            let Step::Go(to) = turn.step else {
                records.extend(turn.record(turn.stage, secret));
                continue;
            };
            let changed = changed(&self.tenant.id, turn.child, secret, to, self.clock.now)
                .map_err(|source| Error::Render { stage: STAGE, source })?;
            records.extend(turn.record(to, &changed));
            due.push((turn, to, changed));
        }
        facts.rotations = Some(records);
        if let Some(finding) = rotation_finding(self.tcp, &turns) {
            facts.find(Concern::Rotation, finding);
        }
        if due.is_empty() {
            return Ok(());
        }
        self.announce(facts).await?;
        for (turn, to, changed) in due {
            self.cx.place(self.reach(STAGE), &self.cx.caches.secrets, &changed).await?;
            let name = turn.child.name(&self.tenant.id.name);
            tracing::info!(
                secret = name,
                from = turn.stage.as_str(),
                to = to.as_str(),
                "the rotation goes on"
            );
            let note = format!("{name} goes from {} to {}", turn.stage.as_str(), to.as_str());
            self.cx.event(self.tcp, EventType::Normal, "RotationStage", note).await;
        }
        Ok(())
    }

    /// Who has followed to the stage that the desired Deployment is of.
    fn followers(&self, desired: &Deployment, placed: &Deployment, facts: &Facts) -> Followers {
        let answers = facts.findings.get(&Concern::TenantReachable);
        match () {
            () if self.tenant.is_asleep() => Followers::Asleep,
            () if !Rollout::of(placed).is_complete() || !is_of_same_anchors(desired, placed) => {
                Followers::SomePods
            }
            () if facts.inside_is_kept && answers.is_some_and(|finding| finding.holds) => {
                Followers::Everybody
            }
            () => Followers::AllPods,
        }
    }

    fn turn(&self, child: Child, secret: &Secret, followers: Followers) -> Turn {
        let stage = Stage::of(secret);
        let served = self.memory.rotation(child).is_some_and(|record| record.served);
        let is_requested = self.is_requested(child);
        let other = other_fingerprint(child, secret);
        let dropped = self.tcp.annotations().get(labels::DROP_TRUST_ANCHOR).map(String::as_str);
        let mut dropped = dropped.unwrap_or_default().split(',').map(str::trim);
        // Nobody gets in any more to see what is inside.
        let is_shut = || stage.overlaps() && is_over(child, secret, self.clock.now);
        let view = View {
            stage,
            wish: match stage {
                _ if !is_requested => Wish::Kept,
                Stage::Settled if served => Wish::Served,
                _ => Wish::Rotated,
            },
            followers: match followers {
                Followers::AllPods if is_shut() => Followers::Everybody,
                followers => followers,
            },
            given_up: other.as_deref().is_some_and(|other| dropped.any(|word| word == other)),
        };
        Turn { child, stage, step: next(&view), served: served && is_requested, other }
    }

    fn is_requested(&self, child: Child) -> bool {
        self.tcp.annotations().get(request(child)).is_some_and(|uid| *uid == self.tenant.id.uid)
    }

    /// The status says what every anchor is and is about to be, before any of them changes.
    async fn announce(&self, facts: &Facts) -> Result<(), Error> {
        let newest = self.cx.caches.tenants.get(&ObjectRef::from_obj(self.tcp));
        let tcp = newest.as_deref().filter(|newest| newest.metadata.uid == self.tcp.metadata.uid);
        let tcp = tcp.unwrap_or(self.tcp);
        let status = status::announced(self.tenant, tcp.status.as_ref(), facts, self.clock.now);
        self.cx.write_status(tcp, status).await
    }

    /// An anchor that is gone or spoilt is made anew, if that was asked for after it was lost: there is nothing left that a new
    /// one could overlap with. That starts another pass.
    pub(super) async fn make_anew(&self, unusable: &Unusable, facts: &mut Facts) -> Result<(), Error> {
        let (Unusable::Lost(child) | Unusable::Broken(child, _) | Unusable::Replaced(child)) = unusable;
        let is_new = |record: &Record| {
            record.stage == Stage::Settled
                && self.memory.anchor(*child).is_some_and(|known| known != record.announced)
        };
        if !self.is_requested(*child) || !self.memory.rotation(*child).is_none_or(is_new) {
            return Ok(());
        }
        let made = anchors::create(&self.tenant.id, *child, self.clock.now)
            .map_err(|source| Error::Render { stage: STAGE, source })?;
        let record = Record {
            child: *child,
            stage: Stage::Settled,
            announced: checksum::of_secret(&made),
            served: true,
        };
        let others = self.memory.rotations.iter().filter(|record| record.child != *child).cloned();
        facts.rotations = Some(others.chain([record]).collect());
        self.announce(facts).await?;
        let failed = |source| Error::kubernetes(STAGE, source);
        if let Unusable::Lost(_) = unusable {
            if let Created::Made(made) = self.cx.cluster.create(&made).await.map_err(failed)? {
                self.cx.caches.secrets.wrote(made);
            }
        } else {
            self.cx.place(self.reach(STAGE), &self.cx.caches.secrets, &made).await?;
        }
        let note = format!(
            "{} is made anew, as was asked for: nodes and clients of the lost one must join again",
            child.name(&self.tenant.id.name)
        );
        self.cx.event(self.tcp, EventType::Warning, "TrustAnchorMadeAnew", note).await;
        Ok(())
    }
}

impl Turn {
    /// What is to be remembered: nothing of an anchor that nobody asked about.
    fn record(&self, stage: Stage, secret: &Secret) -> Option<Record> {
        let served = match (self.stage, stage) {
            (Stage::Reissued, Stage::Dropped) => true,
            (Stage::Dropped | Stage::Settled, Stage::Dropped | Stage::Settled) => self.served,
            _ => false,
        };
        let record = Record { child: self.child, stage, announced: checksum::of_secret(secret), served };
        (stage != Stage::Settled || self.stage != Stage::Settled || served).then_some(record)
    }
}

/// Whether these Pods read the same anchors.
fn is_of_same_anchors(desired: &Deployment, placed: &Deployment) -> bool {
    let sums = |deployment: &Deployment| {
        let labels = deployment.spec.template.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
        let mut labels = labels.unwrap_or_default();
        labels.retain(|name, _| name.starts_with(labels::COMPONENT_CHECKSUM_PREFIX));
        labels
    };
    sums(desired) == sums(placed)
}
