//! The binary `vamp-gateway`: one gateway process.

use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser};
use vamp_gateway::logging::{LogSettings, with_causes};
use vamp_gateway::settings_file::{ConfigFile, with_file};
use vamp_gateway::signals::until_told_to_stop;
use vamp_gateway::upgrade::{End, Predecessor, Requests, UpgradeCommand};
use vamp_gateway::{Settings, start_after, upgrade};

/// Vamp's data plane: serves traffic by the newest routing table of its store
#[derive(Debug, Parser)]
#[command(name = "vamp-gateway", version, subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
struct Program {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    settings: Settings,
}

const UPGRADE: &str = "upgrade";
/// LIMIT: how long the end waits for writes to a disk, when requests are done.
const WRITES_PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let command = Program::command().subcommand(UpgradeCommand::augment_args(clap::Command::new(UPGRADE)));
    let command = match with_file(command, &arguments) {
        Ok(command) => command,
        Err(error) => return failed(&error, 2),
    };
    let matches = command.get_matches_from(&arguments);
    // Requests have threads of their own; here run the synchronisation, the shipper and the admin listener.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, 1),
    };
    if let Some((UPGRADE, matches)) = matches.subcommand() {
        let command = UpgradeCommand::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
        return runtime.block_on(command.run());
    }
    let program = Program::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    program.log.start();
    let code = runtime.block_on(run(program.settings, &upgrade::Program::new(&arguments)));
    // A runtime that is dropped waits for all that blocks, as long as its disk does not answer.
    runtime.shutdown_timeout(WRITES_PATIENCE);
    code
}

async fn run(settings: Settings, program: &upgrade::Program) -> ExitCode {
    let store = match vamp_store::connect(&settings.store) {
        Ok(store) => store,
        Err(error) => return failed(&error, 2),
    };
    let mut before = match Predecessor::meet().await {
        Ok(before) => before,
        Err(error) => return failed(&error, 1),
    };
    let data_dir = settings.data_dir.clone();
    let running = match start_after(settings, store, before.as_mut()).await {
        Ok(running) => running,
        Err(error) => {
            if let Some(before) = before {
                before.failed(&with_causes(&error)).await;
            }
            return failed(&error, 1);
        }
    };
    let requests = Requests::open(&data_dir, before.and_then(|before| before.into_requests(&running)));
    upgrade::ready();
    let mut told = pin!(until_told_to_stop());
    match requests.serve(&running, program, told.as_mut()).await {
        End::Told => {
            upgrade::stopping();
            tracing::info!("stopping: requests under way are finished first");
            running.stop().await;
        }
        End::HandedOver(heir) => {
            drop(requests);
            if !running.hand_over(&heir, told).await {
                // The process before this one, if there still is one, is to learn it.
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn failed(error: &dyn std::error::Error, code: u8) -> ExitCode {
    #[expect(clippy::print_stderr, reason = "the program ends with these words")]
    {
        eprintln!("error: {}", with_causes(error));
    }
    ExitCode::from(code)
}
