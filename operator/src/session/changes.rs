//! What is there of a kind, and what changes, as one tenant's API server tells it.
//!
//! Not the watcher of `kube`: that one turns a whole page into objects before the first is looked at (twenty times the memory of
//! the text), and begins anew without a pause where we want the visit to end.

use std::pin::Pin;
use std::sync::Arc;

use futures::stream::{self, BoxStream, SelectAll};
use futures::{AsyncBufRead, AsyncBufReadExt, StreamExt};
use kamaji_api::labels;
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::core::{ListMeta, Request};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Cause;
use crate::error::chain;

/// So many objects come with one answer. Few, because all of them may be large and somebody else's.
const PAGE: u32 = 20;
/// A watch is renewed so often, in seconds.
const RENEWAL: u32 = 290;

/// What changed, and of which kind it is.
pub(super) type Event = (Arc<ApiResource>, Result<watcher::Event<DynamicObject>, Cause>);
/// What changes of one kind.
pub(super) type Watch = BoxStream<'static, Event>;
/// What changes of all kinds.
pub(super) type Events = SelectAll<Watch>;

/// Everything of one kind that carries our label, page by page.
pub(super) struct List {
    client: Client,
    path: String,
    params: ListParams,
    is_over: bool,
    /// The version that the last page was of.
    pub(super) version: String,
}

#[derive(Deserialize)]
struct Page {
    metadata: ListMeta,
    /// Not yet read: most may be none of our business.
    items: Vec<Box<RawValue>>,
}

impl List {
    pub(super) fn new(client: &Client, resource: &ApiResource) -> Self {
        Self {
            client: client.clone(),
            path: api(client, resource).resource_url().to_owned(),
            params: ListParams::default().labels(&ours()).limit(PAGE),
            is_over: false,
            version: String::new(),
        }
    }

    /// The next page, if there is one.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Box<RawValue>>>, Cause> {
        if self.is_over {
            return Ok(None);
        }
        let text = self.client.request_text(Request::new(&self.path).list(&self.params)?).await;
        let text = text.map_err(|error| failed("list", &self.path, &error))?;
        let page: Page = serde_json::from_str(&text).map_err(|error| failed("list", &self.path, &error))?;
        self.params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        self.is_over = self.params.continue_token.is_none();
        self.version = page.metadata.resource_version.unwrap_or_default();
        Ok(Some(page.items))
    }
}

/// What changes of this kind after `version`, until that cannot be told.
pub(super) fn watch(client: &Client, resource: &Arc<ApiResource>, version: String) -> Watch {
    let path = api(client, resource).resource_url().to_owned();
    let round = Round { client: client.clone(), path, version, lines: None };
    let resource = Arc::clone(resource);
    let events = stream::unfold(Some(round), |round| async {
        let mut round = round?;
        let event = round.next().await;
        let next = event.is_ok().then_some(round);
        Some((event, next))
    });
    events.map(move |event| (Arc::clone(&resource), event)).boxed()
}

/// A watch that is renewed where it ended.
struct Round {
    client: Client,
    path: String,
    version: String,
    lines: Option<Pin<Box<dyn AsyncBufRead + Send>>>,
}

impl Round {
    async fn next(&mut self) -> Result<watcher::Event<DynamicObject>, Cause> {
        loop {
            match self.line().await.map_err(|cause| failed("watch", &self.path, cause.as_ref()))? {
                None => self.lines = None,
                Some(WatchEvent::Bookmark(mark)) => self.version = mark.metadata.resource_version,
                Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.version = object.resource_version().unwrap_or_default();
                    return Ok(watcher::Event::Apply(object));
                }
                Some(WatchEvent::Deleted(object)) => {
                    self.version = object.resource_version().unwrap_or_default();
                    return Ok(watcher::Event::Delete(object));
                }
                Some(WatchEvent::Error(status)) => {
                    return Err(failed("watch", &self.path, &kube::Error::Api(status)));
                }
            }
        }
    }

    /// What comes next; `None` at the end. Between two events nothing is held: a thousand tenants have ten thousand watches.
    async fn line(&mut self) -> Result<Option<WatchEvent<DynamicObject>>, Cause> {
        let lines = if let Some(lines) = &mut self.lines {
            lines
        } else {
            let params = WatchParams::default().labels(&ours()).timeout(RENEWAL);
            let request = Request::new(&self.path).watch(&params, &self.version)?;
            // Boxed, for what it takes to ask is needed only until there is an answer.
            self.lines.insert(Box::pin(Box::pin(self.client.request_stream(request)).await?))
        };
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).await?;
        if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(&line)?)) }
    }
}

fn api(client: &Client, resource: &ApiResource) -> Api<DynamicObject> {
    Api::all_with(client.clone(), resource)
}

fn ours() -> String {
    format!("{}={}", labels::PROJECT, labels::PROJECT_VALUE)
}

fn failed(what: &str, path: &str, error: &(dyn std::error::Error + 'static)) -> Cause {
    format!("could not {what} {path}: {}", chain(error)).into()
}
