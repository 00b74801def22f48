//! What the watches have seen, and what we have written since.
//!
//! A pass that follows a write must not work from a cache that has not seen it yet, or it would write again.

mod kept;

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{Stream, StreamExt};
use kamaji_apply::pack;
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{Lookup, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

pub(crate) use self::kept::Kept;
use crate::backoff::WatchPause;

/// The newest known state of every object of one kind that a watch selects.
pub(crate) struct Cache<K: Lookup + 'static>
where
    K::DynamicType: Eq + Hash,
{
    seen: Store<K>,
    written: Arc<Mutex<HashMap<ObjectRef<K>, Arc<K>>>>,
    /// Whether the first complete list is in. The store knows that too, but wakes only the last of those who wait for it.
    listed: Arc<watch::Sender<bool>>,
}

impl<K: Lookup + Clone + 'static> Clone for Cache<K>
where
    K::DynamicType: Eq + Hash + Clone,
{
    fn clone(&self) -> Self {
        Self { seen: self.seen.clone(), written: Arc::clone(&self.written), listed: Arc::clone(&self.listed) }
    }
}

impl<K> Cache<K>
where
    K: Resource<DynamicType = ()>
        + Lookup<DynamicType = ()>
        + Kept
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    /// The cache, and the stream of objects that changed or went, which must be polled to fill it.
    pub(crate) fn watch(
        api: Api<K>,
        config: watcher::Config,
    ) -> (Self, impl Stream<Item = Result<K, watcher::Error>> + Send + 'static) {
        let mut writer = Writer::<K>::new(());
        let cache = Self::new(&writer);
        let memory = cache.clone();
        let changes = watcher(api, config)
            .backoff(WatchPause::default())
            .modify(|object| {
                pack(object.meta_mut());
                object.pack();
            })
            .inspect(move |event| {
                if let Ok(event) = event {
                    writer.apply_watcher_event(event);
                    memory.note(event);
                }
            })
            .touched_objects();
        (cache, changes)
    }

    fn new(writer: &Writer<K>) -> Self {
        let listed = Arc::new(watch::Sender::new(false));
        Self { seen: writer.as_reader(), written: Arc::default(), listed }
    }

    /// The store that the watch fills.
    pub(crate) fn seen(&self) -> Store<K> {
        self.seen.clone()
    }

    /// The newest known state of an object.
    pub(crate) fn get(&self, key: &ObjectRef<K>) -> Option<Arc<K>> {
        self.newest(key).map(Kept::unpack)
    }

    fn newest(&self, key: &ObjectRef<K>) -> Option<Arc<K>> {
        let seen = self.seen.get(key);
        let mut written = self.written();
        let Some(ours) = written.get(key) else { return seen };
        if seen.as_ref().is_some_and(|seen| version(seen.as_ref()) >= version(ours.as_ref())) {
            written.remove(key);
            return seen;
        }
        Some(Arc::clone(ours))
    }

    /// Remembers what a write of ours made of an object, until the watch has seen it too.
    pub(crate) fn wrote(&self, mut object: K) -> Arc<K> {
        pack(object.meta_mut());
        let object = Arc::new(object);
        let mut kept = K::clone(&object);
        kept.pack();
        self.written().insert(ObjectRef::from_obj(object.as_ref()), Arc::new(kept));
        object
    }

    /// Every object that the watch has seen, as it is kept.
    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.seen.state()
    }

    /// Waits for the first complete list.
    pub(crate) async fn ready(&self) {
        // The sender lives as long as this cache.
        let _ = self.listed.subscribe().wait_for(|listed| *listed).await;
    }

    /// What is gone, or may have gone while the watch was away, is not remembered.
    fn note(&self, event: &watcher::Event<K>) {
        match event {
            watcher::Event::Delete(gone) => {
                let key = ObjectRef::from_obj(gone);
                let mut written = self.written();
                if written.get(&key).is_some_and(|ours| version(ours.as_ref()) <= version(gone)) {
                    written.remove(&key);
                }
            }
            watcher::Event::InitDone => {
                self.written().clear();
                self.listed.send_replace(true);
            }
            _ => {}
        }
    }

    fn written(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectRef<K>, Arc<K>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version of an object, 0 for none. Those of one object are comparable as numbers (Kubernetes KEP-5504).
pub(crate) fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;

    use super::*;

    fn secret(version: &str) -> Secret {
        let mut secret = Secret::default();
        secret.metadata.name = Some("a".into());
        secret.metadata.namespace = Some("ns".into());
        secret.metadata.resource_version = Some(version.into());
        secret
    }

    fn cache() -> (Cache<Secret>, Writer<Secret>) {
        let writer = Writer::new(());
        (Cache::new(&writer), writer)
    }

    fn newest(cache: &Cache<Secret>) -> Option<String> {
        cache.get(&ObjectRef::from_obj(&secret("1")))?.metadata.resource_version.clone()
    }

    #[test]
    fn a_write_counts_until_the_watch_has_caught_up() {
        let (cache, mut writer) = cache();
        cache.wrote(secret("9"));
        writer.apply_watcher_event(&watcher::Event::Apply(secret("5")));
        assert_eq!(newest(&cache).as_deref(), Some("9"));
        writer.apply_watcher_event(&watcher::Event::Apply(secret("10")));
        assert_eq!(newest(&cache).as_deref(), Some("10"));
    }

    #[tokio::test]
    async fn everybody_who_waits_for_the_first_list_is_woken() {
        let (cache, _writer) = cache();
        let waiters = futures::future::join(cache.ready(), cache.ready());
        let lister = async {
            tokio::task::yield_now().await;
            cache.note(&watcher::Event::InitDone);
        };
        futures::future::join(waiters, lister).await;
    }

    #[test]
    fn what_was_deleted_after_our_write_is_gone() {
        let (cache, _writer) = cache();
        cache.wrote(secret("9"));
        cache.note(&watcher::Event::Delete(secret("8")));
        assert_eq!(newest(&cache).as_deref(), Some("9"));
        cache.note(&watcher::Event::Delete(secret("12")));
        assert_eq!(newest(&cache), None);
    }
}
