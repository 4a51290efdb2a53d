//! The command line: every verb, flag and variable of `vamp`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use vamp_gateway::logging::LogSettings;
use vamp_gateway::settings_file::ConfigFile;
use vamp_model::Kind;

/// Canary releases: move traffic between versions by weight and condition, exactly and at once.
#[derive(Debug, Parser)]
#[command(name = "vamp", version, after_help = EXIT_CODES)]
pub(crate) struct Program {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed; 2 usage; 3 not found; 4 conflict; 5 not allowed; 6 time-out of --wait; 8 server unreachable or failing; 9 refused by validation; 130 interrupted";

#[derive(Debug, Subcommand)]
#[expect(clippy::large_enum_variant, reason = "one value per process, read once")]
pub(crate) enum Verb {
    /// Runs the whole product in this process, with a demo: two versions of a service behind the gateway `shop`
    Dev(DevArguments),
    /// Runs the demo service alone, as a blueprint may: it answers VERSION at PORT
    DemoService(DemoServiceArguments),
    /// Runs the control plane: REST API, database, planning, publishing
    ControlPlane(ControlPlaneArguments),
    /// Writes the artifacts of files, all of them or none
    ///
    /// Example: vamp apply -f shop.yaml --wait
    Apply(ApplyArguments),
    /// Shows artifacts: `vamp get gateways`, `vamp get gateway shop -o yaml`
    Get(GetArguments),
    /// Shows one artifact with its split, its rollout and its history
    Describe(DescribeArguments),
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
    /// Shows which gateway processes serve the newest routing table
    Rollout(RolloutArguments),
    /// Shows who changed what and why, and whether the history is what was written
    Audit(AuditArguments),
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

/// Where the control plane is, and who we are for it.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// Address of the control plane
    #[arg(long, env = "VAMP_HOST", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub(crate) host: url::Url,
    /// File whose first line is the token to send; the token may also stand in `VAMP_TOKEN`
    #[arg(long, env = "VAMP_CLIENT_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Certificate authority of the control plane (PEM), in place of those that the system trusts
    #[arg(long, env = "VAMP_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// As the API writes it
    Yaml,
    /// As the API writes it
    Json,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArguments {
    /// How the answer is written
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Output,
}

/// Waiting for gateways.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Waiting {
    /// Returns when every gateway process serves the change; exit code 6 if not all do in time
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long --wait waits, up to 60s
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = wait_time)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// YAML or JSON file with one or more artifacts; `-` reads standard input. May be given several times
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub(crate) filename: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    /// Checks everything and writes nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// gateways, routes, conditions, breeds, blueprints, deployments …
    #[arg(value_parser = kind)]
    pub(crate) kind: &'static str,
    /// Name of one artifact; without it: all
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// gateway, route or condition
    #[arg(value_parser = kind)]
    pub(crate) kind: &'static str,
    /// Name of the artifact
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// gateway, route or condition
    #[arg(value_parser = kind)]
    pub(crate) kind: &'static str,
    /// Name of the artifact
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
}

#[derive(Debug, Args)]
pub(crate) struct SplitArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Name of the gateway
    pub(crate) gateway: String,
    /// New weights in percent, in the order of the routes, as in `90/10`; without them the split is shown
    #[arg(value_parser = weights)]
    pub(crate) weights: Option<Weights>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

/// Weights as the API takes them, in the order of the routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weights(pub(crate) Vec<String>);

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    #[command(flatten)]
    pub(crate) server: Server,
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
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

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

/// Waiting for services.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct WaitingForServices {
    /// Returns when all services are as they are wanted; exit code 6 if they are not in time
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long --wait waits, up to 1h
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = long_wait_time)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct DeployArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) blueprint: BlueprintArguments,
    /// Name of the deployment, in place of that of the blueprint
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) waiting: WaitingForServices,
    /// Checks everything and deploys nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MergeArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Name of the deployment
    pub(crate) deployment: String,
    #[command(flatten)]
    pub(crate) blueprint: BlueprintArguments,
    #[command(flatten)]
    pub(crate) waiting: WaitingForServices,
    /// Checks everything and deploys nothing
    #[arg(long, conflicts_with = "wait")]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UndeployArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// Name of the deployment
    pub(crate) deployment: String,
    /// Services to remove, as CLUSTER/BREED; without them: all
    #[arg(value_name = "CLUSTER/BREED", value_parser = cluster_and_breed)]
    pub(crate) services: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) waiting: WaitingForServices,
}

