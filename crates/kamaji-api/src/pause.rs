//! Objects that are left alone for a while.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::labels;

/// An object is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause<'a> {
    /// Why, in the words of whoever asked for it.
    pub reason: Option<&'a str>,
    /// When it ends by itself, if it does.
    pub until: Option<Timestamp>,
}

impl<'a> Pause<'a> {
    /// What the annotations ask for now. An end that cannot be read is none: who asked to be left alone is left alone.
    pub fn of(annotations: &'a BTreeMap<String, String>, now: Timestamp) -> Option<Self> {
        annotations.get(labels::PAUSED)?;
        let until = annotations.get(labels::PAUSED_UNTIL).and_then(|text| text.parse().ok());
        let reason = annotations.get(labels::PAUSE_REASON).map(String::as_str);
        until.is_none_or(|until| now < until).then_some(Self { reason, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_ends_when_it_says_so_and_can_be_read() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let pause = |until: Option<&str>| {
            let mut annotations = BTreeMap::from([(labels::PAUSED.to_owned(), String::new())]);
            annotations.extend(until.map(|until| (labels::PAUSED_UNTIL.to_owned(), until.to_owned())));
            Pause::of(&annotations, now).map(|pause| pause.until)
        };
        assert_eq!(pause(None), Some(None));
        assert_eq!(pause(Some("next week")), Some(None));
        assert_eq!(pause(Some("2026-11-23T12:00:01Z")), Some("2026-11-23T12:00:01Z".parse().ok()));
        assert_eq!(pause(Some("2026-11-23T13:00:00+01:00")), None);
        let only_an_end =
            BTreeMap::from([(labels::PAUSED_UNTIL.to_owned(), "2027-01-01T00:00:00Z".to_owned())]);
        assert_eq!(Pause::of(&only_an_end, now), None);
    }
}
