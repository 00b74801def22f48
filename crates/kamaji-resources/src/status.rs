//! The status of a tenant control plane, computed once per pass from what was seen and done.

mod addons;
mod certificates;
mod konnectivity;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service, ServiceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kamaji_api::v1alpha1::{
    ChecksummedSecret, DeploymentReport, KubeadmConfigStatus, KubernetesStatus, ServiceReport,
    StorageOverrideStatus, StorageSetupStatus, StorageStatus, TenantControlPlaneStatus, VersionStatus,
};
use kamaji_api::{Child, Tenant, labels};

use crate::Endpoint;
use crate::conditions::{self, Concern, Finding, READY};
use crate::memory::{Claim, Memory};
use crate::migration::{Attempt, Retired};
use crate::overrides::OverrideClaim;
use crate::phase::{PhaseFacts, phase};
use crate::rollout::Rollout;
use crate::rotation::{Record, Stage};
use crate::upgrade::Running;

/// What a pass saw and did.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The tenant's place in the datastore.
    pub claim: Option<Claim>,
    /// The tenant's places in other stores, if they were looked at.
    pub overrides: Option<Vec<OverrideClaim>>,
    /// What is remembered of migrations, if that has changed.
    pub moves: Option<Moves>,
    /// The data is on its way to another DataStore.
    pub migrating: bool,
    /// Where the API server is reached.
    pub endpoint: Option<Endpoint>,
    /// The Service as the server has it.
    pub service: Option<Service>,
    /// The Deployment as the server has it.
    pub deployment: Option<Deployment>,
    /// What is remembered of the replacement of trust anchors, if that was looked at.
    pub rotations: Option<Vec<Record>>,
    /// Checksums of the children that are in place.
    pub checksums: BTreeMap<Child, String>,
    /// What was found about each concern that was reached.
    pub findings: BTreeMap<Concern, Finding>,
    /// What is kept running in place of what the spec asks for, while an upgrade may not begin.
    pub held: Option<Running>,
    /// True once everything of ours inside the tenant is as this spec has it.
    pub inside_is_kept: bool,
    /// What stopped the pass before it reached every concern.
    pub problem: Option<Finding>,
}

/// What is remembered of migrations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// The last try, unless it ended well.
    pub attempt: Option<Attempt>,
    /// Places that the tenant has left.
    pub retired: Vec<Retired>,
}

impl Facts {
    /// Notes what was found about a concern.
    pub fn find(&mut self, concern: Concern, finding: Finding) {
        self.findings.insert(concern, finding);
    }

    fn rollout(&self) -> Rollout {
        self.deployment.as_ref().map(Rollout::of).unwrap_or_default()
    }
}

/// The status after a pass over `tenant`; what the pass did not reach stays as it was.
pub fn compute(
    tenant: &Tenant,
    known: Option<&TenantControlPlaneStatus>,
    facts: &Facts,
    now: Timestamp,
) -> TenantControlPlaneStatus {
    let now = whole_seconds(now);
    let known = known.cloned().unwrap_or_default();
    let mut findings: Vec<(&str, Finding)> =
        facts.findings.iter().map(|(concern, finding)| (concern.as_str(), finding.clone())).collect();
    let ready = summary(tenant, facts);
    let complete = Concern::VITAL.iter().all(|concern| facts.findings.contains_key(concern))
        || (tenant.is_asleep() && facts.deployment.is_some());
    findings.push((READY, ready));
    let stamp = Stamp { tenant, checksums: &facts.checksums, now };
    TenantControlPlaneStatus {
        observed_generation: if complete { Some(tenant.generation) } else { known.observed_generation },
        conditions: conditions::merged(&known.conditions, &findings, tenant.generation, now),
        storage: stamp.storage(known.storage.clone(), facts),
        certificates: stamp.certificates(known.certificates.clone(), facts),
        kubeconfig: stamp.kubeconfigs(known.kubeconfig.clone()),
        kubeadm_config: stamp.kubeadm_config(known.kubeadm_config.clone()),
        kubernetes_resources: Some(resources(tenant, &known, facts, now)),
        control_plane_endpoint: facts
            .endpoint
            .as_ref()
            .map(Endpoint::host_and_port)
            .or(known.control_plane_endpoint),
        kubeadm_phase: known.kubeadm_phase,
        addons: stamp.addons(known.addons, facts),
    }
}

