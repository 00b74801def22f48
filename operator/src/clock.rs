//! The one place that reads the clock.

use jiff::Timestamp;

/// Now.
#[expect(clippy::disallowed_methods, reason = "everything else takes the time as an argument")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}
