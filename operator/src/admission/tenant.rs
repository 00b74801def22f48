//! Whether a TenantControlPlane may be stored.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kamaji_api::tenant::Exposure;
use kamaji_api::v1alpha1::{Driver, TenantControlPlane};
use kamaji_api::{Complaints, Tenant, tenant};
use kamaji_datastore::account::{Schema, User};
use kamaji_resources::Memory;
use kamaji_resources::upgrade::{self, Running, Step};

use super::review::Answer;
use super::{annotations, arguments, rehearsal};
use crate::error::chain;
use crate::migration;

/// What is known of a DataStore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Store {
    /// It is there.
    There(Driver),
    /// It is being deleted.
    Leaving(Driver),
    /// There is none of this name.
    Absent,
    /// It could not be looked up in time.
    Unknown,
}

/// By name.
pub(super) type Stores = BTreeMap<String, Store>;

/// What is to be judged, and what is known.
pub(super) struct Seen<'a> {
    /// What is to be stored.
    pub(super) new: &'a TenantControlPlane,
    /// What is stored now.
    pub(super) old: Option<&'a TenantControlPlane>,
    pub(super) settings: &'a tenant::Settings,
    pub(super) migration: &'a migration::Settings,
    pub(super) stores: &'a Stores,
    pub(super) now: Timestamp,
}

/// What came of it.
pub(super) struct Judgement {
    pub(super) answer: Answer,
    /// The Deployment that would be made, if a server is to say whether it would take it.
    pub(super) rehearsed: Option<Deployment>,
}

/// Names of every DataStore that must be looked up to judge this tenant.
pub(super) fn stores_of(tcp: &TenantControlPlane, settings: &tenant::Settings) -> BTreeSet<String> {
    let own = tcp.spec.data_store.as_ref().filter(|name| !name.is_empty());
    let own = own.or(settings.default_data_store.as_ref());
    let others = tcp.spec.data_store_overrides.iter().map(|wanted| &wanted.data_store);
    own.into_iter().chain(others).filter(|name| !name.is_empty()).cloned().collect()
}

/// Every complaint, and everything worth a warning. A complaint that the stored object has given rise to already is a warning.
pub(super) fn judge(seen: &Seen<'_>) -> Judgement {
    let State { complaints, tenant, rehearsed } = state(seen.new, seen);
    let known = seen.old.filter(|_| !complaints.is_empty()).map(|old| state(old, seen).complaints);
    let is_known = |complaint| known.iter().flat_map(Complaints::iter).any(|known| known == complaint);
    let mut answer = Answer::allowed();
    for complaint in complaints.iter() {
        if is_known(complaint) {
            answer.warnings.push(format!("{}: {}", complaint.field, complaint.problem));
        } else {
            answer.complaints.add(complaint.field.clone(), complaint.problem.clone());
        }
    }
    if let (Some(tenant), Some(old)) = (&tenant, seen.old) {
        check_transition(tenant, old, seen, &mut answer.complaints);
    }
    answer.warnings.extend(unchecked(seen));
    answer.warnings.extend(annotations::warnings(seen.new.metadata.annotations.as_ref()));
    answer.warnings.extend(arguments::warnings(seen.new));
    answer.warnings.extend(tenant.iter().flat_map(exposure_warnings));
    let is_worth_a_try = answer.complaints.is_empty() && wishes_for_pods(seen);
    Judgement { answer, rehearsed: rehearsed.filter(|_| is_worth_a_try) }
}

/// What is to be said of a spec, whatever was there before.
struct State {
    complaints: Complaints,
    tenant: Option<Tenant>,
    rehearsed: Option<Deployment>,
}

/// A tenant that was not stored yet is told apart by no UID.
const NO_UID: &str = "00000000-0000-0000-0000-000000000000";

