//! The command line: every verb, flag and variable of `vamp`.

mod client;
mod context;
mod former;
mod import;
mod reading;
mod values;
mod writing;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use vamp_gateway::logging::LogSettings;
use vamp_gateway::settings_file::ConfigFile;

pub(crate) use client::{
    Asking, Changing, Deploying, Named, OutputArguments, Server, Storing, Waiting, WaitingForRollout,
    WaitingForServices, Writing,
};
pub(crate) use context::{ContextArguments, ContextSetArguments, ContextVerb};
pub(crate) use former::{CreateArguments, EmitArguments, GoneArguments, InfoArguments, UpdateGatewayArguments};
pub(crate) use import::{ComposeArguments, ImportArguments, ImportVerb};
pub(crate) use reading::{
    AuditArguments, AuditListArguments, AuditVerb, AuditVerifyArguments, DescribeArguments, DiffArguments,
    EventsArguments, ExplainArguments, GetArguments, HistoryArguments, LogsArguments, RolloutArguments,
    RolloutStatusArguments, RolloutVerb, VersionArguments,
};
pub(crate) use writing::{
    ApplyArguments, BlueprintArguments, DeleteArguments, DeployArguments, EditArguments, GatewayArguments, GatewayVerb,
    MergeArguments, ScaleArguments, SetWeightsArguments, SplitArguments, UndeployArguments, UndoArguments, Weights,
};

pub(crate) use values::NOT_OF_CHANGE;
use values::{port, two_ports};

/// Canary releases: move traffic between versions by weight and condition, exactly and at once.
#[derive(Debug, Parser)]
#[command(name = "vamp", version, after_help = EXIT_CODES)]
pub(crate) struct Program {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or `diff` found differences; 2 usage; 3 not found; 4 conflict; 5 not allowed; 6 time-out of --wait; 8 server unreachable or failing; 9 refused by validation; 130 interrupted";

const DEV_SETTINGS: &str = "All other settings of `vamp control-plane` and `vamp-gateway` are taken from the environment: with VAMP_DOCKER_HOST=unix:///var/run/docker.sock services run in containers of the Docker engine there, too";

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one value per process, read once")]
pub(crate) enum Verb {
    /// Runs the whole product in this process, with a demo: two versions of a service behind the gateway `shop`
    #[command(after_help = DEV_SETTINGS)]
    Dev(DevArguments),
    /// Runs the demo service alone, as a blueprint may: it answers VERSION at PORT
    DemoService(DemoServiceArguments),
    /// Runs the control plane: REST API, database, planning, publishing
    ControlPlane(ControlPlaneArguments),
    /// Writes the artifacts of files and deploys their blueprints, all of it or nothing
    ///
    /// Applied again, an unchanged file changes nothing, and moved weights and scales stay as they are.
    /// Example: vamp apply -f shop.yaml --wait
    Apply(ApplyArguments),
    /// Makes a blueprint of what another tool describes
    ///
    /// Example: vamp import compose -f docker-compose.yml --name shop > shop.yaml
    Import(ImportArguments),
    /// Shows artifacts: `vamp get gateways`, `vamp get gateway shop -o yaml`
    #[command(visible_alias = "list")]
    Get(GetArguments),
    /// Shows one artifact with its split, its rollout and its history
    Describe(DescribeArguments),
    /// Writes the artifacts of a file that are all of one kind: `vamp create breed -f breed.yaml`; `apply` takes any
    Create(CreateArguments),
    /// Opens one artifact in $VISUAL or $EDITOR, and writes what is saved there
    Edit(EditArguments),
    /// Shows what changed between versions of an artifact, or what a file would change; exit code 1 if anything
    ///
    /// Examples: vamp diff gateway shop; vamp diff gateway shop 3 5; vamp diff -f shop.yaml
    Diff(DiffArguments),
    /// Shows every version that an artifact had: when, who, why
    History(HistoryArguments),
    /// Makes an old version of an artifact the newest again
    ///
    /// Example: vamp undo gateway shop --to 3 --reason 'too many errors' --wait
    Undo(UndoArguments),
    /// Deletes one artifact
    Delete(DeleteArguments),
    /// Shows how a gateway's requests were split, or sets its weights: `vamp split shop`, `vamp split shop 90/10`
    Split(SplitArguments),
    /// Tells which route a request would take, and why, without sending it
    ///
    /// Example: vamp explain shop -H 'User-Agent: Firefox'
    Explain(ExplainArguments),
    /// Deploys a blueprint: its services are started, with gateways before them
    ///
    /// Example: vamp deploy -f shop.yaml --wait
    Deploy(DeployArguments),
    /// Merges a blueprint into a deployment: new versions come in at 0 %
    ///
    /// Example: vamp merge shop -f canary.yaml --wait
    Merge(MergeArguments),
    /// Removes a deployment, or some of its services: `vamp undeploy shop`, `vamp undeploy shop web/web:1`
    Undeploy(UndeployArguments),
    /// Gives a service more or fewer instances, processors or memory: `vamp scale shop web/web:2 --instances 3`
    Scale(ScaleArguments),
    /// Changes a gateway: `vamp gateway set-weights shop/web/http web:1=90 web:2=10`
    Gateway(GatewayArguments),
    /// Gives routes of a gateway weights, or one of them a condition, as the original's client does
    ///
    /// Examples: vamp update-gateway shop -w web:1@70%,web:2@30%; vamp update-gateway shop -r web:2 -c 'User-Agent == Firefox' -s 50%
    UpdateGateway(UpdateGatewayArguments),
    /// Shows which gateway processes serve the newest routing table
    Rollout(RolloutArguments),
    /// Shows who changed what and why, and whether the history is what was written
    Audit(AuditArguments),
    /// Shows what happened: `vamp events --tag gateways:shop --since 1h --follow`
    Events(EventsArguments),
    /// Publishes an event: `vamp emit 1.5 --tags deployments:shop,metrics:rate`
    Emit(EmitArguments),
    /// Shows what instances of a deployment write: `vamp logs shop web/web:2 --follow`
    Logs(LogsArguments),
    /// Shows and chooses control planes that are kept under a name
    Context(ContextArguments),
    /// Shows what runs at the control plane
    Info(InfoArguments),
    /// Gone: the mend is told
    #[command(hide = true)]
    Generate(GoneArguments),
    /// Gone: the mend is told
    #[command(hide = true)]
    Login(GoneArguments),
    /// Gone: the mend is told
    #[command(hide = true)]
    Credentials(GoneArguments),
    /// Writes the completion of a shell: `source <(vamp completion bash)`
    Completion(CompletionArguments),
    /// Shows the versions of this program and of the control plane
    Version(VersionArguments),
}

/// Settings of `vamp dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArguments {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    #[command(flatten)]
    pub(crate) log: LogSettings,
    /// Directory for the database and the gateway's last good table; made if missing
    #[arg(long, env = "VAMP_DATA_DIR", value_name = "DIR", default_value = "vamp-data")]
    pub(crate) data_dir: PathBuf,
    /// Port of the REST API on 127.0.0.1, 1 to 65535
    #[arg(long, env = "VAMP_API_PORT", value_name = "PORT", default_value_t = 8080, value_parser = port())]
    pub(crate) api_port: u16,
    /// Port of the gateway's admin listener on 127.0.0.1, 1 to 65535
    #[arg(long, env = "VAMP_ADMIN_PORT", value_name = "PORT", default_value_t = 1988, value_parser = port())]
    pub(crate) admin_port: u16,
    /// Port of the demo gateway `shop` on 127.0.0.1, 1 to 65535
    #[arg(long, env = "VAMP_SHOP_PORT", value_name = "PORT", default_value_t = 9050, value_parser = port())]
    pub(crate) shop_port: u16,
    /// Port that virtual hosts share on 127.0.0.1, 1 to 65535
    #[arg(long, env = "VAMP_VIRTUAL_HOSTS_PORT", value_name = "PORT", default_value_t = 9080, value_parser = port())]
    pub(crate) virtual_hosts_port: u16,
    /// Ports of the two versions of the demo service on 127.0.0.1, separated by a comma
    #[arg(long, env = "VAMP_DEMO_PORTS", value_name = "PORT,PORT", default_value = "8081,8082", value_parser = two_ports)]
    pub(crate) demo_ports: [u16; 2],
}

