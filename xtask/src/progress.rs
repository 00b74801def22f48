//! Says what is being done, for how long, and at the end what took how long.

use std::{
    io::{IsTerminal, Write},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// A run made of steps, each of which is timed and shown.
pub struct Progress {
    started: Instant,
    finished: Mutex<Vec<Finished>>,
    terminal: bool,
}

struct Finished {
    name: String,
    took: Duration,
    succeeded: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            finished: Mutex::default(),
            terminal: std::io::stdout().is_terminal(),
        }
    }
}

impl Progress {
    /// Does `work`, showing its name and a clock; a failure carries the name.
    pub fn step<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        self.finish(name, started, self.with_clock(name, started, work))
    }

    /// Like [`step`](Self::step), for `work` that writes to the terminal itself: no clock runs into its lines.
    pub fn speaking_step<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let started = Instant::now();
        self.line(&format!("{name} ..."));
        self.finish(name, started, work())
    }

    fn finish<T>(&self, name: &str, started: Instant, result: Result<T>) -> Result<T> {
        let took = started.elapsed();
        let verdict = if result.is_ok() { "done" } else { "FAILED" };
        self.line(&format!("{name}: {verdict} in {}", seconds(took)));
        self.finished().push(Finished { name: name.to_owned(), took, succeeded: result.is_ok() });
        result.with_context(|| format!("{name} failed"))
    }

    /// Shows one line with the time since the start of the run in front.
    pub fn line(&self, text: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        println!("{clear}[{:>7}] {text}", seconds(self.started.elapsed()));
    }

    /// What took how long, one step to a line, with the total at the end.
    pub fn summary(&self) -> String {
        let finished = self.finished();
        table(&finished, self.started.elapsed())
    }

    fn finished(&self) -> MutexGuard<'_, Vec<Finished>> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_clock<T>(&self, name: &str, started: Instant, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let (end, ended) = channel::<()>();
            // Dropping the sender ends the clock, on a panic in `work` too.
            let _end: Sender<()> = end;
            let period = if self.terminal { Duration::from_secs(1) } else { Duration::from_secs(30) };
            if self.terminal {
                self.tick(name, Duration::ZERO);
            } else {
                self.line(&format!("{name} ..."));
            }
            scope.spawn(move || {
                while matches!(ended.recv_timeout(period), Err(RecvTimeoutError::Timeout)) {
                    self.tick(name, started.elapsed());
                }
            });
            work()
        })
    }

    fn tick(&self, name: &str, elapsed: Duration) {
        if self.terminal {
            print!("\r\x1b[K[{:>7}] {name} ... {}", seconds(self.started.elapsed()), seconds(elapsed));
            // A clock that cannot be drawn is no reason to stop the work it counts.
            let _ = std::io::stdout().flush();
        } else {
            self.line(&format!("{name} ... still at it after {}", seconds(elapsed)));
        }
    }
}

/// Seconds with one digit after the point, as in `12.3 s`.
pub fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn table(finished: &[Finished], total: Duration) -> String {
    let width = finished.iter().map(|step| step.name.len()).max().unwrap_or_default().max("total".len());
    let line =
        |name: &str, took: Duration, mark: &str| format!("  {name:width$}  {:>9}{mark}", seconds(took));
    finished
        .iter()
        .map(|step| line(&step.name, step.took, if step.succeeded { "" } else { "  FAILED" }))
        .chain([line("total", total, "")])
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_lists_each_step_and_the_total() {
        let steps = [
            Finished { name: "format".into(), took: Duration::from_millis(1234), succeeded: true },
            Finished { name: "lint".into(), took: Duration::from_secs(70), succeeded: false },
        ];
        let expected = "  format      1.2 s\n  lint       70.0 s  FAILED\n  total      71.3 s";
        assert_eq!(table(&steps, Duration::from_millis(71_300)), expected);
    }

    #[test]
    fn a_failed_step_says_which_it_was() {
        let progress = Progress::default();
        let error = progress.step::<()>("boiling water", || anyhow::bail!("no gas")).unwrap_err();
        assert_eq!(format!("{error:#}"), "boiling water failed: no gas");
        assert!(progress.summary().contains("FAILED"));
    }
}
