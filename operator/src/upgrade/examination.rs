//! What a tenant and its surroundings are asked before an upgrade, beside the passes: it may take seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use kamaji_api::v1alpha1::DataStore;
use kamaji_api::{Child, Tenant, TenantId};
use kamaji_client::{Bounds, connect};
use kamaji_pki::Certificate;
use kamaji_resources::Kubeconfig;
use kamaji_resources::upgrade::files::{self, Holder, Named};
use kamaji_resources::upgrade::preflight::{Deprecated, Live, Told, examine};
use kamaji_resources::upgrade::{Report, Running, Seen};
use kube::api::ListParams;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::AGAIN;
use crate::context::Context;
use crate::error::chain;
use crate::{administrator, clock};

/// The metrics of a large API server are tens of MiB; they are read line by line.
const BOUNDS: Bounds = Bounds {
    connect: Duration::from_secs(5),
    answer: Duration::from_secs(30),
    silence: Duration::from_secs(30),
    size: 128 << 20,
    together: 128 << 20,
    rate: 16 << 20,
    requests: 50,
};
/// So many nodes come with one answer.
const PAGE: u32 = 100;
/// The longest line of metrics that is looked at, in bytes.
const LONGEST_LINE: usize = 16 << 10;

/// What is asked about a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// What runs.
    pub(super) running: Running,
    /// What is to run.
    pub(super) wanted: Running,
}

/// Who is asked what.
pub(super) struct Asked<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) question: Question,
    /// Without any there is nobody to ask.
    pub(super) ready_pods: i32,
}

/// Examinations that go on or are done, by UID of the tenant.
#[derive(Default)]
pub(crate) struct Examinations(Mutex<HashMap<String, Examination>>);

/// One that goes on or is done. It ends when this is dropped.
struct Examination {
    question: Question,
    began: Instant,
    report: watch::Receiver<Option<Arc<Report>>>,
    _task: JoinSet<()>,
}

impl Examinations {
    /// The answer, if there is one yet. An examination begins when there is none of this question, or when the last one found
    /// an obstacle some time ago; the tenant is looked at again when it ends.
    pub(super) fn answer(&self, cx: &Context, asked: Asked<'_>) -> Option<Arc<Report>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let uid = &asked.tenant.id.uid;
        let known = all.get(uid).filter(|known| known.question == asked.question);
        let answer = known.and_then(|known| known.report.borrow().clone());
        let is_stale = answer.as_ref().is_some_and(|report| !report.is_clear())
            && known.is_some_and(|known| known.began.elapsed() >= AGAIN);
        if known.is_none() || is_stale {
            all.insert(uid.clone(), begin(cx, asked, answer.clone()));
        }
        answer
    }

    /// Ends what is asked about a tenant, and forgets what was answered.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&tenant.uid);
    }
}

fn begin(cx: &Context, asked: Asked<'_>, last: Option<Arc<Report>>) -> Examination {
    let Asked { tenant, question, ready_pods } = asked;
    let (told, report) = watch::channel(last);
    let nudge = cx.nudge_tenants.clone();
    let (tenant, running) = (tenant.clone(), question.running.clone());
    let management = cx.cluster.client().clone();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let answer = Box::pin(report_on(&management, &tenant, Some(&running), ready_pods)).await;
        told.send_replace(Some(Arc::new(answer)));
        // The receiver ends only with the process.
        let _ = nudge.unbounded_send(ObjectRef::new(&tenant.id.name).within(&tenant.id.namespace));
    });
    Examination { question, began: Instant::now(), report, _task: task }
}

/// Looks at everything that an upgrade depends on.
pub(super) async fn report_on(
    management: &Client,
    tenant: &Tenant,
    running: Option<&Running>,
    ready_pods: i32,
) -> Report {
    let live = async {
        if ready_pods == 0 {
            return Live::Down;
        }
        Box::pin(ask(management, tenant)).await.map_or_else(Live::Silent, Live::Told)
    };
    let (live, files, authorities, data_store) = tokio::join!(
        live,
        read_files(management, tenant),
        read_authorities(management, tenant),
        read_data_store(management, tenant),
    );
    examine(running, tenant, &Seen { live, files, authorities, data_store }, clock::now())
}