fn state(tcp: &TenantControlPlane, seen: &Seen<'_>) -> State {
    let mut complaints = Complaints::default();
    check_stores(tcp, seen, &mut complaints);
    let mut resolvable = tcp.clone();
    resolvable.metadata.uid.get_or_insert_with(|| NO_UID.to_owned());
    let tenant = match Tenant::resolve(&resolvable, seen.settings) {
        Ok(tenant) => tenant,
        Err(others) => {
            others.iter().for_each(|other| complaints.add(other.field.clone(), other.problem.clone()));
            return State { complaints, tenant: None, rehearsed: None };
        }
    };
    let driver = driver_of(&tenant.data_store, seen.stores);
    check_names(tcp, driver, &mut complaints);
    if let Err(error) = kamaji_addons::kubeadm::kubelet::configuration(&tenant) {
        complaints.add("spec.kubernetes.kubelet", chain(&error));
    }
    // Only etcd has kinds elsewhere; for everything else every store of tables is like the other.
    let rehearsed = rehearsal::deployment(&tenant, driver.unwrap_or(Driver::Etcd), seen.now);
    if let Some(made) = &rehearsed {
        arguments::check(tcp, made, &mut complaints);
    }
    State { complaints, tenant: Some(tenant), rehearsed }
}

fn driver_of(name: &str, stores: &Stores) -> Option<Driver> {
    match stores.get(name)? {
        Store::There(driver) | Store::Leaving(driver) => Some(*driver),
        Store::Absent | Store::Unknown => None,
    }
}

/// Every DataStore is there, and fit for what it is to be used for.
fn check_stores(tcp: &TenantControlPlane, seen: &Seen<'_>, complaints: &mut Complaints) {
    let mut check_one = |field: String, name: &str| match seen.stores.get(name) {
        Some(Store::Absent) => {
            complaints
                .add(field, format!("DataStore {name:?} does not exist: create it first, or name another"));
        }
        Some(Store::Leaving(_)) => {
            complaints.add(field, format!("DataStore {name:?} is being deleted: name another"));
        }
        Some(Store::There(_) | Store::Unknown) | None => {}
    };
    let named = tcp.spec.data_store.as_deref().filter(|name| !name.is_empty());
    let own = named.or(seen.settings.default_data_store.as_deref());
    if let Some(own) = own {
        check_one("spec.dataStore".to_owned(), own);
    }
    for (index, wanted) in tcp.spec.data_store_overrides.iter().enumerate() {
        check_one(format!("spec.dataStoreOverrides[{index}].dataStore"), &wanted.data_store);
    }
    check_overrides(tcp, own.and_then(|own| driver_of(own, seen.stores)), seen.stores, complaints);
}

fn check_overrides(
    tcp: &TenantControlPlane,
    own: Option<Driver>,
    stores: &Stores,
    complaints: &mut Complaints,
) {
    let overrides = &tcp.spec.data_store_overrides;
    if let Some(driver) = own.filter(|driver| *driver != Driver::Etcd && !overrides.is_empty()) {
        complaints.add(
            "spec.dataStoreOverrides",
            format!(
                "single kinds can be kept elsewhere beside etcd only, and the tenant's own DataStore has the driver {}: remove them",
                driver.as_str()
            ),
        );
    }
    for (index, wanted) in overrides.iter().enumerate() {
        let driver = driver_of(&wanted.data_store, stores).filter(|driver| *driver != Driver::Etcd);
        if let Some(driver) = driver {
            complaints.add(
                format!("spec.dataStoreOverrides[{index}].dataStore"),
                format!(
                    "DataStore {:?} has the driver {}, and single kinds can be kept in etcd only: name another",
                    wanted.data_store,
                    driver.as_str()
                ),
            );
        }
    }
}

/// The longest names that a store keeps whole. A user's is at most 64 long in any case; not every MySQL takes more than 32.
fn longest(driver: Option<Driver>) -> (usize, usize) {
    match driver {
        Some(Driver::PostgreSql) => (63, 63),
        Some(Driver::MySql) => (64, 64),
        Some(Driver::Nats) => (252, 64),
        Some(Driver::Etcd) | None => (255, 64),
    }
}

