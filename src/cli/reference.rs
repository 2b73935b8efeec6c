//! The page of `docs/reference/cli.md`, from the arguments themselves.

use clap::{Arg, Command, CommandFactory as _};

use super::Cli;

const HEAD: &str = "\
# Command line

Every command and flag, written from the program's own arguments; a test fails when it is stale. One
dash is as good as two (`-auto-approve`). Data goes to stdout, talk to stderr.

| exit code | means |
|---|---|
| 0 | done, or nothing to do |
| 1 | failed, refused, cancelled, or called wrongly |
| 2 | changes are present (`plan --detailed-exitcode`), or drift is (`drift`) |
";

/// The whole page, in Markdown.
#[must_use]
pub fn cli() -> String {
    let command = Cli::command();
    let mut page = HEAD.to_owned();
    page += "\n## Flags of every command\n\n";
    page += &table(command.get_arguments());
    for sub in command.get_subcommands() {
        page += &section("jsplan", sub);
    }
    page
}

fn section(above: &str, command: &Command) -> String {
    let name = format!("{above} {}", command.get_name());
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("\n## `{name}`\n\n{about}.\n");
    let mut arguments = command.get_arguments().filter(|it| !it.is_global_set()).peekable();
    if arguments.peek().is_some() {
        text += &format!("\n{}", table(arguments));
    }
    for sub in command.get_subcommands() {
        text += &section(&name, sub);
    }
    text
}

fn table<'a>(arguments: impl Iterator<Item = &'a Arg>) -> String {
    let mut text = "| argument | what it does |\n|---|---|\n".to_owned();
    for argument in arguments {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        text += &format!("| `{}` | {help}{} |\n", written(argument), otherwise(argument));
    }
    text
}

/// `--out FILE`, `[FILE]`
fn written(argument: &Arg) -> String {
    let takes = argument.get_action().takes_values();
    let names = argument.get_value_names().unwrap_or_default();
    let value = names.first().map_or_else(String::new, ToString::to_string);
    match argument.get_long() {
        Some(long) if takes => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None if argument.is_required_set() => format!("<{value}>"),
        None => format!("[{value}]"),
    }
}

/// What holds where the argument is left out.
fn otherwise(argument: &Arg) -> String {
    let defaults = argument.get_default_values().iter().map(|it| it.to_string_lossy());
    let shown: Vec<_> = defaults.filter(|it| it != "false").collect();
    let variable = argument.get_env().map(|it| it.to_string_lossy());
    match (shown.as_slice(), variable) {
        ([], None) => String::new(),
        ([], Some(variable)) => format!("; else `${variable}`"),
        (defaults, _) => format!("; else `{}`", defaults.join(" ")),
    }
}
