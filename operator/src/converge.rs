//! Moves one tenant towards its spec. Any line may fail; the next pass starts again from the top.

mod anchors;
pub(crate) mod budget;
mod findings;
mod inside;
mod konnectivity;
mod overrides;
mod rotation;
pub(crate) mod takeover;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, Tenant, labels};
use kamaji_apply::ObjectId;
use kamaji_resources::conditions::{Concern, Finding};
use kamaji_resources::deployment::{self, Inputs};
use kamaji_resources::rollout::Rollout;
use kamaji_resources::status::Facts;
use kamaji_resources::upgrade::Running;
use kamaji_resources::{
    Anchors, Claim, Clock, Credentials, Endpoint, HeldSecrets, Memory, Storage, StorageCredentials, checksum,
    kine, kubeadm_config, service,
};

use self::findings::{certificates_finding, note_checksums, noted, noted_all, rollout_finding};
use self::overrides::Places;
use kamaji_datastore::account::Account;
use kube::ResourceExt;

use crate::claim::{account, credential, standing};
use crate::clock;
use crate::context::Context;
use crate::error::Error;
use crate::migration::{self, Site, Stance};
use crate::place::{Inheritance, Reach};
use crate::stores::{Admission, Examined, OpenStore};
use crate::tenants::Place;
use crate::upgrade::{self, Held};
use crate::world::World;

/// How a pass ended, unless it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done that can be done now.
    Settled {
        /// When the first certificate must be renewed.
        until: Timestamp,
    },
    /// Somebody else must act first; a watch tells when.
    Waiting,
    /// The tenant is to be looked at again, whether or not anything happens.
    Again {
        /// How soon.
        after: Duration,
    },
    /// The status was written, which starts another pass.
    Written,
    /// Too little is known yet to say anything, so nothing is said.
    Unexamined,
}

/// What a pass does about the tenant's account in its datastore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    /// It is kept as it should be.
    Kept,
    /// It is left alone, for a migration has fenced it.
    LeftAlone,
}

/// One pass over one tenant.
pub(crate) struct Pass<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) tcp: &'a TenantControlPlane,
    pub(crate) tenant: &'a Tenant,
    pub(crate) memory: Memory,
    pub(crate) world: World,
    pub(crate) clock: Clock,
    care: Care,
}

impl<'a> Pass<'a> {
    /// Reads everything that the pass needs to know.
    pub(crate) fn new(cx: &'a Context, tcp: &'a TenantControlPlane, tenant: &'a Tenant) -> Self {
        Self {
            cx,
            tcp,
            tenant,
            memory: Memory::of(tcp.status.as_ref()),
            world: World::of(&tenant.id, &cx.caches),
            clock: Clock { now: clock::now(), renew_before: cx.settings.renew_before },
            care: Care::Kept,
        }
    }

    /// Does what can be done, noting in `facts` what was seen and done.
    pub(crate) async fn run(&self, facts: &mut Facts) -> Result<Outcome, Error> {
        let data_store =
            self.memory.claim.as_ref().map_or(&self.tenant.data_store, |claim| &claim.data_store);
        let Some(examined) = self.data_store(data_store, facts) else { return Ok(Outcome::Unexamined) };
        facts.find(Concern::SpecAccepted, Finding::holds("Accepted", "the spec is sound"));
        // Whoever has a place there is looked after, whether or not the DataStore has worked since we started.
        let known = if self.memory.storage_is_set_up { examined.known() } else { examined.last() };
        let Some(open) = known.cloned() else { return Ok(Outcome::Waiting) };
        let claim = self.memory.claim_or_new(self.tenant, open.driver);
        if self.memory.claim.is_none() {
            self.take_name(&claim).map_err(|error| noted(facts, Concern::DataStoreReachable, error))?;
        }
        let site = Site { open: &open, claim: &claim };
        let held = self.hold_back(facts);
        facts.held = held.as_ref().map(|held| Running::wanted(&held.tenant));
        match Box::pin(self.timed("migration", self.migrate(site, facts))).await? {
            Stance::Written => Ok(Outcome::Written),
            Stance::Works { again } => {
                let Some(Held { tenant, finding }) = held else {
                    let outcome = Box::pin(self.converge((&examined, site), facts)).await?;
                    return Ok(again.map_or(outcome, |again| self.sooner(outcome, again)));
                };
                let pass = Pass::new(self.cx, self.tcp, &tenant);
                let outcome = Box::pin(pass.converge((&examined, site), facts)).await?;
                facts.find(Concern::ControlPlane, finding);
                Ok(self.sooner(outcome, again.unwrap_or(upgrade::AGAIN)))
            }
            Stance::Stands => {
                let tenant = held.as_ref().map_or(self.tenant, |held| &held.tenant);
                let still = Tenant { replicas: 0, ..tenant.clone() };
                let pass = Pass { care: Care::LeftAlone, ..Pass::new(self.cx, self.tcp, &still) };
                let outcome = Box::pin(pass.converge((&examined, site), facts)).await?;
                facts.find(
                    Concern::ControlPlane,
                    Finding::fails(
                        "Migrating",
                        "the Pods are stopped while the data is moved to another DataStore",
                    ),
                );
                Ok(self.sooner(outcome, migration::BEAT))
            }
        }
    }

