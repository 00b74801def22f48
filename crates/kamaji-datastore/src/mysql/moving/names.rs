//! Names that kine's table in MySQL keeps, and tells from each other.

use std::collections::BTreeMap;

use mysql_async::Value;

use crate::migrate::place::Trouble;

/// The longest name in kine's table.
const LONGEST: usize = 630;

pub(super) fn all(names: &[Vec<u8>]) -> Vec<Value> {
    names.iter().map(|name| name.clone().into()).collect()
}

/// These names, of which the server takes no two that differ for one.
pub(super) fn names(names: impl Iterator<Item = Vec<u8>>) -> Result<Vec<Vec<u8>>, Trouble> {
    let mut seen = BTreeMap::new();
    let mut name = |name: Vec<u8>| {
        fit(&name)?;
        match seen.insert(name.to_ascii_lowercase(), name.clone()) {
            Some(other) if other != name => Err(twin(name)),
            _ => Ok(name),
        }
    };
    names.map(&mut name).collect()
}

pub(super) fn twin(key: Vec<u8>) -> Trouble {
    Trouble::Unfit {
        key,
        why: "kine's table in MySQL takes it for another key, which differs in its case alone",
    }
}

/// It is a name that kine's table keeps as it is.
fn fit(name: &[u8]) -> Result<(), Trouble> {
    let why = if !name.is_ascii() {
        "a name in kine's table in MySQL is ASCII"
    } else if name.len() > LONGEST {
        "a name in kine's table in MySQL has at most 630 bytes"
    } else if name.ends_with(b" ") {
        "kine's table in MySQL takes no notice of a space at the end of a name"
    } else {
        return Ok(());
    };
    Err(Trouble::Unfit { key: name.to_vec(), why })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_table_would_confuse_or_change_is_unfit() {
        assert!(fit(b"/registry/a\x7f\t$1;--").is_ok());
        for name in [&b"\xc3\xbc"[..], b"a ", &[b'x'; 631]] {
            assert!(matches!(fit(name), Err(Trouble::Unfit { .. })), "{name:?}");
        }
        let of = |all: &[&str]| names(all.iter().map(|name| name.as_bytes().to_vec()));
        assert!(matches!(of(&["a", "A"]), Err(Trouble::Unfit { .. })));
        assert_eq!(of(&["a", "b", "a"]).ok().map(|names| names.len()), Some(3));
    }
}
