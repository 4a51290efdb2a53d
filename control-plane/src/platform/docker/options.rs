//! What a breed's `arguments` and the dialect `docker` say beyond an order: a few names, each known to do no harm to the
//! host, and some that do, which the control plane must have been told to take.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::platform::{InstanceSpec, Labels, SpecError};

/// LIMIT: processes and threads of a container that does not say otherwise: many for a service, few for a fork bomb.
const PIDS_MAX: i64 = 4_096;
/// The networks that are always there.
pub(super) const HOST_NETWORK: &str = "host";
const BRIDGE_NETWORK: &str = "bridge";
/// What hands the host to a container.
const HOST_NAMES: [&str; 4] = ["privileged", "cap-add", "device", "security-opt"];
const KNOWN: &str = "add-host, cap-drop, command, dns, entrypoint, hostname, init, label, no-new-privileges, pids-limit, \
    read-only, shm-size, stop-signal, tmpfs, user, volume, workdir, and with `--docker-allow-host-access` also cap-add, \
    device, privileged and security-opt";

/// All of it, read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) command: Option<Vec<String>>,
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) user: Option<String>,
    pub(super) working_directory: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) stop_signal: Option<String>,
    pub(super) has_init: bool,
    pub(super) is_read_only: bool,
    pub(super) is_privileged: bool,
    pub(super) pids_max: i64,
    pub(super) shared_memory_bytes: Option<i64>,
    pub(super) added_capabilities: Vec<String>,
    pub(super) dropped_capabilities: Vec<String>,
    pub(super) security: Vec<String>,
    pub(super) devices: Vec<String>,
    pub(super) volumes: Vec<String>,
    pub(super) name_servers: Vec<String>,
    pub(super) hosts: Vec<String>,
    pub(super) temporary: BTreeMap<String, String>,
    pub(super) labels: Labels,
    pub(super) networks: Vec<String>,
}

/// Reads what an order says; what is not known, or not allowed here, is refused by name.
pub(super) fn read(spec: &InstanceSpec, allows_host_access: bool) -> Result<Options, SpecError> {
    let mut options = Options { pids_max: PIDS_MAX, ..Options::default() };
    // The nearer word wins: the dialect is below what the order says.
    for (key, value) in &spec.dialect {
        let said = Said { place: format!("dialect `{key}`"), allows_host_access };
        said.take(key, values(value).map_err(|mend| said.refused(mend))?, value.is_array(), &mut options)?;
    }
    for (key, value) in &spec.arguments {
        let said = Said { place: format!("argument `{key}`"), allows_host_access };
        said.take(key, vec![value.clone()], false, &mut options)?;
    }
    options.networks = networks(spec, allows_host_access)?;
    Ok(options)
}

fn networks(spec: &InstanceSpec, allows_host_access: bool) -> Result<Vec<String>, SpecError> {
    let mut networks: Vec<String> = Vec::new();
    for name in &spec.networks {
        let refused = |mend: &str| Err(SpecError::new(format!("network `{name}`"), mend));
        match name.as_str() {
            HOST_NETWORK if !allows_host_access => return refused(NEEDS_ACCESS),
            HOST_NETWORK if spec.networks.len() > 1 => {
                return refused("nothing else can be beside the host's own network");
            }
            BRIDGE_NETWORK => continue,
            "none" => return refused("it has no way in or out: use bridge, host, or a name of your own"),
            _ if !is_name(name) => {
                return refused("use letters, digits, `_`, `.` and `-`, beginning with a letter or digit");
            }
            _ => {}
        }
        if !networks.contains(name) {
            networks.push(name.clone());
        }
    }
    Ok(networks)
}

/// What of the image's name may go into an address of the engine's API, and is an image; with its tag.
pub(super) fn image(name: &str) -> Result<String, SpecError> {
    let is_fit = |letter: char| letter.is_ascii_alphanumeric() || "._-/:@".contains(letter);
    // Neither the name nor the tag or the digest may be empty.
    let is_whole = |part: &str| !part.is_empty() && part != "." && part != "..";
    let parts_are_fit = name.split('/').all(|part| is_whole(part) && part.split([':', '@']).all(is_whole));
    if name.is_empty() || name.len() > 512 || !name.chars().all(is_fit) || !parts_are_fit {
        let mend =
            format!("`{}` is no image: write `[REGISTRY/]NAME[:TAG]` or `[REGISTRY/]NAME@DIGEST`", name.escape_debug());
        return Err(SpecError::new("image", mend));
    }
    let last = name.rsplit('/').next().unwrap_or_default();
    // Without a tag the engine would fetch all of them.
    Ok(if last.contains([':', '@']) { name.to_owned() } else { format!("{name}:latest") })
}

