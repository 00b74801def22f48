//! What benchmarks measured, as a table.

use std::time::Duration;

/// A figure.
pub struct Line {
    what: String,
    measured: String,
}

impl Line {
    /// What was measured, and how much it was.
    pub fn new(what: String, measured: String) -> Self {
        Self { what, measured }
    }

    /// The middle and the slow end of these times.
    pub fn of_times(what: String, times: &[Duration]) -> Self {
        let (median, slow) = (milliseconds(percentile(times, 50)), milliseconds(percentile(times, 99)));
        Self::new(what, format!("median {median}, p99 {slow}, of {}", times.len()))
    }
}

/// The smallest of these times that so many of a hundred do not exceed; zero of none.
pub fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// A Markdown table, one figure to a line.
pub fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.what.chars().count()).max().unwrap_or(0);
    let row = |what: &str, measured: &str| format!("| {what:width$} | {measured} |\n");
    let rows: String = lines.iter().map(|line| row(&line.what, &line.measured)).collect();
    format!("{}|{}|---|\n{rows}", row("what", "measured"), "-".repeat(width + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times = [4, 1, 3, 2].map(Duration::from_secs);
        for (percent, expected) in [(1, 1), (50, 2), (51, 3), (75, 3), (99, 4), (100, 4)] {
            assert_eq!(percentile(&times, percent), Duration::from_secs(expected), "{percent}");
        }
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
