//! Finds out what a question is about, and has it decided. Nothing that cannot be found out in time stands in the way.

use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::admission::Hook;
use kamaji_api::v1alpha1::{DataStore, TenantControlPlane};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::review::{Answer, Operation, Question};
use super::tenant::{Judgement, Seen, Store, Stores, judge, stores_of};
use super::{Admission, data_store, defaults};
use crate::clock;
use crate::context::FIELD_MANAGER;
use crate::controllers::datastore::obstacle;

/// How long a look at the management cluster may take; the API server waits for 5 s altogether.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How many objects are looked up at once.
const TOGETHER: usize = 8;

impl Admission {
    /// What the API server is told.
    pub(super) async fn answer(&self, hook: Hook, question: &Question) -> Answer {
        if question.is_none_of_ours(&self.options.operator()) {
            return Answer::allowed();
        }
        let decided = match (hook, question.operation) {
            (Hook::DefaultTenant, Operation::Create) => {
                let default = self.tenant.default_data_store.as_deref();
                Ok(defaults::fill_in(question.object.as_ref().unwrap_or(&Value::Null), default))
            }
            (Hook::ValidateTenant, Operation::Create | Operation::Update) => {
                Box::pin(self.on_tenant(question)).await
            }
            (Hook::ValidateDataStore, Operation::Create | Operation::Update) => {
                self.on_data_store(question).await
            }
            (Hook::ValidateDataStore, Operation::Delete) => Ok(read(question.old_object.as_ref())
                .map_or_else(|_| Answer::allowed(), |old| data_store::on_deletion(&old))),
            _ => Ok(Answer::allowed()),
        };
        decided.unwrap_or_else(|unreadable| {
            let mut answer = Answer::allowed();
            answer.complaints.add("the object", format!("cannot be read: {unreadable}"));
            answer
        })
    }

    async fn on_tenant(&self, question: &Question) -> Result<Answer, serde_json::Error> {
        let new: TenantControlPlane = read(question.object.as_ref())?;
        let old: Option<TenantControlPlane> = read(question.old_object.as_ref()).ok();
        let mut names = stores_of(&new, &self.tenant);
        names.extend(old.iter().flat_map(|old| stores_of(old, &self.tenant)));
        let stores = stream::iter(names)
            .map(|name| async move { (name.clone(), self.store(&name).await) })
            .buffer_unordered(TOGETHER)
            .collect::<Stores>();
        let seen = Seen {
            new: &new,
            old: old.as_ref(),
            settings: &self.tenant,
            migration: &self.migration,
            stores: &stores.await,
            now: clock::now(),
        };
        let Judgement { mut answer, rehearsed } = judge(&seen);
        if let Some(made) = rehearsed
            && let Some(problem) = self.refused(&made).await
        {
            let refused = "the management cluster would refuse the Deployment that is made of it";
            answer.complaints.add("spec.controlPlane.deployment", format!("{refused}: {problem}"));
        }
        Ok(answer)
    }

    /// The DataStore as it is now: a cache may not have seen yet what was made a moment ago.
    async fn store(&self, name: &str) -> Store {
        let found = self.cluster.get_opt::<DataStore>(None, name);
        match tokio::time::timeout(PATIENCE, found).await {
            Ok(Ok(Some(found))) if found.metadata.deletion_timestamp.is_some() => {
                Store::Leaving(found.spec.driver)
            }
            Ok(Ok(Some(found))) => Store::There(found.spec.driver),
            Ok(Ok(None)) => Store::Absent,
            Ok(Err(_)) | Err(_) => Store::Unknown,
        }
    }

    /// Why the API server would refuse this Deployment, if it says so. It is asked as if it were to be made, and nothing is.
    async fn refused(&self, made: &Deployment) -> Option<String> {
        let namespace = made.namespace()?;
        let deployments = Api::<Deployment>::namespaced(self.cluster.client().clone(), &namespace);
        let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
        // One of this name may be there already: that is told only of what is valid.
        match tokio::time::timeout(PATIENCE, deployments.create(&params, made)).await {
            Ok(Err(kube::Error::Api(status))) if status.code == 422 => Some(status.message.clone()),
            _ => None,
        }
    }

    async fn on_data_store(&self, question: &Question) -> Result<Answer, serde_json::Error> {
        let new: DataStore = read(question.object.as_ref())?;
        let old: Option<DataStore> = read(question.old_object.as_ref()).ok();
        let asked = tokio::time::timeout(PATIENCE, obstacle(&new.spec, &self.cluster)).await;
        Ok(data_store::judge(&new, old.as_ref(), asked.ok().flatten()))
    }
}

fn read<K: DeserializeOwned>(object: Option<&Value>) -> Result<K, serde_json::Error> {
    K::deserialize(object.unwrap_or(&Value::Null))
}
