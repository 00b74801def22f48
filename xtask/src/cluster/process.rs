//! Programs that go on when `cargo xtask` has ended.

use std::{
    fs::{self, OpenOptions},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::state::Identity;
use crate::{digest, packages, wait};

/// A program to run in the background.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    /// What it and its log are called.
    pub(super) name: &'static str,
    /// The program's file.
    pub(super) program: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
    /// Its configuration files with their content, written before it starts.
    pub(super) files: Vec<(PathBuf, String)>,
}

/// How a program is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is asked first and may finish what it does.
    Gently,
    /// At once, because its state will be thrown away.
    AtOnce,
}

impl Daemon {
    /// Tells two ways of running the program apart.
    pub(super) fn digest(&self) -> String {
        digest::of(format!("{self:?}").as_bytes())
    }

    /// Where its output goes.
    pub(super) fn log(&self, logs: &Path) -> PathBuf {
        log_of(logs, self.name)
    }

    /// Starts it in a session of its own, with nothing of our environment but a `PATH`.
    pub(super) fn start(&self, logs: &Path) -> Result<Identity> {
        for (path, content) in &self.files {
            fs::write(path, content).with_context(|| format!("writing {}", path.display()))?;
        }
        let log_path = self.log(logs);
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .with_context(|| format!("opening {}", log_path.display()))?;
        let errors = log.try_clone().with_context(|| format!("opening {}", log_path.display()))?;
        // `setsid` becomes the program, which so keeps the process number that we note.
        let child = Command::new("setsid")
            .arg(&self.program)
            .args(&self.arguments)
            .current_dir("/")
            .env_clear()
            .env("PATH", packages::PATH)
            .env("HOME", "/root")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting {}", self.name))?;
        let pid = i32::try_from(child.id()).context("reading a process number")?;
        identity(pid).with_context(|| format!("{} ended as soon as it was started", self.name))
    }
}

/// The log of the program with this name.
pub(super) fn log_of(logs: &Path, name: &str) -> PathBuf {
    logs.join(format!("{name}.log"))
}

/// Names the process that has this number now; `None` when there is none.
pub(super) fn identity(pid: i32) -> Option<Identity> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(Identity { pid, started: started_of_running(&stat)?, boot: boot.trim().to_owned() })
}

/// Whether the very process still runs.
pub(super) fn is_alive(identity_then: &Identity) -> bool {
    identity(identity_then.pid).as_ref() == Some(identity_then)
}

/// Ends the process, and returns when it is gone.
pub(super) fn end(process: &Identity, ending: Ending) -> Result<()> {
    if ending == Ending::Gently {
        signal(process, Signal::TERM);
        let waited = wait::until("a program to end", Duration::from_secs(10), || {
            Ok((!is_alive(process)).then_some(()))
        });
        if waited.is_ok() {
            return Ok(());
        }
    }
    signal(process, Signal::KILL);
    wait::until(&format!("process {} to end", process.pid), Duration::from_secs(20), || {
        Ok((!is_alive(process)).then_some(()))
    })
}

/// Every process whose command line satisfies this.
pub(super) fn find(wanted: impl Fn(&str) -> bool) -> Vec<Identity> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| wanted(&String::from_utf8_lossy(&line).replace('\0', " ")))
        })
        .filter_map(identity)
        .collect()
}

fn signal(process: &Identity, signal: Signal) {
    if !is_alive(process) {
        return;
    }
    if let Some(pid) = Pid::from_raw(process.pid) {
        // The process may end between the look and the signal, which is what we wanted.
        let _ = kill_process(pid, signal);
    }
}

/// Reads the start time from `/proc/PID/stat` (field 22, in clock ticks); a zombie does not run any more.
fn started_of_running(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, and may hold anything, parentheses included.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str =
        "4711 (a) strange) name) S 1 4711 4711 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 98765 1000 200";

    #[test]
    fn the_start_time_is_read_past_any_name() {
        assert_eq!(started_of_running(STAT), Some(98765));
    }

    #[test]
    fn a_zombie_is_not_alive() {
        assert_eq!(started_of_running(&STAT.replace(") S ", ") Z ")), None);
    }

    #[test]
    fn another_process_with_the_same_number_is_another() {
        let own = identity(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(is_alive(&own));
        assert!(!is_alive(&Identity { started: own.started + 1, ..own.clone() }));
        assert!(!is_alive(&Identity { boot: "yesterday".into(), ..own }));
    }

    #[test]
    fn a_daemon_runs_until_it_is_ended() {
        let logs = std::env::temp_dir().join(format!("kamaji-xtask-daemon-{}", std::process::id()));
        fs::create_dir_all(&logs).unwrap();
        let configuration = logs.join("configuration");
        let daemon = Daemon {
            name: "reader",
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), format!("cat {}; exec sleep 600", configuration.display())],
            files: vec![(configuration, "hello".into())],
        };
        let process = daemon.start(&logs).unwrap();
        wait::until("the daemon's word", Duration::from_secs(20), || {
            Ok((fs::read_to_string(daemon.log(&logs))? == "hello").then_some(()))
        })
        .unwrap();
        assert!(is_alive(&process));
        end(&process, Ending::Gently).unwrap();
        assert!(!is_alive(&process));
        fs::remove_dir_all(logs).unwrap();
    }

    #[test]
    fn other_arguments_or_configuration_make_another_digest() {
        let daemon = Daemon { name: "x", program: "/x".into(), arguments: vec![], files: vec![] };
        let argued = Daemon { arguments: vec!["-v".into()], ..daemon.clone() };
        let configured = Daemon { files: vec![("/c".into(), "{}".into())], ..daemon.clone() };
        assert_eq!(daemon.digest(), daemon.clone().digest());
        assert_ne!(daemon.digest(), argued.digest());
        assert_ne!(daemon.digest(), configured.digest());
    }
}
