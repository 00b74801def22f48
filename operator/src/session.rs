//! One tenant's inside, kept as it should be for as long as the tenant lives: one task, one connection.
//!
//! The task greets the API server, makes sure of its administrators, lists the kinds of which something is ours, repairs what
//! differs, removes what is left over, and then watches those kinds by our label. It keeps no object: what comes in is
//! compared with what should be and dropped. Whatever breaks ends the visit, and the next one starts from the top.

mod changes;
mod keeper;
mod pace;
mod plan;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kamaji_addons::Object;
use kamaji_addons::kubeadm::rbac;
use kamaji_api::labels;
use kamaji_apply::Cluster;
use kamaji_client::{Bounds, connect_counted};
use kamaji_resources::Kubeconfig;
use kube::Client;
use kube::api::ApiResource;
use kube::runtime::watcher;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use self::changes::Events;
use self::keeper::Keeper;
pub(crate) use self::plan::{Access, Inside, Plan, Sight};
use crate::cache::Cache;
use crate::error::chain;
use crate::{administrator, backoff};

/// Name under which we own fields inside tenants.
const FIELD_MANAGER: &str = "kamaji-tenant";

/// How long a tenant may take, and how much it may answer. No object in etcd is above 1.5 MiB.
const BOUNDS: Bounds = Bounds {
    connect: Duration::from_secs(4),
    answer: Duration::from_secs(10),
    silence: Duration::from_mins(2),
    size: 2 << 20,
    together: 4 << 20,
    rate: 1 << 20,
    requests: 50,
};

/// A tenant is not called unreachable before it was silent for so long: a new Service takes a moment to lead somewhere.
const PATIENCE: Duration = Duration::from_secs(3);
/// So many tenants are looked at from top to bottom at the same time, which takes the most memory.
static TURNS: Semaphore = Semaphore::const_new(2);
/// How long a tenant waits for its turn; then it goes on without, for the others may be slow.
const COURTESY: Duration = Duration::from_millis(300);
/// The longest pause between two visits.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// How soon a tenant that just came up is asked again.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
/// How soon the first greetings are given up: a connection to a Service whose rules are not there yet hangs, and the next
/// one does not. Whoever does not answer later has all the time of the bounds, which say more exactly what is wrong.
const GREETINGS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];
/// A visit that lasted so long was a good one.
const LASTING: Duration = Duration::from_secs(5);
/// So many objects of one kind are looked at. Somebody who runs Kamaji inside a tenant has many that carry our label.
const MOST: usize = 20_000;
/// The most that is repeated of an error, in characters.
const LONGEST_MESSAGE: usize = 500;

/// Why a visit ended.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The task of one tenant.
pub(crate) struct Session {
    /// Where the credentials are read.
    pub(crate) secrets: Cache<Secret>,
    /// What is to be kept; the session ends when its sender is gone.
    pub(crate) plan: watch::Receiver<Arc<Plan>>,
    /// What has been seen.
    pub(crate) sight: watch::Sender<Option<Sight>>,
    /// The tenant may have come back.
    pub(crate) wake: Arc<Notify>,
    /// Counts requests to tenants.
    pub(crate) requests: Counter,
    /// Tells that something new has been seen.
    pub(crate) nudge: Box<dyn Fn() + Send + Sync>,
}

/// How far a visit came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// The API server did not let us in.
    Nothing,
    /// It did, and not everything was looked at.
    Server,
    /// Everything was looked at.
    Everything,
}

/// How a visit ended.
struct End {
    reach: Reach,
    cause: Cause,
}

