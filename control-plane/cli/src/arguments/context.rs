//! Flags of `vamp context`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct ContextArguments {
    #[command(subcommand)]
    pub(crate) verb: ContextVerb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContextVerb {
    /// Shows all contexts; the current one has a star
    List,
    /// Shows which control plane is asked, and by what that was said
    Show(super::Server),
    /// Makes a context the current one
    Use(ContextName),
    /// Makes or changes a context
    ///
    /// Example: `vamp context set prod --host https://vamp.example:8443 --token-file ~/.vamp-token`
    Set(ContextSetArguments),
    /// Forgets a context
    Delete(ContextName),
}

#[derive(Debug, Args)]
pub(crate) struct ContextName {
    /// Name of the context
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct ContextSetArguments {
    /// Name of the context
    pub(crate) name: String,
    /// Address of its control plane; needed for a new one
    #[arg(long, value_name = "URL", value_parser = super::values::host)]
    pub(crate) host: Option<url::Url>,
    /// File whose first line is the token to send: only its path is kept
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate authority of its control plane (PEM)
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}
