//! Texts that may hold references: `postgres://$store.host:$store.ports.sql/shop`.

use std::fmt;

/// One part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands; `$$` in the source is one `$` here.
    Text(String),
    /// What stands in its place comes from elsewhere.
    Reference(ValueReference),
}

/// What a value refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ValueReference {
    /// `$name`: a variable of the same service, or a constant of the same breed.
    Local(String),
    /// `$cluster.host`: where the cluster's gateways are.
    Host(String),
    /// `$cluster.ports.name`: the port of the cluster's gateway of that name.
    Port {
        /// The cluster, in a breed the alias of a dependency.
        cluster: String,
        /// The breed's port.
        port: String,
    },
    /// `$cluster.environment_variables.name`, or `env`.
    Variable {
        /// The cluster, in a breed the alias of a dependency.
        cluster: String,
        /// The variable.
        name: String,
    },
    /// `$cluster.constants.name`.
    Constant {
        /// The cluster, in a breed the alias of a dependency.
        cluster: String,
        /// The constant.
        name: String,
    },
}

/// Why a text is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// The character where it goes wrong, from 1.
    pub position: usize,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: String,
}

const HINT: &str = "write `$cluster.host`, `$cluster.ports.NAME`, `$cluster.environment_variables.NAME`, `$cluster.constants.NAME`, `$NAME`, or `$$` for a dollar sign";

/// Reads a value.
pub fn parse(text: &str) -> Result<Vec<Part>, ValueError> {
    parse_by(text, reference)
}

/// The references of a value of a workflow, in order. It may name the workflow as `$workflow.name` too.
pub fn parse_in_workflow(text: &str) -> Result<Vec<ValueReference>, ValueError> {
    let own = |name: &str| if name == "workflow.name" { reference("workflow") } else { reference(name) };
    parse_by(text, own).map(references_of)
}