fn check_names(tcp: &TenantControlPlane, driver: Option<Driver>, complaints: &mut Complaints) {
    let (schema, user) = longest(driver);
    let given = |name: &'static str, text: &Option<String>, longest: usize| {
        text.clone().filter(|text| !text.is_empty()).map(|text| (name, text, longest))
    };
    let names = [
        given("spec.dataStoreSchema", &tcp.spec.data_store_schema, schema),
        given("spec.dataStoreUsername", &tcp.spec.data_store_username, user),
    ];
    for (field, text, longest) in names.into_iter().flatten() {
        let read = if field == "spec.dataStoreSchema" {
            Schema::parse(&text).map(drop)
        } else {
            User::parse(&text).map(drop)
        };
        match read {
            Err(error) => complaints.add(field, chain(&error)),
            Ok(()) if text.len() > longest => complaints.add(
                field,
                format!("{text:?} is longer than the {longest} characters that the DataStore takes: choose a shorter one, or leave it out"),
            ),
            Ok(()) => {}
        }
    }
}

/// What is asked of a tenant that runs can be done from where it is.
fn check_transition(tenant: &Tenant, old: &TenantControlPlane, seen: &Seen<'_>, complaints: &mut Complaints) {
    let memory = Memory::of(old.status.as_ref());
    if old.spec.kubernetes.version != seen.new.spec.kubernetes.version {
        let running = Running::of(tenant, &memory, None);
        if let Step::Refused(refusal) = upgrade::step(running.as_ref(), tenant) {
            complaints.add("spec.kubernetes.version", refusal.message);
        }
    }
    let is_moved = old.spec.data_store != seen.new.spec.data_store;
    let lies = memory.claim.as_ref().filter(|_| is_moved && memory.storage_is_set_up);
    if lies.is_some_and(|claim| claim.data_store != tenant.data_store) {
        let overrides = tenant.overrides.len() + memory.overrides.len();
        let target = driver_of(&tenant.data_store, seen.stores);
        let obstacle = target.and_then(|target| migration::obstacle(seen.migration, overrides, target));
        if let Some(why) = obstacle {
            complaints
                .add("spec.dataStore", format!("the data cannot be moved to {:?}: {why}", tenant.data_store));
        }
    }
}

fn unchecked(seen: &Seen<'_>) -> Vec<String> {
    let names = stores_of(seen.new, seen.settings).into_iter();
    let unknown = names.filter(|name| seen.stores.get(name) == Some(&Store::Unknown));
    unknown.map(|name| format!("whether DataStore {name:?} fits could not be found out in time")).collect()
}

/// The range of node ports unless the API server was started with another.
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;
/// Lower ports need a right that the Pods do not have.
const PRIVILEGED: u16 = 1024;

fn exposure_warnings(tenant: &Tenant) -> Vec<String> {
    let port = tenant.network.port;
    let mut warnings = Vec::new();
    if tenant.exposure == Exposure::NodePort && !NODE_PORTS.contains(&port) {
        warnings.push(format!(
            "spec.networkProfile.port: {port} becomes a node port and lies outside of the usual range, 30000 to 32767"
        ));
    }
    if port < PRIVILEGED {
        warnings.push(format!(
            "spec.networkProfile.port: {port} can be listened on only where nodes allow it without privileges; 6443 works anywhere"
        ));
    }
    warnings
}

/// Whether the user says something about the Pods that is new, and that only a server can judge.
fn wishes_for_pods(seen: &Seen<'_>) -> bool {
    let of = |tcp: &TenantControlPlane| {
        let mut deployment = tcp.spec.control_plane.deployment.clone();
        deployment.replicas = None;
        (deployment, tcp.spec.addons.konnectivity.clone())
    };
    if let Some(old) = seen.old {
        return of(old) != of(seen.new);
    }
    let plain = kamaji_api::v1alpha1::DeploymentSpec { replicas: None, ..Default::default() };
    of(seen.new).0 != plain
}

#[cfg(test)]
mod tests;
