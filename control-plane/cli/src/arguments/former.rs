//! Flags of the verbs by which the original's client did what other verbs do here.

use std::path::PathBuf;

use clap::Args;

use super::values::{kind, percent, route_at_weight};
use super::{OutputArguments, Server, Waiting, Writing};

#[derive(Debug, Args)]
pub(crate) struct CreateArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// blueprint, breed, gateway …
    #[arg(value_parser = kind)]
    pub(crate) kind: &'static str,
    /// YAML or JSON file with one or several artifacts of the kind; `-` reads standard input
    #[arg(short, long, value_name = "FILE", required_unless_present = "stdin")]
    pub(crate) file: Option<PathBuf>,
    /// Reads them from standard input
    #[arg(short, long, conflicts_with = "file")]
    pub(crate) stdin: bool,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

#[derive(Debug, Args)]
pub(crate) struct UpdateGatewayArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Name of the gateway
    pub(crate) gateway: String,
    /// The route that gets a condition: its path, or the breed of the service that it leads to
    #[arg(short, long, value_name = "ROUTE", required_unless_present = "weights", requires = "condition")]
    pub(crate) route: Option<String>,
    /// The condition; `null` takes it away
    #[arg(short, long, value_name = "CONDITION", requires = "route")]
    pub(crate) condition: Option<String>,
    /// How many of the requests that match take the route, in percent; without it as many as before, or all
    #[arg(short, long, value_name = "PERCENT", requires = "condition", value_parser = percent)]
    pub(crate) strength: Option<String>,
    /// New weights, as in `route@70%,route2@30%`
    #[arg(short, long, value_name = "ROUTE@WEIGHT", value_delimiter = ',', value_parser = route_at_weight, conflicts_with = "route")]
    pub(crate) weights: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) writing: Writing,
}

#[derive(Debug, Args)]
pub(crate) struct EmitArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// What there is to say: JSON, or any text
    pub(crate) value: String,
    /// What it is about, as in `deployments:shop,metrics:rate`
    #[arg(short, long, value_name = "TAG", value_delimiter = ',', required = true)]
    pub(crate) tags: Vec<String>,
    /// Its type; `event` when left out
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) of_type: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Of a verb that is not there any more: whatever is written after it, so that the mend is told.
#[derive(Debug, Args)]
pub(crate) struct GoneArguments {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    _rest: Vec<String>,
}
