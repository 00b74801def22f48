//! The tenant's places in other stores, where single kinds of its objects are kept.
//!
//! Each has its own user, role, mark and proof, under the names that the tenant has in its own store: the API server knows
//! one prefix and shows one certificate everywhere.

use std::collections::BTreeSet;
use std::sync::Arc;

use kamaji_api::labels;
use kamaji_api::v1alpha1::{DataStore, Driver};
use kamaji_datastore::account::{Account, Standing};
use kamaji_datastore::store::Leftover;
use kamaji_pki::{Authority, Certificate};
use kamaji_resources::conditions::{Concern, Finding};
use kamaji_resources::overrides::{self, Override, OverrideClaim};
use kamaji_resources::rollout::Rollout;
use kamaji_resources::status::Facts;
use kamaji_resources::storage::Extent;
use kamaji_resources::{Claim, StorageCredentials};
use kube::ResourceExt;
use kube::runtime::events::EventType;
use kube::runtime::reflector::ObjectRef;

use super::Pass;
use crate::claim::account;
use crate::error::Error;
use crate::stores::{Examined, OpenStore};
use crate::tenants;

const STAGE: &str = "overrides";

/// The tenant's places in other stores, as they are known when a pass begins.
pub(super) struct Places {
    /// What the status remembers of them.
    pub(super) claims: Vec<OverrideClaim>,
    /// Those that the API server is to use.
    pub(super) overrides: Vec<Override>,
    /// The stores of `overrides`, in the same order.
    stores: Vec<Arc<OpenStore>>,
    /// Names of every DataStore that is to keep something.
    wanted: BTreeSet<String>,
    /// Why some of them cannot be used.
    obstacles: Vec<(Concern, Finding)>,
    /// What is wrong with stores that are used all the same, because tenants run on them.
    troubles: Vec<Finding>,
}

/// A store that is to keep something.
enum Candidate {
    Open { store: Arc<OpenStore>, trouble: Option<Finding> },
    Refused(Concern, Finding),
    Unexamined,
}

impl Places {
    pub(super) fn extent(&self) -> Extent {
        if self.obstacles.is_empty() { Extent::Whole } else { Extent::Partial }
    }

    /// Notes what is wrong. False if the API server must not be given its arguments yet.
    pub(super) fn report(&self, facts: &mut Facts) -> bool {
        // The first of each concern stays.
        for (concern, finding) in self.obstacles.iter().rev() {
            facts.find(*concern, finding.clone());
        }
        if self.obstacles.is_empty()
            && let Some(trouble) = self.troubles.first()
        {
            facts.find(Concern::DataStoreReachable, trouble.clone());
        }
        self.obstacles.is_empty()
    }
}

