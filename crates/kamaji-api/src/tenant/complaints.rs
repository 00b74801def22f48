use std::fmt::{Display, Formatter};

/// One thing that is wrong with a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Path of the field, for example `spec.kubernetes.version`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Everything that is wrong with a spec.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaints(Vec<Complaint>);

impl Complaints {
    /// Adds one.
    pub fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push(Complaint { field: field.into(), problem: problem.into() });
    }

    /// The value, or a complaint about the field it came from.
    pub fn take<T>(&mut self, field: &str, read: Result<T, String>) -> Option<T> {
        read.map_err(|problem| self.add(field, problem)).ok()
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The complaints, in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Complaint> {
        self.0.iter()
    }
}

impl Display for Complaints {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
        for (index, Complaint { field, problem }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(formatter, "{separator}{field}: {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Complaints {}
