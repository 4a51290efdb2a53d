//! What is ordered: one instance, whole. The same order twice is the same instance.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// LIMIT: what a container, a folder and a host may be called.
const ID_BYTES_MAX: usize = 63;
/// LIMIT: labels, variables and ports of one instance: far above what any service has, far below what hurts.
const ENTRIES_MAX: usize = 512;
/// LIMIT: bytes of the values of all labels, or of all variables: what the kernel takes for one program.
const BYTES_MAX: usize = 128 << 10;
/// Labels that the drivers set themselves start so.
const OWN_LABELS: &str = "io.vamp.platform.";

/// Labels of an instance.
pub type Labels = BTreeMap<String, String>;

/// What is wrong with an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {mend}")]
pub struct SpecError {
    /// Which part of it.
    pub field: String,
    /// What is wrong with it, and the mend.
    pub mend: String,
}

impl SpecError {
    /// An error in one part of an order.
    pub fn new(field: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { field: field.into(), mend: mend.into() }
    }
}

/// Names one instance in its namespace: 1 to 63 lower-case letters, digits and `-`, with a letter or digit at both ends.
/// Who orders an instance gives its id, always the same one for the same instance.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId(String);

impl InstanceId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for InstanceId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for InstanceId {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_named = (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_inner);
        if is_named && !text.starts_with('-') && !text.ends_with('-') {
            return Ok(Self(text.to_owned()));
        }
        let mend = format!(
            "`{text}` is no id of an instance: use 1 to {ID_BYTES_MAX} lower-case letters, digits and `-`, not at the ends"
        );
        Err(SpecError::new("id", mend))
    }
}

impl TryFrom<String> for InstanceId {
    type Error = SpecError;

    fn try_from(text: String) -> Result<Self, SpecError> {
        text.parse()
    }
}

impl From<InstanceId> for String {
    fn from(id: InstanceId) -> Self {
        id.0
    }
}

/// One instance, as it is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Its id.
    pub id: InstanceId,
    /// What others find it by. Names below `io.vamp.platform.` belong to the drivers.
    pub labels: Labels,
    /// What runs.
    pub deployable: Deployable,
    /// What it is told. Each port is added as `PORT_NAME`, the first one as `PORT` too.
    pub environment: Environment,
    /// Where it listens, in the order of its breed.
    pub ports: Vec<PortSpec>,
    /// How its ports are reached.
    pub reach: Reach,
    /// Processors it may use, in thousandths; `None`: any number.
    pub cpu_milli: Option<u32>,
    /// Memory it may use; `None`: any amount.
    pub memory_bytes: Option<u64>,
    /// Networks it is in, made if they are missing; none: the platform's own.
    pub networks: Vec<String>,
    /// Whether it is started again when it ends by itself.
    pub restart: Restart,
    /// Parameters of the platform, as a breed's `arguments`: `privileged`, `volume` … Each driver says which it takes.
    pub arguments: Vec<(String, String)>,
    /// What only one driver understands, in its own words; below what is said above.
    pub dialect: serde_json::Map<String, serde_json::Value>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Deployable {
    /// A program of the host.
    Command {
        /// Its name, looked for in `PATH`, or its path.
        program: String,
        /// What it is given.
        arguments: Vec<String>,
    },
    /// A container of an image.
    Docker {
        /// The image.
        image: String,
        /// What runs in it; empty: what the image says.
        command: Vec<String>,
    },
}

impl Deployable {
    /// The program that a line of text means: a line without any sign that a shell would read is split at blanks, so
    /// that a missing program is told by its name; any other one is left to `/bin/sh`.
    pub fn command_line(line: &str) -> Self {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b" _-+./:,@%^".contains(&byte) || !byte.is_ascii();
        let mut words = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned);
        match words.next() {
            Some(program) if line.bytes().all(is_plain) => Self::Command { program, arguments: words.collect() },
            _ => Self::Command { program: "/bin/sh".to_owned(), arguments: vec!["-c".to_owned(), line.to_owned()] },
        }
    }
}

/// Variables, whose values are nobody's business but the instance's: they are not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(pub BTreeMap<String, String>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// One port of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Its name in the breed.
    pub name: String,
    /// Where the instance listens, in a platform that gives each one a network of its own.
    pub container: u16,
    /// Where it is reached on the host.
    pub host: HostPort,
}

impl PortSpec {
    /// The variable that tells its number to the instance.
    pub fn variable(&self) -> String {
        let upper = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' };
        format!("PORT_{}", self.name.chars().map(upper).collect::<String>())
    }
}

/// A port of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostPort {
    /// The platform chooses.
    Any,
    /// This one.
    Fixed(u16),
}

/// How ports are reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// On ports of the host.
    Host,
    /// At the instance's own address, where the platform gives it one (Vamp's network `USER`).
    OwnAddress,
}

/// Whether an instance is started again when it ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// Yes, after a time that grows with each failure in a row.
    Always,
    /// No: it has done its work.
    Never,
}

impl InstanceSpec {
    /// What is wrong with it, whichever driver it is for.
    pub(crate) fn check(&self) -> Result<(), SpecError> {
        for label in self.labels.keys() {
            if label.is_empty() || label.starts_with(OWN_LABELS) {
                return Err(SpecError::new(format!("label `{label}`"), "this name belongs to the platform: rename it"));
            }
        }
        check_text("labels", &self.labels)?;
        for name in self.environment.0.keys() {
            if name.is_empty() || name.contains('=') {
                let mend = "a variable's name has at least one character, and no `=`: rename it";
                return Err(SpecError::new(format!("environment variable `{name}`"), mend));
            }
        }
        check_text("environment variables", &self.environment.0)?;
        self.check_ports()
    }

