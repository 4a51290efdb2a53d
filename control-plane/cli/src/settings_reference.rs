//! `docs/reference/settings.md` is made from the flags themselves; this test keeps it fresh.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Arg, Args as _, Command, CommandFactory as _};
use vamp_gateway::logging::LogSettings;
use vamp_gateway::settings_file::ConfigFile;

use crate::arguments::Program;

const HEAD: &str = "# Settings

Made from the code; do not edit by hand.

Each setting is a flag, an environment variable and a key of a settings file at once: `--drain-timeout 10s`,
`VAMP_DRAIN_TIMEOUT=10s` and the line `drain-timeout: 10s` of the YAML file that `--config` names. A flag goes before the
environment, the environment before the file, the file before the default. An unknown key in the file is an error.

Secrets stand in no flag: in files that a setting names, or in the variables `VAMP_STORE_PASSWORD`,
`VAMP_DATABASE_PASSWORD`, `VAMP_ELASTICSEARCH_PASSWORD`, `VAMP_ELASTICSEARCH_API_KEY` and, for the client, `VAMP_TOKEN`.
";

fn reference() -> String {
    let mut text = HEAD.to_owned();
    let gateway = vamp_gateway::Settings::augment_args(LogSettings::augment_args(ConfigFile::augment_args(
        Command::new("vamp-gateway"),
    )));
    section(&mut text, "vamp-gateway", &gateway);
    let upgrade = vamp_gateway::upgrade::UpgradeCommand::augment_args(Command::new("upgrade"));
    section(&mut text, "vamp-gateway upgrade", &upgrade);
    for command in Program::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        commands(&mut text, "vamp", command);
    }
    text
}

/// The sections of a command, or of those below it.
fn commands(text: &mut String, before: &str, command: &Command) {
    let name = format!("{before} {}", command.get_name());
    if command.has_subcommands() {
        command.get_subcommands().for_each(|below| commands(text, &name, below));
    } else {
        section(text, &name, command);
    }
}

fn section(text: &mut String, name: &str, command: &Command) {
    let about = command.get_about().map(|about| format!("{about}.\n\n")).unwrap_or_default();
    writeln!(text, "\n## `{name}`\n\n{about}| setting | variable | default | meaning |\n|---|---|---|---|").unwrap();
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        let variable = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
        let defaults: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if defaults.is_empty() { String::new() } else { format!("`{}`", defaults.join(",")) };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let choices: Vec<_> =
            argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let is_switch = argument.get_action().takes_values();
        let choices =
            if choices.is_empty() || !is_switch { String::new() } else { format!(": {}", choices.join(", ")) };
        let help = format!("{help}{choices}").replace('|', "\\|");
        writeln!(text, "| `{}` | {variable} | {default} | {help} |", written(argument)).unwrap();
    }
}

/// A flag with its value, or the name of an argument without a flag.
fn written(argument: &Arg) -> String {
    let values = argument.get_value_names().unwrap_or_default();
    let value = values.first().map(|value| format!(" {value}")).unwrap_or_default();
    let value = if argument.get_action().takes_values() { value } else { String::new() };
    match argument.get_long() {
        Some(long) => format!("--{long}{value}"),
        None => values.first().map_or_else(|| argument.get_id().to_string(), ToString::to_string),
    }
}

#[test]
fn the_reference_of_settings_is_fresh() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/settings.md");
    let fresh = reference();
    if std::env::var_os("VAMP_UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == fresh, "{} is not fresh: VAMP_UPDATE_GENERATED=1 cargo test -p vamp-cli", path.display());
}

#[test]
fn every_setting_says_what_it_means_and_has_a_variable_of_its_own_name() {
    let gateway = vamp_gateway::Settings::augment_args(Command::new("vamp-gateway"));
    let program = Program::command();
    let servers = program.get_subcommands().filter(|command| ["dev", "control-plane"].contains(&command.get_name()));
    for command in servers.chain([&gateway]) {
        for argument in command.get_arguments() {
            let long = argument.get_long().unwrap_or_else(|| panic!("{} has no long flag", argument.get_id()));
            let variable = argument.get_env().map(|name| name.to_string_lossy().into_owned());
            let expected = format!("VAMP_{}", long.replace('-', "_").to_uppercase());
            assert_eq!(variable, Some(expected), "--{long} of {}", command.get_name());
            assert!(argument.get_help().is_some(), "--{long} of {}", command.get_name());
        }
    }
}
