//! Both sides are read at once in the same order, and what differs is written, or counted.
//!
//! Memory is bounded by one page of each side and one batch. Where it is cut off does not matter: the next one reads
//! what there is and goes on. Every few seconds the target's mark tells how far it is.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::error;
use crate::migrate::error::Side;
use crate::migrate::mark::{Amount, Mark};
use crate::migrate::place::{Batch, Edits, Trouble, Version};
use crate::migrate::record::{After, Record, Shape};
use crate::migrate::sides::Sided;

/// How often the target's mark tells how far it is.
const NEWS: Duration = Duration::from_secs(3);

/// What is done about a difference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The target is changed, as long as its mark is the one that was left there last.
    Write,
    /// It is counted.
    Count,
}

/// The target's mark, which tells how far it is as long as nobody else has changed it.
pub(crate) struct Marker<'a> {
    target: &'a Sided,
    mark: Mark,
    version: Version,
    told: Instant,
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Of the source.
    pub(crate) records: u64,
    /// Of the source.
    pub(crate) bytes: u64,
    pub(crate) differences: u64,
}

/// One side, read page by page.
struct Pages<'a> {
    side: &'a Sided,
    shape: Shape,
    queue: VecDeque<Record>,
    after: After,
    is_at_end: bool,
}

/// A trouble, and whose it is.
pub(crate) type Told = (Side, Trouble);

impl<'a> Pages<'a> {
    fn new(side: &'a Sided, shape: Shape) -> Self {
        Self { side, shape, queue: VecDeque::new(), after: After::default(), is_at_end: false }
    }

    async fn fill(&mut self) -> Result<(), Told> {
        if !self.queue.is_empty() || self.is_at_end {
            return Ok(());
        }
        let page = self.side.place.page(self.shape, &self.after).await;
        let page = page.map_err(|trouble| (self.side.side, trouble))?;
        match page.last() {
            Some(last) => self.after = last.after(),
            None => self.is_at_end = true,
        }
        self.queue = page.into();
        Ok(())
    }
}

impl<'a> Marker<'a> {
    /// The target bears this mark now, if it bore the one of this version.
    pub(crate) async fn put(target: &'a Sided, version: &Version, mark: Mark) -> Result<Self, Told> {
        let put = target.place.mark(version, Some(&mark)).await;
        let version = put.map_err(|trouble| (target.side, trouble))?;
        Ok(Self { target, mark, version, told: Instant::now() })
    }

    /// It bears this one instead.
    pub(crate) async fn replace(self, mark: Mark) -> Result<(), Told> {
        Self::put(self.target, &self.version, mark).await.map(drop)
    }

    async fn tell(&mut self, tally: Tally) -> Result<(), Told> {
        if self.told.elapsed() < NEWS {
            return Ok(());
        }
        let mark = self.mark.renewed().map_err(|error: error::Error| (self.target.side, error.into()))?;
        let mark = Mark { read: Some(tally.amount()), ..mark };
        *self = Self::put(self.target, &self.version, mark).await?;
        Ok(())
    }
}

/// The target equals the source, or the differences are counted. `watch` is told of every page of the source.
pub(crate) async fn reconcile(
    (source, marker): (&Sided, &mut Marker<'_>),
    shape: Shape,
    mode: Mode,
    watch: &mut (dyn FnMut(Tally) + Send),
) -> Result<Tally, Told> {
    let target = marker.target;
    let (mut theirs, mut ours) = (Pages::new(source, shape), Pages::new(target, shape));
    let (mut tally, mut edits) = (Tally::default(), Edits::default());
    loop {
        if theirs.queue.is_empty() {
            watch(tally);
            marker.tell(tally).await?;
        }
        tokio::try_join!(theirs.fill(), ours.fill())?;
        let next = match (theirs.queue.front(), ours.queue.front()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(theirs), Some(ours)) => theirs.order(ours, shape),
        };
        let record = if next == Ordering::Greater { None } else { theirs.queue.pop_front() };
        let copy = if next == Ordering::Less { None } else { ours.queue.pop_front() };
        tally.see(record.as_ref());
        if shape == Shape::Live && source.prefix != target.prefix {
            record.as_ref().map_or(Ok(()), is_free_of_its_key).map_err(|trouble| (source.side, trouble))?;
        }
        let Some(edit) = Edit::between(record, copy, shape) else { continue };
        match mode {
            Mode::Write => {
                if edits.overflows(&edit, target.place.batch()) {
                    flush(marker, shape, &mut edits).await?;
                }
                tally.differences += 1;
                edits.add(edit);
            }
            Mode::Count => tally.differences += u64::from(!edit.is_expiry()),
        }
    }
    flush(marker, shape, &mut edits).await?;
    watch(tally);
    Ok(tally)
}

async fn flush(marker: &Marker<'_>, shape: Shape, edits: &mut Edits) -> Result<(), Told> {
    let edits = std::mem::take(edits);
    if edits.len() == 0 {
        return Ok(());
    }
    let Marker { target, version, .. } = marker;
    target.place.write(shape, version, &edits).await.map_err(|trouble| (target.side, trouble))
}

