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
    let mut text = String::from("# Command line\n\nThis file is generated from the program; do not edit it.\n");
    for command in program.get_subcommands() {
        text += &format!("\n## `{} {}`\n\n{}.\n", program.get_name(), command.get_name(), about(command));
        let (plain, without_effect): (Vec<&Arg>, Vec<&Arg>) =
            command.get_arguments().partition(|arg| arg.get_help_heading().is_none());
        text += "\n| flag | default | what it does |\n|---|---|---|\n";
        plain.into_iter().for_each(|arg| text += &row(arg));
        if let Some(heading) = without_effect.first().and_then(|arg| arg.get_help_heading()) {
            text += &format!("\n{heading}:\n\n| flag | default | why |\n|---|---|---|\n");
            without_effect.into_iter().for_each(|arg| text += &row(arg));
        }
    }
    text
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn row(arg: &Arg) -> String {
    let default: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let variable = arg.get_env().map(|name| format!("`${}`", name.to_string_lossy()));
    let default = match (default.join(","), variable) {
        (_, Some(variable)) => variable,
        (empty, None) if empty.is_empty() => String::new(),
        (value, None) => format!("`{value}`"),
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    format!("| `--{}` | {default} | {help} |\n", arg.get_long().unwrap_or_default())
}
