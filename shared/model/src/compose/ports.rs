//! Ports of services: `8080`, `"8080:80"`, `127.0.0.1:9090-9091:90-91/tcp`, and the long form.

use super::{Reader, shown};
use crate::decode::{Field, one_or_many};
use crate::tree::Content;

/// LIMIT: ports of one service; each becomes a gateway.
const PORTS_MAX: usize = 64;

/// Ports on which something else than HTTP is spoken everywhere, so that files say nothing of it.
const KNOWN_TCP: [u16; 27] = [
    21, 22, 25, 53, 110, 143, 389, 443, 465, 587, 636, 993, 995, 1433, 1521, 1883, 2181, 3306, 5432, 5671, 5672, 6379,
    8443, 9042, 9092, 11211, 27017,
];

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    /// In the container.
    pub(super) number: u16,
    pub(super) is_tcp: bool,
    /// Nothing says what it carries.
    pub(super) is_guessed: bool,
    /// Where clients of the whole find it.
    pub(super) published: Option<u16>,
}

impl Port {
    /// A port of which the file says nothing but its number.
    pub(super) fn bare(number: u16) -> Self {
        Self { number, is_tcp: KNOWN_TCP.contains(&number), is_guessed: true, published: None }
    }

    /// As the breed calls it.
    pub(super) fn name(&self) -> String {
        format!("port_{}", self.number)
    }

    /// As a breed writes it.
    pub(super) fn to_text(&self) -> String {
        format!("{}/{}", self.number, if self.is_tcp { "tcp" } else { "http" })
    }
}

const HINT: &str = "write `80`, `8080:80`, `8080-8081:80-81/tcp`, or `{target: 80, published: 8080}`";

impl Reader<'_, '_> {
    pub(super) fn ports(&mut self, field: &Field<'_>, service: &str, found: &mut Vec<Port>) {
        for item in one_or_many(field) {
            let read = match item.node.content {
                Content::Map(_) => self.long(&item, service),
                _ => self.short(&item, service),
            };
            for port in read.into_iter().flatten() {
                self.add(&item, port, found);
            }
        }
    }

    /// Ports that only other services are to find.
    pub(super) fn exposed(&mut self, field: &Field<'_>, service: &str, found: &mut Vec<Port>) {
        for item in one_or_many(field) {
            for port in self.short(&item, service).into_iter().flatten() {
                self.add(&item, Port { published: None, ..port }, found);
            }
        }
    }

    fn add(&mut self, field: &Field<'_>, port: Port, found: &mut Vec<Port>) {
        if let Some(known) = found.iter_mut().find(|known| known.number == port.number) {
            if known.published.is_some() && port.published.is_some() && known.published != port.published {
                self.note(field, "the port is published twice: the first one is carried over");
            }
            known.published = known.published.or(port.published);
            return;
        }
        if found.len() >= PORTS_MAX {
            self.note(field, "the service has more ports than are carried over (64)");
            return;
        }
        found.push(port);
    }

    fn short(&mut self, field: &Field<'_>, service: &str) -> Option<Vec<Port>> {
        let text = self.text(field, &format!("a port of service `{service}`"))?;
        let (addresses, protocol) = text.rsplit_once('/').map_or((text.as_str(), None), |(text, of)| (text, Some(of)));
        let (host, target) = match addresses.rsplit_once(':') {
            Some((host, target)) => (Some(host), target),
            None => (None, addresses),
        };
        let (address, published) = match host.map(|host| host.rsplit_once(':').unwrap_or(("", host))) {
            Some((address, published)) => (address, Some(published).filter(|published| !published.is_empty())),
            None => ("", None),
        };
        let (Some(targets), Some(published)) = (range(target), published.map_or(Some(Vec::new()), range)) else {
            let message = format!("a port of service `{service}` is `{}`", shown(&text));
            self.decoder.refuse(field, message, HINT);
            return None;
        };
        self.of(field, &targets, &published, address, protocol)
    }

    fn long(&mut self, field: &Field<'_>, service: &str) -> Option<Vec<Port>> {
        let what = format!("a port of service `{service}`");
        let mut fields = self.decoder.fields(field, &what)?;
        let mut texts = ["target", "published", "protocol", "host_ip", "app_protocol"]
            .map(|name| fields.take(name).and_then(|field| self.text(&field, &format!("the {name} of {what}"))));
        // Gateways stand before all instances, which is what every mode is about.
        fields.ignore(&["name", "mode"]);
        self.leave(&mut fields, |_| None);
        let [target, published, protocol, host, application] = &mut texts;
        // `docker compose config` writes `protocol: tcp` at every port: it says that it is not UDP, and nothing of HTTP.
        let is_said = |found: &String| found == "http" || found == "tcp";
        let protocol = application.take().filter(is_said).or_else(|| protocol.take().filter(|found| found != "tcp"));
        let targets = target.as_deref().and_then(range);
        let published = published.as_deref().map_or(Some(Vec::new()), range);
        let (Some(targets), Some(published)) = (targets, published) else {
            self.decoder.refuse(field, format!("{what} has no port as its target, or is published at none"), HINT);
            return None;
        };
        self.of(field, &targets, &published, host.as_deref().unwrap_or_default(), protocol.as_deref())
    }

    fn of(
        &mut self,
        field: &Field<'_>,
        targets: &[u16],
        published: &[u16],
        address: &str,
        protocol: Option<&str>,
    ) -> Option<Vec<Port>> {
        let is_tcp = match protocol.map(str::to_ascii_lowercase).as_deref() {
            None => None,
            Some("tcp") => Some(true),
            Some("http") => Some(false),
            Some(other) => {
                let why = format!("gateways carry HTTP and TCP, and not `{}`", shown(other));
                self.note(field, &why);
                return None;
            }
        };
        if !matches!(address, "" | "0.0.0.0" | "[::]" | "::") {
            self.note(field, "gateways listen where `--bind` says, not at an address of their own");
        }
        if !published.is_empty() && published.len() != targets.len() {
            self.note(field, "so many ports are not published one by one: which gateway leads where must be said");
        }
        let pairs = targets.iter().enumerate().map(|(index, number)| {
            let published = if published.len() == targets.len() { published.get(index).copied() } else { None };
            let guessed = Port::bare(*number);
            Port {
                is_tcp: is_tcp.unwrap_or(guessed.is_tcp),
                is_guessed: is_tcp.is_none(),
                published: published.filter(|port| *port > 0),
                ..guessed
            }
        });
        let ports: Vec<Port> = pairs.collect();
        if is_tcp.is_none() && ports.iter().any(|port| port.is_tcp) {
            self.note(field, "taken for TCP by its number: write `/http` behind it if it is not");
        }
        Some(ports)
    }
}

/// `80`, or `80-82`: up to so many as a service may have.
fn range(text: &str) -> Option<Vec<u16>> {
    let number = |text: &str| {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number)
    };
    let text = text.trim();
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    let count = usize::from(last.checked_sub(first)?).saturating_add(1);
    (first > 0 && count <= PORTS_MAX || first == 0 && count == 1).then(|| (first..=last).collect())
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_bounded() {
        assert_eq!(range("80"), Some(vec![80]));
        assert_eq!(range("80-82"), Some(vec![80, 81, 82]));
        assert_eq!(range("0"), Some(vec![0]));
        for text in ["", "-", "82-80", "1-65535", "65536", "+1", "a", "0-5"] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
