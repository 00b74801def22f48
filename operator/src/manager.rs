//! `kamaji manager`: wires watches, controllers, leadership and the servers together.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use futures::channel::mpsc;
use futures::{StreamExt, TryStreamExt};
use kamaji_api::v1alpha1::{DataStore, TenantControlPlane};
use kamaji_api::{labels, tenant};
use kamaji_apply::Cluster;
use kamaji_client::{Bounds, connect};
use kamaji_resources::migration::COMPONENT;
use kube::runtime::controller::{self, Controller};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admission::{self, Admission};
use crate::backoff::{Backoff, NoPause};
use crate::cache::{Cache, Kept};
use crate::cli::ManagerArgs;
use crate::context::{Caches, Context, FIELD_MANAGER, Settings};
use crate::controllers::{datastore, tenant_control_plane};
use crate::converge::budget;
use crate::lease::Candidate;
use crate::metrics::Metrics;
use crate::references::{Changed, References};
use crate::stores::Stores;
use crate::tenants::Tenants;
use crate::upgrade::Examinations;
use crate::{clock, http, logging, migration};

/// The management cluster is trusted; pages of its lists may be large.
const MANAGEMENT: Bounds = Bounds {
    connect: Duration::from_secs(5),
    answer: Duration::from_secs(30),
    silence: Duration::from_mins(2),
    size: 64 << 20,
    together: 256 << 20,
    rate: 64 << 20,
    requests: 1000,
};

/// How long a tenant is left alone after a change: most changes come with others, and one pass sees to all of them.
const LULL: Duration = Duration::from_millis(40);

/// So many objects come with one answer to a list. All of a page is in memory twice, as text and as objects.
const PAGE: u32 = 50;

/// From one try to reach the management cluster to the next.
const REACH_INTERVAL: Duration = Duration::from_secs(1);

/// How long passes may go on after the operator was told to stop. Kubernetes kills a Pod of ours after ten seconds.
const LAST_PASSES: Duration = Duration::from_secs(5);

/// What the operator needs besides a client.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the command line decides about every pass.
    pub settings: Settings,
    /// Where the Lease is, if only its holder may act.
    pub lease_namespace: Option<String>,
    /// Where health is served, if it is.
    pub health: Option<SocketAddr>,
    /// Where metrics are served, if they are.
    pub metrics: Option<SocketAddr>,
    /// How the API server's questions about objects are answered, if they are.
    pub admission: Option<admission::Options>,
}

impl From<&ManagerArgs> for Options {
    fn from(args: &ManagerArgs) -> Self {
        Self {
            settings: Settings {
                tenant: tenant::Settings {
                    default_data_store: Some(args.datastore.clone()).filter(|name| !name.is_empty()),
                },
                kine_image: args.kine_image.clone(),
                migration: migration::Settings {
                    namespace: args.pod_namespace.clone(),
                    image: args.migrate_image.clone(),
                    service_account: args.serviceaccount_name.clone(),
                    retention: args.migration_retention,
                },
                renew_before: args
                    .certificate_expiration_deadline
                    .try_into()
                    .unwrap_or(jiff::SignedDuration::MAX),
                pass_timeout: args.controller_reconcile_timeout,
                resync: args.cache_resync_period,
                concurrency: args.max_concurrent_tcp_reconciles,
            },
            lease_namespace: args.leader_elect.then(|| args.pod_namespace.clone()),
            health: args.health_probe_bind_address.0,
            metrics: args.metrics_bind_address.0,
            admission: args.webhook_bind_address.0.map(|address| admission::Options {
                address,
                namespace: args.pod_namespace.clone(),
                service: args.webhook_service_name.clone(),
                service_account: args.serviceaccount_name.clone(),
                certificates: args.webhook_ca_path.parent().map(Path::to_owned).unwrap_or_default(),
            }),
        }
    }
}

