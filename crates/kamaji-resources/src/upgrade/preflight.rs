//! What is looked at before an upgrade begins, and what it means.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use kamaji_api::Tenant;
use kamaji_api::tenant::KubeVersion;

use super::files;
use super::{Running, Step, step};

/// An authority that ends so soon would end while people still think of the upgrade.
const SOON: SignedDuration = SignedDuration::from_hours(24 * 30);
/// A kubelet may be so many minor versions older than the API server.
const OLDEST_KUBELET: u64 = 3;
/// So many examples are named of each thing that is found.
const EXAMPLES: usize = 3;

/// What was seen of a tenant before an upgrade.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What the tenant's API server told; else why nobody asked it, or why it did not answer.
    pub live: Live,
    /// Configuration files of the user's, by program and flag, with their `apiVersion`.
    pub files: Vec<(String, String)>,
    /// The tenant's authorities, and when they end.
    pub authorities: Vec<(String, Timestamp)>,
    /// Why the DataStore is not in order, if it is not.
    pub data_store: Option<String>,
}

/// What the tenant's API server told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Live {
    /// It answered.
    Told(Told),
    /// No Pod of it is ready, so nothing can break.
    #[default]
    Down,
    /// It did not answer, for this reason.
    Silent(String),
}

/// What an API server tells about itself and its nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Each node's name, and the version of its kubelet.
    pub nodes: Vec<(String, String)>,
    /// Deprecated APIs that clients have asked for since it started.
    pub deprecated: Vec<Deprecated>,
}

/// A deprecated API that somebody uses: a line of the metric `apiserver_requested_deprecated_apis` (KEP-1693).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deprecated {
    /// What it is called, for example `flowcontrol.apiserver.k8s.io/v1beta3 flowschemas`.
    pub name: String,
    /// The minor version that serves it no more, where that is known.
    pub removed_in: Option<u64>,
}

impl Deprecated {
    /// Reads a line of the metric; nothing from other lines.
    ///
    /// The format is the text format of Prometheus; label values of this metric hold neither commas nor quotation marks.
    pub fn of(line: &str) -> Option<Self> {
        let labels = line.strip_prefix("apiserver_requested_deprecated_apis{")?.split_once('}')?.0;
        let label = |name: &str| {
            let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(label, _)| *label == name)?;
            Some(value.trim_matches('"')).filter(|value| !value.is_empty())
        };
        let group = label("group").map(|group| format!("{group}/")).unwrap_or_default();
        let subresource = label("subresource").map(|name| format!("/{name}")).unwrap_or_default();
        Some(Self {
            name: format!("{group}{} {}{subresource}", label("version")?, label("resource")?),
            removed_in: label("removed_release")
                .and_then(|release| release.strip_prefix("1."))
                .and_then(|minor| minor.parse().ok()),
        })
    }
}

/// What stands in the way of an upgrade, and what should be known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What must be mended first.
    pub obstacles: Vec<String>,
    /// What should be known.
    pub remarks: Vec<String>,
}

impl Report {
    /// True when nothing stands in the way.
    pub fn is_clear(&self) -> bool {
        self.obstacles.is_empty()
    }

