//! What a platform tells of an instance.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use serde::{Deserialize, Serialize};

use super::{InstanceId, Labels, PlatformError};

/// One instance, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id, given by who ordered it.
    pub id: InstanceId,
    /// Its labels, as ordered.
    pub labels: Labels,
    /// Digest of the order by which it runs ([`super::InstanceSpec::digest`]).
    pub digest: String,
    /// What it does.
    pub state: State,
    /// Where its ports are: an address or a name.
    pub host: String,
    /// Its ports by name, as they are reached at `host`. Those that are not open yet are left out.
    pub ports: BTreeMap<String, u16>,
    /// When it was started last, milliseconds since 1970 (UTC).
    pub started_at_unix_ms: Option<u64>,
    /// How often it ended by itself and was started again.
    pub restarts: u32,
    /// Parts of its order that are not kept, each with the reason and the mend.
    pub warnings: Vec<String>,
}

/// What an instance does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    /// What it needs is being fetched; how far that is, in words.
    Preparing(String),
    /// It is made, and does not run yet.
    Starting,
    /// It runs.
    Running,
    /// It ended by itself, and waits to be started again.
    Restarting(Exit),
    /// It ended, and stays so until it is ensured again.
    Exited(Exit),
}

/// How an instance ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code; `None`: a signal ended it, or nobody was there to see it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was ended because it took too much memory.
    pub is_out_of_memory: bool,
    /// When, milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
}

/// What an instance uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since it was started.
    pub processor_time: Duration,
    /// Memory now, without what the system may take back at any time.
    pub memory_bytes: u64,
}

/// Which lines are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogQuery {
    /// How many of the last ones.
    pub tail_lines: usize,
    /// Whether those that come are wanted too, until the instance is removed.
    pub is_following: bool,
}

/// Where a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written, milliseconds since 1970 (UTC).
    pub at_unix_ms: u64,
    /// Where to.
    pub output: LogOutput,
    /// Without the end of the line; what is no UTF-8 is replaced.
    pub text: String,
}

/// Lines, oldest first; ends with the last one, or with an error.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<LogLine, PlatformError>> + Send>>;

/// How a command beside an instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code; `None`: a signal ended it.
    pub code: Option<i32>,
    /// The end of what it wrote, on both outputs.
    pub output: String,
}

/// LIMIT: what is kept of the output of a command beside an instance: enough for a reason.
pub(super) const OUTPUT_BYTES_MAX: usize = 4_096;

/// The end of some output, within [`OUTPUT_BYTES_MAX`].
pub(super) fn end_of(bytes: &[u8]) -> String {
    let kept = bytes.get(bytes.len().saturating_sub(OUTPUT_BYTES_MAX)..).unwrap_or_default();
    String::from_utf8_lossy(kept).trim().to_owned()
}
