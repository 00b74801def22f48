//! Moving a tenant's data from one DataStore to another: what comes next, and the Job that copies.
//!
//! The copying, the fence and the switch are `kamaji_datastore`'s, which keeps its own state in the two stores. The status
//! keeps only what the stores cannot tell: where the tenant wants to go, under which token, and whether that was given up.

mod course;
mod errand;
mod job;
mod trouble;

pub use self::course::{Attempt, Course, Given, Hint, Move, Retired, course, next};
pub use self::errand::Errand;
pub use self::job::{COMPONENT, Cleanup, Migration, name};
pub use self::trouble::Trouble;
