//! Flags that all verbs of the client share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{host, kind, long_wait_time, output, output_of_change, wait_time};
use crate::format::Output;

/// Where the control plane is, and who we are for it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// Context whose control plane is asked, in place of the current one: see `vamp context`
    #[arg(long, env = "VAMP_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Address of the control plane; without it and without a context: `http://127.0.0.1:8080`
    #[arg(long, env = "VAMP_HOST", value_name = "URL", value_parser = host)]
    pub(crate) host: Option<url::Url>,
    /// File whose first line is the token to send; the token may also stand in `VAMP_TOKEN`
    #[arg(long, env = "VAMP_CLIENT_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate authority of the control plane (PEM), in place of those that the system trusts
    #[arg(long, env = "VAMP_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

/// How an answer is written.
#[derive(Debug, Clone, Args)]
pub(crate) struct OutputArguments {
    /// `table`, `wide`, `yaml`, `json`, `name`, or `jsonpath=PATH` as in `jsonpath={.name}`
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = output)]
    pub(crate) output: Output,
}

/// What becomes of the blueprints of files.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Storing {
    /// Keeps blueprints as descriptions, and deploys none
    #[arg(long)]
    pub(crate) store_only: bool,
}

/// Waiting for gateways.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Waiting {
    /// Returns when every gateway process serves the change; exit code 6 if not all do in time
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long --wait waits, up to 60s
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = wait_time)]
    pub(crate) timeout: Duration,
}

/// Waiting for gateways by asking again and again, so that the API's longest wait does not matter.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitingForRollout {
    /// Returns when every gateway process serves the newest table; exit code 6 if not all do in time
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long --wait waits, up to 1h
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = long_wait_time)]
    pub(crate) timeout: Duration,
}

/// Waiting for services.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitingForServices {
    /// Returns when all services are as they are wanted and gateways serve them; exit code 6 if not in time
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long --wait waits, up to 1h
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = long_wait_time)]
    pub(crate) timeout: Duration,
}

/// What all changes may say.
#[derive(Debug, Clone, Args)]
pub(crate) struct Writing {
    /// `table` for people, `yaml`, `json`, `name`, or `jsonpath=PATH`: the artifacts as they are then, each with its `outcome`; of --dry-run as they would be stored
    #[arg(short, long, value_name = "FORMAT", default_value = "table", value_parser = output_of_change)]
    pub(crate) output: Output,
    /// Why, in words: it stands in the history
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Checks everything, shows what would change, and changes nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
}

impl Writing {
    /// Whether what came of it is told in words.
    pub(crate) fn is_for_people(&self) -> bool {
        matches!(self.output, Output::Table | Output::Wide)
    }
}

/// A question: who is asked, and how the answer is written.
#[derive(Debug, Clone, Args)]
pub(crate) struct Asking {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// A change that gateways serve.
#[derive(Debug, Clone, Args)]
pub(crate) struct Changing {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// A change of what runs.
#[derive(Debug, Clone, Args)]
pub(crate) struct Deploying {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) waiting: WaitingForServices,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

/// One artifact.
#[derive(Debug, Clone, Args)]
pub(crate) struct Named {
    /// gateway, condition, deployment …
    #[arg(value_parser = kind)]
    pub(crate) kind: &'static str,
    /// Name of the artifact; of its history also one that was deleted
    pub(crate) name: String,
}
