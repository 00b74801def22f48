//! The one writer to a Kubernetes API, for controllers.
//!
//! A controller decides what should be, and says so as typed objects. This crate makes it so: with server-side apply, under
//! one name, within a deadline, without a request when nothing would change, and without touching what is not ours. It knows
//! nothing of Kamaji and needs only [`kube`].
//!
//! | you want | call | what is promised |
//! |---|---|---|
//! | an object to be like this | [`Cluster::settle`], [`Cluster::apply`] | what we stop saying is removed, what others added stays, twice is once |
//! | the same for its status | [`Cluster::settle_status`], [`Cluster::apply_status`] | as above; several managers share one status |
//! | a key or password to be born once | [`Cluster::create`] | of two that race one makes it, and both get that one |
//! | an object to be gone | [`Cluster::delete`] | the very object that was read (UID, version) and no other |
//! | leftovers to be gone | [`Cluster::prune`], [`orphans`] | chosen by the owner's UID, never by a label or a name |
//! | a finalizer to be gone | [`Cluster::remove_finalizers`] | those of others stay |
//! | to replace an older program | [`Cluster::adopt`] | its fields become ours, so that they can be removed |
//! | to know who wrote a part of an object | [`writers`] | read off `managedFields`, without a request |
//! | any of this for kinds that are known only at run time | [`Cluster::settle_dynamic`], [`Cluster::delete_dynamic`], [`dynamic_difference`] | as above |
//! | to read past every cache | [`Cluster::get_opt`] | absent is not an error |
//!
//! # Example
//! The heart of a controller that gives every `Site` a password and a web server:
//! ```
//! use k8s_openapi::{ByteString, api::{apps::v1::Deployment, core::v1::Secret}};
//! use kamaji_apply::{Cluster, Error, ObjectId};
//! # use k8s_openapi::api::core::v1::ConfigMap as Site;
//! # fn secret(_: &Site, _: ByteString) -> Secret { Secret::default() }
//! # fn deployment(_: &Site, _: &Secret) -> Deployment { Deployment::default() }
//! # fn random() -> ByteString { ByteString::default() }
//!
//! /// What the controller's caches hold of one site.
//! struct World {
//!     secrets: Vec<Secret>,
//!     deployment: Option<Deployment>,
//! }
//!
//! async fn reconcile(site: &Site, world: &World, cluster: &Cluster) -> Result<(), Error> {
//!     // Random, so born once: whoever comes second gets what the first one made.
//!     let secret = match world.secrets.iter().find(|secret| secret.metadata.name.as_deref() == Some("password")) {
//!         Some(secret) => secret.clone(),
//!         None => cluster.create(&secret(site, random())).await?.into_object(),
//!     };
//!     // Says everything, always; costs a request only when something differs.
//!     let desired = deployment(site, &secret);
//!     let deployment = cluster.settle(&desired, world.deployment.as_ref()).await?;
//!     if deployment.is_changed() {
//!         println!("a new web server is on its way");
//!     }
//!     // Whatever else this site owns is a leftover.
//!     let owner = site.metadata.uid.as_deref().unwrap_or_default();
//!     cluster.prune(&world.secrets, owner, &[ObjectId::of(&secret)]).await?;
//!     Ok(())
//! }
//! ```
//! It is called with a client and a name that is kept for ever, since the server books ownership under it:
//! ```no_run
//! # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
//! let client = kube::Client::try_default().await?;
//! let cluster = kamaji_apply::Cluster::new(client, "site-controller");
//! # Ok(())
//! # }
//! ```
//!
//! # When nothing is sent
//! [`settled`] is a pure function: it tells from an object and its `managedFields` whether an apply would change anything.
//! So a controller may say everything it wants in each pass, and restarting it costs no write. It notices an edit of our
//! fields by others, also one that was undone since (the field is no longer ours then), and what we ourselves stopped saying.
//! [`difference`] says where two objects differ, by names of fields only; [`Cluster::settle`] logs it at `debug`.
//! The caches must keep `managedFields`, which [`pack`] makes small, and a typed object must hold every field that we say.
//!
//! # When it goes wrong
//! An [`Error`] says what we were doing to which object; its source says why not. Questions such as [`Error::is_transient`],
//! [`Error::is_conflict`] and [`Error::retry_after`] are all that a retry policy needs. Writes end after
//! [30 s](Cluster::WRITE_DEADLINE), reads after [10 s](Cluster::READ_DEADLINE), and answers above 8 MiB are not read.
//! A write that failed on the way may have been carried out: look again, which is what applying again does.
//!
//! # Secrets
//! No error and no log line of this crate holds the body of an object. `kube` itself writes a body that it cannot read to the
//! log at `warn`; requests made here do not go that way, but those made with [`kube::Api`] do.

mod adopt;
mod cluster;
mod create;
mod delete;
mod difference;
mod error;
mod exchange;
mod finalizer;
mod object_id;
mod owned;
mod packed;
mod prune;
mod quantity;
mod same;
mod settled;
mod status;
mod writers;

pub use adopt::adoption;
pub use cluster::{Applied, Cluster};
pub use create::Created;
pub use delete::Deleted;
pub use difference::Difference;
pub use error::{Error, Failure};
pub use object_id::ObjectId;
pub use packed::pack;
pub use prune::orphans;
pub use settled::{difference, dynamic_difference, settled, status_difference, status_settled};
pub use writers::{Manner, Writer, writers};