fn parse_by(text: &str, reference: impl Fn(&str) -> Result<ValueReference, String>) -> Result<Vec<Part>, ValueError> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text.char_indices().enumerate().peekable();
    while let Some((index, (at, character))) = rest.next() {
        if character != '$' {
            literal.push(character);
            continue;
        }
        let fault = |message: String| ValueError { position: index.saturating_add(1), message, hint: HINT.to_owned() };
        let after = text.get(at.saturating_add(1)..).unwrap_or_default();
        if after.starts_with('$') {
            literal.push('$');
            rest.next();
            continue;
        }
        let (name, consumed) = if let Some(braced) = after.strip_prefix('{') {
            let (inner, _) = braced.split_once('}').ok_or_else(|| fault("`${` has no `}`".to_owned()))?;
            (inner.trim(), inner.chars().count().saturating_add(2))
        } else {
            let name = bare(after);
            (name, name.chars().count())
        };
        let reference = reference(name).map_err(fault)?;
        if !literal.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut literal)));
        }
        parts.push(Part::Reference(reference));
        for _ in 0..consumed {
            rest.next();
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

/// The references of a value, in order; none when it can't be read.
pub fn references(text: &str) -> Vec<ValueReference> {
    references_of(parse(text).unwrap_or_default())
}

fn references_of(parts: Vec<Part>) -> Vec<ValueReference> {
    let references = parts.into_iter().filter_map(|part| match part {
        Part::Reference(reference) => Some(reference),
        Part::Text(_) => None,
    });
    references.collect()
}

/// What of a text without braces belongs to the reference: parts with single dots between them.
fn bare(text: &str) -> &str {
    let mut end = 0;
    for (at, character) in text.char_indices() {
        let next = text.get(at.saturating_add(1)..).and_then(|after| after.chars().next());
        let is_inner_dot = character == '.' && end > 0 && next.is_some_and(is_part);
        if !is_part(character) && !is_inner_dot {
            break;
        }
        end = at.saturating_add(character.len_utf8());
    }
    text.get(..end).unwrap_or_default()
}

fn is_part(character: char) -> bool {
    !matches!(character, ' ' | '\n' | '\t' | '/' | '[' | ']' | '.' | '{' | '}' | ':' | ',' | ';' | '$')
}

fn reference(name: &str) -> Result<ValueReference, String> {
    if name.contains("://") {
        return Err(format!("`{name}` refers to settings of the control plane, which are not given to services"));
    }
    let parts: Vec<&str> = name.split('.').collect();
    let is_sound = parts.iter().all(|part| !part.is_empty() && part.chars().all(is_part));
    match parts.as_slice() {
        _ if !is_sound => Err(format!("`${name}` is no reference")),
        [local] => Ok(ValueReference::Local((*local).to_owned())),
        [cluster, "host"] => Ok(ValueReference::Host((*cluster).to_owned())),
        [cluster, group, name @ ..] if !name.is_empty() => {
            let (cluster, name) = ((*cluster).to_owned(), name.join("."));
            match *group {
                "ports" => Ok(ValueReference::Port { cluster, port: name }),
                "environment_variables" | "env" => Ok(ValueReference::Variable { cluster, name }),
                "constants" => Ok(ValueReference::Constant { cluster, name }),
                other => Err(format!("`{other}` of `${cluster}.{other}.{name}` is nothing that a cluster has")),
            }
        }
        _ => Err(format!("`${name}` is no reference")),
    }
}

impl ValueReference {
    /// The cluster (in a breed, the alias of a dependency) that it names.
    pub fn cluster(&self) -> Option<&str> {
        match self {
            Self::Local(_) => None,
            Self::Host(cluster)
            | Self::Port { cluster, .. }
            | Self::Variable { cluster, .. }
            | Self::Constant { cluster, .. } => Some(cluster),
        }
    }
}

impl fmt::Display for ValueReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(name) => write!(f, "${name}"),
            Self::Host(cluster) => write!(f, "${cluster}.host"),
            Self::Port { cluster, port } => write!(f, "${cluster}.ports.{port}"),
            Self::Variable { cluster, name } => write!(f, "${cluster}.environment_variables.{name}"),
            Self::Constant { cluster, name } => write!(f, "${cluster}.constants.{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_stand_between_text() {
        let host = |name: &str| Part::Reference(ValueReference::Host(name.to_owned()));
        let text = |text: &str| Part::Text(text.to_owned());
        let port = ValueReference::Port { cluster: "db".to_owned(), port: "sql".to_owned() };
        assert_eq!(
            parse("http://$db.host:$db.ports.sql/x").unwrap(),
            [text("http://"), host("db"), text(":"), Part::Reference(port), text("/x")]
        );
        assert_eq!(parse("$$5").unwrap(), [text("$5")]);
        assert_eq!(parse("${ db.host }s.").unwrap(), [host("db"), text("s.")]);
        assert_eq!(parse("$db.host.").unwrap(), [host("db"), text(".")]);
        let variable = ValueReference::Variable { cluster: "a".to_owned(), name: "B.C".to_owned() };
        assert_eq!(parse("$a.env.B.C").unwrap(), [Part::Reference(variable)]);
        assert_eq!(parse("é$é").unwrap(), [text("é"), Part::Reference(ValueReference::Local("é".to_owned()))]);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_no_reference_is_refused_at_its_dollar_sign() {
        for (text, position) in
            [("a $", 3), ("$db.hosts.x.y", 1), ("${db", 1), ("1${}", 2), ("$db.x", 1), ("${conf://a}", 1)]
        {
            assert_eq!(parse(text).unwrap_err().position, position, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_inside_it(text in "[$a.{}: é]{0,12}") {
            match parse(&text) {
                Ok(parts) => {
                    let characters: usize = parts.iter().map(|part| match part {
                        Part::Text(text) => text.chars().count(),
                        Part::Reference(_) => 0,
                    }).sum();
                    proptest::prop_assert!(characters <= text.chars().count());
                }
                Err(error) => {
                    proptest::prop_assert_eq!(text.chars().nth(error.position - 1), Some('$'));
                }
            }
        }
    }
}