const NEEDS_ACCESS: &str = "it gives the host to the container: leave it out, or give the control plane \
    `--docker-allow-host-access`";

struct Said {
    place: String,
    allows_host_access: bool,
}

impl Said {
    fn refused(&self, mend: impl Into<String>) -> SpecError {
        SpecError::new(self.place.clone(), mend)
    }

    fn take(&self, key: &str, values: Vec<String>, is_list: bool, options: &mut Options) -> Result<(), SpecError> {
        if HOST_NAMES.contains(&key) && !self.allows_host_access && values != ["false"] {
            return Err(self.refused(NEEDS_ACCESS));
        }
        let one = || match values.as_slice() {
            [one] if !is_list => Ok(one.clone()),
            _ => Err(self.refused("give one value")),
        };
        match key {
            "command" => options.command = Some(words(&values, is_list)),
            "entrypoint" => options.entrypoint = Some(words(&values, is_list)),
            "user" => options.user = Some(one()?),
            "workdir" => options.working_directory = Some(one()?),
            "hostname" => options.hostname = Some(one()?),
            "stop-signal" => options.stop_signal = Some(one()?),
            "init" => options.has_init = self.switch(&one()?)?,
            "read-only" => options.is_read_only = self.switch(&one()?)?,
            "privileged" => options.is_privileged = self.switch(&one()?)?,
            "no-new-privileges" => {
                if self.switch(&one()?)? {
                    options.security.push("no-new-privileges".to_owned());
                }
            }
            "pids-limit" => options.pids_max = self.number(&one()?)?,
            "shm-size" => options.shared_memory_bytes = Some(self.number(&one()?)?),
            "cap-add" => options.added_capabilities.extend(values),
            "cap-drop" => options.dropped_capabilities.extend(values),
            "security-opt" => options.security.extend(values),
            "device" => options.devices.extend(values),
            "dns" => options.name_servers.extend(values),
            "add-host" => options.hosts.extend(values),
            "volume" => self.volumes(values, options)?,
            "tmpfs" => {
                let split = |value: &String| {
                    let (path, how) = value.split_once(':').unwrap_or((value, ""));
                    (path.to_owned(), how.to_owned())
                };
                options.temporary.extend(values.iter().map(split));
            }
            "label" | "labels" => self.labels(&values, options)?,
            "network" | "net" => return Err(self.refused("say it as the service's `network`")),
            _ => return Err(self.refused(format!("it is not known: use one of {KNOWN}"))),
        }
        Ok(())
    }

    fn switch(&self, text: &str) -> Result<bool, SpecError> {
        text.parse().map_err(|_| self.refused("write true or false"))
    }

    fn number(&self, text: &str) -> Result<i64, SpecError> {
        text.parse().ok().filter(|number| *number > 0).ok_or_else(|| self.refused("write a whole number above 0"))
    }

    fn volumes(&self, values: Vec<String>, options: &mut Options) -> Result<(), SpecError> {
        for value in values {
            let Some((source, _)) = value.split_once(':') else {
                return Err(self.refused("write `NAME:PATH`, with `:ro` behind it if it is only read"));
            };
            // What is no name is a path of the host.
            if !is_name(source) && !self.allows_host_access {
                return Err(self.refused(format!("`{}` is a path of the host: {NEEDS_ACCESS}", source.escape_debug())));
            }
            options.volumes.push(value);
        }
        Ok(())
    }

    fn labels(&self, values: &[String], options: &mut Options) -> Result<(), SpecError> {
        for value in values {
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            if name.is_empty() || name.starts_with("io.vamp.") {
                return Err(self.refused("names that begin with `io.vamp.` belong to Vamp: rename it"));
            }
            options.labels.insert(name.to_owned(), value.to_owned());
        }
        Ok(())
    }
}

/// One value, a list of them, or a map as `NAME=VALUE`.
fn values(value: &Value) -> Result<Vec<String>, &'static str> {
    let one = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err("give a text, a number, true or false, or a list or map of such"),
    };
    match value {
        Value::Array(values) => values.iter().map(one).collect(),
        Value::Object(map) => map.iter().map(|(name, value)| Ok(format!("{name}={}", one(value)?))).collect(),
        value => Ok(vec![one(value)?]),
    }
}

