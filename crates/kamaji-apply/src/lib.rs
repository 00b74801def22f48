//! The one writer to a Kubernetes API: apply, prune, status, adopt.

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
mod prune;
mod quantity;
mod same;
mod settled;
mod status;

pub use adopt::adoption;
pub use cluster::{Applied, Cluster};
pub use create::Created;
pub use delete::Deleted;
pub use difference::Difference;
pub use error::{Error, Failure};
pub use object_id::ObjectId;
pub use prune::orphans;
pub use settled::{difference, settled, status_difference, status_settled};