/// Asks the tenant's API server, as its administrator, through the Service.
async fn ask(management: &Client, tenant: &Tenant) -> Result<Told, String> {
    let client = Box::pin(door(management, tenant)).await?;
    let told = async {
        let nodes = nodes(&client).await.map_err(|error| chain(&error))?;
        Ok(Told { nodes, deprecated: deprecated(&client).await? })
    };
    let limit = BOUNDS.answer;
    tokio::time::timeout(limit, told).await.unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

async fn door(management: &Client, tenant: &Tenant) -> Result<Client, String> {
    let name = Child::AdminKubeconfig.name(&tenant.id.name);
    let secret = Api::<Secret>::namespaced(management.clone(), &tenant.id.namespace).get(&name).await;
    let secret = secret.map_err(|error| format!("read Secret {name}: {}", chain(&error)))?;
    let file = secret.data.as_ref().and_then(|data| data.get("admin.conf"));
    let kubeconfig = file.and_then(|file| Kubeconfig::from_yaml(&file.0));
    let unusable = || format!("the kubeconfig in Secret {name} cannot be used");
    let mut config = administrator::config(&kubeconfig.ok_or_else(unusable)?).await.ok_or_else(unusable)?;
    config.default_namespace.clone_from(&tenant.id.namespace);
    connect(&config, BOUNDS).map_err(|error| chain(&error))
}

async fn nodes(client: &Client) -> Result<Vec<(String, String)>, kube::Error> {
    let api = Api::<Node>::all(client.clone());
    let mut found = Vec::new();
    let mut params = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&params).await?;
        let kubelet = |node: Node| Some((node.metadata.name?, node.status?.node_info?.kubelet_version));
        found.extend(page.items.into_iter().filter_map(kubelet));
        let Some(next) = page.metadata.continue_.filter(|next| !next.is_empty()) else { return Ok(found) };
        params = params.continue_token(&next);
    }
}

/// The deprecated APIs that clients have asked this API server for.
async fn deprecated(client: &Client) -> Result<Vec<Deprecated>, String> {
    let told = |error: &(dyn std::error::Error + 'static)| format!("read its metrics: {}", chain(error));
    let request = axum::http::Request::get("/metrics").body(Vec::new()).map_err(|error| told(&error))?;
    let stream = client.request_stream(request).await.map_err(|error| told(&error))?;
    let mut lines = Box::pin(stream.lines());
    let mut found = Vec::new();
    while let Some(line) = lines.try_next().await.map_err(|error| told(&error))? {
        if line.len() <= LONGEST_LINE {
            found.extend(Deprecated::of(&line));
        }
    }
    Ok(found)
}

/// Files that cannot be read are left out: without them no Pod starts anyway.
async fn read_files(management: &Client, tenant: &Tenant) -> Vec<(String, String)> {
    let mut read = Vec::new();
    for Named { flag, holder, key } in files::named(tenant) {
        let text = content(management, &tenant.id.namespace, &holder, &key).await;
        if let Some(version) = text.as_deref().and_then(files::api_version) {
            read.push((flag, version));
        }
    }
    read
}

async fn content(management: &Client, namespace: &str, holder: &Holder, key: &str) -> Option<String> {
    match holder {
        Holder::ConfigMap(name) => {
            let map = Api::<ConfigMap>::namespaced(management.clone(), namespace).get(name).await.ok()?;
            map.data?.remove(key)
        }
        Holder::Secret(name) => {
            let secret = Api::<Secret>::namespaced(management.clone(), namespace).get(name).await.ok()?;
            String::from_utf8(secret.data?.remove(key)?.0).ok()
        }
    }
}

/// When the authorities end. What is wrong with them otherwise has a condition of its own.
async fn read_authorities(management: &Client, tenant: &Tenant) -> Vec<(String, jiff::Timestamp)> {
    let api = Api::<Secret>::namespaced(management.clone(), &tenant.id.namespace);
    let mut read = Vec::new();
    for (child, key) in [(Child::Ca, "ca.crt"), (Child::FrontProxyCa, "front-proxy-ca.crt")] {
        let name = child.name(&tenant.id.name);
        let secret = api.get(&name).await.ok();
        let pem = secret.and_then(|secret| secret.data?.remove(key));
        if let Some(certificate) = pem.and_then(|pem| Certificate::from_pem(&pem.0).ok()) {
            read.push((name, certificate.not_after()));
        }
    }
    read
}

/// Why the DataStore is not in order, if it is not.
async fn read_data_store(management: &Client, tenant: &Tenant) -> Option<String> {
    let data_store = match Api::<DataStore>::all(management.clone()).get(&tenant.data_store).await {
        Ok(data_store) => data_store,
        Err(error) => return Some(chain(&error)),
    };
    let conditions = data_store.status.map(|status| status.conditions).unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    match ready {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => Some(ready.message),
        None => Some("it has not been examined yet".into()),
    }
}
