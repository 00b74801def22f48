//! What would become of a tenant of the Go operator's, told before anything is written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, Pause, Tenant, tenant};

use super::{Course, Hands, Progress, View, course};
use crate::anchors::ANCHORS;
use crate::deployment::{self, Inputs};
use crate::object::{Ownership, is_left_without_owner, ownership};
use crate::overrides::{self, Override};
use crate::{Anchors, Clock, Credentials, Endpoint, HeldSecrets, Memory, Storage, StorageCredentials};

/// What is known of a tenant.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The tenant.
    pub tcp: &'a TenantControlPlane,
    /// What the command line would contribute.
    pub settings: &'a tenant::Settings,
    /// Its Secrets.
    pub held: &'a HeldSecrets,
    /// Its Service, if it is there.
    pub service: Option<&'a Service>,
    /// Its Deployment, if it is there.
    pub deployment: Option<&'a Deployment>,
    /// Who has written the Pods' template.
    pub hands: Hands,
    /// Addresses of every DataStore, by its name.
    pub stores: &'a BTreeMap<String, Vec<String>>,
    /// When, and how early certificates are renewed.
    pub clock: Clock,
}

/// What would become of a tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forecast {
    /// It is ours already.
    Ours,
    /// It is paused, so nothing is done.
    Paused,
    /// Its Pods stay as they are.
    Stays,
    /// Its Pods are replaced once, because of this.
    Rolls(String),
    /// Nothing is changed until somebody has acted; this is what is wrong.
    Stuck(String),
}

impl fmt::Display for Forecast {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours => formatter.write_str("was taken over before"),
            Self::Paused => formatter.write_str("is paused, so nothing is done until it no longer is"),
            Self::Stays => formatter.write_str("the Pods stay as they are"),
            Self::Rolls(reason) => write!(formatter, "the Pods are replaced once: {reason}"),
            Self::Stuck(problem) => write!(formatter, "cannot be taken over: {problem}"),
        }
    }
}

/// What would become of a tenant if it were looked at now.
pub fn forecast(seen: &Seen<'_>) -> Forecast {
    let annotations = seen.tcp.metadata.annotations.as_ref();
    if annotations.is_some_and(|all| Pause::of(all, seen.clock.now).is_some()) {
        return Forecast::Paused;
    }
    let course = judged(seen);
    match course {
        Err(problem) => Forecast::Stuck(problem),
        Ok(Course::Place) if seen.deployment.is_some() => Forecast::Ours,
        Ok(Course::Place) => Forecast::Rolls("there is no Deployment".to_owned()),
        Ok(Course::Keep { .. }) => Forecast::Stays,
        Ok(Course::Replace(reason)) => Forecast::Rolls(reason),
    }
}

fn judged(seen: &Seen<'_>) -> Result<Course, String> {
    let tenant = Tenant::resolve(seen.tcp, seen.settings).map_err(|complaints| complaints.to_string())?;
    let memory = Memory::of(seen.tcp.status.as_ref());
    let claim = memory.claim.clone().ok_or("the Go operator has not given it a place in a datastore yet")?;
    refuse_foreign(seen, &tenant)?;
    let service = seen.service.ok_or("its Service is not there")?;
    let endpoint = Endpoint::assigned(&tenant, service).map_err(|missing| missing.to_string())?;
    let anchors = Anchors::read(seen.held, |child| memory.anchor_of(child, seen.held.get(&child)?))
        .map_err(|problem| problem.message(&tenant.id))?;
    let endpoints =
        |name: &str| seen.stores.get(name).cloned().ok_or_else(|| format!("DataStore {name} does not exist"));
    let storage = Storage {
        driver: claim.driver,
        endpoints: endpoints(&claim.data_store)?,
        data_store: claim.data_store,
        schema: claim.schema,
        user: claim.user,
    };
    let overrides = overrides::wanted(&tenant, &storage.data_store).into_iter().map(|(name, resources)| {
        // Whom it trusts is in its certificate's Secret already.
        Ok(Override { endpoints: endpoints(&name)?, authority: String::new(), data_store: name, resources })
    });
    let overrides = overrides.collect::<Result<Vec<_>, String>>()?;
    let credentials = Credentials::renew(&tenant, &endpoint, &anchors, seen.held, seen.clock)
        .map_err(|error| error.to_string())?;
    let storage_credentials = as_held(seen.held)?;
    let inputs = Inputs {
        tenant: &tenant,
        endpoint: &endpoint,
        credentials: &credentials,
        storage: &storage,
        storage_credentials: &storage_credentials,
        overrides: &overrides,
    };
    let desired = deployment::build(&inputs);
    let secrets = read_by_pods(&inputs, seen.held);
    let progress = Progress::of(seen.tcp);
    Ok(course(&View {
        live: seen.deployment,
        desired: &desired,
        hands: seen.hands,
        progress,
        secrets: &secrets,
    }))
}

/// The Secrets that the Pods of a Deployment read, as they are to be.
pub fn read_by_pods<'a>(inputs: &Inputs<'a>, held: &'a HeldSecrets) -> BTreeMap<Child, &'a Secret> {
    let anchors = ANCHORS.iter().filter_map(|child| Some((*child, held.get(child)?.as_ref())));
    let storage = inputs.storage_credentials;
    anchors
        .chain(inputs.credentials.secrets.iter().map(|(child, secret)| (*child, secret)))
        .chain([
            (Child::DatastoreConfig, &storage.config),
            (Child::DatastoreCertificate, &storage.certificate),
        ])
        .collect()
}

/// The credentials for the datastore as they are: whether they must be renewed, only a pass can know.
fn as_held(held: &HeldSecrets) -> Result<StorageCredentials, String> {
    let secret = |child: Child| {
        let found = held.get(&child).map(Arc::as_ref).cloned();
        found.ok_or_else(|| format!("the Secret {} is not there", child.component()))
    };
    Ok(StorageCredentials {
        config: secret(Child::DatastoreConfig)?,
        certificate: secret(Child::DatastoreCertificate)?,
        reissued: None,
        deadline: Timestamp::MAX,
    })
}

/// What bears the name of a child and is somebody else's is never touched.
fn refuse_foreign(seen: &Seen<'_>, tenant: &Tenant) -> Result<(), String> {
    let secrets = seen.held.values().map(|secret| ("Secret", &secret.metadata));
    let service = seen.service.map(|service| ("Service", &service.metadata));
    let deployment = seen.deployment.map(|deployment| ("Deployment", &deployment.metadata));
    let foreign = |metadata: &ObjectMeta| {
        ownership(&tenant.id, metadata) == Ownership::Foreign && !is_left_without_owner(metadata)
    };
    match secrets.chain(service).chain(deployment).find(|(_, metadata)| foreign(metadata)) {
        Some((kind, metadata)) => {
            Err(format!("{kind} {} belongs to somebody else", metadata.name.as_deref().unwrap_or_default()))
        }
        None => Ok(()),
    }
}
