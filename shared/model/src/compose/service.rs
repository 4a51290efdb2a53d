//! One service: its image, and everything that a breed can say of it.

use serde_json::{Map, Value, json};

use super::ports::Port;
use super::{Reader, VERSION, dotted, shown};
use crate::decode::{Field, Fields, one_or_many};
use crate::scale::INSTANCES_MAX;
use crate::tree::{Content, Place};
use crate::unit::{Cpu, scaled};
use crate::violation::step;

/// What becomes a cluster with one breed.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) place: Place,
    /// As the cluster and the dependencies of others call it.
    pub(super) name: String,
    /// As the file calls it.
    pub(super) written: String,
    image: String,
    pub(super) ports: Vec<Port>,
    pub(super) environment: Vec<Variable>,
    pub(super) depends_on: Vec<Need>,
    /// Clusters that it needs.
    pub(super) needs: Vec<String>,
    /// Those of its command and its entrypoint.
    pub(super) words: Vec<Variable>,
    dialect: Map<String, Value>,
    pub(super) scale: Option<Value>,
    health_checks: Option<Value>,
}

/// A variable, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) place: Place,
    pub(super) path: String,
}

/// A service that another one depends on, and where that is said.
#[derive(Debug, Clone)]
pub(super) struct Need {
    pub(super) on: String,
    pub(super) place: Place,
    pub(super) pointer: String,
}

/// Fields that become words of the dialect `docker`, one value each.
const PLAIN: [(&str, &str); 6] = [
    ("user", "user"),
    ("working_dir", "workdir"),
    ("hostname", "hostname"),
    ("stop_signal", "stop-signal"),
    ("init", "init"),
    ("read_only", "read-only"),
];

pub(super) const NEEDS_HOST: &str = "it needs the engine's host: the control plane would need `--docker-allow-host-access`, and the dialect `docker` the word for it";

/// Why a field is not carried over.
fn reason(key: &str) -> Option<&'static str> {
    Some(match key {
        "build" => "images are not built here: the image that is named is taken",
        "env_file" => "the file is not read here: write its variables under `environment`",
        "extends" => "other services are not followed: `docker compose config` writes them out",
        "restart" => "instances that end are always started again",
        "networks" | "network_mode" | "links" | "external_links" => {
            "services reach each other by the gateways of their clusters"
        }
        "container_name" => "instances have names of their own, since there may be several",
        "privileged" | "cap_add" | "devices" | "security_opt" | "pid" | "ipc" => NEEDS_HOST,
        "configs" | "secrets" => "give them to the service by a volume or a variable",
        "labels" | "annotations" => "say them as `metadata`, or in the dialect `docker` as `label`",
        "logging" => "logs are kept by the engine, four files of 4 MiB, and shown by `vamp logs`",
        "profiles" => "every service of a blueprint is deployed",
        "platform" | "pull_policy" | "runtime" => "the engine decides that",
        "mem_reservation" | "mem_swappiness" | "memswap_limit" | "cpu_shares" | "cpu_quota" | "cpu_period"
        | "cpuset" | "ulimits" | "oom_score_adj" | "oom_kill_disable" | "blkio_config" => {
            "a scale has processors and memory, and no more"
        }
        "stop_grace_period" => "instances get the time that the control plane gives them",
        "stdin_open" | "tty" | "attach" => "nobody is attached to instances",
        "volumes_from" => "say the volumes of both services",
        "tmpfs" | "shm_size" | "extra_hosts" | "sysctls" | "group_add" | "dns_search" | "dns_opt" | "domainname"
        | "mac_address" | "userns_mode" | "uts" | "cgroup" | "cgroup_parent" => {
            "say it in the dialect `docker`, if that knows it"
        }
        "develop" | "post_start" | "pre_stop" | "gpus" | "models" | "provider" => "there is nothing like it",
        _ => return None,
    })
}

