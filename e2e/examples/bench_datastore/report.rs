//! The figures as a table.

use std::time::Duration;

/// A figure.
pub(crate) struct Line {
    what: String,
    measured: String,
}

impl Line {
    pub(crate) fn new(what: String, measured: String) -> Self {
        Self { what, measured }
    }

    /// The middle and the slow end of these times.
    pub(crate) fn of_times(what: String, times: &[Duration]) -> Self {
        let (median, slow) = (milliseconds(median(times)), milliseconds(nearest(times, 99)));
        Self::new(what, format!("median {median}, p99 {slow}, of {}", times.len()))
    }
}

/// The one in the middle; zero of none.
pub(crate) fn median(times: &[Duration]) -> Duration {
    nearest(times, 50)
}

/// The smallest that so many of a hundred do not exceed.
fn nearest(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// A Markdown table, one figure to a line.
pub(crate) fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.what.chars().count()).max().unwrap_or(0);
    let row = |what: &str, measured: &str| format!("| {what:width$} | {measured} |\n");
    let rows: String = lines.iter().map(|line| row(&line.what, &line.measured)).collect();
    format!("{}|{}|---|\n{rows}", row("what", "measured"), "-".repeat(width + 2))
}