impl Pass<'_> {
    /// The tenant's places in other stores; `None` if one of the stores has not been examined yet.
    pub(super) fn places(&self, own: &OpenStore, claim: &Claim) -> Option<Places> {
        let mut wanted = overrides::wanted(self.tenant, &claim.data_store);
        let mut places = Places {
            claims: Vec::new(),
            overrides: Vec::new(),
            stores: Vec::new(),
            wanted: wanted.keys().cloned().collect(),
            obstacles: Vec::new(),
            troubles: Vec::new(),
        };
        for data_store in &places.wanted {
            match self.candidate(own.driver, data_store) {
                Candidate::Unexamined => return None,
                Candidate::Refused(concern, finding) => {
                    wanted.remove(data_store);
                    places.obstacles.push((concern, finding));
                }
                Candidate::Open { store, trouble } => {
                    places.overrides.push(Override {
                        data_store: data_store.clone(),
                        endpoints: store.endpoints.clone(),
                        authority: authority_of(&store).map(|ca| ca.pem().to_owned()).unwrap_or_default(),
                        resources: wanted[data_store].clone(),
                    });
                    places.stores.push(store);
                    places.troubles.extend(trouble);
                }
            }
        }
        places.claims = overrides::claims(&self.memory.overrides, &wanted, claim);
        Some(places)
    }

    fn candidate(&self, own: Driver, data_store: &str) -> Candidate {
        let unsupported = |what: String| {
            let message =
                format!("spec.dataStoreOverrides: {what}; single kinds can be moved from etcd to etcd only");
            Candidate::Refused(Concern::SpecAccepted, Finding::fails("OverrideUnsupported", message))
        };
        if own != Driver::Etcd {
            return unsupported(format!("the tenant's own DataStore has the driver {}", own.as_str()));
        }
        let Some(object) = self.cx.caches.data_stores.get(&ObjectRef::<DataStore>::new(data_store)) else {
            let message = format!(
                "DataStore {data_store} of spec.dataStoreOverrides does not exist: create it, or name another"
            );
            let finding = Finding::fails("DataStoreMissing", message);
            return Candidate::Refused(Concern::DataStoreReachable, finding);
        };
        if object.spec.driver != Driver::Etcd {
            return unsupported(format!(
                "DataStore {data_store} has the driver {}",
                object.spec.driver.as_str()
            ));
        }
        let failing = |reason, message| {
            Finding::fails(reason, format!("DataStore {data_store} of spec.dataStoreOverrides: {message}"))
        };
        match self.cx.stores.get(data_store) {
            None => Candidate::Unexamined,
            Some(Examined::Usable(store)) => Candidate::Open { store, trouble: None },
            Some(Examined::Unusable { reason, message, last: Some(store), .. }) => {
                Candidate::Open { store, trouble: Some(failing(reason, message)) }
            }
            Some(Examined::Unusable { reason, message, last: None, .. }) => {
                Candidate::Refused(Concern::DataStoreReachable, failing(reason, message))
            }
        }
    }

    /// The tenant has its place in every store that is to keep something, and its certificate opens that and nothing else.
    /// One store that fails holds up no other.
    pub(super) async fn store_elsewhere(
        &self,
        own: &OpenStore,
        places: &Places,
        credentials: &StorageCredentials,
    ) -> Result<(), Vec<Error>> {
        let stored = places.overrides.iter().zip(&places.stores).map(|(place, store)| async move {
            let claim = places.claims.iter().find(|claim| claim.data_store == place.data_store);
            let claim = claim.expect("whatever is used is claimed");
            self.store_in(own, (place, store), claim, credentials).await
        });
        let failures: Vec<Error> =
            futures::future::join_all(stored).await.into_iter().filter_map(Result::err).collect();
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    async fn store_in(
        &self,
        own: &OpenStore,
        (place, store): (&Override, &Arc<OpenStore>),
        claim: &OverrideClaim,
        credentials: &StorageCredentials,
    ) -> Result<(), Error> {
        let seal = self.seal();
        let credentials_sum = credentials.certificate_checksum();
        let seen = tenants::Place { open: Arc::downgrade(store), credentials: credentials_sum };
        if self.cx.tenants.is_stored(&self.tenant.id, &seen, &seal) {
            return Ok(());
        }
        if let Some(Examined::Unusable { reason, message, .. }) = self.cx.stores.get(&place.data_store) {
            return Err(Error::DataStoreUnusable { data_store: place.data_store.clone(), reason, message });
        }
        let failed = |source| failed(&place.data_store, source);
        // What the tenant's Pods use already is its own, although an operator that left no marks has made it.
        let live = self.world.deployment.as_deref().map(overrides::in_force).unwrap_or_default();
        let is_ours = overrides::is_kept_at(&live, &place.resources, &place.endpoints);
        let standing = if is_ours { Standing::Recorded } else { Standing::Claimed };
        let account = account(&self.tenant.id.uid, &claim.claim(), standing).map_err(failed)?;
        let account = Account { seal: seal.clone(), ..account };
        let ensured = store.store.ensure(&account).await;
        ensured.map_err(|error| {
            self.cx.data_store_failed(&place.data_store, store, &error);
            failed(error)
        })?;
        let (certificate, key) = credentials.client_pem();
        let proved = store.store.prove_confined(&account, certificate, key).await;
        proved.map_err(|source| distrusted(own, (place, store), source))?;
        self.cx.tenants.stored(&self.tenant.id, seen, seal);
        Ok(())
    }

    /// Tells of objects that the tenant sees no more because their kind is kept elsewhere now.
    pub(super) async fn tell_what_is_left_behind(&self, desired: &k8s_openapi::api::apps::v1::Deployment) {
        let Some(live) = &self.world.deployment else { return };
        for sentence in overrides::left_behind(live, desired) {
            self.cx.event(self.tcp, EventType::Warning, "ObjectsLeftBehind", sentence).await;
        }
    }

    /// Places that keep nothing any more are gone, once no Pod uses them; those in which something lies that is worth
    /// keeping stay, until the tenant goes or somebody says that they may.
    pub(super) async fn retire(
        &self,
        own: &Arc<OpenStore>,
        places: &Places,
        rollout: &Rollout,
        facts: &mut Facts,
    ) -> Result<(), Error> {
        if !rollout.has_replaced_all() {
            return Ok(());
        }
        let mut left = Vec::new();
        let mut notes = Vec::new();
        for claim in &places.claims {
            if places.wanted.contains(&claim.data_store) {
                left.push(claim.clone());
                continue;
            }
            match self.retire_one(own, places, claim).await? {
                Retirement::Gone => {}
                Retirement::Kept { since } => {
                    notes.push(kept_note(claim));
                    left.push(OverrideClaim { retired_since: Some(since), ..claim.clone() });
                }
                Retirement::Waits(why) => {
                    let store = &claim.data_store;
                    notes.push(format!(
                        "what overrides left in DataStore {store} is looked after once it works: {why}"
                    ));
                    left.push(claim.clone());
                }
            }
        }
        facts.overrides = Some(left);
        if let Some(finding) =
            facts.findings.get_mut(&Concern::DataStoreReachable).filter(|_| !notes.is_empty())
        {
            finding.message = format!("{}; {}", finding.message, notes.join("; "));
        }
        Ok(())
    }

    async fn retire_one(
        &self,
        own: &Arc<OpenStore>,
        places: &Places,
        claim: &OverrideClaim,
    ) -> Result<Retirement, Error> {
        let discarded = self.is_discarded(&claim.data_store);
        if let Some(since) = claim.retired_since.filter(|_| !discarded) {
            return Ok(Retirement::Kept { since });
        }
        let store = match self.cx.stores.get(&claim.data_store) {
            Some(Examined::Usable(store)) => store,
            Some(Examined::Unusable { message, .. }) => return Ok(Retirement::Waits(message)),
            None => {
                return Ok(Retirement::Waits("it does not exist, or has not been examined yet".to_owned()));
            }
        };
        let failed = |source| failed(&claim.data_store, source);
        match self.is_used_otherwise(&store, (own, places), claim).await.map_err(failed)? {
            Sameness::Unknown(other) => {
                return Ok(Retirement::Waits(format!(
                    "DataStore {other} may be the same etcd, and does not work"
                )));
            }
            // What is there is another place's.
            Sameness::Same => return Ok(Retirement::Gone),
            Sameness::Different => {}
        }
        let account = account(&self.tenant.id.uid, &claim.claim(), Standing::Claimed).map_err(failed)?;
        if !claim.is_passing() && !discarded {
            let residue = store.store.residue(&account).await.map_err(failed)?;
            if residue.left.iter().any(|left| matches!(left, Leftover::Keys { .. })) {
                self.cx.event(self.tcp, EventType::Warning, "OverrideDataKept", kept_note(claim)).await;
                return Ok(Retirement::Kept { since: self.clock.now });
            }
        }
        self.cx.tenants.unstored(&self.tenant.id, &store);
        store.store.remove(&account).await.map_err(failed)?;
        let note = format!("nothing of this tenant is left in DataStore {}", claim.data_store);
        self.cx.event(self.tcp, EventType::Normal, "OverrideRemoved", note).await;
        Ok(Retirement::Gone)
    }

    /// Whether the store of a place that is to go is, under another name, that of a place which stays.
    async fn is_used_otherwise(
        &self,
        store: &OpenStore,
        (own, places): (&Arc<OpenStore>, &Places),
        claim: &OverrideClaim,
    ) -> Result<Sameness, kamaji_datastore::error::Error> {
        if store.store.is_same_as(&own.store).await? {
            return Ok(Sameness::Same);
        }
        for other in places.claims.iter().filter(|other| other.data_store != claim.data_store) {
            let Some(Examined::Usable(open)) = self.cx.stores.get(&other.data_store) else {
                return Ok(Sameness::Unknown(other.data_store.clone()));
            };
            if store.store.is_same_as(&open.store).await? {
                return Ok(Sameness::Same);
            }
        }
        Ok(Sameness::Different)
    }

    /// The DataStore must be spelled out, so that the wish reaches no other.
    fn is_discarded(&self, data_store: &str) -> bool {
        let named = self.tcp.annotations().get(labels::DISCARD_OVERRIDE);
        named.is_some_and(|names| names.split(',').any(|name| name.trim() == data_store))
    }
}

