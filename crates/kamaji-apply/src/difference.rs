//! Where two objects differ, without saying what stands there.

use std::fmt;

/// Why an apply would change something: the first field that is not as it should be.
///
/// Holds names of fields and never their values, so it may be logged for Secrets as well. Written as
/// `spec.template.spec.containers[server].args: the value differs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The way from the field up to the root: deepest first.
    steps: Vec<Step>,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Item(String),
}

pub(crate) const NEVER_APPLIED: &str = "this manager never applied it in this version";
pub(crate) const NOT_OWNED: &str = "it belongs to somebody else";
pub(crate) const NOT_SAID: &str = "it is ours and no longer wanted";
pub(crate) const VALUE: &str = "the value differs";
pub(crate) const ORDER: &str = "the order or number of items differs";
pub(crate) const OTHER_OBJECT: &str = "it is another object, or another version of it";
pub(crate) const UNKNOWN: &str = "it cannot be compared";

impl Difference {
    pub(crate) fn new(reason: &'static str) -> Self {
        Self { steps: Vec::new(), reason }
    }

    pub(crate) fn in_field(mut self, field: &str) -> Self {
        self.steps.push(Step::Field(field.to_owned()));
        self
    }

    pub(crate) fn in_item(mut self, item: String) -> Self {
        self.steps.push(Step::Item(item));
        self
    }

    /// Why the field is not as it should be: one of a fixed set of phrases.
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.steps.iter().rev().enumerate() {
            match step {
                Step::Field(name) if position == 0 => write!(f, "{name}")?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Item(name) => write!(f, "[{name}]")?,
            }
        }
        let colon = if self.steps.is_empty() { "" } else { ": " };
        write!(f, "{colon}{}", self.reason)
    }
}