    fn check_ports(&self) -> Result<(), SpecError> {
        if self.ports.len() > ENTRIES_MAX {
            return Err(SpecError::new("ports", format!("there are more than {ENTRIES_MAX}: leave some out")));
        }
        let (mut names, mut hosts) = (BTreeSet::new(), BTreeSet::new());
        for port in &self.ports {
            let refused = |mend: &str| Err(SpecError::new(format!("port `{}`", port.name), mend));
            if !names.insert(port.variable()) {
                return refused("another port has this name, as a variable is called: rename it");
            }
            if port.container == 0 || port.host == HostPort::Fixed(0) {
                return refused("0 is no port: use 1 to 65535");
            }
            if let HostPort::Fixed(host) = port.host
                && !hosts.insert(host)
            {
                return refused("another port wants the same port of the host: choose another one");
            }
        }
        Ok(())
    }

    /// Tells this order from any other one, values of variables included, without telling them.
    pub fn digest(&self) -> String {
        // Maps are sorted, so that the same order is the same text.
        let text = serde_json::to_vec(self).unwrap_or_default();
        Sha256::digest(&text).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

fn check_text(what: &str, entries: &BTreeMap<String, String>) -> Result<(), SpecError> {
    let bytes: usize = entries.iter().map(|(name, value)| name.len() + value.len()).sum();
    if entries.len() > ENTRIES_MAX || bytes > BYTES_MAX {
        let mend = format!("there are more than {ENTRIES_MAX} of them, or more than {BYTES_MAX} bytes: leave some out");
        return Err(SpecError::new(what, mend));
    }
    match entries.iter().find(|(name, value)| name.contains('\0') || value.contains('\0')) {
        // The value may be a secret; the name tells enough.
        Some((name, _)) => Err(SpecError::new(format!("{what}, `{}`", name.replace('\0', "\\0")), "remove the NUL")),
        None => Ok(()),
    }
}

#[cfg(test)]
impl InstanceSpec {
    /// A program, and nothing else that an order can say.
    pub(crate) fn bare(id: &str, command: &str) -> Self {
        Self {
            id: id.parse().unwrap(),
            labels: Labels::new(),
            deployable: Deployable::command_line(command),
            environment: Environment::default(),
            ports: Vec::new(),
            reach: Reach::Host,
            cpu_milli: None,
            memory_bytes: None,
            networks: Vec::new(),
            restart: Restart::Always,
            arguments: Vec::new(),
            dialect: serde_json::Map::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> InstanceSpec {
        InstanceSpec {
            environment: Environment(BTreeMap::from([("KEY".to_owned(), "secret".to_owned())])),
            ports: vec![PortSpec { name: "web".to_owned(), container: 8080, host: HostPort::Any }],
            ..InstanceSpec::bare("shop-0", "sleep 5")
        }
    }

    #[test]
    fn an_id_may_be_a_host_name_and_nothing_else() {
        for good in ["a", "shop-web-1", "0", &"a".repeat(63)] {
            assert_eq!(good.parse::<InstanceId>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "..", &"a".repeat(64)] {
            assert!(bad.parse::<InstanceId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn any_change_shows_in_the_digest_and_nothing_else_does() {
        let mut changed = spec();
        assert_eq!(changed.digest(), spec().digest());
        changed.environment.0.insert("KEY".to_owned(), "other".to_owned());
        assert_ne!(changed.digest(), spec().digest());
    }

    #[test]
    fn values_of_variables_are_not_shown() {
        let shown = format!("{:?}", spec());
        assert!(shown.contains("KEY") && !shown.contains("secret"), "{shown}");
    }

    #[track_caller]
    fn refused(change: impl FnOnce(&mut InstanceSpec), mend: &str) {
        let mut spec = spec();
        spec.check().unwrap();
        change(&mut spec);
        let error = spec.check().unwrap_err().to_string();
        assert!(error.contains(mend) && !error.contains("secret"), "{error}");
    }

    #[test]
    fn an_order_that_makes_no_sense_is_refused_with_its_mend() {
        let port = |name: &str, container, host| PortSpec { name: name.to_owned(), container, host };
        refused(|spec| spec.ports.push(port("WEB", 1, HostPort::Any)), "rename it");
        refused(|spec| spec.ports.push(port("sql", 0, HostPort::Any)), "1 to 65535");
        refused(
            |spec| spec.ports = vec![port("a", 1, HostPort::Fixed(9)), port("b", 2, HostPort::Fixed(9))],
            "choose another",
        );
        refused(|spec| drop(spec.environment.0.insert("A=B".to_owned(), "secret".to_owned())), "no `=`");
        refused(|spec| drop(spec.environment.0.insert("A".to_owned(), "secret\0".to_owned())), "NUL");
        refused(|spec| drop(spec.labels.insert("io.vamp.platform.id".to_owned(), String::new())), "belongs");
        refused(|spec| drop(spec.labels.insert("a".to_owned(), "b".repeat(BYTES_MAX))), "leave some out");
    }

    #[test]
    fn a_plain_command_line_is_run_without_a_shell() {
        let plain = Deployable::Command { program: "sleep".to_owned(), arguments: vec!["5".to_owned()] };
        assert_eq!(Deployable::command_line(" sleep  5"), plain);
        for line in ["sleep 5; true", "echo $HOME", "A=b env", "echo 'a b'", ""] {
            let Deployable::Command { program, arguments } = Deployable::command_line(line) else { panic!() };
            assert_eq!(
                (program.as_str(), arguments.as_slice()),
                ("/bin/sh", ["-c", line].map(str::to_owned).as_slice())
            );
        }
    }
}
