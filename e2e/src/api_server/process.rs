//! A server process that cannot outlive us.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

/// Runs the program, says its process id, and waits until whoever holds the other end of standard input lets go, even
/// by dying; then ends the program and removes its folder.
const WARDEN: &str = r#"
folder=$1; shift
"$@" >"$folder/log" 2>&1 &
child=$!
echo "$child"
read -r _
kill -9 "$child" 2>/dev/null
wait "$child" 2>/dev/null
rm -rf "$folder"
"#;

/// How much of a log is shown when a program fails, in bytes.
const LOG_EXCERPT: usize = 3000;

/// A running program with a folder of its own. Both are gone once this is dropped, or our own process has ended.
#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    folder: PathBuf,
    id: u32,
    warden: Child,
}

impl Process {
    /// Starts the program. The folder exists; its `log` takes what the program prints.
    pub(crate) fn start(
        name: &'static str,
        program: &Path,
        folder: &Path,
        arguments: &[String],
    ) -> Result<Self> {
        Self::start_with(name, program, folder, arguments, &[])
    }

    /// The same, with these variables besides those of the test.
    pub(crate) fn start_with(
        name: &'static str,
        program: &Path,
        folder: &Path,
        arguments: &[String],
        variables: &[(String, String)],
    ) -> Result<Self> {
        let mut warden = Command::new("sh")
            .args(["-c", WARDEN, "sh"])
            .arg(folder)
            .arg(program)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Ctrl-C ends us; the warden notices that by itself and must live to clean up.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        let mut line = String::new();
        let output = warden.stdout.take().context("the warden's standard output is piped")?;
        BufReader::new(output).read_line(&mut line).with_context(|| format!("starting {name}"))?;
        let id = line.trim().parse().with_context(|| format!("starting {name}: no process id"))?;
        Ok(Self { name, folder: folder.to_owned(), id, warden })
    }

    /// The process id of the program.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Whether the program still runs.
    pub(crate) fn is_alive(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id)).unwrap_or_default();
        // The state follows the name, which is in parentheses; a zombie is dead.
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    /// The end of what the program printed, under its name.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let end = log.len().saturating_sub(LOG_EXCERPT);
        format!("{} says:\n{}", self.name, String::from_utf8_lossy(&log[end..]))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.warden.stdin.take());
        // Nothing to do about a failure here; the warden ends by itself.
        let _ = self.warden.wait();
    }
}
