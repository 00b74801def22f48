//! The figures, and what is aimed at, as a table.

use std::time::Duration;

use super::{audit::Requests, operator::IdleRequests};

/// The most that a tenant may take in the middle of all runs, as a multiple of the bare Deployment.
const AIM_SINGLE: f64 = 1.15;
/// The most that many at once may take until the last is Ready, as a multiple of as many bare Deployments.
const AIM_BURST: f64 = 1.05;
/// The most processor time of the operator for each tenant.
const AIM_PROCESSOR: Duration = Duration::from_millis(100);
/// The most memory of the operator, and what each tenant may add, in MiB.
const AIM_MEMORY: (f64, f64) = (20.0, 0.25);
/// The longest time until something that was deleted is back.
const AIM_REPAIR: Duration = Duration::from_millis(200);
/// The most requests to each tenant in a second in which nothing happens: watches that are renewed.
const AIM_IDLE: f64 = 0.05;

/// How long each of several took that were begun at once, shortest first; at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Burst(Vec<Duration>);

impl Burst {
    pub(super) fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        let mut times: Vec<Duration> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }

    fn first(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    pub(super) fn median(&self) -> Duration {
        let middle = self.0.len() / 2;
        match self.0.len() {
            0 => Duration::ZERO,
            length if length % 2 == 1 => self.0[middle],
            _ => (self.0[middle - 1] + self.0[middle]) / 2,
        }
    }

    /// When all were there.
    pub(super) fn last(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }
}

/// What a restart of the operator cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Restart {
    /// From the deletion of the Pod until its successor was at rest.
    pub(super) took: Duration,
    /// Processor time of the successor.
    pub(super) processor: Duration,
    /// Its resident memory at rest.
    pub(super) memory: u64,
    /// Its requests.
    pub(super) requests: Requests,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) tenants: usize,
    pub(super) lone: Vec<Duration>,
    pub(super) floor: Vec<Duration>,
    pub(super) tenant: Vec<Duration>,
    pub(super) floor_bursts: Vec<Burst>,
    pub(super) tenant_burst: Burst,
    pub(super) processor: Duration,
    pub(super) memory_before: u64,
    pub(super) memory: u64,
    pub(super) requests: Requests,
    pub(super) repairs: Vec<Duration>,
    pub(super) inside_repairs: Vec<Duration>,
    pub(super) idle_requests: IdleRequests,
    pub(super) restart: Restart,
    pub(super) deletion: Duration,
}

impl Figures {
    /// Nothing measured yet.
    pub(super) fn new(tenants: usize) -> Self {
        Self {
            tenants,
            lone: Vec::new(),
            floor: Vec::new(),
            tenant: Vec::new(),
            floor_bursts: Vec::new(),
            tenant_burst: Burst::default(),
            processor: Duration::ZERO,
            memory_before: 0,
            memory: 0,
            requests: Requests::default(),
            repairs: Vec::new(),
            inside_repairs: Vec::new(),
            idle_requests: IdleRequests::default(),
            restart: Restart::default(),
            deletion: Duration::ZERO,
        }
    }
}

/// A Markdown table, one figure to a line.
pub(super) fn table(figures: &Figures) -> String {
    let lines: Vec<[String; 3]> =
        [provisioning(figures), burst(figures), cost(figures), afterwards(figures)].concat();
    let header = ["what", "measured", "aim"].map(str::to_owned);
    let width = |column: usize| {
        lines.iter().chain([&header]).map(|line| line[column].chars().count()).max().unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2)];
    let row = |cells: &[String; 3]| {
        format!(
            "| {:a$} | {:b$} | {:c$} |",
            cells[0],
            cells[1],
            cells[2],
            a = widths[0],
            b = widths[1],
            c = widths[2]
        )
    };
    let rule = format!(
        "|{}|{}|{}|",
        "-".repeat(widths[0] + 2),
        "-".repeat(widths[1] + 2),
        "-".repeat(widths[2] + 2)
    );
    [row(&header), rule].into_iter().chain(lines.iter().map(row)).collect::<Vec<_>>().join("\n")
}

