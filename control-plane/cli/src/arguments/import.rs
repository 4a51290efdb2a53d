//! Flags of `vamp import`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::values::variable;
use super::{Deploying, Storing};

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    #[command(subcommand)]
    pub(crate) verb: ImportVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportVerb {
    /// Writes a Docker Compose file as a blueprint, with a comment for each thing that was not carried over
    ///
    /// Without --apply no control plane is asked: the blueprint goes to standard output, to be edited and applied.
    Compose(ComposeArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ComposeArguments {
    #[command(flatten)]
    pub(crate) deploying: Deploying,
    /// The Docker Compose file; `-` reads standard input
    #[arg(short, long = "filename", value_name = "FILE", default_value = "docker-compose.yml")]
    pub(crate) filename: PathBuf,
    /// Name of the blueprint
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// A variable of the file, as NAME=VALUE, in place of those of this shell, which are not read
    #[arg(short, long = "env", value_name = "NAME=VALUE", value_parser = variable)]
    pub(crate) variables: Vec<(String, String)>,
    /// Applies the blueprint, as `vamp apply` does, in place of writing it
    #[arg(long)]
    pub(crate) apply: bool,
    #[command(flatten)]
    pub(crate) storing: Storing,
}
