//! `kamaji takeover check`: what would change if this operator took over from the Go operator. It only reads.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MatchCondition, MutatingWebhookConfiguration, RuleWithOperations, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Secret, Service};
use kamaji_api::admission::NOT_THE_OPERATOR;
use kamaji_api::v1alpha1::{DataStore, TenantControlPlane};
use kamaji_api::{Child, TenantId, labels, tenant};
use kamaji_client::connect;
use kamaji_resources::takeover::{Forecast, Hands, Seen, forecast};
use kamaji_resources::{Clock, HeldSecrets};
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::cli::TakeoverCheckArgs;
use crate::clock;
use crate::converge::takeover::hands;
use crate::join_command::{BOUNDS, management};

/// The group whose objects the Go operator's webhooks judge.
const GROUP: &str = "kamaji.clastix.io";
/// Exit code: Pods of some tenant are replaced once.
const ROLLS: u8 = 3;
/// Exit code: some tenant cannot be taken over as it is.
const STUCK: u8 = 4;

/// What is asked of the check.
#[derive(Clone, Debug)]
pub struct TakeoverQuestion {
    /// Only tenants of this namespace, if one is named.
    pub namespace: Option<String>,
    /// What the operator's command line would contribute to every tenant.
    pub settings: tenant::Settings,
    /// How long before its end a certificate is renewed.
    pub renew_before: jiff::SignedDuration,
}

/// What would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeoverReport {
    /// By namespace and name.
    pub tenants: BTreeMap<String, Forecast>,
    /// What must be done to the management cluster.
    pub cluster: Vec<String>,
}

impl TakeoverReport {
    /// The exit code: 0 when no Pod is restarted, 3 when some are, 4 when some tenant cannot be taken over.
    pub fn code(&self) -> u8 {
        let any = |is: fn(&Forecast) -> bool| self.tenants.values().any(is);
        if any(|forecast| matches!(forecast, Forecast::Stuck(_))) {
            STUCK
        } else if any(|forecast| matches!(forecast, Forecast::Rolls(_))) {
            ROLLS
        } else {
            0
        }
    }
}

impl fmt::Display for TakeoverReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (tenant, forecast) in &self.tenants {
            writeln!(formatter, "{tenant}: {forecast}")?;
        }
        for line in &self.cluster {
            writeln!(formatter, "cluster: {line}")?;
        }
        let count = |is: fn(&Forecast) -> bool| self.tenants.values().filter(|forecast| is(forecast)).count();
        writeln!(
            formatter,
            "{} tenants: {} restarted once, {} cannot be taken over",
            self.tenants.len(),
            count(|forecast| matches!(forecast, Forecast::Rolls(_))),
            count(|forecast| matches!(forecast, Forecast::Stuck(_))),
        )
    }
}

/// Prints the report; the exit code is [`TakeoverReport::code`].
pub(crate) async fn run(args: TakeoverCheckArgs) -> anyhow::Result<ExitCode> {
    let config = management(args.kubeconfig.as_deref(), args.context.as_deref());
    let config = config.await.context("find the management cluster")?;
    let client = connect(&config, BOUNDS).context("connect to the management cluster")?;
    let question = TakeoverQuestion {
        namespace: args.namespace,
        settings: tenant::Settings {
            default_data_store: Some(args.datastore).filter(|name| !name.is_empty()),
        },
        renew_before: args.certificate_expiration_deadline.try_into().unwrap_or(jiff::SignedDuration::MAX),
    };
    let report = Box::pin(takeover_check(&client, &question)).await?;
    std::io::Write::write_all(&mut std::io::stdout(), report.to_string().as_bytes())?;
    Ok(ExitCode::from(report.code()))
}