    /// The tenant is looked at again after so long, or when the first certificate must be renewed.
    fn sooner(&self, outcome: Outcome, after: Duration) -> Outcome {
        let Outcome::Settled { until } = outcome else { return Outcome::Again { after } };
        let left = Duration::try_from(self.clock.now.duration_until(until)).unwrap_or(migration::BEAT);
        Outcome::Again { after: after.min(left.max(migration::BEAT)) }
    }

    /// Everything but where the data is.
    async fn converge(
        &self,
        (examined, site): (&Examined, Site<'_>),
        facts: &mut Facts,
    ) -> Result<Outcome, Error> {
        let Site { open, claim } = site;
        let Some(places) = self.places(open, claim) else { return Ok(Outcome::Unexamined) };
        facts.claim = Some(claim.clone());
        facts.overrides = Some(places.claims.clone());

        // Three things that do not need each other.
        let claimed = self.timed("claim", self.claim(claim, &places.claims));
        let exposed = self.timed("service", self.expose());
        let anchored = self.timed("anchors", self.anchor());
        let ((), service, held) = tokio::try_join!(claimed, exposed, anchored)?;

        let endpoint = Endpoint::assigned(self.tenant, &service);
        facts.service = Some(Arc::unwrap_or_clone(service));
        let endpoint = match endpoint {
            Ok(endpoint) => endpoint,
            Err(missing) => {
                facts.find(Concern::Endpoint, Finding::fails(missing.reason(), missing.to_string()));
                return Ok(Outcome::Waiting);
            }
        };
        facts.find(
            Concern::Endpoint,
            Finding::holds("Assigned", format!("reached at {}", endpoint.host_and_port())),
        );
        facts.endpoint = Some(endpoint.clone());
        let Some((anchors, held)) = self.read_anchors(held, facts).await? else {
            return Ok(Outcome::Waiting);
        };
        let with = Equipment {
            examined,
            open,
            claim,
            places: &places,
            endpoint: &endpoint,
            anchors: &anchors,
            held: &held,
        };
        Box::pin(self.equip(&with, facts)).await
    }

    /// The datastore, the credentials, then the Deployment that uses both.
    async fn equip(&self, with: &Equipment<'_>, facts: &mut Facts) -> Result<Outcome, Error> {
        let storage = Storage {
            driver: with.open.driver,
            data_store: with.claim.data_store.clone(),
            endpoints: with.open.endpoints.clone(),
            schema: with.claim.schema.clone(),
            user: with.claim.user.clone(),
        };
        let credentials = Credentials::renew(self.tenant, with.endpoint, with.anchors, with.held, self.clock)
            .map_err(render)?;
        let storage_credentials = self
            .storage_credentials(with, &storage)
            .map_err(|source| noted(facts, Concern::DataStoreReachable, render(source)))?;
        self.report_reissues(&credentials, &storage_credentials).await;

        let secured = self.timed("credentials", self.secure(&credentials, &storage_credentials));
        let recorded = self.timed("kubeadmconfig", self.record(with.endpoint, &storage));
        let stored = self.timed("datastore-setup", self.store(with, &storage_credentials));
        let elsewhere =
            self.timed("overrides", self.store_elsewhere(with.open, with.places, &storage_credentials));
        let tunnelled = self.timed("konnectivity", self.configure_tunnel());
        let (secured, recorded, stored, elsewhere, tunnelled) =
            tokio::join!(secured, recorded, stored, elsewhere, tunnelled);
        let inputs = Inputs {
            tenant: self.tenant,
            endpoint: with.endpoint,
            credentials: &credentials,
            storage: &storage,
            storage_credentials: &storage_credentials,
            overrides: &with.places.overrides,
        };
        secured.map_err(|error| noted(facts, Concern::Certificates, error))?;
        facts.find(Concern::Certificates, certificates_finding(&credentials, &storage_credentials));
        let config_map_checksum = recorded?;
        tunnelled?;
        if stored.map_err(|error| noted(facts, Concern::DataStoreReachable, error))? == Setup::Waits {
            self.look_on(with, &inputs, facts);
            return Ok(Outcome::Waiting);
        }
        if matches!(with.examined, Examined::Usable(_)) {
            let kept = format!("data is kept in DataStore {}", storage.data_store);
            facts.find(Concern::DataStoreReachable, Finding::holds("Reached", kept));
        }
        elsewhere.map_err(|failures| noted_all(facts, Concern::DataStoreReachable, failures))?;
        let is_unobstructed = with.places.report(facts);
        note_checksums(facts, with.held, &credentials, &storage_credentials);
        facts.checksums.insert(Child::KubeadmConfig, config_map_checksum);
        self.note_tunnel(facts);
        if !is_unobstructed {
            return Ok(Outcome::Waiting);
        }
        self.deploy(with, &inputs, facts).await
    }

    /// The Pods are left as they are, and the tenant's inside is looked after if they answer.
    fn look_on(&self, with: &Equipment<'_>, inputs: &Inputs<'_>, facts: &mut Facts) {
        let Some(deployment) = self.world.deployment.as_deref() else { return };
        let rollout = Rollout::of(deployment);
        facts.deployment = Some(deployment.clone());
        facts.find(Concern::ControlPlane, rollout_finding(self.tenant, &rollout));
        self.look_inside(inputs, with.anchors, &rollout, facts);
    }

    /// The Pods, and what may go once they run.
    async fn deploy(
        &self,
        with: &Equipment<'_>,
        inputs: &Inputs<'_>,
        facts: &mut Facts,
    ) -> Result<Outcome, Error> {
        let desired = deployment::build_with(inputs, &self.kine());
        let placed = self.timed("deployment", self.place_deployment(inputs, with.held, &desired));
        let deployment = placed.await.map_err(|error| noted(facts, Concern::ControlPlane, error))?;
        self.tell_what_is_left_behind(&desired).await;
        self.timed("disruption-budget", self.spare(&desired)).await?;
        let rollout = Rollout::of(&deployment);
        facts.deployment = Some(deployment.as_ref().clone());
        facts.find(Concern::ControlPlane, rollout_finding(self.tenant, &rollout));
        self.remove_tunnel(&rollout).await?;
        self.retire(with.open, with.places, &rollout, facts).await?;
        let until = inputs.credentials.deadline.min(inputs.storage_credentials.deadline);
        self.look_inside(inputs, with.anchors, &rollout, facts);
        Box::pin(self.rotate(with.held, (&desired, deployment.as_ref()), facts)).await?;
        Ok(Outcome::Settled { until })
    }

    /// What the tenant shows to its datastore.
    fn storage_credentials(
        &self,
        with: &Equipment<'_>,
        storage: &Storage,
    ) -> Result<StorageCredentials, kamaji_resources::Error> {
        match &with.open.admission {
            Admission::Signed(issuer) => {
                let credentials =
                    StorageCredentials::renew(self.tenant, storage, issuer, with.held, self.clock)?;
                let trusted = (with.places.overrides.as_slice(), with.places.extent());
                Ok(credentials.trusting(self.tenant, trusted, with.held, self.clock.now))
            }
            Admission::Kine(access) => StorageCredentials::for_kine(self.tenant, storage, access, with.held),
        }
    }

    /// Which image of kine the tenant's Pods are to have, if they have one.
    fn kine(&self) -> kine::Choice<'_> {
        let at_once = self.tcp.annotations().get(labels::UPDATE_KINE).is_some_and(|value| value == "true");
        kine::Choice {
            image: &self.cx.settings.kine_image,
            running: self.world.deployment.as_deref(),
            when: if at_once { kine::When::Now } else { kine::When::WithNextRollout },
        }
    }

