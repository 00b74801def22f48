//! The cluster's name service, and a question to it.

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result};

use super::layout::DNS_SERVICE;
use crate::{kubectl::Kubectl, programs::Program};

/// Makes CoreDNS hand on what it does not know; without a name server to ask it would not even start.
pub(super) const FORWARD: &str = "forward . /etc/resolv.conf";

/// CoreDNS, with this line in its configuration, and the Service in front of it.
pub(super) fn manifest(forward: &str) -> String {
    let image = format!("registry.k8s.io/coredns/coredns:{}", Program::CoreDns.version());
    include_str!("coredns.yaml")
        .replace("@FORWARD@", forward)
        .replace("@IMAGE@", &image)
        .replace("@ADDRESS@", &DNS_SERVICE.to_string())
}

/// Asks the cluster's DNS for a name's address, as any program on the node would.
pub(super) fn resolve(name: &str) -> Option<Ipv4Addr> {
    let ask = || -> std::io::Result<Vec<u8>> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        socket.connect(SocketAddr::from((DNS_SERVICE, 53)))?;
        socket.send(&question(name))?;
        let mut answer = vec![0; 512];
        let length = socket.recv(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    };
    address_in(&ask().ok()?)
}

/// Whether CoreDNS is there as wanted.
pub(super) fn is_rolled_out(kubectl: &Kubectl) -> Result<bool> {
    let deployment =
        kubectl.get(&["deployment", "coredns", "--namespace=kube-system"]).context("looking at CoreDNS")?;
    let (status, generation) = (&deployment["status"], &deployment["metadata"]["generation"]);
    Ok(status["observedGeneration"] == *generation
        && status["updatedReplicas"] == status["replicas"]
        && status["readyReplicas"] == deployment["spec"]["replicas"])
}

/// A query for an IPv4 address (RFC 1035, section 4.1), recursion desired.
fn question(name: &str) -> Vec<u8> {
    let mut query = vec![0x4b, 0x4a, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        query.extend(u8::try_from(label.len()));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend_from_slice(&[0, 0, 1, 0, 1]);
    query
}

/// The first IPv4 address of an answer; `None` when it has none or is not well-formed.
fn address_in(answer: &[u8]) -> Option<Ipv4Addr> {
    const HEADER: usize = 12;
    let records = u16::from_be_bytes([*answer.get(6)?, *answer.get(7)?]);
    let mut at = after_name(answer, HEADER)? + 4;
    for _ in 0..records {
        let fixed = after_name(answer, at)?;
        let field = |offset: usize| {
            Some(u16::from_be_bytes([*answer.get(fixed + offset)?, *answer.get(fixed + offset + 1)?]))
        };
        let (kind, length) = (field(0)?, usize::from(field(8)?));
        let data = answer.get(fixed + 10..fixed + 10 + length)?;
        if kind == 1 {
            return <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from);
        }
        at = fixed + 10 + length;
    }
    None
}

/// Where the name that begins at `at` ends.
fn after_name(message: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *message.get(at)? {
            0 => return Some(at + 1),
            // A pointer to a name elsewhere takes two bytes and ends this one.
            length if length >= 0xc0 => return Some(at + 2),
            length => at += usize::from(length) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = question("kubernetes.default.svc.cluster.local");
        message[7] = u8::try_from(records.len()).unwrap();
        for (kind, data) in records {
            message.extend_from_slice(&[0xc0, 12]);
            message.extend_from_slice(&kind.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 5]);
            message.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }

    #[test]
    fn the_address_is_found_behind_other_records() {
        assert_eq!(address_in(&answer(&[(1, &[10, 96, 0, 1])])), Some(Ipv4Addr::new(10, 96, 0, 1)));
        assert_eq!(
            address_in(&answer(&[(5, &[1, b'a', 0]), (1, &[10, 96, 0, 7])])),
            Some(Ipv4Addr::new(10, 96, 0, 7))
        );
    }

    #[test]
    fn no_address_and_broken_answers_are_none() {
        assert_eq!(address_in(&answer(&[])), None);
        let whole = answer(&[(1, &[10, 96, 0, 1])]);
        for length in 0..whole.len() {
            assert_eq!(address_in(&whole[..length]), None, "cut after {length} bytes");
        }
    }

    #[test]
    fn the_manifest_has_no_gaps_left() {
        for forward in [FORWARD, ""] {
            let manifest = manifest(forward);
            assert!(!manifest.contains('@'), "{manifest}");
            assert!(manifest.contains(forward));
        }
    }
}