/// A list as it is, a line as the words of it, or as what a shell is to read.
fn words(values: &[String], is_list: bool) -> Vec<String> {
    if is_list {
        return values.to_vec();
    }
    match crate::platform::Deployable::command_line(&values.concat()) {
        crate::platform::Deployable::Command { program, mut arguments } => {
            arguments.insert(0, program);
            arguments
        }
        crate::platform::Deployable::Docker { command, .. } => command,
    }
}

/// Whether the engine takes it as the name of a network or volume of its own.
fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric()) && text.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::platform::docker::container::tests::spec;

    fn with(arguments: &[(&str, &str)], dialect: &Value) -> InstanceSpec {
        let mut spec = spec();
        spec.arguments = arguments.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        spec.dialect = dialect.as_object().cloned().unwrap();
        spec
    }

    #[track_caller]
    fn refused(spec: &InstanceSpec, said: &str) {
        let error = read(spec, false).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }

    #[test]
    fn what_is_known_is_read_and_the_order_wins_over_the_dialect() {
        let dialect =
            json!({"user": "1", "command": ["a b", "c"], "labels": {"team": "shop"}, "volume": ["data:/data"]});
        let options =
            read(&with(&[("user", "2"), ("init", "true"), ("entrypoint", "run -x")], &dialect), false).unwrap();
        assert_eq!(options.user.as_deref(), Some("2"));
        assert_eq!(options.command.unwrap(), ["a b", "c"]);
        assert_eq!(options.entrypoint.unwrap(), ["run", "-x"]);
        assert_eq!(options.labels["team"], "shop");
        assert!(options.has_init && options.pids_max == PIDS_MAX);
        let shell = read(&with(&[("command", "echo $A; sleep 1")], &json!({})), false).unwrap();
        assert_eq!(shell.command.unwrap(), ["/bin/sh", "-c", "echo $A; sleep 1"]);
    }

    #[test]
    fn what_gives_the_host_away_is_refused_unless_it_was_allowed() {
        let mut of_host = vec![
            with(&[("privileged", "true")], &json!({})),
            with(&[], &json!({"cap-add": ["SYS_ADMIN"]})),
            with(&[("device", "/dev/kvm")], &json!({})),
            with(&[("security-opt", "seccomp=unconfined")], &json!({})),
            with(&[("volume", "/:/host")], &json!({})),
            with(&[("volume", "../x:/host")], &json!({})),
        ];
        let mut network = with(&[], &json!({}));
        network.networks = vec!["host".to_owned()];
        of_host.push(network);
        for spec in of_host {
            refused(&spec, "--docker-allow-host-access");
            read(&spec, true).unwrap();
        }
        read(&with(&[("privileged", "false")], &json!({})), false).unwrap();
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        refused(&with(&[("pid", "host")], &json!({})), "argument `pid`: it is not known");
        refused(&with(&[], &json!({"HostConfig": {"Privileged": true}})), "dialect `HostConfig`");
        refused(&with(&[("init", "yes")], &json!({})), "true or false");
        refused(&with(&[("pids-limit", "0")], &json!({})), "above 0");
        refused(&with(&[("label", "io.vamp.deployment=x")], &json!({})), "belong to Vamp");
        refused(&with(&[], &json!({"user": ["a", "b"]})), "one value");
        for name in ["container:x", "none", "a/b", ""] {
            let mut spec = with(&[], &json!({}));
            spec.networks = vec![name.to_owned()];
            refused(&spec, "network");
        }
    }

    #[test]
    fn an_image_has_a_tag_and_nothing_that_is_no_name() {
        assert_eq!(image("demo").unwrap(), "demo:latest");
        assert_eq!(image("127.0.0.1:5000/a/demo").unwrap(), "127.0.0.1:5000/a/demo:latest");
        assert_eq!(image("demo:1").unwrap(), "demo:1");
        assert_eq!(image("demo@sha256:00").unwrap(), "demo@sha256:00");
        for bad in ["", "a b", "../containers/x", "a//b", "a?x=1", "a#b", "/a", "a:", "a/b:", ":1", "a@", "a:1@"] {
            assert!(image(bad).is_err(), "{bad}");
        }
    }
}