/// The status of a tenant whose claims have changed, and nothing else.
pub fn claimed(
    tenant: &Tenant,
    known: Option<&TenantControlPlaneStatus>,
    facts: &Facts,
    now: Timestamp,
) -> TenantControlPlaneStatus {
    let known = known.cloned().unwrap_or_default();
    let stamp = Stamp { tenant, checksums: &facts.checksums, now: whole_seconds(now) };
    TenantControlPlaneStatus { storage: stamp.storage(known.storage.clone(), facts), ..known }
}

/// The status of a tenant one of whose anchors is about to change, and nothing else.
pub fn announced(
    tenant: &Tenant,
    known: Option<&TenantControlPlaneStatus>,
    facts: &Facts,
    now: Timestamp,
) -> TenantControlPlaneStatus {
    let known = known.cloned().unwrap_or_default();
    let stamp = Stamp { tenant, checksums: &facts.checksums, now: whole_seconds(now) };
    TenantControlPlaneStatus { certificates: stamp.certificates(known.certificates.clone(), facts), ..known }
}

/// The status of a tenant whose spec cannot be read: everything stays but the conditions.
pub fn rejected(
    known: Option<&TenantControlPlaneStatus>,
    complaint: &Finding,
    generation: i64,
    now: Timestamp,
) -> TenantControlPlaneStatus {
    let known = known.cloned().unwrap_or_default();
    let findings = [(Concern::SpecAccepted.as_str(), complaint.clone()), (READY, complaint.clone())];
    TenantControlPlaneStatus {
        conditions: conditions::merged(&known.conditions, &findings, generation, whole_seconds(now)),
        ..known
    }
}

/// True when every concern was reached and holds; else what stopped the pass, else the first concern that does not hold,
/// else the first that was not reached.
fn summary(tenant: &Tenant, facts: &Facts) -> Finding {
    let found = |concern: &Concern| facts.findings.get(concern);
    let reached = Concern::VITAL.iter().map_while(found).find(|finding| !finding.holds);
    let failing = || Concern::VITAL.iter().filter_map(found).find(|finding| !finding.holds);
    if let Some(finding) = reached.or(facts.problem.as_ref()).or_else(failing) {
        return finding.clone();
    }
    match Concern::VITAL.iter().find(|concern| found(concern).is_none()) {
        Some(concern) => Finding::fails("Progressing", format!("not there yet: {}", concern.as_str())),
        None => Finding::holds("Ready", format!("Kubernetes {} runs and answers", tenant.version)),
    }
}

fn resources(
    tenant: &Tenant,
    known: &TenantControlPlaneStatus,
    facts: &Facts,
    now: Timestamp,
) -> KubernetesStatus {
    let known_resources = known.kubernetes_resources.clone().unwrap_or_default();
    let rollout = facts.rollout();
    let Memory { installed, emulated, rotations, .. } = Memory::of(Some(known));
    let wanted = facts.held.clone().unwrap_or_else(|| Running::wanted(tenant));
    let arrived = facts.deployment.is_some() && (rollout.is_complete() || tenant.is_asleep());
    let word = phase(&PhaseFacts {
        replicas_wanted: tenant.replicas,
        rollout,
        migrating: facts.migrating,
        rotating: facts
            .rotations
            .as_ref()
            .unwrap_or(&rotations)
            .iter()
            .any(|record| record.stage != Stage::Settled),
        writes_limited: !tenant.writes.is_unlimited(),
        installed: installed.clone(),
        wanted: wanted.version.to_string(),
    });
    let (version, emulated) = if arrived {
        (Some(wanted.version.to_string()), wanted.emulated.map(|version| version.to_string()))
    } else {
        (installed, emulated)
    };
    KubernetesStatus {
        version: Some(VersionStatus { version, emulated, status: word }),
        deployment: facts
            .deployment
            .as_ref()
            .map(|deployment| deployment_report(tenant, deployment, known_resources.deployment.as_ref(), now))
            .or_else(|| known_resources.deployment.clone()),
        service: facts
            .service
            .as_ref()
            .map(|service| service_report(tenant, service, tenant.network.port.into()))
            .or(known_resources.service),
        ingress: known_resources.ingress,
        gateway: known_resources.gateway,
    }
}

fn deployment_report(
    tenant: &Tenant,
    deployment: &Deployment,
    known: Option<&DeploymentReport>,
    now: Timestamp,
) -> DeploymentReport {
    let report = DeploymentReport {
        status: deployment.status.clone().unwrap_or_default(),
        selector: format!("{}={}", labels::NAME, tenant.id.name),
        name: Child::Deployment.name(&tenant.id.name),
        namespace: tenant.id.namespace.clone(),
        last_update: known.and_then(|known| known.last_update.clone()),
    };
    if known == Some(&report) { report } else { DeploymentReport { last_update: Some(Time(now)), ..report } }
}

