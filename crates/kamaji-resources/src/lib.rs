//! From a [`Tenant`](kamaji_api::Tenant) and its inputs to the objects, phase and status in the management cluster.
//!
//! Everything is computed and nothing is reached: no client, no clock, no file. A controller reads what there is, calls the
//! builders in an order that the types enforce, writes what they return, and asks [`status::compute`] for the status. Use it to
//! embed hosted control planes into a controller of your own, or to see what Kamaji would do.
//!
//! # The order
//! | What | Needs | Gives |
//! |---|---|---|
//! | [`service::build`] | the tenant | the Service in front of the API server |
//! | [`Endpoint::assigned`] | the Service as the server has it | where the API server is reached, or why that is not known yet |
//! | [`anchors::create`], [`Anchors::read`] | the Secrets that are there | two authorities and the key of service accounts, or why they cannot be used |
//! | [`Credentials::renew`] | endpoint, anchors, the Secrets that are there | certificates and kubeconfigs, and what had to be issued anew |
//! | [`StorageCredentials::renew`] | the place in the datastore, the store's authority | the certificate for the datastore |
//! | [`StorageCredentials::trusting`] | places in other stores, if single kinds of objects are kept there | the same, for all of these stores |
//! | [`StorageCredentials::for_kine`] | of a store that is not etcd: the place, the store's certificates | password, and what [`kine`] is told |
//! | [`kubeadm_config::build`] | endpoint, place in the datastore | what kubeadm would have been started with |
//! | [`konnectivity::egress_selector`] | the tenant | with konnectivity: where the API server finds the tunnel |
//! | [`deployment::build`] | all of these | the Pods: API server, scheduler, controller manager, konnectivity server, kine |
//! | [`disruption::build`] | the tenant | how many of the Pods may be taken away at once |
//! | [`status::compute`] | what was seen and done | status, phase and conditions |
//!
//! # Use
//! ```
//! use std::sync::Arc;
//!
//! use jiff::{SignedDuration, Timestamp};
//! use kamaji_api::tenant::{Settings, Tenant};
//! use kamaji_api::v1alpha1::{Driver, TenantControlPlane};
//! use kamaji_pki::Authority;
//! use kamaji_resources::deployment::{self, Inputs};
//! use kamaji_resources::{anchors, service};
//! use kamaji_resources::{Anchors, Clock, Credentials, Endpoint, HeldSecrets, Memory, Storage, StorageCredentials};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // What a user wrote, read once.
//! let tcp: TenantControlPlane = serde_json::from_value(serde_json::json!({
//!     "apiVersion": "kamaji.clastix.io/v1alpha1",
//!     "kind": "TenantControlPlane",
//!     "metadata": { "name": "blue", "namespace": "teams", "uid": "4746b6dc-a96d-4b56-9a1c-e561fad1fc10" },
//!     "spec": {
//!         "dataStore": "default",
//!         "controlPlane": { "service": { "serviceType": "ClusterIP" } },
//!         "kubernetes": { "version": "v1.34.4", "kubelet": {} },
//!     },
//! }))?;
//! let tenant = Tenant::resolve(&tcp, &Settings::default())?;
//! let memory = Memory::of(tcp.status.as_ref());
//! let now: Timestamp = "2026-11-23T02:00:00Z".parse()?; // the controller's clock
//! let clock = Clock { now, renew_before: SignedDuration::from_hours(24) };
//!
//! // The Service is written first; the server gives it an address.
//! let mut service = service::build(&tenant);
//! # let answered = "10.97.11.12".to_owned();
//! service.spec.get_or_insert_default().cluster_ip = Some(answered);
//! let endpoint = Endpoint::assigned(&tenant, &service).map_err(|missing| missing.to_string())?;
//! assert_eq!(endpoint.url(), "https://10.97.11.12:6443");
//!
//! // The anchors are made once in a tenant's life. `held` is what the cluster has, by its role.
//! let mut held = HeldSecrets::new();
//! for child in anchors::ANCHORS {
//!     if anchors::birth(&held, child, memory.anchor(child)) == anchors::Birth::Due {
//!         held.insert(child, Arc::new(anchors::create(&tenant.id, child, now)?));
//!     }
//! }
//! let anchors = Anchors::read(&held, |child| memory.anchor(child)).map_err(|problem| problem.message(&tenant.id))?;
//!
//! // What hangs on them is kept for as long as that will do, and issued when it will not.
//! let credentials = Credentials::renew(&tenant, &endpoint, &anchors, &held, clock)?;
//! assert_eq!(credentials.reissued.len(), 6, "the first pass issues everything");
//!
//! // The place in the datastore: the names are claimed in the status before anything is made there.
//! let claim = memory.claim_or_new(&tenant, Driver::Etcd);
//! let storage = Storage {
//!     driver: claim.driver,
//!     data_store: claim.data_store,
//!     endpoints: vec!["etcd.kamaji-system.svc:2379".to_owned()],
//!     schema: claim.schema,
//!     user: claim.user,
//! };
//! let issuer = Authority::create("etcd-ca", now, SignedDuration::from_hours(24 * 3650))?; // the store's own
//! let storage_credentials = StorageCredentials::renew(&tenant, &storage, &issuer, &held, clock)?;
//!
//! // One render, from values: the same values give the same Deployment.
//! let inputs = Inputs {
//!     tenant: &tenant,
//!     endpoint: &endpoint,
//!     credentials: &credentials,
//!     storage: &storage,
//!     storage_credentials: &storage_credentials,
//!     overrides: &[],
//! };
//! let deployment = deployment::build(&inputs);
//! assert_eq!(deployment.metadata.name.as_deref(), Some("blue"));
//!
//! // Once the Secrets are written, a second pass issues nothing and changes no byte.
//! held.extend(credentials.secrets.iter().map(|(child, secret)| (*child, Arc::new(secret.clone()))));
//! let again = Credentials::renew(&tenant, &endpoint, &anchors, &held, clock)?;
//! assert!(again.reissued.is_empty());
//! assert_eq!(again.secrets, credentials.secrets);
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//! - The same values give the same objects, so a writer that compares before it writes is silent when nothing has changed.
//! - No certificate but that of `super-admin.conf` carries `system:masters`; each lasts a year at most and has one purpose.
//! - Of all containers only kube-controller-manager sees the key of the cluster's authority; nobody sees the front proxy's.
//! - The Pods pass the `restricted` Pod Security Standard, as long as the user asks for nothing else.
//! - An anchor that is gone, unreadable or exchanged is reported and never replaced unasked; [`rotation`] replaces one in stages.
//! - What the Go operator issued stays to the byte until it must be renewed.
//!
//! # What a caller must do
//! - Create the anchors (never apply them over something), and record their checksums in the status: [`status::compute`] does.
//! - Write the claim on the datastore into the status before anything is made in the datastore.
//! - Write the Secrets before the Deployment: its Pods carry their checksums.
//! - Come back at [`Credentials::deadline`](credentials::Credentials::deadline): that is when the next certificate is due.

pub mod anchors;
pub mod checksum;
pub mod conditions;
pub mod credentials;
pub mod deployment;
pub mod disruption;
pub mod endpoint;
mod error;
pub mod kine;
pub mod konnectivity;
pub mod kubeadm_config;
pub mod kubeconfig;
pub mod memory;
pub mod migration;
pub mod object;
pub mod overrides;
pub mod phase;
pub mod rollout;
pub mod rotation;
mod secret;
pub mod service;
pub mod status;
pub mod storage;
pub mod takeover;
pub mod upgrade;

pub use anchors::Anchors;
pub use credentials::{Clock, Credentials};
pub use endpoint::{Endpoint, NoAddress};
pub use error::Error;
pub use kubeconfig::Kubeconfig;
pub use memory::{Claim, Memory};
pub use secret::HeldSecrets;
pub use storage::{Storage, StorageCredentials};
