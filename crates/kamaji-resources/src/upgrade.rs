//! Upgrades: what runs, whether the spec may take over from it, and what must be asked before it does.
//!
//! Kubernetes' version skew policy is the source of the rules: <https://kubernetes.io/releases/version-skew-policy/>. What it
//! means that new programs keep the behaviour of an earlier minor version is told by KEP-4330.

pub mod files;
pub mod preflight;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kamaji_api::Tenant;
use kamaji_api::tenant::KubeVersion;

use crate::conditions::Finding;
use crate::deployment::args;
use crate::memory::Memory;

pub use self::preflight::{Report, Seen};

/// Flag under which the programs are told whose behaviour they keep.
pub(crate) const EMULATION: &str = "emulated-version";

/// What a tenant's Pods are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Version of the programs.
    pub version: KubeVersion,
    /// Version of an earlier minor whose behaviour they keep.
    pub emulated: Option<KubeVersion>,
}

impl Running {
    /// Reads it off the Deployment, which may still be on its way, else off the status; nothing of a tenant that never ran.
    pub fn of(tenant: &Tenant, memory: &Memory, deployment: Option<&Deployment>) -> Option<Self> {
        let installed = KubeVersion::parse(memory.installed.as_deref()?).ok()?;
        let emulated = memory.emulated.as_deref().and_then(|text| KubeVersion::parse(text).ok());
        let Some((tag, arguments)) = deployment.and_then(api_server) else {
            return Some(Self { version: installed, emulated });
        };
        let bare = tag.strip_suffix(&tenant.deployment.registry_settings.tag_suffix).unwrap_or(tag);
        let minor = args::values(arguments, EMULATION).pop().and_then(minor_of);
        let emulated = minor.map(|minor| emulated_as(minor, emulated, tenant, &installed));
        Some(Self { version: KubeVersion::parse(bare).unwrap_or(installed), emulated: emulated.flatten() })
    }

    /// What the spec asks for.
    pub fn wanted(tenant: &Tenant) -> Self {
        Self { version: tenant.version.clone(), emulated: tenant.emulated.clone() }
    }

    /// The version that clients and nodes meet.
    pub fn offered(&self) -> &KubeVersion {
        self.emulated.as_ref().unwrap_or(&self.version)
    }

    fn is_what(&self, tenant: &Tenant) -> bool {
        self.version == tenant.version
            && self.emulated.as_ref().map(KubeVersion::minor)
                == tenant.emulated.as_ref().map(KubeVersion::minor)
    }
}

/// Tag of the image and arguments of the API server.
fn api_server(deployment: &Deployment) -> Option<(&str, &[String])> {
    let pod = deployment.spec.template.spec.as_ref()?;
    let container = pod.containers.iter().find(|container| container.name == "kube-apiserver")?;
    let (_, tag) = container.image.as_deref()?.rsplit_once(':')?;
    Some((tag, container.args.as_deref().unwrap_or_default()))
}

/// The minor version in `1.34` or `kube=1.34`.
fn minor_of(value: &str) -> Option<u64> {
    value.trim_start_matches("kube=").strip_prefix("1.")?.parse().ok()
}

/// The flag tells the minor version alone; the rest is in the status, in the spec, or is what ran before.
fn emulated_as(
    minor: u64,
    known: Option<KubeVersion>,
    tenant: &Tenant,
    installed: &KubeVersion,
) -> Option<KubeVersion> {
    let candidates = [known, tenant.emulated.clone(), Some(installed.clone())];
    let of_this_minor = candidates.into_iter().flatten().find(|version| version.minor() == minor);
    of_this_minor.or_else(|| KubeVersion::parse(&format!("v1.{minor}.0")).ok())
}

/// What the spec asks for, seen from what runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// What runs already, or back to what was offered all the time: nothing needs to be asked.
    Free,
    /// Clients and nodes will meet a later version: to be examined first.
    Up,
    /// The new programs are tried out, and clients meet what they met before: to be examined first.
    Trial,
    /// Not possible.
    Refused(Refusal),
}

/// Why a change of the version is not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One of a closed set.
    pub reason: &'static str,
    /// What is asked for, what runs, and what to ask for instead.
    pub message: String,
}

/// How the tenant gets from what runs to what its spec asks for.
pub fn step(running: Option<&Running>, tenant: &Tenant) -> Step {
    let Some(running) = running.filter(|running| !running.is_what(tenant)) else { return Step::Free };
    if let Some(refusal) = refusal(running, tenant) {
        return Step::Refused(refusal);
    }
    if tenant.offered() > running.offered() {
        Step::Up
    } else if tenant.version > running.version {
        Step::Trial
    } else {
        Step::Free
    }
}