fn provisioning(figures: &Figures) -> Vec<[String; 3]> {
    let spread = |times: &[Duration]| {
        let times = Burst::of(times.iter().copied());
        format!("{} ({} to {})", seconds(times.median()), seconds(times.first()), seconds(times.last()))
    };
    let median = |times: &[Duration]| Burst::of(times.iter().copied()).median();
    let ratio = ratio(median(&figures.tenant), median(&figures.floor));
    vec![
        line(
            "lone kube-apiserver, process start to /readyz: median (min to max)",
            &spread(&figures.lone),
            "",
        ),
        line("Pod floor, bare Deployment made to Ready: median (min to max)", &spread(&figures.floor), ""),
        line("tenant made to Ready: median (min to max)", &spread(&figures.tenant), ""),
        line(
            "tenant / Pod floor",
            &format!("{ratio:.2}"),
            &verdict(ratio, AIM_SINGLE, &format!("≤ {AIM_SINGLE:.2}")),
        ),
    ]
}

fn burst(figures: &Figures) -> Vec<[String; 3]> {
    let count = figures.tenants;
    let spread = |burst: &Burst| {
        format!("{} / {} / {}", seconds(burst.first()), seconds(burst.median()), seconds(burst.last()))
    };
    let floors = &figures.floor_bursts;
    let turns = u32::try_from(floors.len()).unwrap_or(u32::MAX).max(1);
    let floor = floors.iter().map(Burst::last).sum::<Duration>() / turns;
    let ratio = ratio(figures.tenant_burst.last(), floor);
    let of_floor = |(burst, when): (&Burst, &str)| {
        line(&format!("{count} bare Deployments at once, {when}: first / median / last"), &spread(burst), "")
    };
    let mut lines: Vec<_> = floors.iter().zip(["before", "after"]).map(of_floor).collect();
    lines.extend([
        line(&format!("{count} tenants at once: first / median / last"), &spread(&figures.tenant_burst), ""),
        line(
            "last tenant / last bare Deployment (mean of both)",
            &format!("{ratio:.2}"),
            &verdict(ratio, AIM_BURST, &format!("≤ {AIM_BURST:.2}")),
        ),
    ]);
    lines
}

fn cost(figures: &Figures) -> Vec<[String; 3]> {
    let count = u32::try_from(figures.tenants).unwrap_or(u32::MAX).max(1);
    let processor = figures.processor / count;
    let allowed = AIM_MEMORY.0 + AIM_MEMORY.1 * f64::from(count);
    let each = |requests: u32| f64::from(requests) / f64::from(count);
    let added = (mebibytes(figures.memory) - mebibytes(figures.memory_before)).max(0.0) / f64::from(count);
    let Requests { writes, events, reads, .. } = figures.requests;
    vec![
        line(
            "operator's processor time for each tenant",
            &milliseconds(processor),
            &verdict(processor, AIM_PROCESSOR, &format!("≤ {}", milliseconds(AIM_PROCESSOR))),
        ),
        line(
            &format!("operator's memory before / with {count} tenants"),
            &format!("{:.1} / {:.1} MiB", mebibytes(figures.memory_before), mebibytes(figures.memory)),
            &verdict(mebibytes(figures.memory), allowed, &format!("≤ {allowed:.1} MiB")),
        ),
        line(
            "memory that each tenant adds",
            &format!("{added:.2} MiB"),
            &verdict(added, AIM_MEMORY.1, &format!("≤ {:.2} MiB", AIM_MEMORY.1)),
        ),
        line(
            "management API requests for each tenant: writes / Events / reads",
            &format!("{:.1} / {:.1} / {:.1}", each(writes), each(events), each(reads)),
            "",
        ),
    ]
}

