//! The certificates of a server that a test starts.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use anyhow::Result;
use jiff::SignedDuration;
use kamaji_pki::{Authority, Leaf, Names, Usage};

use crate::etcd::{client_leaf, now};

/// What certificate the server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A sound one.
    Sound,
    /// One that ended an hour ago.
    Expired,
}

/// The files `ca.crt`, `server.crt` and `server.key` for a server of this name, which listens on the loopback.
pub(crate) fn write(folder: &Path, authority: &Authority, name: &str, shown: Shown) -> Result<()> {
    let names = Names {
        dns: BTreeSet::from(["localhost".to_owned()]),
        ips: BTreeSet::from([IpAddr::V4(Ipv4Addr::LOCALHOST)]),
    };
    let leaf = Leaf { usage: Usage::Server, names, ..client_leaf(name) };
    let server = match shown {
        Shown::Sound => authority.issue(&leaf, now())?,
        Shown::Expired => {
            let hour = SignedDuration::from_hours(1);
            authority.issue(&Leaf { valid_for: hour, ..leaf }, now() - hour - hour)?
        }
    };
    fs::write(folder.join("ca.crt"), authority.certificate().pem())?;
    fs::write(folder.join("server.crt"), server.certificate().pem())?;
    fs::write(folder.join("server.key"), server.key().pem())?;
    Ok(())
}