/// Settings of the demo service, which a platform gives to its instances.
#[derive(Debug, Args)]
pub(crate) struct DemoServiceArguments {
    /// The version that it answers
    #[arg(long, env = "VERSION", value_name = "TEXT", default_value = "1")]
    pub(crate) service_version: String,
    /// Port on 127.0.0.1, 1 to 65535
    #[arg(long, env = "PORT", value_name = "PORT", value_parser = port())]
    pub(crate) port: u16,
}

/// Settings of `vamp control-plane`.
#[derive(Debug, Args)]
pub(crate) struct ControlPlaneArguments {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    #[command(flatten)]
    pub(crate) log: LogSettings,
    #[command(flatten)]
    pub(crate) settings: vamp_control_plane::settings::Settings,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionArguments {
    /// Which shell
    pub(crate) shell: Shell,
}

impl Verb {
    /// Whether it goes on until somebody ends it, so that Ctrl-C is its proper end.
    pub(crate) fn ends_by_interrupt(&self) -> bool {
        match self {
            Self::Get(arguments) => arguments.watch,
            Self::Events(arguments) => arguments.follow,
            Self::Logs(arguments) => arguments.follow,
            _ => false,
        }
    }

    /// Whether it is a program of its own, which looks after signals itself.
    pub(crate) fn is_a_server(&self) -> bool {
        matches!(self, Self::Dev(_) | Self::DemoService(_) | Self::ControlPlane(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_help_of_dev_names_how_containers_are_run() {
        let mut program = Program::command();
        let help = program.find_subcommand_mut("dev").unwrap().render_help().to_string();
        assert!(help.contains("VAMP_DOCKER_HOST=unix:///"), "{help}");
    }

    #[test]
    fn whoever_waits_for_services_or_a_rollout_may_wait_as_long() {
        for verb in [
            &["undo", "deployment", "shop"][..],
            &["rollout", "status"],
            &["deploy", "shop"],
            &["undeploy", "shop"],
            &["apply", "-f", "shop.yaml"],
        ] {
            let line = |time| ["vamp"].iter().chain(verb).copied().chain(["--wait", "--timeout", time]);
            assert!(Program::try_parse_from(line("45m")).is_ok(), "{verb:?}");
            assert!(Program::try_parse_from(line("61m")).is_err(), "{verb:?}");
        }
        // These wait within one request.
        assert!(Program::try_parse_from(["vamp", "delete", "gateway", "shop", "--wait", "--timeout", "2m"]).is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        Program::command().debug_assert();
    }
}