/// What would change if this operator took over now. Nothing is written.
///
/// # Errors
/// When something could not be read; the text says what.
pub async fn takeover_check(client: &Client, question: &TakeoverQuestion) -> anyhow::Result<TakeoverReport> {
    let namespace = question.namespace.as_deref();
    let everything = ListParams::default();
    let tenants = in_scope::<TenantControlPlane>(client, namespace).list(&everything).await;
    let tenants = tenants.context("list TenantControlPlanes")?;
    let stores = Api::<DataStore>::all(client.clone()).list(&everything).await.context("list DataStores")?;
    let stores = stores.into_iter().map(|store| (store.name_any(), store.spec.endpoints)).collect();
    let children = Children {
        client,
        secrets: labelled(client, namespace).await.context("list Secrets")?,
        services: labelled(client, namespace).await.context("list Services")?,
        deployments: labelled(client, namespace).await.context("list Deployments")?,
    };
    let mut forecasts = BTreeMap::new();
    for tcp in &tenants {
        let name = format!("{}/{}", tcp.namespace().unwrap_or_default(), tcp.name_any());
        let told = children.forecast(tcp, &stores, question).await;
        forecasts.insert(name.clone(), told.with_context(|| format!("look at {name}"))?);
    }
    Ok(TakeoverReport { tenants: forecasts, cluster: cluster(client).await? })
}

fn in_scope<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

type ByName<K> = BTreeMap<(String, String), Arc<K>>;

/// Everything of a kind that bears the label of tenants' children.
async fn labelled<K>(client: &Client, namespace: Option<&str>) -> Result<ByName<K>, kube::Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + fmt::Debug + DeserializeOwned,
{
    let ours = ListParams::default().labels(&format!("{}={}", labels::PROJECT, labels::PROJECT_VALUE));
    let found = in_scope::<K>(client, namespace).list(&ours).await?;
    let key = |object: &K| (object.namespace().unwrap_or_default(), object.name_any());
    Ok(found.into_iter().map(|object| (key(&object), Arc::new(object))).collect())
}

/// The children of all tenants.
struct Children<'a> {
    client: &'a Client,
    secrets: ByName<Secret>,
    services: ByName<Service>,
    deployments: ByName<Deployment>,
}

impl Children<'_> {
    async fn forecast(
        &self,
        tcp: &TenantControlPlane,
        stores: &BTreeMap<String, Vec<String>>,
        question: &TakeoverQuestion,
    ) -> Result<Forecast, kube::Error> {
        let tenant = TenantId::of(tcp);
        let key = |child: Child| (tenant.namespace.clone(), child.name(&tenant.name));
        let secret = |child: Child| Some((child, Arc::clone(self.secrets.get(&key(child))?)));
        let mut held: HeldSecrets = Child::ALL.into_iter().filter_map(secret).collect();
        let child = Child::DatastoreCertificate;
        if !held.contains_key(&child) {
            // The Go operator leaves the one that holds nothing without labels.
            let secrets = Api::<Secret>::namespaced(self.client.clone(), &tenant.namespace);
            let found = secrets.get_opt(&child.name(&tenant.name)).await?;
            held.extend(found.map(|secret| (child, Arc::new(secret))));
        }
        let deployment = self.deployments.get(&key(Child::Deployment)).map(Arc::as_ref);
        Ok(forecast(&Seen {
            tcp,
            settings: &question.settings,
            held: &held,
            service: self.services.get(&key(Child::Service)).map(Arc::as_ref),
            deployment,
            hands: deployment.map_or(Hands::Go, hands),
            stores,
            clock: Clock { now: clock::now(), renew_before: question.renew_before },
        }))
    }
}

/// What must be done to the management cluster before this operator starts.
async fn cluster(client: &Client) -> anyhow::Result<Vec<String>> {
    let everything = ListParams::default();
    let named = ListParams::default().fields(&format!("metadata.name={}", labels::LEADER_LEASE));
    let leases = Api::<Lease>::all(client.clone()).list(&named).await.context("list Leases")?;
    let validating = Api::<ValidatingWebhookConfiguration>::all(client.clone());
    let validating = validating.list(&everything).await.context("list ValidatingWebhookConfigurations")?;
    let mutating = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let mutating = mutating.list(&everything).await.context("list MutatingWebhookConfigurations")?;
    let now = clock::now();
    let mut lines: Vec<String> = leases.iter().filter_map(|lease| held_lease(lease, now)).collect();
    for found in &validating {
        let hooks = found.webhooks.iter().flatten();
        let judges =
            hooks.filter(|hook| judges_us(hook.rules.as_deref(), hook.match_conditions.as_deref())).count();
        lines.extend((judges > 0).then(|| webhooks("ValidatingWebhookConfiguration", &found.name_any())));
    }
    for found in &mutating {
        let hooks = found.webhooks.iter().flatten();
        let judges =
            hooks.filter(|hook| judges_us(hook.rules.as_deref(), hook.match_conditions.as_deref())).count();
        lines.extend((judges > 0).then(|| webhooks("MutatingWebhookConfiguration", &found.name_any())));
    }
    Ok(lines)
}

