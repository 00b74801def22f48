//! Pods that the Go operator has made, and how long they stay as they are.
//!
//! Ours are made differently (fewer keys in each container, no rights that none of them needs), so placing our Deployment
//! over one of the Go operator's would restart every tenant of an installation at once. Instead the Pods stay as they are
//! for as long as nothing that they are made from changes, and ours replace them in one rollout when something does.
//!
//! # What is remembered
//! The label [`labels::TAKEN_OVER`] on the Deployment holds two checksums, taken at the moment of the take-over: of the Pods
//! that we would have made (without the image of kine), and of those that the Go operator had made. A label, because
//! an annotation would make a new generation of the Deployment. As long as both stay, so do the Pods. If ours would be
//! others now, then the spec, a certificate or an address has changed. If the Go operator's are others, then somebody has
//! edited them, or the Go operator was back in between, or the server fills in more than before; who wrote, and whether they
//! [agree](agreement) with ours, tells which.

mod agreement;
mod forecast;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{PodTemplateSpec, Secret};
use kamaji_api::v1alpha1::TenantControlPlane;
use kamaji_api::{Child, labels};
use kube::core::{DynamicObject, TypeMeta};
use serde_json::json;

use crate::{checksum, kine};

pub use forecast::{Forecast, Seen, forecast, read_by_pods};

/// Digits of a checksum in the record: two of them and a dot fit into a label's value.
const DIGITS: usize = 24;

/// Who has written the Pods' template, by the Deployment's `managedFields`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hands {
    /// The Go operator, and nobody else.
    Go,
    /// Somebody else too.
    Others,
    /// We too.
    Ours,
}

/// What the Go operator says of the tenant's newest spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It has carried it out.
    Done,
    /// It has not.
    Behind,
}

impl Progress {
    /// How far whoever writes the status has come with the newest spec.
    pub fn of(tcp: &TenantControlPlane) -> Self {
        let observed = tcp.status.as_ref().and_then(|status| status.observed_generation);
        if observed == tcp.metadata.generation { Self::Done } else { Self::Behind }
    }
}

/// What is decided upon.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The Deployment as it is.
    pub live: Option<&'a Deployment>,
    /// The Deployment as ours would be.
    pub desired: &'a Deployment,
    /// Who has written the Pods' template.
    pub hands: Hands,
    /// How far the Go operator has come.
    pub progress: Progress,
    /// The Secrets that the Pods read, as they are or will be in a moment.
    pub secrets: &'a BTreeMap<Child, &'a Secret>,
}

/// What becomes of the Deployment.
#[derive(Clone, Debug, PartialEq)]
pub enum Course {
    /// It is ours, or there is none: the desired one is placed.
    Place,
    /// The Go operator's Pods stay; this is said of everything else.
    Keep {
        /// What is applied.
        said: Box<DynamicObject>,
        /// Whether they have been taken over before.
        since: Since,
    },
    /// Ours replace the Go operator's, in one rollout, because of this.
    Replace(String),
}

/// When Pods were taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// They are taken over now.
    Now,
    /// They were before.
    Before,
}

/// What becomes of the Deployment now.
pub fn course(view: &View<'_>) -> Course {
    let Some(live) = view.live.filter(|live| is_made_by_go(live)) else { return Course::Place };
    let replace = |reason: &str| Course::Replace(reason.to_owned());
    if view.desired.spec.replicas == Some(0) {
        return replace("the tenant sleeps, so no Pod is restarted");
    }
    if view.hands == Hands::Ours {
        return replace("fields of ours are among those of the Go operator");
    }
    let now = Record::of(live, view.desired);
    let known = Record::read(live);
    let keep = |since| Course::Keep { said: Box::new(said(view.desired, &now)), since };
    match known {
        Some(known) if known == now => keep(Since::Before),
        Some(known) if known.theirs == now.theirs => {
            replace("something that the Pods are made from has changed")
        }
        Some(_) if view.hands == Hands::Others => replace("somebody has edited the Pods' template"),
        _ if view.progress == Progress::Behind => {
            replace("the Go operator has not carried out the newest spec")
        }
        _ => match agreement::disagreement(live, view) {
            Some(what) => Course::Replace(what),
            None => keep(Since::Now),
        },
    }
}

/// Told by the checksums on the Pods, which are of another length than ours.
pub fn is_made_by_go(deployment: &Deployment) -> bool {
    let label = format!("{}/{}", labels::COMPONENT_CHECKSUM_PREFIX, "ca");
    agreement::label(&deployment.spec.template, &label).is_some_and(checksum::is_of_go)
}

/// What the Pods would be like, and what they are like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    ours: String,
    theirs: String,
}

impl Record {
    fn of(live: &Deployment, desired: &Deployment) -> Self {
        let digits = |sum: &str| sum.chars().take(DIGITS).collect();
        Self {
            ours: digits(&kine::template_checksum(&desired.spec.template)),
            theirs: digits(&fingerprint(&live.spec.template)),
        }
    }

    fn read(live: &Deployment) -> Option<Self> {
        let text = live.metadata.labels.as_ref()?.get(labels::TAKEN_OVER)?;
        let (ours, theirs) = text.split_once('.')?;
        Some(Self { ours: ours.to_owned(), theirs: theirs.to_owned() })
    }

    fn text(&self) -> String {
        format!("{}.{}", self.ours, self.theirs)
    }
}

/// The checksum of a template but for annotations that are neither ours nor the Go operator's: `kubectl rollout restart`
/// sets one.
fn fingerprint(template: &PodTemplateSpec) -> String {
    let mut template = template.clone();
    if let Some(annotations) = template.metadata.as_mut().and_then(|metadata| metadata.annotations.as_mut()) {
        annotations
            .retain(|name, _| [labels::STORAGE_CONFIG, labels::STORAGE_CERTIFICATE].contains(&name.as_str()));
    }
    let text = serde_json::to_string(&template).expect("a template is made of texts and numbers");
    checksum::of_texts(&[("template".to_owned(), text)].into())
}

/// Everything that is said of a Deployment but its Pods' template.
fn said(desired: &Deployment, record: &Record) -> DynamicObject {
    let mut metadata = desired.metadata.clone();
    metadata.labels.get_or_insert_default().insert(labels::TAKEN_OVER.to_owned(), record.text());
    // It tells of Pods of ours, and an annotation makes a new generation.
    metadata.annotations = metadata.annotations.map(|mut annotations| {
        annotations.remove(kine::TEMPLATE);
        annotations
    });
    metadata.annotations = metadata.annotations.filter(|annotations| !annotations.is_empty());
    DynamicObject {
        types: Some(TypeMeta { api_version: "apps/v1".to_owned(), kind: "Deployment".to_owned() }),
        metadata,
        data: json!({ "spec": { "replicas": desired.spec.replicas, "strategy": desired.spec.strategy } }),
    }
}