/// A value that is encrypted at rest in one of these ways can be read at its own key only.
/// Source: `value.Context` in `k8s.io/apiserver`, which the key is the authenticated data of.
const BOUND: [&[u8]; 2] = [b"k8s:enc:aesgcm:", b"k8s:enc:kms:"];

fn is_free_of_its_key(record: &Record) -> Result<(), Trouble> {
    let value = record.value.as_deref().unwrap_or_default();
    if !BOUND.iter().any(|beginning| value.starts_with(beginning)) {
        return Ok(());
    }
    let why = "its value is encrypted at rest in a way that binds it to its key, which would change";
    Err(Trouble::Unfit { key: record.key.clone(), why })
}

/// What makes one record of the target like the source's.
enum Edit {
    Put(Record),
    Delete(Record),
}

impl Edit {
    fn between(record: Option<Record>, copy: Option<Record>, shape: Shape) -> Option<Self> {
        match (record, copy) {
            (Some(record), Some(copy)) if record.equals(&copy, shape) => None,
            (Some(record), _) => Some(Self::Put(record)),
            (None, Some(copy)) => Some(Self::Delete(copy)),
            (None, None) => None,
        }
    }

    /// Whether it is only that time goes on: the source's has expired, and the copy is about to.
    fn is_expiry(&self) -> bool {
        matches!(self, Self::Delete(copy) if copy.ttl.is_some() && copy.row.is_none())
    }

    fn size(&self) -> usize {
        match self {
            Self::Put(record) => record.size(),
            Self::Delete(copy) => copy.key.len(),
        }
    }
}

impl Tally {
    pub(crate) fn amount(&self) -> Amount {
        Amount { records: self.records, bytes: self.bytes }
    }

    fn see(&mut self, record: Option<&Record>) {
        if let Some(record) = record {
            self.records += 1;
            self.bytes += record.size() as u64;
        }
    }
}

impl Edits {
    fn overflows(&self, edit: &Edit, batch: Batch) -> bool {
        self.len() > 0 && (self.len() == batch.records || self.bytes + edit.size() > batch.bytes)
    }

    fn add(&mut self, edit: Edit) {
        self.bytes += edit.size();
        match edit {
            Edit::Put(record) => self.puts.push(record),
            Edit::Delete(copy) => self.deletes.push(copy.after()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, ttl: Option<i64>) -> Record {
        Record { key: key.into(), value: Some(vec![7; 10]), ttl, ..Record::default() }
    }

    #[test]
    fn only_what_differs_is_edited() {
        let (a, b) = (record("a", None), record("a", Some(9)));
        let between = |record: &Record, copy: Option<&Record>| {
            Edit::between(Some(record.clone()), copy.cloned(), Shape::Live)
        };
        assert!(between(&a, Some(&a)).is_none());
        assert!(matches!(between(&a, Some(&b)), Some(Edit::Put(put)) if put == a));
        assert!(matches!(between(&a, None), Some(Edit::Put(put)) if put == a));
        assert!(
            matches!(Edit::between(None, Some(b.clone()), Shape::Live), Some(Edit::Delete(gone)) if gone == b)
        );
    }

    #[test]
    fn only_a_copy_that_expires_may_be_left_over() {
        assert!(Edit::Delete(record("a", Some(1))).is_expiry());
        assert!(!Edit::Delete(record("a", None)).is_expiry() && !Edit::Put(record("a", Some(1))).is_expiry());
    }

    #[test]
    fn what_is_bound_to_its_key_cannot_change_it() {
        let of = |value: &[u8]| Record { value: Some(value.to_vec()), ..record("secrets/a/b", None) };
        for value in [b"k8s:enc:aesgcm:v1:key1:\xff".as_slice(), b"k8s:enc:kms:v2:x:"] {
            assert!(is_free_of_its_key(&of(value)).is_err());
        }
        for value in [b"k8s\0\n".as_slice(), b"k8s:enc:aescbc:v1:key1:", b"k8s:enc:secretbox:v1:", b""] {
            assert!(is_free_of_its_key(&of(value)).is_ok());
        }
    }

    #[test]
    fn a_batch_is_bounded_and_takes_at_least_one() {
        let batch = Batch { records: 2, bytes: 25 };
        let mut edits = Edits::default();
        assert!(!edits.overflows(&Edit::Put(record("a", None)), Batch { records: 2, bytes: 1 }));
        edits.add(Edit::Put(record("a", None)));
        assert!(!edits.overflows(&Edit::Put(record("b", None)), batch));
        assert!(edits.overflows(&Edit::Put(record("b", None)), Batch { bytes: 21, ..batch }));
        edits.add(Edit::Delete(record("b", None)));
        assert!(edits.overflows(&Edit::Delete(record("c", None)), batch));
    }
}