/// The operator runs until it is told to stop.
pub(crate) async fn run(args: ManagerArgs) -> anyhow::Result<()> {
    logging::init(&args.zap_log_level, args.zap_encoder)?;
    for flag in args.accepted.given() {
        tracing::warn!(flag, "this flag is accepted for the sake of existing manifests and has no effect");
    }
    let config = kube::Config::infer().await.context("find the management cluster")?;
    let client = connect(&config, MANAGEMENT).context("connect to the management cluster")?;
    let (stop, stopped) = watch::channel(false);
    let mut signals = JoinSet::new();
    signals.spawn(async move {
        told_to_stop().await;
        tracing::info!("told to stop");
        stop.send_replace(true);
    });
    Box::pin(manage(client, Options::from(&args), stopped)).await
}

/// SIGTERM, or an interrupt from the keyboard.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Err(error) => {
            tracing::error!(%error, "cannot listen for signals");
            std::future::pending::<()>().await;
        }
    }
}

/// Runs the controllers until `stopped` becomes true.
///
/// # Guarantees
/// With a Lease, nothing is written before it is ours, nor after it is lost: then everything that was going on is dropped,
/// and the operator waits for the Lease like any other replica. Told to stop, it lets the passes that have begun end,
/// but waits only a moment for them, and gives the Lease back.
pub async fn manage(client: Client, options: Options, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    let metrics = Arc::new(Metrics::default());
    let (reached, is_reached) = watch::channel(false);
    let (caches, newest_caches) = watch::channel(None);
    let mut servers = JoinSet::new();
    if let Some(address) = options.health {
        servers.spawn(http::serve_health(address, is_reached));
    }
    if let Some(address) = options.metrics {
        servers.spawn(http::serve_metrics(address, Arc::clone(&metrics), newest_caches));
    }
    let admission = options.admission.map(|how| {
        Arc::new(Admission {
            cluster: Cluster::new(client.clone(), FIELD_MANAGER),
            options: how,
            tenant: options.settings.tenant.clone(),
            migration: options.settings.migration.clone(),
        })
    });
    if let Some(admission) = &admission {
        servers.spawn(admission::serve(Arc::clone(admission)));
    }
    let work = async {
        let identity = identity();
        loop {
            let (context, streams) = observe(&client, options.settings.clone(), Arc::clone(&metrics));
            caches.send_replace(Some(context.caches.clone()));
            let term = Term {
                context: Arc::new(context),
                streams,
                admission: admission.clone(),
                stopped: stopped.clone(),
            };
            let served = Box::pin(term.serve(options.lease_namespace.as_deref(), &identity, &reached));
            if served.await == End::Told {
                return Ok(());
            }
            tracing::warn!(lease = labels::LEADER_LEASE, "the Lease is lost, so nothing is written any more");
        }
    };
    tokio::select! {
        result = work => result,
        Some(ended) = servers.join_next() => Err(anyhow!("a server ended: {ended:?}")),
    }
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The operator was told to stop.
    Told,
    /// Another replica may act now.
    Deposed,
}

/// One time of leadership, from waiting for it to its end.
struct Term {
    context: Arc<Context>,
    streams: Streams,
    admission: Option<Arc<Admission>>,
    stopped: watch::Receiver<bool>,
}

impl Term {
    async fn serve(self, namespace: Option<&str>, identity: &str, reached: &watch::Sender<bool>) -> End {
        let Self { context, streams, admission, stopped } = self;
        let client = context.cluster.client().clone();
        reached.send_replace(false);
        tokio::select! {
            () = reach(&client) => {}
            () = stop(stopped.clone()) => return End::Told,
        }
        reached.send_replace(true);
        let controllers = accompanied(control(context, streams, stopped.clone()), admission);
        let Some(namespace) = namespace else {
            tokio::select! {
                () = controllers => {}
                () = patience(stopped) => {}
            }
            return End::Told;
        };
        let mut candidate = Candidate::new(client, namespace, identity.to_owned());
        tokio::select! {
            () = candidate.acquire() => tracing::info!(lease = labels::LEADER_LEASE, "this replica leads"),
            () = stop(stopped.clone()) => return End::Told,
        }
        tokio::select! {
            () = controllers => {}
            () = patience(stopped) => tracing::warn!("ending although some passes have not"),
            () = candidate.keep() => return End::Deposed,
        }
        candidate.release().await;
        End::Told
    }
}