    /// What is known of the DataStore; `None` when it has not been examined yet.
    fn data_store(&self, name: &str, facts: &mut Facts) -> Option<Examined> {
        let examined = self.cx.stores.get(name).or_else(|| {
            let absent =
                self.cx.caches.data_stores.get(&kube::runtime::reflector::ObjectRef::new(name)).is_none();
            absent.then(|| Examined::Unusable {
                reason: "DataStoreMissing",
                message: format!("DataStore {name} does not exist: create it"),
                last: None,
                untried: None,
            })
        })?;
        if let Examined::Unusable { reason, message, .. } = &examined {
            facts.find(Concern::DataStoreReachable, Finding::fails(reason, message.clone()));
        }
        Some(examined)
    }

    async fn expose(&self) -> Result<Arc<k8s_openapi::api::core::v1::Service>, Error> {
        let desired = service::build(self.tenant);
        let reach = self.reach("service");
        let placed = self.cx.place_or_replace(reach, &self.cx.caches.services, &desired).await?;
        let address = placed.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref());
        if address == Some("None") && placed.metadata.deletion_timestamp.is_none() {
            // It stays headless for ever, so its deletion starts the pass that makes another.
            tracing::warn!(service = %ObjectId::of(placed.as_ref()), "has no address, so it is replaced");
            let deleted = self.cx.cluster.delete(placed.as_ref()).await;
            deleted.map_err(|source| Error::kubernetes("service", source))?;
        }
        Ok(placed)
    }

    async fn secure(&self, credentials: &Credentials, storage: &StorageCredentials) -> Result<(), Error> {
        let secrets = credentials.secrets.values().chain([&storage.config, &storage.certificate]);
        let reach = self.reach("credentials");
        let placed = secrets.map(|secret| self.cx.place(reach, &self.cx.caches.secrets, secret));
        futures::future::try_join_all(placed).await.map(|_| ())
    }

    async fn record(&self, endpoint: &Endpoint, storage: &Storage) -> Result<String, Error> {
        let desired = kubeadm_config::build(self.tenant, endpoint, storage);
        self.cx.place_or_replace(self.reach("kubeadmconfig"), &self.cx.caches.config_maps, &desired).await?;
        Ok(desired.data.as_ref().map(checksum::of_texts).unwrap_or_default())
    }

    /// The tenant's place in the datastore is there. It is looked at once per start of the operator and change of claim,
    /// credentials or seal.
    ///
    /// A place that is new or was mended is proved: what the tenant shows must fail on what is not the tenant's.
    async fn store(&self, with: &Equipment<'_>, credentials: &StorageCredentials) -> Result<Setup, Error> {
        let Equipment { open, claim, .. } = with;
        let place = Place { open: Arc::downgrade(open), credentials: credentials.config_checksum() };
        let seal = self.seal();
        if self.care == Care::LeftAlone || self.cx.tenants.is_stored(&self.tenant.id, &place, &seal) {
            return Ok(Setup::Done);
        }
        if matches!(with.examined, Examined::Unusable { .. }) {
            // It has been said why; the DataStore's controller wakes the tenant when it is mended.
            return Ok(Setup::Waits);
        }
        let failed = |source| Error::DataStore {
            stage: "datastore-setup",
            data_store: claim.data_store.clone(),
            source: Box::new(source),
        };
        let account = account(&self.tenant.id.uid, claim, standing(&self.memory)).map_err(failed)?;
        let credential = credential(claim.driver, credentials).map_err(failed)?;
        let account = Account { seal: seal.clone(), credential, ..account };
        let ensured = open.store.ensure(&account).await;
        let ensured = ensured.map_err(|error| {
            self.cx.data_store_failed(&claim.data_store, open, &error);
            failed(error)
        })?;
        if ensured.changed() || !self.memory.storage_is_set_up {
            let (certificate, key) = credentials.client_pem();
            open.store.prove_confined(&account, certificate, key).await.map_err(failed)?;
        }
        self.cx.tenants.stored(&self.tenant.id, place, seal);
        Ok(Setup::Done)
    }

    fn reach(&self, stage: &'static str) -> Reach<'_> {
        let restored = self.memory.storage_is_set_up;
        Reach {
            tenant: &self.tenant.id,
            inheritance: if restored { Inheritance::Accepted } else { Inheritance::Refused },
            stage,
        }
    }

    async fn timed<T>(&self, stage: &'static str, work: impl Future<Output = T>) -> T {
        let start = Instant::now();
        let result = work.await;
        self.cx.metrics.stage_took(stage, start.elapsed());
        result
    }
}

/// What became of a tenant's place in its datastore.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Setup {
    /// It is as it should be.
    Done,
    /// The datastore cannot be used now.
    Waits,
}

/// What the second half of a pass works with.
struct Equipment<'a> {
    examined: &'a Examined,
    open: &'a Arc<OpenStore>,
    claim: &'a Claim,
    places: &'a Places,
    endpoint: &'a Endpoint,
    anchors: &'a Anchors,
    held: &'a HeldSecrets,
}

fn render(source: kamaji_resources::Error) -> Error {
    Error::Render { stage: "credentials", source }
}

/// What the object is called in logs.
pub(crate) fn name(tcp: &TenantControlPlane) -> String {
    ObjectId::of(tcp).to_string()
}
