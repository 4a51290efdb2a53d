//! The last step before an instance: takes its limits and becomes it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, setrlimit};

/// Exit codes as a shell has them.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;

/// Arguments: memory in bytes or `-`, the program, its arguments. What fails is said on the instance's own output, where
/// its author looks.
pub(super) fn launch(arguments: &[OsString]) -> ExitCode {
    let [memory, program, arguments @ ..] = arguments else { return ExitCode::from(2) };
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

fn complain(text: &str) {
    use std::io::Write as _;
    // Nobody is left to be told if this fails.
    drop(writeln!(std::io::stderr(), "{text}"));
}
