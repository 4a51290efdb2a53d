//! The binary `vamp-gateway`: one gateway process.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use vamp_gateway::logging::{LogSettings, with_causes};
use vamp_gateway::settings_file::{ConfigFile, with_file};
use vamp_gateway::signals::until_told_to_stop;
use vamp_gateway::{Settings, start};

/// Vamp's data plane: serves traffic by the newest routing table of its store
#[derive(Debug, Parser)]
#[command(name = "vamp-gateway", version)]
struct Program {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    settings: Settings,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let command = match with_file(Program::command(), &arguments) {
        Ok(command) => command,
        Err(error) => return failed(&error, 2),
    };
    let program = Program::from_arg_matches(&command.get_matches_from(arguments)).unwrap_or_else(|error| error.exit());
    program.log.start();
    // Requests have threads of their own; here run the synchronisation, the shipper and the admin listener.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(run(program.settings)),
        Err(error) => failed(&error, 1),
    }
}

async fn run(settings: Settings) -> ExitCode {
    let store = match vamp_store::connect(&settings.store) {
        Ok(store) => store,
        Err(error) => return failed(&error, 2),
    };
    let running = match start(settings, store).await {
        Ok(running) => running,
        Err(error) => return failed(&error, 1),
    };
    until_told_to_stop().await;
    tracing::info!("stopping: requests under way are finished first");
    running.stop().await;
    ExitCode::SUCCESS
}

fn failed(error: &dyn std::error::Error, code: u8) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "the program ends with these words")]
    {
        eprintln!("error: {}", with_causes(error));
    }
    ExitCode::from(code)
}
