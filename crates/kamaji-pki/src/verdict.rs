//! Whether a certificate may stay, as a list of questions. Clock in, reason out.

use std::fmt;

use jiff::{SignedDuration, Timestamp};

use crate::{
    authority::{Authority, BACKDATED},
    error::Error,
    leaf::{Certificate, Leaf, Pair},
};

/// Why a certificate cannot stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reissue {
    /// Somebody asked for it.
    Requested,
    /// There is none, or one half is empty.
    Missing,
    /// The certificate or the key cannot be read.
    Unreadable,
    /// The key belongs to another certificate.
    KeyMismatch,
    /// Another authority signed it, or nobody did.
    ForeignIssuer,
    /// It is made out to somebody else.
    SubjectDiffers,
    /// It may not be used for what it is needed for.
    UsageDiffers,
    /// It does not speak for the names that are needed.
    NamesDiffer,
    /// It begins in the future.
    NotYetValid,
    /// It ends soon, or has ended.
    NearExpiry,
}

/// What was found.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    /// The certificate as PEM.
    pub certificate: &'a [u8],
    /// The private key as PEM.
    pub key: &'a [u8],
    /// Whether somebody asked for a new one.
    pub requested: bool,
}

/// How close a held certificate must come to the one wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NamesPolicy {
    /// The same names, organisations and purpose, no more.
    #[default]
    Exactly,
    /// Everything wanted is there; what is there besides may stay. For certificates that somebody else
    /// issued.
    AtLeast,
}

/// What there should be.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The certificate to have.
    pub leaf: &'a Leaf,
    /// Who must have signed it.
    pub authority: &'a Certificate,
    /// How long before its end a certificate is renewed; no more than half of its life counts.
    pub renew_before: SignedDuration,
    /// What to make of a certificate that says more than `leaf`.
    pub names: NamesPolicy,
}

/// What [`renew`] came to.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The pair to use from now on.
    pub pair: Pair,
    /// Why it is a new one; `None` when the held one stays.
    pub reason: Option<Reissue>,
}