/// Until this work ends, the webhooks' certificate is kept.
async fn accompanied(work: impl Future<Output = ()>, admission: Option<Arc<Admission>>) {
    let kept = async {
        match &admission {
            Some(admission) => admission::keep(admission).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = work => {}
        () = kept => {}
    }
}

/// Returns once the management cluster has answered.
async fn reach(client: &Client) {
    while let Err(error) = client.apiserver_version().await {
        tracing::warn!(
            error = crate::error::chain(&error),
            "the management cluster does not answer, trying again"
        );
        tokio::time::sleep(REACH_INTERVAL).await;
    }
}

/// Nobody else is called this.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}_{}_{}", host.trim(), std::process::id(), clock::now().as_nanosecond())
}

type Changes<K> = futures::stream::BoxStream<'static, Result<K, watcher::Error>>;

/// The watches, not yet running.
struct Streams {
    tenants: Changes<TenantControlPlane>,
    data_stores: Changes<DataStore>,
    secrets: Changes<k8s_openapi::api::core::v1::Secret>,
    config_maps: Changes<k8s_openapi::api::core::v1::ConfigMap>,
    services: Changes<k8s_openapi::api::core::v1::Service>,
    deployments: Changes<k8s_openapi::api::apps::v1::Deployment>,
    budgets: Changes<k8s_openapi::api::policy::v1::PodDisruptionBudget>,
    jobs: Changes<k8s_openapi::api::batch::v1::Job>,
    nudged_tenants: mpsc::UnboundedReceiver<kube::runtime::reflector::ObjectRef<TenantControlPlane>>,
    nudged_data_stores: mpsc::UnboundedReceiver<kube::runtime::reflector::ObjectRef<DataStore>>,
}

/// Caches of what is ours, and the watches that fill them once they run.
fn observe(client: &Client, settings: Settings, metrics: Arc<Metrics>) -> (Context, Streams) {
    let everything = watcher::Config::default().page_size(PAGE);
    let ours = everything.clone().labels(&format!("{}={}", labels::PROJECT, labels::PROJECT_VALUE));
    let migrations = everything.clone().labels(&format!("{}={}", labels::COMPONENT, COMPONENT));
    let (tenants, tenant_changes) = watched(Api::all(client.clone()), &everything);
    let (data_stores, data_store_changes) = watched(Api::all(client.clone()), &everything);
    let (secrets, secret_changes) = watched(Api::all(client.clone()), &ours);
    let (config_maps, config_map_changes) = watched(Api::all(client.clone()), &ours);
    let (services, service_changes) = watched(Api::all(client.clone()), &ours);
    let (deployments, deployment_changes) = watched(Api::all(client.clone()), &ours);
    let (budgets, budget_changes) = watched(Api::all(client.clone()), &everything);
    let namespace = &settings.migration.namespace;
    let (jobs, job_changes) = watched(Api::namespaced(client.clone(), namespace), &migrations);
    let (nudge_tenants, tenants_to_see) = mpsc::unbounded();
    let (nudge_data_stores, data_stores_to_see) = mpsc::unbounded();
    let stores = Arc::new(Stores::default());
    let context = Context {
        cluster: Cluster::new(client.clone(), FIELD_MANAGER),
        caches: Caches { tenants, data_stores, secrets, config_maps, services, deployments, budgets, jobs },
        outdate_data_store: outdate(&stores, &nudge_data_stores),
        stores,
        references: References::default(),
        tenants: Tenants::default(),
        examinations: Examinations::default(),
        settings,
        backoff: Backoff::default(),
        metrics,
        recorder: Recorder::new(
            client.clone(),
            Reporter { controller: FIELD_MANAGER.into(), instance: None },
        ),
        nudge_tenants,
        nudge_data_stores,
    };
    let streams = Streams {
        tenants: tenant_changes,
        data_stores: data_store_changes,
        secrets: secret_changes,
        config_maps: config_map_changes,
        services: service_changes,
        deployments: deployment_changes,
        budgets: budget_changes,
        jobs: job_changes,
        nudged_tenants: tenants_to_see,
        nudged_data_stores: data_stores_to_see,
    };
    (context, streams)
}