/// Somebody acts now.
fn held_lease(lease: &Lease, now: Timestamp) -> Option<String> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
    let lasts =
        Duration::from_secs(spec.lease_duration_seconds.and_then(|s| u64::try_from(s).ok()).unwrap_or(15));
    let renewed = spec.renew_time.as_ref()?.0;
    (renewed + lasts > now).then(|| {
        format!(
            "{holder} holds the Lease {}/{}: stop it, this operator waits until then",
            lease.namespace().unwrap_or_default(),
            lease.name_any()
        )
    })
}

/// Whether a webhook of the Go operator's judges our kinds. Ours have a condition that theirs lack.
fn judges_us(rules: Option<&[RuleWithOperations]>, conditions: Option<&[MatchCondition]>) -> bool {
    if conditions.into_iter().flatten().any(|condition| condition.name == NOT_THE_OPERATOR) {
        return false;
    }
    let groups = rules.into_iter().flatten().flat_map(|rule| rule.api_groups.iter().flatten());
    groups.into_iter().any(|group| group == GROUP)
}

fn webhooks(kind: &str, name: &str) -> String {
    format!(
        "{kind} {name} asks the Go operator about every change of a tenant: delete it when that is stopped, or no tenant can be changed"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(forecasts: &[Forecast]) -> TakeoverReport {
        let named = |(number, forecast): (usize, &Forecast)| (format!("teams/{number}"), forecast.clone());
        TakeoverReport {
            tenants: forecasts.iter().enumerate().map(named).collect(),
            cluster: vec![webhooks("ValidatingWebhookConfiguration", "kamaji")],
        }
    }

    #[test]
    fn the_worst_tenant_decides_about_the_exit_code() {
        let rolls = || Forecast::Rolls("the image of kine is another".to_owned());
        let stuck = || Forecast::Stuck("its Service is not there".to_owned());
        let calm = [Forecast::Stays, Forecast::Ours, Forecast::Paused];
        assert_eq!(report(&calm).code(), 0);
        assert_eq!(report(&[Forecast::Stays, rolls()]).code(), ROLLS);
        let worst = report(&[rolls(), stuck(), Forecast::Stays]);
        assert_eq!(worst.code(), STUCK);
        assert_eq!(
            worst.to_string(),
            "teams/0: the Pods are replaced once: the image of kine is another\n\
             teams/1: cannot be taken over: its Service is not there\n\
             teams/2: the Pods stay as they are\n\
             cluster: ValidatingWebhookConfiguration kamaji asks the Go operator about every change of a tenant: delete \
             it when that is stopped, or no tenant can be changed\n\
             3 tenants: 1 restarted once, 1 cannot be taken over\n"
        );
    }

    #[test]
    fn a_lease_counts_for_as_long_as_it_lasts() {
        let renewed = "2026-11-23T01:28:56.417782Z";
        let lease: Lease = serde_json::from_value(json!({
            "metadata": { "name": "kamaji.clastix.io", "namespace": "kamaji-system" },
            "spec": { "holderIdentity": "kamaji-0", "leaseDurationSeconds": 15, "renewTime": renewed },
        }))
        .unwrap();
        let at = |text: &str| held_lease(&lease, text.parse().unwrap());
        assert!(at("2026-11-23T01:29:10Z").unwrap().starts_with("kamaji-0 holds the Lease kamaji-system/"));
        assert_eq!(at("2026-11-23T01:29:12Z"), None);
    }

    #[test]
    fn webhooks_on_our_kinds_are_found() {
        let rules = |group: &str| -> Vec<RuleWithOperations> {
            serde_json::from_value(json!([{ "apiGroups": [group], "resources": ["*"] }])).unwrap()
        };
        assert!(judges_us(Some(&rules(GROUP)), None));
        assert!(!judges_us(Some(&rules("apps")), None) && !judges_us(None, None));
        let ours = MatchCondition { name: NOT_THE_OPERATOR.to_owned(), expression: "true".to_owned() };
        assert!(!judges_us(Some(&rules(GROUP)), Some(&[ours])));
    }
}