impl Service {
    /// Makes sure that it offers a port that somebody asks for.
    pub(super) fn need_port(&mut self, number: u16) {
        if !self.ports.iter().any(|port| port.number == number) {
            self.ports.push(Port::bare(number));
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let mut breed = Map::new();
        breed.insert("name".into(), json!(format!("{}:{VERSION}", self.name)));
        breed.insert("deployable".into(), json!(self.image));
        let mut add = |key: &str, map: Map<String, Value>| {
            if !map.is_empty() {
                breed.insert(key.to_owned(), Value::Object(map));
            }
        };
        add("ports", self.ports.iter().map(|port| (port.name(), json!(port.to_text()))).collect());
        let variables = self.environment.iter().map(|variable| (variable.name.clone(), json!(variable.value)));
        add("environment_variables", variables.collect());
        let needs = self.needs.iter().map(|name| (name.clone(), json!(format!("{name}:{VERSION}"))));
        add("dependencies", needs.collect());
        if let Some(checks) = &self.health_checks {
            breed.insert("health_checks".into(), checks.clone());
        }
        let mut service = Map::new();
        service.insert("breed".into(), Value::Object(breed));
        if let Some(scale) = &self.scale {
            service.insert("scale".into(), scale.clone());
        }
        if !self.dialect.is_empty() {
            service.insert("dialects".into(), json!({"docker": self.dialect}));
        }
        Value::Object(service)
    }
}

impl Reader<'_, '_> {
    pub(super) fn service(&mut self, written: &str, place: Place, field: &Field<'_>) -> Option<Service> {
        let is_sound = |found: char| found.is_ascii_alphanumeric() || matches!(found, '.' | '_' | '-');
        if written.is_empty() || written.len() > 200 || !written.chars().all(is_sound) {
            let message = format!("the name of service `{}` is none", shown(written));
            self.decoder.refuse_at(place, &field.pointer, message, "use letters, digits, `-` and `_`");
            return None;
        }
        let name = written.replace('.', "-");
        if name != written {
            self.notes.add(
                place,
                &dotted(&field.pointer),
                &format!("the cluster is called `{name}`: names have no dots"),
            );
        }
        let mut fields = self.decoder.fields(field, &format!("service `{written}`"))?;
        let image = self.image(&mut fields, written)?;
        let mut service = Service {
            place,
            name,
            written: written.to_owned(),
            image,
            ports: Vec::new(),
            environment: Vec::new(),
            depends_on: Vec::new(),
            needs: Vec::new(),
            words: Vec::new(),
            dialect: Map::new(),
            scale: None,
            health_checks: None,
        };
        if let Some(field) = fields.take("ports") {
            self.ports(&field, written, &mut service.ports);
        }
        if let Some(field) = fields.take("expose") {
            self.exposed(&field, written, &mut service.ports);
        }
        service.environment =
            fields.take("environment").map(|field| self.environment(&field, written)).unwrap_or_default();
        service.depends_on =
            fields.take("depends_on").map(|field| self.depends_on(&field, written)).unwrap_or_default();
        service.health_checks = fields.take("healthcheck").and_then(|field| self.health_checks(&field, written));
        service.scale = self.scale(&mut fields, written);
        service.dialect = self.dialect(&mut fields, written, &mut service.words);
        self.leave(&mut fields, reason);
        Some(service)
    }

    fn image(&mut self, fields: &mut Fields<'_>, service: &str) -> Option<String> {
        let is_built = fields.has("build");
        let image = fields.take("image").map(|field| {
            let image = self.text(&field, &format!("the image of service `{service}`"));
            (field, image)
        });
        match image {
            Some((_, Some(image))) if !image.trim().is_empty() => Some(image.trim().to_owned()),
            Some((field, Some(_))) => {
                let message = format!("the image of service `{service}` is empty");
                self.decoder.refuse(&field, message, "name it, or give the variables in it a value");
                None
            }
            Some((_, None)) => None,
            None => {
                let (why, hint) = if is_built {
                    ("is built from sources, and names no image", "build and push it, and say `image: NAME:TAG`")
                } else {
                    ("names no image", "say `image: NAME:TAG`")
                };
                let message = format!("service `{service}` {why}");
                self.decoder.refuse_at(fields.place, &fields.pointer, message, hint);
                None
            }
        }
    }

