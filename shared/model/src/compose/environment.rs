//! Variables of services, and the addresses of other services in them.

use std::collections::{BTreeSet, HashMap};

use super::service::{Need, Service, Variable};
use super::{Needs, Reader, above, dotted, shown};
use crate::decode::{Field, entries};
use crate::tree::Content;
use crate::violation::step;

impl Reader<'_, '_> {
    /// `{NAME: value}`, or `[NAME=value]`.
    pub(super) fn environment(&mut self, field: &Field<'_>, service: &str) -> Vec<Variable> {
        let mut variables: Vec<Variable> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        // As Compose has it: the last one counts.
        let mut add = |variable: Variable| {
            if let Some(former) = known.get(&variable.name).and_then(|at| variables.get_mut(*at)) {
                *former = variable;
            } else {
                known.insert(variable.name.clone(), variables.len());
                variables.push(variable);
            }
        };
        if let Content::List(items) = &field.node.content {
            for (index, node) in items.iter().enumerate() {
                let item = Field { pointer: step(&field.pointer, &index.to_string()), node };
                let what = format!("variable {} of service `{service}`", index.saturating_add(1));
                let Some(text) = self.text(&item, &what) else { continue };
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                    None => (text, None),
                };
                self.variable(&item, &name, value, service).into_iter().for_each(&mut add);
            }
            return variables;
        }
        for (key, item) in entries(&mut self.decoder, field, &format!("the environment of service `{service}`")) {
            let value = match item.node.content {
                Content::Null => None,
                _ => match self.text(&item, &format!("variable `{}` of service `{service}`", shown(&key.text))) {
                    None => continue,
                    value => value,
                },
            };
            self.variable(&item, &key.text, value, service).into_iter().for_each(&mut add);
        }
        variables
    }

    fn variable(&mut self, field: &Field<'_>, name: &str, value: Option<String>, service: &str) -> Option<Variable> {
        let is_unusable = |found: char| found.is_whitespace() || found.is_control() || "/[]=".contains(found);
        if name.is_empty() || name.contains(is_unusable) {
            let message = format!("service `{service}` has a variable `{}`", shown(name));
            self.decoder.refuse(field, message, "use letters, digits and `_` in its name");
            return None;
        }
        let Some(value) = value.or_else(|| (self.variables)(name)) else {
            let why = format!("the variable `{name}` has no value here: add one to the breed, or leave it out");
            self.note(field, &why);
            return None;
        };
        Some(Variable { name: name.to_owned(), value, place: field.node.place, path: dotted(&field.pointer) })
    }

    /// Puts references in the place of addresses of other services, and finds out who needs whom.
    pub(super) fn connect(&mut self, services: &mut [Service]) {
        let mut needs = Needs::new();
        for index in 0..services.len() {
            let wanted = services.get(index).map(|service| service.depends_on.clone()).unwrap_or_default();
            // What a service needs changes nothing about who needs it.
            let above = above(&needs, index);
            for need in wanted {
                self.depend(&above, &need, services, needs.entry(index).or_default());
            }
        }
        let written: Vec<Variable> = services.iter().flat_map(|service| service.environment.iter().cloned()).collect();
        for index in 0..services.len() {
            let variables = services.get_mut(index).map(|service| std::mem::take(&mut service.environment));
            let variables: Vec<Variable> = variables.into_iter().flatten().collect();
            let above = above(&needs, index);
            let needed = needs.entry(index).or_default();
            let variables = variables.into_iter().map(|variable| self.refer(&above, variable, services, needed));
            let variables: Vec<Variable> = variables.collect();
            if let Some(service) = services.get_mut(index) {
                service.environment = variables;
            }
        }
        // Now every port is known.
        self.tell_hosts(&written, services);
        for (index, needed) in needs {
            let names = needed.into_iter().filter_map(|needed| Some(services.get(needed)?.name.clone()));
            let names: Vec<String> = names.collect();
            if let Some(service) = services.get_mut(index) {
                service.needs = names;
            }
        }
    }

    fn depend(&mut self, above: &BTreeSet<usize>, need: &Need, services: &[Service], needed: &mut Vec<usize>) {
        let Some(found) = services.iter().position(|service| service.written == need.on) else {
            let message = format!("it depends on `{}`, which is no service of the file", shown(&need.on));
            self.decoder.refuse_at(need.place, &need.pointer, message, "name one of the services");
            return;
        };
        if above.contains(&found) {
            let message = format!("it depends on `{}`, which depends on it", shown(&need.on));
            self.decoder.refuse_at(need.place, &need.pointer, message, "remove one of these dependencies");
            return;
        }
        if !needed.contains(&found) {
            needed.push(found);
        }
    }

    fn refer(
        &mut self,
        above: &BTreeSet<usize>,
        variable: Variable,
        services: &mut [Service],
        needed: &mut Vec<usize>,
    ) -> Variable {
        let text = variable.value.as_str();
        let mut value = String::new();
        let mut from = 0;
        for Address { start, end, name, port } in addresses(text) {
            let Some(found) = services.iter().position(|service| service.written == name) else { continue };
            if above.contains(&found) {
                let why = format!("`{name}:{port}` is left as it is: `{name}` needs this service, or is it");
                self.notes.add(variable.place, &variable.path, &why);
                continue;
            }
            let Some(target) = services.get_mut(found) else { continue };
            target.need_port(port);
            if !needed.contains(&found) {
                needed.push(found);
            }
            value.push_str(&text.get(from..start).unwrap_or_default().replace('$', "$$"));
            let next = text.get(end..).and_then(|rest| rest.chars().next());
            value.push_str(&reference(&target.name, port, next));
            from = end;
        }
        value.push_str(&text.get(from..).unwrap_or_default().replace('$', "$$"));
        Variable { value, ..variable }
    }
}