/// How soon something that drifted was back.
fn repaired(what: &str, repairs: &[Duration]) -> [String; 3] {
    let repairs = Burst::of(repairs.iter().copied());
    line(
        &format!("{what} back: median (min to max)"),
        &format!(
            "{} ({} to {})",
            milliseconds(repairs.median()),
            milliseconds(repairs.first()),
            milliseconds(repairs.last())
        ),
        &verdict(repairs.median(), AIM_REPAIR, &format!("≤ {}", milliseconds(AIM_REPAIR))),
    )
}

/// What is asked of tenants in which nothing happens.
fn idle(figures: &Figures) -> [String; 3] {
    let IdleRequests { made, time } = figures.idle_requests;
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let rate = count(made) / count(figures.tenants).max(1.0) / time.as_secs_f64().max(1.0);
    line(
        "requests to each tenant while nothing happens",
        &format!("{rate:.3} each second"),
        &verdict(rate, AIM_IDLE, &format!("≤ {AIM_IDLE:.3}")),
    )
}

fn afterwards(figures: &Figures) -> Vec<[String; 3]> {
    let Restart { took, processor, memory, requests } = figures.restart;
    let writes = requests.writes + requests.events;
    vec![
        repaired("deleted Secret", &figures.repairs),
        repaired("deleted object inside a tenant", &figures.inside_repairs),
        idle(figures),
        line(
            &format!(
                "operator restarted with {} tenants: processor time / writes / memory / until at rest",
                figures.tenants
            ),
            &format!("{} / {writes} / {:.1} MiB / {}", seconds(processor), mebibytes(memory), seconds(took)),
            &verdict(writes, 0, "0 writes"),
        ),
        line(&format!("{} tenants deleted", figures.tenants), &seconds(figures.deletion), ""),
    ]
}

fn line(what: &str, measured: &str, aim: &str) -> [String; 3] {
    [what, measured, aim].map(str::to_owned)
}

/// Whether a figure is as small as it should be.
fn verdict<T: PartialOrd + Copy>(measured: T, allowed: T, aim: &str) -> String {
    format!("{aim}: {}", if measured <= allowed { "met" } else { "missed" })
}

fn ratio(ours: Duration, floor: Duration) -> f64 {
    ours.as_secs_f64() / floor.as_secs_f64()
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}

fn mebibytes(bytes: u64) -> f64 {
    let kibibytes = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
    f64::from(kibibytes) / 1024.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(values: &[u64]) -> Vec<Duration> {
        values.iter().map(|value| Duration::from_millis(*value)).collect()
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(Burst::of(ms(&[3, 1, 2])).median(), Duration::from_millis(2));
        assert_eq!(Burst::of(ms(&[4, 1, 2, 10])).median(), Duration::from_millis(3));
    }

    #[test]
    fn an_aim_is_met_or_missed_by_the_figures() {
        let figures = Figures {
            floor: ms(&[5000, 5100]),
            tenant: ms(&[5500, 5600]),
            floor_bursts: vec![Burst::of(ms(&[1000, 58_000])), Burst::of(ms(&[1000, 62_000]))],
            tenant_burst: Burst::of(ms(&[1000, 66_000])),
            processor: Duration::from_millis(400),
            memory: 22 << 20,
            repairs: ms(&[100, 120, 900]),
            ..Figures::new(4)
        };
        let text = table(&figures);
        for (start, end) in [
            ("| tenant / Pod floor", "| ≤ 1.15: met"),
            ("| last tenant / last bare", "| ≤ 1.05: missed"),
            ("| operator's processor", "| ≤ 100 ms: met"),
            ("| operator's memory", "| ≤ 21.0 MiB: missed"),
            ("| deleted Secret", "| ≤ 200 ms: met"),
            ("| requests to each tenant", "| ≤ 0.050: met"),
            ("| operator restarted", "| 0 writes: met"),
        ] {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            assert!(line.contains(end), "{line}");
        }
        let widths: std::collections::BTreeSet<usize> =
            text.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 1, "{text}");
    }
}