#[derive(Debug, Args)]
pub(crate) struct ScaleArguments {
    #[command(flatten)]
    pub(crate) server: Server,
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
    #[command(flatten)]
    pub(crate) waiting: WaitingForServices,
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
    pub(crate) server: Server,
    /// Name of the gateway
    pub(crate) gateway: String,
    /// Weights in percent, as ROUTE=WEIGHT; ROUTE is a route's path, or the breed of the service that it leads to
    #[arg(required = true, value_name = "ROUTE=WEIGHT", value_parser = route_weight)]
    pub(crate) weights: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
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
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
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
    pub(crate) server: Server,
    /// How many, 1 to 1000
    #[arg(long, value_name = "COUNT", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct AuditVerifyArguments {
    #[command(flatten)]
    pub(crate) server: Server,
    /// A head that an audit printed before: that change must be there still
    #[arg(long, value_name = "NUMBER:HASH")]
    pub(crate) head: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

fn port() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..)
}

fn two_ports(text: &str) -> Result<[u16; 2], String> {
    let refused = || "write two ports, as in `8081,8082`".to_owned();
    let (first, second) = text.split_once(',').ok_or_else(refused)?;
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(refused);
    Ok([port(first)?, port(second)?])
}

fn kind(text: &str) -> Result<&'static str, String> {
    if text.eq_ignore_ascii_case("gw") {
        return Ok("gateways");
    }
    text.parse::<Kind>().map(Kind::plural).map_err(|error| error.to_string())
}

fn weights(text: &str) -> Result<Weights, String> {
    let is_weight = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let parts: Vec<_> = text.split('/').map(|part| part.trim().trim_end_matches('%')).collect();
    if parts.iter().all(|part| is_weight(part)) {
        Ok(Weights(parts.into_iter().map(|part| format!("{part}%")).collect()))
    } else {
        Err("write weights in percent with `/` between them, as in `90/10` or `33.34/33.33/33.33`".to_owned())
    }
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("write a header field as `Name: value`".to_owned()),
    }
}

fn cluster_and_breed(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((cluster, breed)) if !cluster.is_empty() && !breed.is_empty() => {
            Ok((cluster.to_owned(), breed.to_owned()))
        }
        _ => Err("write CLUSTER/BREED, as in `web/web:1`".to_owned()),
    }
}

fn route_weight(text: &str) -> Result<(String, String), String> {
    let refused = || "write ROUTE=WEIGHT, as in `web:1=90`".to_owned();
    let (route, weight) = text.rsplit_once('=').ok_or_else(refused)?;
    let weight = weight.trim().trim_end_matches('%');
    let is_weight = !weight.is_empty() && weight.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if route.is_empty() || !is_weight { Err(refused()) } else { Ok((route.to_owned(), format!("{weight}%"))) }
}

fn long_wait_time(text: &str) -> Result<Duration, String> {
    let refused = || "write a time with its unit, as in `90s` or `5m`, up to 1h".to_owned();
    let time: jiff::SignedDuration = text.parse().map_err(|_| refused())?;
    let time = Duration::try_from(time).map_err(|_| refused())?;
    if time.is_zero() || time > Duration::from_hours(1) { Err(refused()) } else { Ok(time) }
}

fn wait_time(text: &str) -> Result<Duration, String> {
    let refused = || "write a time with its unit, as in `5s`, up to 60s".to_owned();
    let time: jiff::SignedDuration = text.parse().map_err(|_| refused())?;
    let time = Duration::try_from(time).map_err(|_| refused())?;
    // LIMIT: what the API waits at most.
    if time.is_zero() || time > Duration::from_mins(1) { Err(refused()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Program::command().debug_assert();
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(weights(text).unwrap().0, expected);
    }

    #[test]
    fn weights_are_read_with_and_without_percent_signs() {
        check("90/10", &["90%", "10%"]);
        check("33.34%/33.33%/33.33%", &["33.34%", "33.33%", "33.33%"]);
        check("100", &["100%"]);
        assert!(weights("90-10").is_err() && weights("90/").is_err() && weights("-1/101").is_err());
    }

    #[test]
    fn kinds_have_their_short_names() {
        assert_eq!(kind("gw"), Ok("gateways"));
        assert_eq!(kind("Condition"), Ok("conditions"));
        assert_eq!(kind("breed"), Ok("breeds"));
        assert!(kind("bread").is_err());
    }
}
