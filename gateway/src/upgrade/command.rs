//! `vamp-gateway upgrade`: asks the gateway that runs on a data directory to let a new program take over.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::requests::place;
use super::{Order, Outcome, Upgraded};
use crate::settings::duration;

/// LIMIT: what the running process needs beside the time of the new one: it ends what is under way, and an attempt that
/// failed.
const ANSWER_PATIENCE: Duration = Duration::from_secs(40);

/// LIMIT: an answer is one line, with the end of what the new program wrote.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

const FAILED: u8 = 1;
const NOT_RUNNING: u8 = 3;
const BUSY: u8 = 4;

/// Lets a new program take over from the gateway that runs, without a connection refused or a request failed
///
/// The new program is started by the running one, with its arguments and its environment; a settings file is read
/// again. If it does not get ready, the running one serves on. Exit codes: 0 the new program serves, 1 it does not,
/// 2 wrong arguments, 3 no gateway runs on the data directory, 4 another upgrade is under way.
#[derive(Debug, Clone, clap::Args)]
pub struct UpgradeCommand {
    /// Data directory of the gateway that runs
    #[arg(long, env = "VAMP_DATA_DIR", value_name = "DIR", default_value = "vamp-gateway-data")]
    data_dir: PathBuf,
    /// Program to start; without it the one that the gateway was started as, which may be another file by now
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Longest time until the new program is ready
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    timeout: Duration,
}

/// Why there is no upgrade.
#[derive(Debug, thiserror::Error)]
enum UpgradeError {
    #[error("no gateway runs on data directory `{}`: start one, or name its --data-dir", data_dir.display())]
    NotRunning {
        data_dir: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("the gateway on data directory `{}` does not answer: look at its log", data_dir.display())]
    Silent {
        data_dir: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("another upgrade of this gateway is under way: wait for its end")]
    Busy,
    #[error("only root and the user that runs the gateway may upgrade it")]
    Denied,
    #[error("the gateway was not upgraded, the old program serves on: {0}")]
    Failed(String),
}

impl UpgradeCommand {
    /// Asks, and says what came of it.
    pub async fn run(self) -> ExitCode {
        match self.ask().await {
            Ok(upgraded) => {
                #[expect(clippy::print_stdout, reason = "what the operator asked for")]
                {
                    println!("{}", told(&upgraded));
                }
                ExitCode::SUCCESS
            }
            Err(error) => {
                #[expect(clippy::print_stderr, reason = "the program ends with these words")]
                {
                    eprintln!("error: {}", crate::logging::with_causes(&error));
                }
                ExitCode::from(error.exit_code())
            }
        }
    }

    async fn ask(self) -> Result<Upgraded, UpgradeError> {
        let Self { data_dir, binary, timeout } = self;
        let connected = UnixStream::connect(place(&data_dir)).await;
        let mut stream = connected.map_err(|cause| match cause.kind() {
            std::io::ErrorKind::PermissionDenied => UpgradeError::Denied,
            _ => UpgradeError::NotRunning { data_dir: data_dir.clone(), cause },
        })?;
        let silent = |cause| UpgradeError::Silent { data_dir, cause };
        // The gateway may stand in another directory.
        let binary = binary.map(std::path::absolute).transpose();
        let order = binary.map(|binary| Order { binary, patience: timeout });
        let asked = async {
            let mut line = serde_json::to_vec(&order?)?;
            line.push(b'\n');
            stream.write_all(&line).await?;
            let mut answer = Vec::new();
            stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
            Ok(serde_json::from_slice(&answer)?)
        };
        let answer = tokio::time::timeout(timeout + ANSWER_PATIENCE, asked).await;
        match answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(silent)? {
            Outcome::Upgraded(upgraded) => Ok(upgraded),
            Outcome::Failed(reason) => Err(UpgradeError::Failed(reason)),
            Outcome::Busy => Err(UpgradeError::Busy),
            Outcome::Denied => Err(UpgradeError::Denied),
        }
    }
}

impl UpgradeError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::NotRunning { .. } => NOT_RUNNING,
            Self::Busy => BUSY,
            Self::Silent { .. } | Self::Denied | Self::Failed(_) => FAILED,
        }
    }
}

fn told(upgraded: &Upgraded) -> String {
    let Upgraded { pid_before, version_before, pid, version, sockets, connections, drain_timeout } = upgraded;
    format!(
        "process {pid} (version {version}) serves in place of process {pid_before} (version {version_before}) with {sockets} listening sockets; process {pid_before} finishes {connections} connections within {drain_timeout:?}"
    )
}
