//! The command-line reference is what the program accepts.

use std::path::PathBuf;

use clap::{Arg, Command, CommandFactory};
use kamaji_operator::Cli;

/// Run with this variable set, the test writes the file instead of comparing it.
const UPDATE: &str = "UPDATE_REFERENCE";

#[test]
fn the_command_line_reference_is_current() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/cli.md");
    let rendered = rendered(&Cli::command());
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&file, rendered).expect("write the reference");
        return;
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == rendered,
        "docs/reference/cli.md is stale: run `{UPDATE}=1 cargo test -p kamaji-operator --test cli_reference`"
    );
}

fn rendered(program: &Command) -> String {
    let head = "# Command line\n\nThis file is generated from the program; do not edit it.\n".to_owned();
    std::iter::once(head).chain(sections(program.get_name(), program)).collect()
}

/// One for each command that does something itself.
fn sections(name: &str, program: &Command) -> Vec<String> {
    let sections = program.get_subcommands().map(|command| {
        if command.has_subcommands() {
            sections(&format!("{name} {}", command.get_name()), command).concat()
        } else {
            section(name, command)
        }
    });
    sections.collect()
}

fn section(program: &str, command: &Command) -> String {
    let (plain, without_effect): (Vec<&Arg>, Vec<&Arg>) =
        command.get_arguments().partition(|arg| arg.get_help_heading().is_none());
    let heading = without_effect.first().and_then(|arg| arg.get_help_heading());
    let second = heading.map(|heading| format!("\n{heading}:\n\n{}", table("why", &without_effect)));
    format!(
        "\n## `{program} {}`\n\n{}.\n\n{}{}",
        command.get_name(),
        about(command),
        table("what it does", &plain),
        second.unwrap_or_default()
    )
}

fn table(last: &str, args: &[&Arg]) -> String {
    let head = format!("| flag | default | {last} |\n|---|---|---|\n");
    std::iter::once(head).chain(args.iter().map(|arg| row(arg))).collect()
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn row(arg: &Arg) -> String {
    let default: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let variable = arg.get_env().map(|name| format!("`${}`", name.to_string_lossy()));
    let name = match arg.get_long() {
        Some(long) => format!("--{long}"),
        None => arg.get_id().as_str().to_uppercase(),
    };
    let default = match (default.join(","), variable) {
        (_, Some(variable)) => variable,
        (empty, None) if empty.is_empty() => String::new(),
        (value, None) => format!("`{value}`"),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    format!("| `{name}` | {default} | {help} |\n")
}