/// What is to happen when a Secret changes that a DataStore names.
fn outdate(
    stores: &Arc<Stores>,
    nudge: &mpsc::UnboundedSender<kube::runtime::reflector::ObjectRef<DataStore>>,
) -> Changed {
    let (stores, nudge) = (Arc::clone(stores), nudge.clone());
    Arc::new(move |name| {
        stores.outdate(name);
        // The receiver ends only with the process.
        let _ = nudge.unbounded_send(kube::runtime::reflector::ObjectRef::new(name));
    })
}

fn watched<K>(api: Api<K>, config: &watcher::Config) -> (Cache<K>, Changes<K>)
where
    K: Resource<DynamicType = ()> + Kept + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (cache, changes) = Cache::watch(api, config.clone());
    (cache, changes.boxed())
}

/// Runs one controller per kind until `stopped` becomes true.
async fn control(context: Arc<Context>, streams: Streams, stopped: watch::Receiver<bool>) {
    let noticed = Arc::clone(&context);
    let tenants = streams.tenants.inspect_ok(move |tcp| noticed.notice(tcp));
    let tenant_controller = Controller::for_stream(tenants, context.caches.tenants.seen())
        .with_config(controller::Config::default().concurrency(context.settings.concurrency).debounce(LULL))
        .trigger_backoff(NoPause)
        .owns_stream(streams.secrets)
        .owns_stream(streams.config_maps)
        .owns_stream(streams.services)
        .owns_stream(streams.deployments)
        .watches_stream(streams.budgets, {
            let tenants = context.caches.tenants.clone();
            move |budget| budget::concerned(&budget, &tenants.all())
        })
        .watches_stream(streams.jobs, |job| migration::tenant_of(&job))
        .reconcile_on(streams.nudged_tenants)
        .graceful_shutdown_on(stop(stopped.clone()))
        .run(tenant_control_plane::reconcile, tenant_control_plane::on_error, Arc::clone(&context));
    let data_store_controller =
        Controller::for_stream(streams.data_stores, context.caches.data_stores.seen())
            .trigger_backoff(NoPause)
            .reconcile_on(streams.nudged_data_stores)
            .graceful_shutdown_on(stop(stopped))
            .run(datastore::reconcile, datastore::on_error, context);
    tokio::join!(drained(tenant_controller), drained(data_store_controller));
}

/// Passes that have begun get a moment to end; one that is cut off is taken up again by the next leader.
async fn patience(stopped: watch::Receiver<bool>) {
    stop(stopped).await;
    tokio::time::sleep(LAST_PASSES).await;
}

async fn stop(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone will not tell us to stop; the process ends with it.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// Failures of passes are logged where they are handled; what is left are those of the watches and queues.
async fn drained<K, E>(
    results: impl futures::Stream<
        Item = Result<
            (kube::runtime::reflector::ObjectRef<K>, controller::Action),
            controller::Error<E, watcher::Error>,
        >,
    >,
) where
    K: Resource<DynamicType = ()>,
    E: std::error::Error + 'static,
{
    let log = |result| async {
        match result {
            Err(controller::Error::QueueError(error)) => {
                tracing::warn!(error = crate::error::chain(&error), "a watch was interrupted");
            }
            Err(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) | Ok(_) => {}
            Err(error) => tracing::warn!(error = crate::error::chain(&error), "a controller stumbled"),
        }
    };
    results.for_each(log).await;
}