type Question = fn(&Certificate, &Wanted<'_>, Timestamp) -> Option<Reissue>;

/// Asked in this order, the first reason counts.
const QUESTIONS: &[Question] =
    &[issued_by_our_authority, subject_matches, usage_matches, names_covered, begun, far_from_expiry];

/// `None` means: keep it.
pub fn verdict(held: Option<&Held<'_>>, wanted: &Wanted<'_>, now: Timestamp) -> Option<Reissue> {
    judge(held, wanted, now).err()
}

/// The held pair if it may stay, else a new one and the reason.
///
/// # Errors
/// When a new one is needed and `authority` cannot issue it, or is not the one wanted.
pub fn renew(
    held: Option<&Held<'_>>,
    wanted: &Wanted<'_>,
    authority: &Authority,
    now: Timestamp,
) -> Result<Renewal, Error> {
    match judge(held, wanted, now) {
        Ok(pair) => Ok(Renewal { pair, reason: None }),
        Err(_) if authority.certificate() != wanted.authority => {
            Err(Error::WrongAuthority { common_name: wanted.leaf.common_name.clone() })
        }
        Err(reason) => Ok(Renewal { pair: authority.issue(wanted.leaf, now)?, reason: Some(reason) }),
    }
}

/// When `certificate` is due for renewal: `renew_before` its end, or at half of its life if that is later. It
/// lies in the past for one that its authority cannot outlive: such a certificate is kept.
pub fn deadline(certificate: &Certificate, renew_before: SignedDuration) -> Timestamp {
    let margin = renew_before.min(life(certificate) / 2).max(SignedDuration::ZERO);
    certificate.not_after().checked_sub(margin).unwrap_or(Timestamp::MIN)
}

/// For how long a certificate is of use. What lies before its issue is none: of one that lasts a few minutes it would
/// be the greater part, and half of its life over at once.
fn life(certificate: &Certificate) -> SignedDuration {
    let whole = certificate.not_before().duration_until(certificate.not_after());
    if whole > BACKDATED { whole - BACKDATED } else { whole }
}

fn judge(held: Option<&Held<'_>>, wanted: &Wanted<'_>, now: Timestamp) -> Result<Pair, Reissue> {
    let held = held.filter(|held| !held.is_empty()).ok_or(Reissue::Missing)?;
    if held.requested {
        return Err(Reissue::Requested);
    }
    let pair = Pair::from_pem(held.certificate, held.key).map_err(|error| match error {
        Error::KeyMismatch { .. } => Reissue::KeyMismatch,
        _ => Reissue::Unreadable,
    })?;
    match QUESTIONS.iter().find_map(|ask| ask(pair.certificate(), wanted, now)) {
        Some(reason) => Err(reason),
        None => Ok(pair),
    }
}

fn issued_by_our_authority(found: &Certificate, wanted: &Wanted<'_>, _: Timestamp) -> Option<Reissue> {
    (!found.is_issued_by(wanted.authority)).then_some(Reissue::ForeignIssuer)
}

fn subject_matches(found: &Certificate, wanted: &Wanted<'_>, _: Timestamp) -> Option<Reissue> {
    let held = found.organizations();
    let missing = wanted.leaf.organizations.iter().any(|organization| !held.contains(organization));
    let extra = held.iter().any(|organization| !wanted.leaf.organizations.contains(organization));
    let stranger = found.common_name() != wanted.leaf.common_name;
    (stranger || missing || (extra && wanted.names == NamesPolicy::Exactly))
        .then_some(Reissue::SubjectDiffers)
}

fn usage_matches(found: &Certificate, wanted: &Wanted<'_>, _: Timestamp) -> Option<Reissue> {
    let matches = match wanted.names {
        NamesPolicy::Exactly => found.serves_only(wanted.leaf.usage),
        NamesPolicy::AtLeast => found.serves(wanted.leaf.usage),
    };
    (!matches).then_some(Reissue::UsageDiffers)
}

fn names_covered(found: &Certificate, wanted: &Wanted<'_>, _: Timestamp) -> Option<Reissue> {
    let names = wanted.leaf.names.normalized();
    let matches = match wanted.names {
        NamesPolicy::Exactly => *found.names() == names,
        NamesPolicy::AtLeast => found.names().cover(&names),
    };
    (!matches).then_some(Reissue::NamesDiffer)
}

fn begun(found: &Certificate, _: &Wanted<'_>, now: Timestamp) -> Option<Reissue> {
    (now < found.not_before()).then_some(Reissue::NotYetValid)
}

fn far_from_expiry(found: &Certificate, wanted: &Wanted<'_>, now: Timestamp) -> Option<Reissue> {
    // A new certificate that ends no later gains nothing: without this, the last hours of an authority would
    // be one renewal after the other.
    let end =
        now.checked_add(wanted.leaf.valid_for).unwrap_or(Timestamp::MAX).min(wanted.authority.not_after());
    let due = now >= deadline(found, wanted.renew_before);
    (due && end > found.not_after()).then_some(Reissue::NearExpiry)
}

impl Reissue {
    /// The reason as one word, for Events, log fields and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "Requested",
            Self::Missing => "Missing",
            Self::Unreadable => "Unreadable",
            Self::KeyMismatch => "KeyMismatch",
            Self::ForeignIssuer => "ForeignIssuer",
            Self::SubjectDiffers => "SubjectDiffers",
            Self::UsageDiffers => "UsageDiffers",
            Self::NamesDiffer => "NamesDiffer",
            Self::NotYetValid => "NotYetValid",
            Self::NearExpiry => "NearExpiry",
        }
    }

    /// The reason as a sentence for people, to follow the name of the certificate.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Requested => "a new certificate was asked for",
            Self::Missing => "there was no certificate",
            Self::Unreadable => "the certificate or its private key could not be read",
            Self::KeyMismatch => "the private key did not belong to the certificate",
            Self::ForeignIssuer => "the certificate was not signed by the current certificate authority",
            Self::SubjectDiffers => "the certificate was made out to another user or other groups",
            Self::UsageDiffers => "the certificate was for another purpose",
            Self::NamesDiffer => "the names and addresses in the certificate were not those needed",
            Self::NotYetValid => "the certificate was not valid yet; if this comes again, compare the clocks",
            Self::NearExpiry => "the certificate was about to expire",
        }
    }
}

impl fmt::Display for Reissue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.sentence())
    }
}

impl Held<'_> {
    fn is_empty(&self) -> bool {
        self.certificate.is_empty() || self.key.is_empty()
    }
}

impl fmt::Debug for Held<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Held").field("requested", &self.requested).finish_non_exhaustive()
    }
}
