//! Flags of the verbs that change something.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::{cluster_and_breed, route_weight, weights};
use super::{Changing, Deploying, Named, Storing};

#[derive(Debug, Args)]
pub(crate) struct ApplyArguments {
    #[command(flatten)]
    pub(crate) deploying: Deploying,
    /// YAML or JSON file with one or more artifacts, or a folder of such; `-` reads standard input. May be given several times
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub(crate) filename: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) storing: Storing,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    #[command(flatten)]
    pub(crate) changing: Changing,
    #[command(flatten)]
    pub(crate) artifact: Named,
}

#[derive(Debug, Args)]
#[command(mut_arg("output", |output| output.value_parser(super::values::output).help(OUTPUT_OF_SPLIT)))]
pub(crate) struct SplitArguments {
    #[command(flatten)]
    pub(crate) changing: Changing,
    /// Name of the gateway
    pub(crate) gateway: String,
    /// New weights in percent, in the order of the routes, as in `90/10`; without them the split is shown
    #[arg(value_parser = weights)]
    pub(crate) weights: Option<Weights>,
}

const OUTPUT_OF_SPLIT: &str = "`table`, `wide`, `yaml`, `json`, `name`, or `jsonpath=PATH`; of new weights all but `wide`: the gateway as it is then";

/// Weights as the API takes them, in the order of the routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weights(pub(crate) Vec<String>);

/// What is deployed.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct BlueprintArguments {
    /// Name of a stored blueprint
    #[arg(value_name = "BLUEPRINT")]
    pub(crate) blueprint: Option<String>,
    /// YAML or JSON file with a blueprint; `-` reads standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    pub(crate) filename: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct DeployArguments {
    #[command(flatten)]
    pub(crate) deploying: Deploying,
    #[command(flatten)]
    pub(crate) blueprint: BlueprintArguments,
    /// The same as --as, as the original's client has it
    #[arg(value_name = "DEPLOYMENT", conflicts_with = "name")]
    pub(crate) deployment: Option<String>,
    /// Name of the deployment, in place of that of the blueprint
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArguments {
    #[command(flatten)]
    pub(crate) deploying: Deploying,
    /// Name of the deployment
    pub(crate) deployment: String,
    #[command(flatten)]
    pub(crate) blueprint: BlueprintArguments,
}

#[derive(Debug, Args)]
pub(crate) struct UndeployArguments {
    #[command(flatten)]
    pub(crate) deploying: Deploying,
    /// Name of the deployment
    pub(crate) deployment: String,
    /// Services to remove, as CLUSTER/BREED; without them: all
    #[arg(value_name = "CLUSTER/BREED", value_parser = cluster_and_breed)]
    pub(crate) services: Vec<(String, String)>,
    /// A service to remove by its breed alone, as the original's client has it. May be given several times
    #[arg(short, long, value_name = "BREED")]
    pub(crate) service: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArguments {
    #[command(flatten)]
    pub(crate) deploying: Deploying,
    /// Name of the deployment
    pub(crate) deployment: String,
    /// The service, as CLUSTER/BREED
    #[arg(value_name = "CLUSTER/BREED", value_parser = cluster_and_breed)]
    pub(crate) service: (String, String),
    /// Instances, 0 to 1,000
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) instances: Option<u32>,
    /// Processors of each, as in `0.25` or `250m`
    #[arg(long)]
    pub(crate) cpu: Option<String>,
    /// Memory of each with its unit, as in `64MB` or `1Gi`
    #[arg(long)]
    pub(crate) memory: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct GatewayArguments {
    #[command(subcommand)]
    pub(crate) verb: GatewayVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GatewayVerb {
    /// Gives routes of a gateway new weights; routes that are not named keep theirs
    SetWeights(SetWeightsArguments),
}

#[derive(Debug, Args)]
pub(crate) struct SetWeightsArguments {
    #[command(flatten)]
    pub(crate) changing: Changing,
    /// Name of the gateway
    pub(crate) gateway: String,
    /// Weights in percent, as ROUTE=WEIGHT; ROUTE is a route's path, or the breed of the service that it leads to
    #[arg(required = true, value_name = "ROUTE=WEIGHT", value_parser = route_weight)]
    pub(crate) weights: Vec<(String, String)>,
}

#[derive(Debug, Args)]
pub(crate) struct EditArguments {
    #[command(flatten)]
    pub(crate) changing: Changing,
    #[command(flatten)]
    pub(crate) artifact: Named,
}

#[derive(Debug, Args)]
pub(crate) struct UndoArguments {
    #[command(flatten)]
    pub(crate) deploying: Deploying,
    #[command(flatten)]
    pub(crate) artifact: Named,
    /// The version that is to be the newest again; without it: the one before the last
    #[arg(long = "to", value_name = "VERSION")]
    pub(crate) version: Option<u64>,
}
