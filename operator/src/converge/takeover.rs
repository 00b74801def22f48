//! Pods that the Go operator has made: kept as they are, or replaced by ours in one rollout.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use kamaji_apply::{Applied, Manner, ObjectId, writers};
use kamaji_resources::HeldSecrets;
use kamaji_resources::deployment::Inputs;
use kamaji_resources::takeover::{Course, Hands, Progress, Since, View, course, read_by_pods};
use kube::core::{ApiResource, DynamicObject};
use kube::runtime::events::EventType;

use super::Pass;
use crate::context::FIELD_MANAGER;
use crate::error::Error;

const STAGE: &str = "deployment";

/// Where a Deployment says how its Pods are made.
const TEMPLATE: [&str; 2] = ["spec", "template"];

impl Pass<'_> {
    /// The Deployment is as it should be: ours, unless the Go operator's may stay.
    pub(super) async fn place_deployment(
        &self,
        inputs: &Inputs<'_>,
        held: &HeldSecrets,
        desired: &Deployment,
    ) -> Result<Arc<Deployment>, Error> {
        let live = self.world.deployment.as_ref().filter(|live| live.metadata.deletion_timestamp.is_none());
        let secrets = read_by_pods(inputs, held);
        let view = View {
            live: live.map(Arc::as_ref),
            desired,
            hands: live.map_or(Hands::Go, |live| hands(live)),
            progress: Progress::of(self.tcp),
            secrets: &secrets,
        };
        match (course(&view), live) {
            (Course::Keep { said, since }, Some(live)) => self.keep_deployment(live, &said, since).await,
            (Course::Replace(reason), Some(live)) => {
                self.take_deployment(live, &reason).await?;
                self.place_whole(desired).await
            }
            _ => self.place_whole(desired).await,
        }
    }

    async fn place_whole(&self, desired: &Deployment) -> Result<Arc<Deployment>, Error> {
        self.cx.place_or_replace(self.reach(STAGE), &self.cx.caches.deployments, desired).await
    }

    /// Everything but the Pods' template is as it should be.
    async fn keep_deployment(
        &self,
        live: &Arc<Deployment>,
        said: &DynamicObject,
        since: Since,
    ) -> Result<Arc<Deployment>, Error> {
        self.reach(STAGE).check(live.as_ref())?;
        let failed = |source| Error::kubernetes(STAGE, source);
        let before = dynamic(live);
        let resource = ApiResource::erase::<Deployment>(&());
        let kept =
            match self.cx.cluster.settle_dynamic(&resource, said, Some(&before)).await.map_err(failed)? {
                Applied::Unchanged(_) => Arc::clone(live),
                Applied::Changed(made) => self.cx.caches.deployments.wrote(typed(made)?),
            };
        if since == Since::Now {
            let note = "the Pods that the Go operator has made stay as they are; ours replace them in one rollout when \
                        something that they are made from changes";
            self.cx.event(self.tcp, EventType::Normal, "TakenOver", note.to_owned()).await;
        }
        Ok(kept)
    }

    /// What the Go operator owns of the Deployment is ours, so that nothing of it is left once we say what should be.
    async fn take_deployment(&self, live: &Arc<Deployment>, reason: &str) -> Result<(), Error> {
        self.reach(STAGE).check(live.as_ref())?;
        let taken = self.cx.cluster.adopt(live.as_ref(), &[FIELD_MANAGER]).await;
        let Some(taken) = taken.map_err(|source| Error::kubernetes(STAGE, source))? else { return Ok(()) };
        self.cx.caches.deployments.wrote(taken);
        tracing::info!(deployment = %ObjectId::of(live.as_ref()), reason, "the Go operator's Pods are replaced");
        let note =
            format!("the Pods that the Go operator has made are replaced by ours in one rollout: {reason}");
        self.cx.event(self.tcp, EventType::Normal, "PodsReplaced", note).await;
        Ok(())
    }
}

/// Who has written how the Pods are made.
pub(crate) fn hands(live: &Deployment) -> Hands {
    let writers = writers(&live.metadata, &TEMPLATE);
    let ours = |manager: &str| manager == FIELD_MANAGER;
    if writers.iter().any(|writer| ours(&writer.manager) && writer.manner == Manner::Applied) {
        Hands::Ours
    } else if writers.iter().any(|writer| !ours(&writer.manager)) {
        Hands::Others
    } else {
        Hands::Go
    }
}

fn dynamic(live: &Deployment) -> DynamicObject {
    let value = serde_json::to_value(live).expect("a Deployment is made of texts and numbers");
    serde_json::from_value(value).expect("every object has metadata")
}

fn typed(made: DynamicObject) -> Result<Deployment, Error> {
    let read = serde_json::to_value(made).and_then(serde_json::from_value);
    read.map_err(|source| Error::Unreadable { stage: STAGE, source })
}
