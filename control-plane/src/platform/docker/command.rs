//! Commands beside an instance, in its container.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::container::LogOutput as Frame;
use bollard::exec::{CreateExecOptions, StartExecResults};
use futures_util::StreamExt as _;
use tokio::time::Instant;

use super::engine::{Engine, Failure};
use crate::platform::instance::{OUTPUT_BYTES_MAX, end_of};
use crate::platform::{InstanceId, Outcome, PlatformError};

/// LIMIT: commands of one instance that were given up and still run: the engine can't end them, only the container's end
/// does.
const LATE_MAX: usize = 4;
/// How often is looked whether a command whose output ended has ended too.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Commands that were given up, by the containers in which they may still run.
#[derive(Debug, Default)]
pub(super) struct Late(Mutex<BTreeMap<String, Vec<String>>>);

impl Late {
    fn of(&self, container: &str) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(container).cloned().unwrap_or_default()
    }

    fn keep(&self, container: &str, commands: Vec<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if commands.is_empty() {
            all.remove(container);
        } else {
            all.insert(container.to_owned(), commands);
        }
    }

    /// Forgets a container that is gone.
    pub(super) fn forget(&self, container: &str) {
        self.keep(container, Vec::new());
    }
}

/// Runs a command in a container to its end, or gives it up.
pub(super) async fn run(
    engine: &Engine,
    late: &Late,
    (id, container): (&InstanceId, &str),
    command: &[String],
    patience: Duration,
) -> Result<Outcome, PlatformError> {
    let name = command.first().cloned().unwrap_or_default();
    let failed = |failure: Failure| match failure {
        failure if failure.is_absent() => PlatformError::NotFound { id: id.to_string() },
        failure if failure.is_conflict() => PlatformError::NotRunning { id: id.to_string() },
        failure => engine.error(format!("run `{name}` beside instance `{id}`"), failure),
    };
    let too_late = || PlatformError::Late { id: id.to_string(), what: "answer a command", seconds: patience.as_secs() };
    let mut given_up = still_running(engine, late.of(container)).await.map_err(failed)?;
    late.keep(container, given_up.clone());
    if given_up.len() >= LATE_MAX {
        return Err(too_late());
    }
    let options = CreateExecOptions {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(command.to_vec()),
        ..CreateExecOptions::default()
    };
    let made = engine.work(|docker| docker.create_exec(container, options)).await.map_err(failed)?.id;
    let started = engine.work(|docker| docker.start_exec(&made, None)).await.map_err(failed)?;
    let deadline = Instant::now() + patience;
    let output = tokio::time::timeout_at(deadline, read(started)).await;
    let code = match &output {
        Ok(_) => code(engine, &made, deadline).await.map_err(failed)?,
        // Only an engine that answers can tell that it is the command who does not.
        Err(_) => engine.look(bollard::Docker::ping).await.map(|_| None).map_err(failed)?,
    };
    let (Ok(output), Some(code)) = (output, code) else {
        given_up.push(made);
        late.keep(container, given_up);
        return Err(too_late());
    };
    let output = output.map_err(failed)?;
    if code == NOT_STARTED && output.starts_with("OCI runtime exec failed") {
        return Err(PlatformError::UnknownCommand { id: id.to_string(), command: name });
    }
    Ok(Outcome { code: i32::try_from(code).ok(), output })
}

/// The exit code of a program that the engine could not start.
const NOT_STARTED: i64 = 126;

async fn still_running(engine: &Engine, commands: Vec<String>) -> Result<Vec<String>, Failure> {
    let mut running = Vec::new();
    for command in commands {
        match engine.look(|docker| docker.inspect_exec(&command)).await {
            Ok(told) if told.running == Some(true) => running.push(command),
            Err(failure) if !failure.is_absent() => return Err(failure),
            _ => {}
        }
    }
    Ok(running)
}

/// Its exit code; `None`: it closed its outputs and runs on.
async fn code(engine: &Engine, command: &str, deadline: Instant) -> Result<Option<i64>, Failure> {
    loop {
        let told = engine.look(|docker| docker.inspect_exec(command)).await?;
        if told.running != Some(true)
            && let Some(code) = told.exit_code
        {
            return Ok(Some(code));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// Reads both outputs to their ends, and keeps the last of each: the engine does not tell in which order they were.
async fn read(started: StartExecResults) -> Result<String, Failure> {
    let StartExecResults::Attached { mut output, input: _open } = started else { return Ok(String::new()) };
    let (mut out, mut error) = (Vec::new(), Vec::new());
    while let Some(frame) = output.next().await {
        let (kept, bytes) = match frame? {
            Frame::StdErr { message } => (&mut error, message),
            Frame::StdOut { message } | Frame::StdIn { message } | Frame::Console { message } => (&mut out, message),
        };
        kept.extend_from_slice(&bytes);
        let surplus = kept.len().saturating_sub(OUTPUT_BYTES_MAX);
        kept.drain(..surplus);
    }
    out.extend_from_slice(&error);
    Ok(end_of(&out))
}