/// The ports of a balancer's address are left out: some balancers rewrite them without end.
fn service_report(tenant: &Tenant, service: &Service, port: i32) -> ServiceReport {
    let mut status = service.status.clone().unwrap_or_default();
    strip_ports(&mut status);
    ServiceReport {
        status,
        name: Child::Service.name(&tenant.id.name),
        namespace: tenant.id.namespace.clone(),
        port,
    }
}

fn strip_ports(status: &mut ServiceStatus) {
    let ingress = status.load_balancer.as_mut().and_then(|balancer| balancer.ingress.as_mut());
    for entry in ingress.into_iter().flatten() {
        *entry = LoadBalancerIngress { ports: None, ..entry.clone() };
    }
}

/// Fills the parts of the status that name a child and its checksum.
struct Stamp<'a> {
    tenant: &'a Tenant,
    checksums: &'a BTreeMap<Child, String>,
    now: Timestamp,
}

impl Stamp<'_> {
    /// The time moves only with the checksum.
    fn secret(&self, child: Child, known: Option<ChecksummedSecret>) -> Option<ChecksummedSecret> {
        let Some(sum) = self.checksums.get(&child) else {
            return known;
        };
        if known.as_ref().is_some_and(|known| known.checksum.as_ref() == Some(sum)) {
            return known;
        }
        Some(ChecksummedSecret {
            secret_name: Some(child.name(&self.tenant.id.name)),
            checksum: Some(sum.clone()),
            last_update: Some(Time(self.now)),
        })
    }

    fn kubeadm_config(&self, known: Option<KubeadmConfigStatus>) -> Option<KubeadmConfigStatus> {
        let Some(sum) = self.checksums.get(&Child::KubeadmConfig) else {
            return known;
        };
        if known.as_ref().is_some_and(|known| known.checksum.as_ref() == Some(sum)) {
            return known;
        }
        Some(KubeadmConfigStatus {
            configmap_name: Some(Child::KubeadmConfig.name(&self.tenant.id.name)),
            checksum: Some(sum.clone()),
            last_update: Some(Time(self.now)),
        })
    }

    fn storage(&self, known: Option<StorageStatus>, facts: &Facts) -> Option<StorageStatus> {
        let Some(claim) = &facts.claim else { return known };
        let known = known.unwrap_or_default();
        let setup = known.setup.unwrap_or_default();
        let set_up = self.checksums.get(&Child::DatastoreConfig);
        let unchanged = set_up.is_none() || setup.checksum.as_ref() == set_up;
        Some(StorageStatus {
            driver: Some(claim.driver),
            data_store_name: Some(claim.data_store.clone()),
            config: self.secret(Child::DatastoreConfig, known.config),
            certificate: self.secret(Child::DatastoreCertificate, known.certificate),
            overrides: facts.overrides.as_ref().map_or(known.overrides, |places| reported(places)),
            migration: facts
                .moves
                .as_ref()
                .map_or(known.migration, |moves| moves.attempt.as_ref().map(Attempt::status)),
            left: facts
                .moves
                .as_ref()
                .map_or(known.left, |moves| moves.retired.iter().map(Retired::status).collect()),
            setup: Some(StorageSetupStatus {
                schema: Some(claim.schema.clone()),
                user: Some(claim.user.clone()),
                checksum: if unchanged { setup.checksum } else { set_up.cloned() },
                last_update: if unchanged { setup.last_update } else { Some(Time(self.now)) },
            }),
        })
    }
}

fn reported(places: &[OverrideClaim]) -> Vec<StorageOverrideStatus> {
    let reported = |place: &OverrideClaim| StorageOverrideStatus {
        data_store_name: place.data_store.clone(),
        schema: place.schema.clone(),
        user: place.user.clone(),
        resources: place.resources.iter().cloned().collect(),
        retired_since: place.retired_since.map(|time| Time(whole_seconds(time))),
    };
    places.iter().map(reported).collect()
}

