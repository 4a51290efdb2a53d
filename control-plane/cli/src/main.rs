//! The binary `vamp`: the control plane, the whole product for development, and the client's verbs.

mod arguments;
mod client;
mod colour;
mod context;
mod control_plane;
mod demo_service;
mod dev;
mod failure;
mod format;
mod jsonpath;
mod output;
mod runtime;
#[cfg(test)]
mod settings_reference;
mod verbs;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use vamp_gateway::logging::with_causes;
use vamp_gateway::settings_file::with_file;

use arguments::{AuditVerb, ContextVerb, GatewayVerb, ImportVerb, Program, RolloutVerb, Verb};
use colour::{Colour, on_errors};
use failure::Failure;
use output::remark;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    // Before there are threads: a supervisor of an instance is small, and lives as long as the instance.
    vamp_control_plane::platform::process::as_helper(&arguments).unwrap_or_else(|| program(arguments))
}

fn program(arguments: Vec<OsString>) -> ExitCode {
    let command = match with_file(Program::command(), &arguments) {
        Ok(command) => command,
        Err(error) => {
            remark(&format!("error: {}", with_causes(&error)));
            return ExitCode::from(2);
        }
    };
    // Help, version and errors are clap's to show, with its exit codes.
    let program = Program::from_arg_matches(&command.get_matches_from(arguments)).unwrap_or_else(|error| error.exit());
    match runtime::run(until_interrupted(program.verb)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            // What `diff` found stands on standard output already.
            if !matches!(failure, Failure::Differences) {
                remark(&format!("{} {}", on_errors("error:", Colour::Red), with_causes(&failure)));
            }
            ExitCode::from(failure.exit_code())
        }
        Err(error) => {
            remark(&format!("error: the system gives the program no threads: {}", with_causes(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Ctrl-C is the proper end of what goes on until then; of everything else it is an interruption.
async fn until_interrupted(verb: Verb) -> Result<(), Failure> {
    if verb.is_a_server() {
        return run(verb).await;
    }
    let ends_by_interrupt = verb.ends_by_interrupt();
    tokio::select! {
        outcome = run(verb) => outcome,
        Ok(()) = tokio::signal::ctrl_c() => if ends_by_interrupt { Ok(()) } else { Err(Failure::Interrupted) },
    }
}

async fn run(verb: Verb) -> Result<(), Failure> {
    match verb {
        Verb::Dev(arguments) => {
            arguments.log.start();
            dev::dev(arguments).await
        }
        Verb::DemoService(arguments) => demo_service::run(arguments).await,
        Verb::ControlPlane(arguments) => {
            arguments.log.start();
            control_plane::run(arguments.settings).await
        }
        Verb::Apply(arguments) => verbs::apply(arguments).await,
        Verb::Import(arguments) => match arguments.verb {
            ImportVerb::Compose(arguments) => verbs::import_compose(arguments).await,
        },
        Verb::Get(arguments) => verbs::get(arguments).await,
        Verb::Describe(arguments) => verbs::describe(arguments).await,
        Verb::Edit(arguments) => verbs::edit(arguments).await,
        Verb::Diff(arguments) => verbs::diff(arguments).await,
        Verb::History(arguments) => verbs::history(arguments).await,
        Verb::Undo(arguments) => verbs::undo(arguments).await,
        Verb::Delete(arguments) => verbs::delete(arguments).await,
        Verb::Split(arguments) => verbs::split(arguments).await,
        Verb::Explain(arguments) => verbs::explain(arguments).await,
        Verb::Deploy(arguments) => verbs::deploy(arguments).await,
        Verb::Merge(arguments) => verbs::merge(arguments).await,
        Verb::Undeploy(arguments) => verbs::undeploy(arguments).await,
        Verb::Scale(arguments) => verbs::scale(arguments).await,
        Verb::Gateway(arguments) => match arguments.verb {
            GatewayVerb::SetWeights(arguments) => verbs::set_weights(arguments).await,
        },
        Verb::Rollout(arguments) => match arguments.verb {
            RolloutVerb::Status(arguments) => verbs::rollout_status(arguments).await,
        },
        Verb::Audit(arguments) => match arguments.verb {
            AuditVerb::List(arguments) => verbs::audit_list(arguments).await,
            AuditVerb::Verify(arguments) => verbs::audit_verify(arguments).await,
        },
        Verb::Events(arguments) => verbs::events(arguments).await,
        Verb::Logs(arguments) => verbs::logs(arguments).await,
        Verb::Create(arguments) => verbs::create(arguments).await,
        Verb::UpdateGateway(arguments) => verbs::update_gateway(arguments).await,
        Verb::Emit(arguments) => verbs::emit(arguments).await,
        Verb::Info(arguments) => verbs::info(arguments).await,
        Verb::Generate(_) => {
            let today = "write the document of another one with `vamp get breed NAME -o yaml`, change it, and `vamp apply -f` it; with `--dry-run -o yaml` it is only written out";
            Err(verbs::gone("generate", today))
        }
        Verb::Login(_) => {
            let today =
                "put the token into a file, and name it with `vamp context set NAME --host URL --token-file FILE`";
            Err(verbs::gone("login", today))
        }
        Verb::Credentials(_) => Err(verbs::gone("credentials", "`vamp context show` tells whose token is sent where")),
        Verb::Context(arguments) => match arguments.verb {
            ContextVerb::List => verbs::context_list(),
            ContextVerb::Show(server) => verbs::context_show(&server),
            ContextVerb::Use(name) => verbs::context_use(&name.name),
            ContextVerb::Set(arguments) => verbs::context_set(arguments),
            ContextVerb::Delete(name) => verbs::context_delete(&name.name),
        },
        Verb::Completion(arguments) => verbs::completion(arguments.shell),
        Verb::Version(arguments) => verbs::version(arguments).await,
    }
}