/// `$name.host:$name.ports.port_80`, with braces where what follows would be taken for a part of it.
fn reference(name: &str, port: u16, next: Option<char>) -> String {
    match next {
        None | Some(' ' | '/' | ',' | ';' | ':' | '\n' | '\t') => format!("${name}.host:${name}.ports.port_{port}"),
        Some(_) => format!("${{{name}.host}}:${{{name}.ports.port_{port}}}"),
    }
}

/// `name:port` in a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address<'t> {
    start: usize,
    end: usize,
    pub(super) name: &'t str,
    pub(super) port: u16,
}

/// Everything that looks like the address of a service: also several, and inside of URLs. What stands before an `@` is
/// a user and a password.
pub(super) fn addresses(text: &str) -> Vec<Address<'_>> {
    let is_part = |found: char| found.is_ascii_alphanumeric() || matches!(found, '.' | '_' | '-');
    let mut found = Vec::new();
    for (colon, _) in text.match_indices(':') {
        let (before, after) =
            (text.get(..colon).unwrap_or_default(), text.get(colon.saturating_add(1)..).unwrap_or_default());
        let start = before.rfind(|found: char| !is_part(found)).map_or(0, |at| {
            at.saturating_add(before.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8))
        });
        let digits = after.find(|found: char| !found.is_ascii_digit()).unwrap_or(after.len());
        let mut rest = after.get(digits..).unwrap_or_default().chars();
        let ends = match (rest.next(), rest.next()) {
            (Some('.'), next) => next.is_none_or(|next| !next.is_ascii_alphanumeric()),
            (Some(next), _) => !is_part(next) && next != '@',
            (None, _) => true,
        };
        let name = before.get(start..).unwrap_or_default();
        let port = after.get(..digits).and_then(|digits| digits.parse::<u16>().ok()).filter(|port| *port > 0);
        if let (Some(port), true, false) = (port, ends, name.is_empty()) {
            let end = colon.saturating_add(1).saturating_add(digits);
            found.push(Address { start, end, name, port });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::addresses;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, u16)]) {
        let found: Vec<_> = addresses(text).iter().map(|address| (address.name, address.port)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn addresses_are_found_wherever_they_stand() {
        check("db:5432", &[("db", 5432)]);
        check("postgres://user:1234@db:5432/shop?x=y:1", &[("db", 5432), ("y", 1)]);
        check("a:1,b-c:2;d_e:3", &[("a", 1), ("b-c", 2), ("d_e", 3)]);
        check("ünder:80 ü:80", &[("nder", 80)]);
        check("https://x.db:443/", &[("x.db", 443)]);
        check("db:5432x db:70000 db: :80 12:30:45", &[("12", 30), ("30", 45)]);
        check("db:80.", &[("db", 80)]);
    }
}
