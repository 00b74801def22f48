//! Running other programs, with errors that say which command failed and what it said.

use std::{
    ffi::OsStr,
    io::Write,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

/// How much of a failed program's output is shown, in lines.
const SHOWN_LINES: usize = 20;

/// Runs the command to its end and returns what it wrote to standard output.
pub fn output(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting `{line}`"))?;
    text_of(&line, &output)
}

/// Like [`output`], with `input` on the command's standard input.
pub fn output_with_input(command: &mut Command, input: &str) -> Result<String> {
    let line = line_of(command);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting `{line}`"))?;
    // A program that ends early closes its input; what it said about that matters more than the broken pipe.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(input.as_bytes()));
    let text = text_of(&line, &child.wait_with_output().with_context(|| format!("waiting for `{line}`"))?)?;
    written.with_context(|| format!("handing `{line}` its input"))?;
    Ok(text)
}

/// Runs the command with our own terminal, so that its output is seen as it comes.
pub fn show(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    let status = command.status().with_context(|| format!("starting `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Whether the command starts and ends well; its output is thrown away.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The last lines of a text, for errors.
pub fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

fn text_of(line: &str, output: &Output) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said = if stderr.trim().is_empty() { stdout.as_str() } else { &stderr };
        bail!("`{line}` failed ({}):\n{}", output.status, tail(said.trim_end()));
    }
    Ok(stdout)
}

/// The command as a person would type it, arguments with spaces in quotes.
fn line_of(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .map(|word| if word.contains(' ') { format!("'{word}'") } else { word.into_owned() })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_last_words() {
        let error =
            output(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("sh -c 'echo no such luck >&2; exit 3'"), "{error}");
        assert!(error.contains("no such luck"), "{error}");
        assert!(error.contains('3'), "{error}");
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(output_with_input(&mut Command::new("cat"), "hello").unwrap(), "hello");
    }

    #[test]
    fn a_tail_is_the_end() {
        let text = (1..=50).map(|number| number.to_string()).collect::<Vec<_>>().join("\n");
        assert!(tail(&text).starts_with("31\n"));
        assert!(tail(&text).ends_with("\n50"));
        assert_eq!(tail("one"), "one");
    }
}
