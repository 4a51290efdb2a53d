//! Flags of the verbs that show something.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use vamp_model::Selector;

use super::values::{header, kind, selector, since};
use super::{Asking, Named, Storing, WaitingForRollout};

#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    #[command(flatten)]
    pub(crate) asking: Asking,
    /// gateways, routes, conditions, breeds, blueprints, deployments …
    #[arg(value_parser = kind)]
    pub(crate) kind: &'static str,
    /// Name of one artifact; without it: all
    pub(crate) name: Option<String>,
    /// Only those whose metadata has this: `team=shop`, `team!=shop`, `team` or `!team`. Several, with commas, must all hold
    #[arg(short = 'l', long, value_name = "LABEL", value_delimiter = ',', value_parser = selector, conflicts_with = "name")]
    pub(crate) selector: Vec<Selector>,
    /// Shows what changes from now on too, until Ctrl-C
    #[arg(short, long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeArguments {
    #[command(flatten)]
    pub(crate) asking: Asking,
    #[command(flatten)]
    pub(crate) artifact: Named,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    #[command(flatten)]
    pub(crate) asking: Asking,
    #[command(flatten)]
    pub(crate) artifact: Named,
    /// How many of the newest versions, 1 to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    #[command(flatten)]
    pub(crate) asking: Asking,
    /// gateway, condition, deployment …
    #[arg(value_parser = kind)]
    pub(crate) kind: Option<&'static str>,
    /// Name of the artifact
    pub(crate) name: Option<String>,
    /// The version to begin with; without it: the one before the newest
    #[arg(value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from: Option<u64>,
    /// The version to end with; without it: the newest
    #[arg(value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) to: Option<u64>,
    /// What applying this file would change; `-` reads standard input. May be given several times
    #[arg(short, long = "filename", value_name = "FILE", conflicts_with = "kind")]
    pub(crate) filename: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) storing: Storing,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArguments {
    #[command(flatten)]
    pub(crate) asking: Asking,
    /// A tag that they have, as in `gateways:shop`. May be given several times: they have all of them
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Their type, as in `archive`
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) of_type: Option<String>,
    /// Not those before: how long ago, as in `15m`, or a moment, as in `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub(crate) since: Option<String>,
    /// How many of the newest, 0 to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub(crate) limit: u16,
    /// Shows those that come too, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(crate) asking: Asking,
    /// Name of the deployment
    pub(crate) deployment: String,
    /// Whose: a service, as CLUSTER/BREED, or the name of an instance; without it: all of the deployment
    #[arg(value_name = "CLUSTER/BREED|INSTANCE")]
    pub(crate) of: Option<String>,
    /// How many of the last lines, 0 to 10000
    #[arg(long, value_name = "LINES", default_value_t = 100, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    pub(crate) tail: u16,
    /// Shows the lines that come too, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct VersionArguments {
    #[command(flatten)]
    pub(crate) asking: Asking,
    /// Only that of this program
    #[arg(long)]
    pub(crate) client: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    pub(crate) asking: Asking,
    /// Name of the gateway at which the request would come in
    pub(crate) gateway: String,
    /// Method of the request
    #[arg(short = 'X', long, default_value = "GET")]
    pub(crate) method: String,
    /// Path and query of the request
    #[arg(short, long, default_value = "/")]
    pub(crate) path: String,
    /// Header field of the request, as `Name: value`. May be given several times
    #[arg(short = 'H', long, value_name = "FIELD", value_parser = header)]
    pub(crate) header: Vec<(String, String)>,
    /// Address of the client
    #[arg(long, value_name = "IP")]
    pub(crate) source: Option<std::net::IpAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct RolloutArguments {
    #[command(subcommand)]
    pub(crate) verb: RolloutVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutVerb {
    /// Shows what each gateway process serves
    Status(RolloutStatusArguments),
}

#[derive(Debug, Args)]
pub(crate) struct RolloutStatusArguments {
    /// The deployment, as `shop` or `deployment/shop`; without one, the gateway processes
    #[arg(value_name = "DEPLOYMENT")]
    pub(crate) deployment: Option<String>,
    #[command(flatten)]
    pub(crate) asking: Asking,
    #[command(flatten)]
    pub(crate) waiting: WaitingForRollout,
}

#[derive(Debug, Args)]
pub(crate) struct AuditArguments {
    #[command(subcommand)]
    pub(crate) verb: AuditVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// Shows the newest changes: what, who, why
    List(AuditListArguments),
    /// Reads the whole history and names the first place that is not what was written
    ///
    /// Keep the head that it prints somewhere else: `vamp audit verify --head HEAD` shows later that the end is still there.
    Verify(AuditVerifyArguments),
}

#[derive(Debug, Args)]
pub(crate) struct AuditListArguments {
    #[command(flatten)]
    pub(crate) asking: Asking,
    /// How many, 1 to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArguments {
    #[command(flatten)]
    pub(crate) asking: Asking,
    /// A head that an audit printed before: that change must be there still
    #[arg(long, value_name = "NUMBER:HASH")]
    pub(crate) head: Option<String>,
}
