//! The Secrets that each DataStore names, each watched for as long as it is named: what changes in them counts within seconds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::task::JoinSet;

use crate::backoff::WatchPause;
use crate::cache::version;

/// A Secret, by namespace and name.
pub(crate) type SecretName = (String, String);

/// By the name of the DataStore that names them.
#[derive(Default)]
pub(crate) struct References(Mutex<HashMap<String, BTreeMap<SecretName, Reference>>>);

/// One Secret of one DataStore. It is watched until this is dropped.
struct Reference {
    /// The version that was read last, 0 when there was no such Secret.
    read: Arc<Mutex<u64>>,
    _watch: JoinSet<()>,
}

/// What is called when a Secret of the DataStore of this name is another than the one that was read.
pub(crate) type Changed = Arc<dyn Fn(&str) + Send + Sync>;

impl References {
    /// The DataStore was read from these Secrets in these versions, 0 for one that is not there. They are watched from now
    /// on, and no others.
    pub(crate) fn follow(
        &self,
        client: &Client,
        data_store: &str,
        versions: BTreeMap<SecretName, u64>,
        changed: &Changed,
    ) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = all.remove(data_store).unwrap_or_default();
        let mut followed = BTreeMap::new();
        for (name, version) in versions {
            let reference =
                known.remove(&name).unwrap_or_else(|| watch(client, data_store, &name, Arc::clone(changed)));
            *reference.read.lock().unwrap_or_else(PoisonError::into_inner) = version;
            followed.insert(name, reference);
        }
        all.insert(data_store.to_owned(), followed);
    }

    /// The DataStore is gone.
    pub(crate) fn forget(&self, data_store: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(data_store);
    }
}

fn watch(client: &Client, data_store: &str, (namespace, name): &SecretName, changed: Changed) -> Reference {
    let read = Arc::new(Mutex::new(u64::MAX));
    // The content is of no interest here, so it does not travel.
    let secrets: Api<PartialObjectMeta<Secret>> = Api::namespaced(client.clone(), namespace);
    let seen = Arc::clone(&read);
    let data_store = data_store.to_owned();
    let named = name.clone();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let events = watcher::watch_object(secrets, &named).backoff(WatchPause::default());
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let Ok(found) = event else { continue };
            let found = found.as_ref().map(version);
            let read = *seen.lock().unwrap_or_else(PoisonError::into_inner);
            if is_news(read, found) {
                tracing::info!(
                    datastore = data_store,
                    secret = named,
                    "a Secret that the DataStore names has changed"
                );
                changed(&data_store);
            }
        }
    });
    Reference { read, _watch: task }
}

/// Whether what was found is newer than what was read. A watch may be late; what is gone was there when it was read.
fn is_news(read: u64, found: Option<u64>) -> bool {
    match found {
        Some(version) => version > read,
        None => read != 0 && read != u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_newer_than_what_was_read_is_news() {
        for (read, found, expected) in [
            (7, Some(7), false),
            (7, Some(6), false),
            (7, Some(8), true),
            (7, None, true),
            (0, None, false),
            (0, Some(1), true),
            (u64::MAX, Some(1), false),
            (u64::MAX, None, false),
        ] {
            assert_eq!(is_news(read, found), expected, "{read} {found:?}");
        }
    }
}