impl Session {
    /// Keeps the tenant's inside until the plan's sender is gone.
    ///
    /// What takes long to say and is soon done is boxed here and below: what a session is made of lives as long as the tenant.
    pub(crate) async fn run(self) {
        let mut plans = self.plan.clone();
        let mut connection: Option<(Access, Client)> = None;
        // Visits in a row that were short, and since when none of those that reached the tenant has lasted.
        let (mut failures, mut interrupted): (u32, Option<Instant>) = (0, None);
        let mut heard = Instant::now();
        loop {
            let plan = Arc::clone(&plans.borrow_and_update());
            let begin = Instant::now();
            // Good news after interruptions must last before they are told, or each visit would be two pieces of news.
            let calm = if is_long_ago(interrupted) { LASTING } else { Duration::ZERO };
            let early = usize::try_from(failures).ok().and_then(|failures| GREETINGS.get(failures));
            let greeting = early.copied().unwrap_or(Duration::MAX);
            let end = tokio::select! {
                end = self.visit(&plan, &mut connection, calm, greeting) => end,
                changed = plans.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // Nobody knows whether it would still have answered.
                    heard = Instant::now();
                    interrupted = interrupted.filter(|_| begin.elapsed() < LASTING);
                    continue;
                }
            };
            let message = told(end.cause.as_ref());
            tracing::debug!(tenant = %plan.interior.tenant.id, message, "the visit ended");
            let lasted = end.reach == Reach::Everything && begin.elapsed() >= LASTING;
            failures = if lasted { 0 } else { failures + 1 };
            if end.reach > Reach::Nothing {
                heard = Instant::now();
                interrupted = if lasted { None } else { interrupted.or(Some(heard)) };
            }
            let was_slow = end.reach == Reach::Server && begin.elapsed() >= PATIENCE;
            if heard.elapsed() >= PATIENCE {
                self.report(&plan, Err(message), Inside::Unknown);
            } else if end.reach > Reach::Nothing && (was_slow || is_long_ago(interrupted)) {
                self.report(&plan, Ok(()), Inside::Failing { reason: "Interrupted", message });
            }
            tokio::select! {
                () = tokio::time::sleep(backoff::doubled(SHORTEST_PAUSE, failures, LONGEST_PAUSE)) => {}
                () = self.wake.notified() => failures = 0,
                changed = plans.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Keeps the tenant's inside until something breaks.
    async fn visit(
        &self,
        plan: &Arc<Plan>,
        connection: &mut Option<(Access, Client)>,
        calm: Duration,
        greeting: Duration,
    ) -> End {
        let client = match Box::pin(self.connected(&plan.access, connection)).await {
            Ok(client) => client,
            Err(cause) => return End { reach: Reach::Nothing, cause },
        };
        let greeted = tokio::time::timeout(greeting, Box::pin(greet(&client))).await;
        let late = |_| Err(format!("{} did not answer within {greeting:?}", plan.access.address).into());
        if let Err(cause) = greeted.unwrap_or_else(late) {
            return End { reach: Reach::Nothing, cause };
        }
        self.report(plan, Ok(()), Inside::Unknown);
        let turn = tokio::time::timeout(COURTESY, TURNS.acquire()).await;
        let mut keeper = match Keeper::new(Cluster::new(client.clone(), FIELD_MANAGER), plan) {
            Ok(keeper) => keeper,
            Err(error) => {
                let message = told(&error);
                self.report(plan, Ok(()), Inside::Failing { reason: "ConfigurationInvalid", message });
                // Only another plan can mend it, but the tenant may go.
                let Err(cause) = idle(&client).await;
                return End { reach: Reach::Everything, cause };
            }
        };
        let entered = Box::pin(enter(&client, &mut keeper)).await;
        keeper.forget();
        drop(turn);
        match entered {
            Ok(events) => {
                let Err(cause) = self.keep(plan, &mut keeper, events, Instant::now() + calm).await;
                End { reach: Reach::Everything, cause }
            }
            Err(cause) => End { reach: Reach::Server, cause },
        }
    }

    /// The connection of the last visit, if it is still the right one.
    async fn connected(
        &self,
        access: &Access,
        connection: &mut Option<(Access, Client)>,
    ) -> Result<Client, Cause> {
        match connection {
            Some((known, client)) if known == access => Ok(client.clone()),
            _ => {
                let client = self.client(access).await?;
                *connection = Some((access.clone(), client.clone()));
                Ok(client)
            }
        }
    }

    async fn client(&self, access: &Access) -> Result<Client, Cause> {
        let secret = self.secrets.get(&access.secret).ok_or("its administrator's Secret is missing")?;
        let file = secret.data.as_ref().and_then(|data| data.get(&access.key));
        let file =
            file.ok_or_else(|| format!("there is no kubeconfig under {} in {}", access.key, access.secret))?;
        let unusable = || format!("the kubeconfig under {} in {} cannot be used", access.key, access.secret);
        let kubeconfig = Kubeconfig::from_yaml(&file.0).ok_or_else(unusable)?;
        let mut config = administrator::config(&kubeconfig).await.ok_or_else(unusable)?;
        config.cluster_url = format!("https://{}", access.address).parse()?;
        config.tls_server_name = Some(access.server_name.clone());
        let requests = self.requests.clone();
        let client = connect_counted(&config, BOUNDS, move || {
            requests.inc();
        });
        Ok(client?)
    }

    /// Repairs what changes.
    async fn keep(
        &self,
        plan: &Arc<Plan>,
        keeper: &mut Keeper,
        mut events: Events,
        calm: Instant,
    ) -> Result<Infallible, Cause> {
        loop {
            let is_calm = Instant::now() >= calm;
            let inside = keeper.state();
            if is_calm || inside != Inside::Kept {
                self.report(plan, Ok(()), inside);
            }
            tokio::select! {
                () = tokio::time::sleep_until(calm), if !is_calm => {}
                event = events.next() => {
                    let (resource, event) = event.ok_or("the watches ended")?;
                    Box::pin(keeper.note(&resource, event?)).await?;
                }
                () = keeper.due() => Box::pin(keeper.mend()).await?,
            }
        }
    }

    /// Tells what was seen, if that is news.
    fn report(&self, plan: &Arc<Plan>, reached: Result<(), String>, inside: Inside) {
        let seen = Sight { plan: Arc::clone(plan), reached, inside };
        let is_news = self.sight.send_if_modified(|known| {
            // What was known of this very plan stays known while the objects are looked at again.
            let is_less = seen.reached.is_ok()
                && seen.inside == Inside::Unknown
                && known.as_ref().is_some_and(|known| known.reached.is_ok() && known.plan == seen.plan);
            let is_news = !is_less && known.as_ref() != Some(&seen);
            if is_news {
                *known = Some(seen);
            }
            is_news
        });
        if is_news {
            (self.nudge)();
        }
    }
}

/// The API server answers, and the group of `admin.conf` has its rights, as kubeadm's phase of the same purpose gives them.
async fn greet(client: &Client) -> Result<(), Cause> {
    let request = axum::http::Request::get("/readyz").body(kube::client::Body::empty())?;
    let answer = client.send(request).await?;
    let status = answer.status();
    if !status.is_success() {
        let body = answer.into_body().collect_bytes().await?;
        return Err(format!(
            "the API server answered {status}: {}",
            unready(&String::from_utf8_lossy(&body))
        )
        .into());
    }
    let cluster = Cluster::new(client.clone(), FIELD_MANAGER);
    let administrators = Object::of(&rbac::cluster_admins());
    let live = cluster.get_dynamic(&administrators.resource, &administrators.desired).await?;
    keeper::ensure(&cluster, &administrators, live.as_ref()).await?;
    Ok(())
}

/// What an API server that is not ready says, without the checks that it passes.
fn unready(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("[+]")).collect::<Vec<_>>().join("; ")
}

/// Looks at everything once. One kind comes after the other, so that never more than one list is in memory.
async fn enter(client: &Client, keeper: &mut Keeper) -> Result<Events, Cause> {
    for resource in keeper.unwatched() {
        look(client, &resource, keeper).await?;
    }
    let mut events = Events::new();
    for resource in keeper.watched() {
        let version = look(client, &resource, keeper).await?;
        events.push(changes::watch(client, &resource, version));
    }
    Ok(events)
}

/// Everything of this kind has been looked at; the version that the list is of.
async fn look(client: &Client, resource: &Arc<ApiResource>, keeper: &mut Keeper) -> Result<String, Cause> {
    let mut list = changes::List::new(client, resource);
    let mut count = 0;
    keeper.note(resource, watcher::Event::Init).await?;
    while let Some(page) = list.next().await? {
        for object in page {
            keeper.note(resource, watcher::Event::InitApply(serde_json::from_str(object.get())?)).await?;
            count += 1;
        }
        if count > MOST {
            let label = labels::PROJECT;
            let kind = &resource.plural;
            return Err(format!(
                "more than {MOST} {kind} carry {label}: take it off those that are not ours"
            )
            .into());
        }
    }
    keeper.note(resource, watcher::Event::InitDone).await?;
    Ok(list.version)
}

/// Does nothing until the tenant goes.
async fn idle(client: &Client) -> Result<Infallible, Cause> {
    let resource = Arc::new(ApiResource::erase::<ClusterRoleBinding>(&()));
    // Whatever happens from now on.
    let mut events = changes::watch(client, &resource, "0".to_owned());
    loop {
        let (_, event) = events.next().await.ok_or("the watch ended")?;
        drop(event?);
    }
}

/// Whether it began so long ago that it is worth a word.
fn is_long_ago(since: Option<Instant>) -> bool {
    since.is_some_and(|since| since.elapsed() >= PATIENCE)
}

/// What went wrong, in one line, and in so few words that they fit into a condition: they may be the tenant's.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let text = chain(error).split_whitespace().collect::<Vec<_>>().join(" ");
    match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fails_is_said_of_a_server_that_is_not_ready() {
        let text = "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\nreadyz check failed\n";
        assert_eq!(unready(text), "[-]etcd failed: reason withheld; readyz check failed");
    }

    #[test]
    fn what_a_tenant_says_is_cut_between_letters() {
        let error = std::io::Error::other("ä".repeat(10_000));
        assert_eq!(told(&error).chars().count(), LONGEST_MESSAGE + 1);
        assert_eq!(told(&std::io::Error::other("brief,\n\tand in lines\n")), "brief, and in lines");
    }
}