/// What became of a place that keeps nothing any more.
enum Retirement {
    Gone,
    Kept { since: jiff::Timestamp },
    Waits(String),
}

/// Whether two stores are one etcd.
enum Sameness {
    Same,
    Different,
    Unknown(String),
}

fn kept_note(claim: &OverrideClaim) -> String {
    let kinds: Vec<&str> = claim.resources.iter().map(String::as_str).collect();
    let (store, annotation) = (&claim.data_store, labels::DISCARD_OVERRIDE);
    format!(
        "DataStore {store} still holds objects of {}, which nobody sees: they go with the tenant, come back with the \
         override, and are deleted now if you annotate with {annotation}={store}",
        kinds.join(", ")
    )
}

fn failed(data_store: &str, source: kamaji_datastore::error::Error) -> Error {
    Error::DataStore { stage: STAGE, data_store: data_store.to_owned(), source: Box::new(source) }
}

/// The authority that signed the store's certificate, and signs those of its clients.
fn authority_of(store: &OpenStore) -> Option<&Certificate> {
    store.authority().map(Authority::certificate)
}

/// An etcd that does not accept the tenant's certificate, because another authority has signed it.
fn distrusted(
    own: &OpenStore,
    (place, store): (&Override, &OpenStore),
    source: kamaji_datastore::error::Error,
) -> Error {
    let authority = |store| authority_of(store).map(Certificate::fingerprint);
    let refused = matches!(source, kamaji_datastore::error::Error::Unauthenticated { .. });
    if !refused || authority(own) == authority(store) {
        return failed(&place.data_store, source);
    }
    let name = &place.data_store;
    Error::DataStoreUnusable {
        data_store: name.clone(),
        reason: "ClientNotTrusted",
        message: format!(
            "DataStore {name} of spec.dataStoreOverrides does not accept the tenant's certificate, which the authority of \
             the tenant's own DataStore has signed, and the API server has but one: add that authority to the file that \
             this etcd was given as --trusted-ca-file, or name a DataStore with the same authority"
        ),
    }
}