/// The status shows no fractions of a second.
fn whole_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant::fixtures;
    use kamaji_api::v1alpha1::Phase;
    use serde_json::json;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A Deployment of two, of which so many run the newest template and are ready.
    fn deployment(updated: i32) -> Deployment {
        serde_json::from_value(json!({
            "metadata": { "generation": 3 },
            "spec": { "replicas": 2, "selector": {}, "template": {} },
            "status": { "observedGeneration": 3, "replicas": 2, "readyReplicas": 2, "updatedReplicas": updated },
        }))
        .unwrap()
    }

    fn facts(deployment: Deployment) -> Facts {
        Facts {
            deployment: Some(deployment),
            checksums: [(Child::Ca, "ca-1".into()), (Child::ApiServer, "api-1".into())].into(),
            findings: Concern::VITAL.map(|concern| (concern, Finding::holds("Fine", "fine"))).into(),
            ..Facts::default()
        }
    }

    fn version(status: &TenantControlPlaneStatus) -> (Option<String>, Phase) {
        let version = status.kubernetes_resources.clone().unwrap().version.unwrap();
        (version.version, version.status)
    }

    #[test]
    fn a_version_is_installed_once_every_pod_runs_it() {
        let old = compute(&fixtures::tenant(), None, &facts(deployment(2)), at(0));
        assert_eq!(version(&old), (Some("v1.34.4".into()), Phase::Ready));
        let mut tcp = fixtures::tcp();
        tcp.spec.kubernetes.version = "v1.35.4".into();
        let tenant = Tenant::resolve(&tcp, &kamaji_api::tenant::Settings::default()).unwrap();
        let halfway = compute(&tenant, Some(&old), &facts(deployment(1)), at(1));
        assert_eq!(version(&halfway), (Some("v1.34.4".into()), Phase::Upgrading));
        let done = compute(&tenant, Some(&halfway), &facts(deployment(2)), at(2));
        assert_eq!(version(&done), (Some("v1.35.4".into()), Phase::Ready));
    }

    #[test]
    fn limited_writes_do_not_hide_the_installed_version() {
        let mut tenant = fixtures::tenant();
        tenant.writes.block_update = true;
        let found = compute(&tenant, None, &facts(deployment(2)), at(0));
        assert_eq!(version(&found), (Some("v1.34.4".into()), Phase::WriteLimited));
    }

    #[test]
    fn a_time_moves_only_with_what_it_is_the_time_of() {
        let first = compute(&fixtures::tenant(), None, &facts(deployment(2)), at(0));
        let mut renewed = facts(deployment(2));
        renewed.checksums.insert(Child::ApiServer, "api-2".into());
        let second = compute(&fixtures::tenant(), Some(&first), &renewed, at(9));
        let of = |status: &TenantControlPlaneStatus| {
            let certificates = status.certificates.clone().unwrap();
            [certificates.ca, certificates.api_server].map(|secret| secret.unwrap().last_update.unwrap().0)
        };
        assert_eq!((of(&first), of(&second)), ([at(0), at(0)], [at(0), at(9)]));
    }

    #[test]
    fn what_a_pass_did_not_reach_stays_and_the_generation_is_not_observed() {
        let first = compute(&fixtures::tenant(), None, &facts(deployment(2)), at(0));
        let tenant = Tenant { generation: 7, ..fixtures::tenant() };
        let stuck = Facts {
            findings: [(Concern::SpecAccepted, Finding::holds("Fine", "fine"))].into(),
            problem: Some(Finding::fails("ApiUnreachable", "no answer")),
            ..Facts::default()
        };
        let second = compute(&tenant, Some(&first), &stuck, at(9));
        assert_eq!(second.observed_generation, Some(1));
        assert_eq!(second.certificates, first.certificates);
        let ready = second.conditions.iter().find(|condition| condition.type_ == READY).unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "ApiUnreachable"));
        assert_eq!(second.conditions[1], first.conditions[1], "the endpoint was not looked at");
    }

    #[test]
    fn ready_names_the_first_concern_that_fails() {
        let mut found = facts(deployment(2));
        found.find(Concern::ControlPlane, Finding::fails("RollingOut", "later"));
        found.find(Concern::DataStoreReachable, Finding::fails("Unreachable", "first"));
        let status = compute(&fixtures::tenant(), None, &found, at(0));
        assert_eq!(status.conditions.last().unwrap().reason, "Unreachable");
        assert_eq!(status.observed_generation, Some(1), "every concern was looked at");
    }

    #[test]
    fn a_rejected_spec_changes_conditions_only() {
        let first = compute(&fixtures::tenant(), None, &facts(deployment(2)), at(0));
        let second = rejected(Some(&first), &Finding::fails("InvalidSpec", "bad"), 2, at(9));
        let changed: Vec<&str> = second
            .conditions
            .iter()
            .filter(|condition| condition.status == "False")
            .map(|condition| condition.type_.as_str())
            .collect();
        assert_eq!(changed, ["SpecAccepted", "Ready"]);
        assert_eq!(TenantControlPlaneStatus { conditions: first.conditions.clone(), ..second }, first);
    }
}
