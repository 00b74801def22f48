//! What is copied, the same for every kind of datastore.

use std::cmp::Ordering;

/// What one datastore holds of a tenant's data under one key, or one row of its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The revision that made it: etcd's `mod_revision`, kine's `id`. 0 where the target gives a new one.
    pub(crate) id: i64,
    /// What follows the prefix, or a row's whole name.
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
    /// In how many seconds it expires; nothing if never. kine counts them anew whenever it starts.
    pub(crate) ttl: Option<i64>,
    /// The rest of a row of kine's.
    pub(crate) row: Option<Row>,
}

/// Columns of kine's table that only its kin have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) created: Option<i64>,
    pub(crate) deleted: Option<i64>,
    pub(crate) create_revision: Option<i64>,
    pub(crate) prev_revision: Option<i64>,
    pub(crate) old_value: Option<Vec<u8>>,
}

/// What is copied from one kind of datastore to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// kine's whole table, history and revisions included, row by row in the order of ids.
    Rows,
    /// What is there now, in the order of keys, under new revisions.
    Live,
}

/// Where a page begins: after this record, or at the beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct After {
    pub(crate) id: i64,
    pub(crate) key: Vec<u8>,
}

impl Record {
    /// How much room it takes, in bytes, about.
    pub(crate) fn size(&self) -> usize {
        let old = self.row.as_ref().and_then(|row| row.old_value.as_ref()).map_or(0, Vec::len);
        self.key.len() + self.value.as_ref().map_or(0, Vec::len) + old
    }

    pub(crate) fn after(&self) -> After {
        After { id: self.id, key: self.key.clone() }
    }

    /// Which of two comes first.
    pub(crate) fn order(&self, other: &Self, shape: Shape) -> Ordering {
        match shape {
            Shape::Rows => self.id.cmp(&other.id),
            Shape::Live => self.key.cmp(&other.key),
        }
    }

    /// Whether a copy needs no change. Of what expires only that it does is compared: the clocks go on.
    pub(crate) fn equals(&self, copy: &Self, shape: Shape) -> bool {
        match shape {
            Shape::Rows => self == copy,
            Shape::Live => {
                let same = self.key == copy.key && self.ttl.is_some() == copy.ttl.is_some();
                same && self.value.as_deref().unwrap_or_default() == copy.value.as_deref().unwrap_or_default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_live_copy_keeps_key_value_and_whether_it_expires() {
        let record =
            Record { id: 7, key: b"a".to_vec(), value: Some(b"v".to_vec()), ttl: Some(9), row: None };
        let copy = Record { id: 90, ttl: Some(3), ..record.clone() };
        assert!(record.equals(&copy, Shape::Live) && !record.equals(&copy, Shape::Rows));
        assert!(!record.equals(&Record { ttl: None, ..copy.clone() }, Shape::Live));
        assert!(!record.equals(&Record { value: Some(b"w".to_vec()), ..copy.clone() }, Shape::Live));
        assert_eq!(record.order(&copy, Shape::Live), Ordering::Equal);
        assert_eq!(record.order(&copy, Shape::Rows), Ordering::Less);
    }
}
