//! The last step before an instance: takes its limits and becomes it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, setrlimit};

/// Exit codes as a shell has them.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;

/// Arguments: memory in bytes or `-`, how many groups to join, a file for each of them, the program, its arguments. What
/// fails is said on the instance's own output, where its author looks.
pub(super) fn launch(arguments: &[OsString]) -> ExitCode {
    let [memory, groups, rest @ ..] = arguments else { return ExitCode::from(2) };
    let count = groups.to_str().and_then(|text| text.parse().ok()).unwrap_or_default();
    let Some((groups, [program, arguments @ ..])) = rest.split_at_checked(count) else { return ExitCode::from(2) };
    // It could be done when this was tried: an instance without its limit is better than none.
    if let Err(why) = join(groups) {
        complain(&format!("limits not enforced: {why}"));
    }
    if let Some(bytes) = memory.to_str().and_then(|text| text.parse().ok()) {
        // What the process can write: reserved addresses, which some runtimes take by the gigabyte, do not count.
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        if let Err(error) = setrlimit(Resource::Data, limit) {
            complain(&format!("the memory of the instance can't be limited to {bytes} bytes: {error}"));
            return ExitCode::from(NOT_STARTED);
        }
    }
    // Returns only if it fails.
    let error = Command::new(program).args(arguments).exec();
    complain(&format!("`{}` does not start: {error}", program.display()));
    ExitCode::from(if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { NOT_STARTED })
}

/// Arguments: a file for each group to join.
pub(super) fn try_to_join(groups: &[OsString]) -> ExitCode {
    match join(groups) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            complain(&why);
            ExitCode::FAILURE
        }
    }
}

fn join(groups: &[OsString]) -> Result<(), String> {
    for group in groups {
        std::fs::write(group, "0").map_err(|error| format!("writing {}: {error}", group.display()))?;
    }
    Ok(())
}

fn complain(text: &str) {
    use std::io::Write as _;
    // Nobody is left to be told if this fails.
    drop(writeln!(std::io::stderr(), "{text}"));
}
