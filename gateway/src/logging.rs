//! The log of both programs: lines on standard error, as text for people or as JSON for collectors.

use tracing_subscriber::EnvFilter;

/// Settings of the log.
#[derive(Debug, Clone, clap::Args)]
pub struct LogSettings {
    /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, for all or by part, as in `info,vamp_store=debug`
    #[arg(long, env = "VAMP_LOG", value_name = "FILTER", default_value = "info", value_parser = filter)]
    pub log: String,
    /// How a line is written
    #[arg(long, env = "VAMP_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl LogSettings {
    /// Starts the log of this process. A second call has no effect.
    pub fn start(&self) {
        let filter = EnvFilter::try_new(&self.log).unwrap_or_else(|_| EnvFilter::new("info"));
        let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
        // A log that can't be written (its disk is full, its reader gone) is lost; to say that on the same standard error
        // would end the thread that logged.
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(colours)
            .log_internal_errors(false);
        // A log that was started before (by a test) stays as it is.
        drop(match self.log_format {
            LogFormat::Text => lines.try_init(),
            LogFormat::Json => lines.json().try_init(),
        });
    }
}

fn filter(text: &str) -> Result<String, String> {
    EnvFilter::try_new(text)
        .map(|_| text.to_owned())
        .map_err(|error| format!("{error}: write as in `info,vamp_store=debug`"))
}

/// An error with everything that led to it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    joined(error, ": ")
}

/// An error with everything that led to it, each cause on a line of its own.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    joined(error, "\n  because ")
}

fn joined(error: &dyn std::error::Error, between: &str) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}{between}{error}");
        cause = error.source();
    }
    text
}