fn refusal(running: &Running, tenant: &Tenant) -> Option<Refusal> {
    let (wanted, version) = (&tenant.version, &running.version);
    let next = version.minor() + 1;
    if wanted.minor() > next {
        return Some(Refusal {
            reason: "VersionSkipped",
            message: format!(
                "{wanted} is more than one minor version above {version}, which runs: set spec.kubernetes.version to a release of v1.{next} first"
            ),
        });
    }
    if wanted.minor() < running.offered().minor() {
        return Some(Refusal {
            reason: "VersionGoesBack",
            message: format!(
                "{wanted} is older than {}, and what that wrote is unknown to it: set spec.kubernetes.version to a release of v1.{} or later",
                running.offered(),
                running.offered().minor()
            ),
        });
    }
    let emulated = tenant.emulated.as_ref()?;
    (emulated.minor() < running.offered().minor()).then(|| Refusal {
        reason: "AlreadyCommitted",
        message: format!(
            "the tenant has worked as {} already, so the behaviour of {emulated} cannot be kept any more: remove spec.kubernetes.emulatedVersion",
            running.offered()
        ),
    })
}

/// How an upgrade that may go on goes; nothing of a tenant that never was upgraded.
pub fn progress(memory: &Memory, tenant: &Tenant, known: Option<&Condition>) -> Option<Finding> {
    let installed = memory.installed.as_deref()?;
    let (wanted, emulated) = (tenant.version.to_string(), tenant.emulated.as_ref().map(ToString::to_string));
    if installed != wanted || memory.emulated != emulated {
        return Some(Finding::fails("Upgrading", format!("Pods of {wanted} replace those of {installed}")));
    }
    match emulated {
        Some(emulated) => Some(Finding::holds(
            "TriedOut",
            format!(
                "{wanted} runs and behaves like {emulated}: remove spec.kubernetes.emulatedVersion to complete the upgrade, or set spec.kubernetes.version to {emulated} to take it back"
            ),
        )),
        None => known.map(|_| Finding::holds("Settled", format!("{wanted} runs"))),
    }
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant::fixtures;
    use serde_json::json;

    use super::*;

    fn version(text: &str) -> KubeVersion {
        KubeVersion::parse(text).unwrap()
    }

    fn running(text: &str, emulated: Option<&str>) -> Running {
        Running { version: version(text), emulated: emulated.map(version) }
    }

    fn wanted(text: &str, emulated: Option<&str>) -> Tenant {
        fixtures::tenant().at(version(text), emulated.map(version))
    }

    fn reason(step: Step) -> &'static str {
        match step {
            Step::Free => "free",
            Step::Up => "up",
            Step::Trial => "trial",
            Step::Refused(refusal) => refusal.reason,
        }
    }

    #[test]
    fn each_step_is_free_examined_or_refused() {
        let now = Some("v1.34.4");
        let table = [
            (("v1.34.4", None), ("v1.34.4", None), "free"),
            (("v1.34.4", None), ("v1.34.5", None), "up"),
            (("v1.34.4", None), ("v1.34.1", None), "free"),
            (("v1.34.4", None), ("v1.35.4", None), "up"),
            (("v1.34.4", None), ("v1.36.0", None), "VersionSkipped"),
            (("v1.34.4", None), ("v1.33.9", None), "VersionGoesBack"),
            // Tried out, taken back, tried out with a later patch, committed.
            (("v1.34.4", None), ("v1.35.4", now), "trial"),
            (("v1.35.4", now), ("v1.34.4", None), "free"),
            (("v1.35.4", now), ("v1.35.5", now), "trial"),
            (("v1.35.4", now), ("v1.35.4", None), "up"),
            (("v1.35.4", now), ("v1.33.4", None), "VersionGoesBack"),
            (("v1.35.4", None), ("v1.35.4", now), "AlreadyCommitted"),
            (("v1.35.4", None), ("v1.34.4", None), "VersionGoesBack"),
        ];
        for (from, to, expected) in table {
            let step = step(Some(&running(from.0, from.1)), &wanted(to.0, to.1));
            assert_eq!(reason(step), expected, "{from:?} to {to:?}");
        }
        assert_eq!(step(None, &wanted("v1.36.0", None)), Step::Free);
    }

    fn deployment(image: &str, arguments: &[&str]) -> Deployment {
        serde_json::from_value(json!({ "spec": { "selector": {}, "template": { "spec": { "containers": [
            { "name": "kube-apiserver", "image": image, "args": arguments },
        ] } } } }))
        .unwrap()
    }

    #[test]
    fn what_runs_is_read_off_the_deployment_before_the_status() {
        let status =
            serde_json::from_value(json!({ "kubernetesResources": { "version": { "version": "v1.34.4" } } }));
        let memory = Memory::of(Some(&status.unwrap()));
        let seen = |deployment: &Deployment| Running::of(&fixtures::tenant(), &memory, Some(deployment));
        let plain = deployment("registry:5000/kube-apiserver:v1.35.4", &["--a=b"]);
        assert_eq!(seen(&plain), Some(running("v1.35.4", None)));
        let trial = deployment("kube-apiserver:v1.35.4", &["--emulated-version=1.34"]);
        assert_eq!(seen(&trial), Some(running("v1.35.4", Some("v1.34.4"))));
        let odd = deployment("kube-apiserver@sha256:abc", &[]);
        assert_eq!(seen(&odd), Some(running("v1.34.4", None)));
        assert_eq!(Running::of(&fixtures::tenant(), &Memory::default(), Some(&plain)), None);
    }
}