    /// A list of services, or a map with a condition for each.
    fn depends_on(&mut self, field: &Field<'_>, service: &str) -> Vec<Need> {
        let what = format!("what service `{service}` depends on");
        let need = |on: &str, field: &Field<'_>| Need {
            on: on.to_owned(),
            place: field.node.place,
            pointer: field.pointer.clone(),
        };
        let Content::Map(map) = &field.node.content else {
            let items = one_or_many(field);
            let needs = items.iter().filter_map(|item| Some(need(&self.text(item, &what)?, item)));
            return needs.collect();
        };
        let mut needs = Vec::new();
        for (key, node) in map {
            let item = Field { pointer: step(&field.pointer, &key.text), node };
            if node.content == Content::Null {
                needs.push(need(&key.text, &item));
                continue;
            }
            let Some(mut fields) = self.decoder.fields(&item, &what) else { continue };
            let condition = fields.take("condition").and_then(|field| self.text(&field, &what));
            self.leave(&mut fields, |key| match key {
                "restart" => Some("a service is not restarted with what it depends on"),
                "required" => Some("what a service depends on must be there"),
                _ => None,
            });
            if condition.as_deref() == Some("service_completed_successfully") {
                self.note(&item, "there are no services that end: it is not waited for");
            } else {
                needs.push(need(&key.text, &item));
            }
        }
        needs
    }

    /// How many instances, and what each may use.
    fn scale(&mut self, fields: &mut Fields<'_>, service: &str) -> Option<Value> {
        let mut instances = fields.take("scale");
        let (mut cpu, mut memory) = (fields.take("cpus"), fields.take("mem_limit"));
        if let Some(field) = fields.take("deploy") {
            let what = format!("what service `{service}` says of its deployment");
            let mut deploy = self.decoder.fields(&field, &what)?;
            instances = deploy.take("replicas").or(instances);
            if let Some(field) = deploy.take("resources") {
                let mut resources = self.decoder.fields(&field, &what)?;
                if let Some(field) = resources.take("limits") {
                    let mut limits = self.decoder.fields(&field, &what)?;
                    cpu = limits.take("cpus").or(cpu);
                    memory = limits.take("memory").or(memory);
                    self.leave(&mut limits, |_| Some("a scale has processors and memory, and no more"));
                }
                self.leave(&mut resources, |_| Some("a scale says limits, and reserves nothing"));
            }
            self.leave(&mut deploy, |key| match key {
                "mode" => Some("a service has as many instances as its scale says"),
                "restart_policy" => Some("instances that end are always started again"),
                "update_config" | "rollback_config" => Some("instances are replaced one by one, as they get ready"),
                "placement" | "endpoint_mode" => Some("the platform decides that"),
                "labels" => Some("say them as `metadata`"),
                _ => None,
            });
        }
        if instances.is_none() && cpu.is_none() && memory.is_none() {
            return None;
        }
        let count = match &instances {
            Some(field) => self.instances(field, service)?,
            None => 1,
        };
        let is_partly_said = cpu.is_none() || memory.is_none();
        let said = instances.or_else(|| cpu.clone()).or_else(|| memory.clone()).filter(|_| is_partly_said);
        let cpu = cpu.map_or(Some(Cpu(1_000)), |field| self.cpu(&field, service))?;
        let memory = memory.map_or(Some("1GB".to_owned()), |field| self.memory(&field, service))?;
        if let Some(field) = said {
            self.note(&field, "what is not limited gets what services get that say nothing: 1 processor, 1GB");
        }
        Some(json!({"cpu": cpu.to_json(), "memory": memory, "instances": count}))
    }

    fn instances(&mut self, field: &Field<'_>, service: &str) -> Option<u32> {
        let count = self.number(field, &format!("the replicas of service `{service}`"))?;
        if count > INSTANCES_MAX {
            let message = format!("service `{service}` has {count} replicas");
            self.decoder.refuse(field, message, format!("use up to {INSTANCES_MAX}"));
            return None;
        }
        Some(count)
    }

    fn cpu(&mut self, field: &Field<'_>, service: &str) -> Option<Cpu> {
        let text = self.text(field, &format!("the processors of service `{service}`"))?;
        let cpu = Cpu::parse(&text);
        if cpu.is_none() {
            let message = format!("the processors of service `{service}` are `{}`", shown(&text));
            self.decoder.refuse(field, message, "write a number with up to three decimals, such as 0.25");
        }
        cpu
    }

    fn memory(&mut self, field: &Field<'_>, service: &str) -> Option<String> {
        let text = self.text(field, &format!("the memory of service `{service}`"))?;
        let memory = memory(&text);
        if memory.is_none() {
            let message = format!("the memory of service `{service}` is `{}`", shown(&text));
            self.decoder.refuse(field, message, "write whole bytes, or a number with `k`, `m` or `g`, such as 64m");
        }
        memory
    }

