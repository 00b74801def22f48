//! What an anchor's Secret holds in each stage.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kamaji_api::{Child, TenantId};
use kamaji_pki::{Authority, Certificate, PrivateKey};

use super::{STAGE, Stage, short};
use crate::secret::{self, value};
use crate::{Error, anchors, checksum};

const CROSS: &str = "cross.crt";
const OTHER_KEY: &str = "other.key";

type Data = BTreeMap<String, ByteString>;

/// What the parts of an anchor are called in its Secret.
struct Names {
    public: &'static str,
    key: &'static str,
    other: &'static str,
    trusted: &'static str,
    /// Under which names the Cluster API provider copies public part and key.
    copies: &'static [(&'static str, &'static str)],
}

const fn names(child: Child) -> Names {
    let (other, trusted) = match child {
        Child::ServiceAccountKey => ("other.pub", "trusted.pub"),
        _ => ("other.crt", "trusted.crt"),
    };
    let (public, key): (&str, &str) = match child {
        Child::FrontProxyCa => ("front-proxy-ca.crt", "front-proxy-ca.key"),
        Child::ServiceAccountKey => ("sa.pub", "sa.key"),
        _ => ("ca.crt", "ca.key"),
    };
    let copies: &[(&str, &str)] = match child {
        Child::Ca => &[("tls.crt", "ca.crt"), ("tls.key", "ca.key")],
        _ => &[],
    };
    Names { public, key, other, trusted, copies }
}

/// Two anchors that are trusted side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Overlap {
    /// Both, in PEM.
    pub(crate) trusted: String,
    /// What stands behind a certificate, so that those believe it who know only the other one.
    pub(crate) chain: String,
}

/// What is beside the anchor in this Secret.
pub(crate) fn overlap(child: Child, secret: &Secret) -> Option<Overlap> {
    let text = |key| String::from_utf8_lossy(value(secret, key).unwrap_or_default()).into_owned();
    Stage::of(secret).overlaps().then(|| Overlap { trusted: text(names(child).trusted), chain: text(CROSS) })
}

/// The checksum of what Pods read. Of what is left from a rotation they read nothing.
pub(crate) fn read_checksum(child: Child, secret: &Secret) -> String {
    if Stage::of(secret) != Stage::Dropped {
        return checksum::of_secret(secret);
    }
    let mut data = secret.data.clone().unwrap_or_default();
    data.retain(|key, _| key != STAGE && key != names(child).trusted);
    checksum::of_data(&data)
}

/// The first digits of the fingerprint of the anchor that does not sign.
pub fn other_fingerprint(child: Child, secret: &Secret) -> Option<String> {
    let names = names(child);
    let fingerprint = match child {
        Child::ServiceAccountKey => PrivateKey::from_pem(value(secret, OTHER_KEY)?).ok()?.fingerprint(),
        _ => Certificate::from_pem(value(secret, names.other)?).ok()?.fingerprint(),
    };
    Some(short(&fingerprint))
}

/// Whether the authority that does not sign, or is about to be replaced, has ended.
pub fn is_over(child: Child, secret: &Secret, now: Timestamp) -> bool {
    let names = names(child);
    let old = if Stage::of(secret) == Stage::Reissued { names.other } else { names.public };
    let read = value(secret, old).and_then(|pem| Certificate::from_pem(pem).ok());
    child != Child::ServiceAccountKey && read.is_some_and(|old| old.not_after() <= now)
}

/// The anchor's Secret as it is in this stage, made from what is `held`. A new anchor is made for [`Stage::TrustingBoth`].
pub fn changed(
    tenant: &TenantId,
    child: Child,
    held: &Secret,
    to: Stage,
    now: Timestamp,
) -> Result<Secret, Error> {
    let mut data = held.data.clone().unwrap_or_default();
    let names = names(child);
    match to {
        Stage::TrustingBoth => {
            let made = anchors::create(tenant, child, now)?.data.unwrap_or_default();
            copy(&made, names.public, &mut data, names.other);
            copy(&made, names.key, &mut data, OTHER_KEY);
        }
        Stage::Reissued | Stage::TakenBack => exchange(child, &mut data, now)?,
        Stage::Dropped | Stage::Settled => {
            for key in [names.other, OTHER_KEY, CROSS] {
                data.remove(key);
            }
        }
    }
    if to == Stage::Settled {
        data.remove(names.trusted);
        data.remove(STAGE);
    } else {
        data.insert(names.trusted.into(), joined(&data, [names.public, names.other]));
        data.insert(STAGE.into(), ByteString(to.as_str().into()));
    }
    for (copied, original) in names.copies {
        let whole = data.clone();
        copy(&whole, original, &mut data, copied);
    }
    Ok(secret::with_data(tenant, child, data, held.type_.clone()))
}

fn copy(from: &Data, key: &str, to: &mut Data, name: &str) {
    if let Some(bytes) = from.get(key) {
        to.insert(name.to_owned(), bytes.clone());
    }
}

/// What did not sign signs, and the other vouches for it.
fn exchange(child: Child, data: &mut Data, now: Timestamp) -> Result<(), Error> {
    let names = names(child);
    for (one, other) in [(names.public, names.other), (names.key, OTHER_KEY)] {
        let (first, second) = (data.remove(one), data.remove(other));
        data.extend(first.map(|bytes| (other.to_owned(), bytes)));
        data.extend(second.map(|bytes| (one.to_owned(), bytes)));
    }
    data.remove(CROSS);
    if child == Child::ServiceAccountKey {
        return Ok(());
    }
    let pem = |key: &str| data.get(key).map(|bytes| bytes.0.as_slice()).unwrap_or_default();
    let failed = |source| Error::Issue { child, source };
    let signer = Certificate::from_pem(pem(names.public)).map_err(failed)?;
    let other = Authority::from_pem(pem(names.other), pem(OTHER_KEY)).map_err(failed)?;
    // Nobody believes an authority that has ended, whatever it vouches for.
    if other.certificate().not_after() > now {
        let cross = other.vouch(&signer, now).map_err(failed)?;
        data.insert(CROSS.into(), ByteString(cross.pem().into()));
    }
    Ok(())
}

/// Each on lines of its own.
fn joined(data: &Data, keys: [&str; 2]) -> ByteString {
    let mut all = Vec::new();
    for bytes in keys.into_iter().filter_map(|key| data.get(key)) {
        all.extend_from_slice(&bytes.0);
        if !bytes.0.ends_with(b"\n") {
            all.push(b'\n');
        }
    }
    ByteString(all)
}