    fn note(&mut self, stops: Stops, text: String) {
        match stops {
            Stops::Yes => self.obstacles.push(text),
            Stops::No => self.remarks.push(text),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for obstacle in &self.obstacles {
            writeln!(formatter, "obstacle: {obstacle}")?;
        }
        for remark in &self.remarks {
            writeln!(formatter, "remark: {remark}")?;
        }
        Ok(())
    }
}

/// Whether a thing that was found stops an upgrade.
#[derive(Clone, Copy)]
enum Stops {
    Yes,
    No,
}

/// What was seen, held against what the spec asks for.
pub fn examine(running: Option<&Running>, tenant: &Tenant, seen: &Seen, now: Timestamp) -> Report {
    let mut report = Report::default();
    if let Step::Refused(refusal) = step(running, tenant) {
        report.note(Stops::Yes, refusal.message);
    }
    if let Some(problem) = &seen.data_store {
        report.note(Stops::Yes, format!("DataStore {}: {problem}", tenant.data_store));
    }
    match &seen.live {
        Live::Told(told) => {
            judge_nodes(&told.nodes, tenant, &mut report);
            judge_apis(&told.deprecated, tenant.offered(), &mut report);
        }
        Live::Down => {
            report.note(Stops::No, "no API server is ready, so nodes and clients were not looked at".into());
        }
        Live::Silent(why) => report.note(
            Stops::Yes,
            format!("nodes and clients are unknown, for the API server could not be asked: {why}"),
        ),
    }
    judge_files(&seen.files, &tenant.version, &mut report);
    judge_authorities(&seen.authorities, now, &mut report);
    report
}

/// The programs that run decide how old a kubelet may be, and what they offer how new.
fn judge_nodes(nodes: &[(String, String)], tenant: &Tenant, report: &mut Report) {
    let (version, offered) = (&tenant.version, tenant.offered());
    let oldest = version.minor().saturating_sub(OLDEST_KUBELET);
    let of = |wanted: &dyn Fn(u64) -> bool| -> Vec<String> {
        let matching = nodes.iter().filter(|(_, version)| {
            KubeVersion::parse(version.split('+').next().unwrap_or_default())
                .is_ok_and(|kubelet| wanted(kubelet.minor()))
        });
        matching.map(|(name, version)| format!("{name} ({version})")).collect()
    };
    let old = of(&|kubelet| kubelet < oldest);
    if !old.is_empty() {
        report.note(
            Stops::Yes,
            format!(
                "{} kubelets are older than v1.{oldest}, the oldest that {version} works with: upgrade {} first",
                old.len(),
                some(&old)
            ),
        );
    }
    let new = of(&|kubelet| kubelet > offered.minor());
    if !new.is_empty() {
        report.note(
            Stops::No,
            format!(
                "{} kubelets are newer than {offered}, which is not supported: {}",
                new.len(),
                some(&new)
            ),
        );
    }
}

fn judge_apis(deprecated: &[Deprecated], offered: &KubeVersion, report: &mut Report) {
    for api in deprecated {
        match api.removed_in {
            Some(minor) if minor <= offered.minor() => report.note(
                Stops::Yes,
                format!(
                    "{} is served no more from v1.{minor} on, and clients have asked for it since the API server started: move them to another version of this API, then restart the API server to forget",
                    api.name
                ),
            ),
            Some(minor) => {
                report.note(Stops::No, format!("{} is in use and ends with v1.{minor}", api.name));
            }
            None => report.note(Stops::No, format!("{} is in use and deprecated", api.name)),
        }
    }
}

fn judge_files(files: &[(String, String)], version: &KubeVersion, report: &mut Report) {
    for (flag, api_version) in files {
        if !files::is_read(api_version, version.minor()) {
            report.note(
                Stops::Yes,
                format!("the file of {flag} is of {api_version}, which {version} does not read: rewrite it for a later version"),
            );
        }
    }
}

fn judge_authorities(authorities: &[(String, Timestamp)], now: Timestamp, report: &mut Report) {
    for (name, end) in authorities {
        let end_text = end.strftime("%Y-%m-%d");
        if *end <= now {
            report.note(
                Stops::Yes,
                format!("the authority in Secret {name} ended on {end_text}: rotate it first"),
            );
        } else if end.duration_since(now) < SOON {
            report.note(
                Stops::No,
                format!("the authority in Secret {name} ends on {end_text}: rotate it soon"),
            );
        }
    }
}

fn some(names: &[String]) -> String {
    let shown = names.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(EXAMPLES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use kamaji_api::tenant::fixtures;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T00:00:00Z".parse().unwrap()
    }

    fn to(version: &str) -> Tenant {
        fixtures::tenant().at(KubeVersion::parse(version).unwrap(), None)
    }

    fn running() -> Running {
        Running { version: KubeVersion::parse("v1.34.4").unwrap(), emulated: None }
    }

    fn report(seen: &Seen) -> Report {
        examine(Some(&running()), &to("v1.35.4"), seen, now())
    }

    fn told(told: Told) -> Seen {
        Seen { live: Live::Told(told), ..Seen::default() }
    }

    #[test]
    fn nothing_stands_in_the_way_of_a_sound_tenant() {
        let nodes = vec![("a".into(), "v1.34.4".into()), ("b".into(), "v1.32.9+k3s1".into())];
        assert_eq!(report(&told(Told { nodes, deprecated: vec![] })), Report::default());
    }

    #[test]
    fn kubelets_that_would_be_too_old_are_named() {
        let nodes = (0..5).map(|number| (format!("n{number}"), "v1.31.1".into())).collect();
        let report = report(&told(Told { nodes, deprecated: vec![] }));
        let text = report.to_string();
        assert!(
            text.contains("5 kubelets are older than v1.32") && text.contains("n2 (v1.31.1) and 2 more"),
            "{text}"
        );
    }

    #[test]
    fn programs_that_keep_an_earlier_behaviour_still_do_not_work_with_older_kubelets() {
        let nodes = vec![("a".into(), "v1.31.1".into()), ("b".into(), "v1.35.0".into())];
        let kept = KubeVersion::parse("v1.34.4").ok();
        let tenant = fixtures::tenant().at(KubeVersion::parse("v1.35.4").unwrap(), kept);
        let seen = told(Told { nodes, deprecated: vec![] });
        let report = examine(Some(&running()), &tenant, &seen, now());
        assert_eq!((report.obstacles.len(), report.remarks.len()), (1, 1), "{report}");
    }

    #[test]
    fn apis_that_will_be_gone_stop_an_upgrade_and_others_do_not() {
        let line = |release: &str| {
            Deprecated::of(&format!(
                "apiserver_requested_deprecated_apis{{group=\"flowcontrol.apiserver.k8s.io\",removed_release=\"{release}\",resource=\"flowschemas\",subresource=\"status\",version=\"v1beta3\"}} 1"
            ))
            .unwrap()
        };
        assert_eq!(line("1.35").name, "flowcontrol.apiserver.k8s.io/v1beta3 flowschemas/status");
        let of = |release| report(&told(Told { nodes: vec![], deprecated: vec![line(release)] }));
        for (release, obstacles, remarks) in [("1.35", 1, 0), ("1.36", 0, 1), ("", 0, 1)] {
            let report = of(release);
            assert_eq!((report.obstacles.len(), report.remarks.len()), (obstacles, remarks), "{release}");
        }
    }

    #[test]
    fn other_lines_of_the_metrics_tell_nothing() {
        for line in ["", "# HELP apiserver_requested_deprecated_apis x", "apiserver_request_total{a=\"b\"} 1"]
        {
            assert_eq!(Deprecated::of(line), None);
        }
        let core = "apiserver_requested_deprecated_apis{group=\"\",removed_release=\"\",resource=\"endpoints\",subresource=\"\",version=\"v1\"} 1";
        assert_eq!(Deprecated::of(core), Some(Deprecated { name: "v1 endpoints".into(), removed_in: None }));
    }

    #[test]
    fn everything_else_that_stands_in_the_way_is_told() {
        let seen = Seen {
            live: Live::Silent("connection refused".into()),
            files: vec![("kube-scheduler --config".into(), "kubescheduler.config.k8s.io/v1beta3".into())],
            authorities: vec![
                ("blue-ca".into(), now() - SignedDuration::from_hours(1)),
                ("blue-front-proxy-ca".into(), now() + SignedDuration::from_hours(24)),
            ],
            data_store: Some("it does not answer".into()),
        };
        let report = examine(Some(&running()), &to("v1.36.1"), &seen, now());
        let text = report.to_string();
        assert_eq!((report.obstacles.len(), report.remarks.len()), (5, 1), "{text}");
        for word in [
            "v1.35 first",
            "connection refused",
            "v1beta3",
            "blue-ca ended",
            "DataStore default",
            "ends on 2026-11-24",
        ] {
            assert!(text.contains(word), "{word} is missing in: {text}");
        }
    }
}