    /// What only containers of Docker have.
    fn dialect(&mut self, fields: &mut Fields<'_>, service: &str, words: &mut Vec<Variable>) -> Map<String, Value> {
        let mut dialect = Map::new();
        for key in ["entrypoint", "command"] {
            let Some(field) = fields.take(key) else { continue };
            let what = format!("the {key} of service `{service}`");
            let Some(found) = self.words(&field, &what) else { continue };
            if found.is_empty() {
                self.note(&field, "that of the image can't be taken away");
                continue;
            }
            dialect.insert(key.to_owned(), json!(found));
            let (place, path) = (field.node.place, dotted(&field.pointer));
            let word = |value| Variable { name: key.to_owned(), value, place, path: path.clone() };
            words.extend(found.into_iter().map(word));
        }
        for (key, word) in PLAIN {
            let Some(field) = fields.take(key) else { continue };
            let what = format!("the {key} of service `{service}`");
            let value = match key {
                "init" | "read_only" => self.switch(&field, &what).map(Value::from),
                _ => self.text(&field, &what).map(Value::from),
            };
            dialect.extend(value.map(|value| (word.to_owned(), value)));
        }
        for (key, word) in [("cap_drop", "cap-drop"), ("dns", "dns")] {
            let Some(field) = fields.take(key) else { continue };
            let what = format!("the {key} of service `{service}`");
            let values: Vec<String> = one_or_many(&field).iter().filter_map(|item| self.text(item, &what)).collect();
            if !values.is_empty() {
                dialect.insert(word.to_owned(), json!(values));
            }
        }
        let (volumes, temporary) =
            fields.take("volumes").map(|field| self.volumes(&field, service)).unwrap_or_default();
        for (word, values) in [("volume", volumes), ("tmpfs", temporary)] {
            if !values.is_empty() {
                dialect.insert(word.to_owned(), json!(values));
            }
        }
        dialect
    }

    /// A list of words, or a line of them.
    fn words(&mut self, field: &Field<'_>, what: &str) -> Option<Vec<String>> {
        if let Content::List(_) = &field.node.content {
            return one_or_many(field).iter().map(|item| self.text(item, what)).collect();
        }
        let text = self.text(field, what)?;
        let words = words(&text);
        if words.is_none() {
            self.decoder.refuse(field, format!("{what} has a quote that does not end"), "end it");
        }
        words
    }
}

/// Docker's amounts of memory, which count in 1,024s.
fn memory(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|found: char| !found.is_ascii_digit() && found != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let each: u64 = match unit.trim() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return None,
    };
    let bytes = scaled(number, each)?;
    let kibibytes = bytes.div_ceil(1 << 10);
    Some(if kibibytes.is_multiple_of(1 << 10) { format!("{}Mi", kibibytes >> 10) } else { format!("{kibibytes}Ki") })
}

/// The words of a line as a shell parts them, without anything else that a shell does.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(found) = characters.next() {
        match found {
            found if found.is_whitespace() => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match characters.next()? {
                        next if next == found => break,
                        '\\' if found == '"' => match characters.next()? {
                            next @ ('"' | '\\' | '$' | '`') => word.push(next),
                            next => word.extend(['\\', next]),
                        },
                        next => word.push(next),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(characters.next()?),
            found => word.get_or_insert_default().push(found),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::{memory, words};

    #[test]
    fn a_line_is_parted_into_words() {
        for (line, expected) in [
            ("run -x", Some(vec!["run", "-x"])),
            (r#"sh -c 'a "b" $C' "d \"e\" \n""#, Some(vec!["sh", "-c", r#"a "b" $C"#, r#"d "e" \n"#])),
            (r"a\ b ''", Some(vec!["a b", ""])),
            ("", Some(vec![])),
            ("'open", None),
            (r"\", None),
        ] {
            assert_eq!(words(line), expected.map(|words| words.into_iter().map(str::to_owned).collect()), "{line}");
        }
    }

    #[test]
    fn memory_counts_in_1024s() {
        for (text, expected) in [
            ("64m", Some("64Mi")),
            ("50M", Some("50Mi")),
            ("1gb", Some("1024Mi")),
            ("1000", Some("1Ki")),
            ("1500k", Some("1500Ki")),
            ("x", None),
            ("1t", None),
        ] {
            assert_eq!(memory(text).as_deref(), expected, "{text}");
        }
    }
}
