//! Texts that name artifacts to delete them: what else they say of them is not looked at.

use crate::artifact::Kind;
use crate::decode::{Decoder, Field};
use crate::document::{Document, Format, decode_kind, decode_name, items};
use crate::reading::{Reading, Stored};
use crate::violation::Violation;

/// An artifact that a text names.
#[derive(Debug, Clone, PartialEq)]
pub enum Named {
    /// A deployment as it was read: the services that it names can be meant instead of all of it.
    Deployment(Box<Document>),
    /// Any other artifact.
    Other(Kind, String),
}

/// Reads kind and name of every artifact of a text; only deployments are read as a whole.
pub fn read_named(text: &str, format: Format, stored: &Stored<'_>) -> Result<Vec<Named>, Vec<Violation>> {
    let mut decoder = Decoder::new(text);
    let nodes = items(text, format, None, &mut decoder)?;
    let several = nodes.len() > 1;
    let mut named = Vec::with_capacity(nodes.len());
    for (index, node) in nodes.iter().enumerate() {
        let pointer = if several { format!("/{index}") } else { String::new() };
        let Some(mut fields) = decoder.fields(&Field { pointer, node }, "the artifact") else { continue };
        let Some(kind) = decode_kind(&mut decoder, &mut fields, None) else { continue };
        if let Some(name) = decode_name(&mut decoder, &mut fields, kind, None) {
            named.push((kind, name));
        }
    }
    if !decoder.is_clean() {
        return Err(decoder.into_violations());
    }
    let is_deployment = |at: usize| named.get(at).is_some_and(|(kind, _)| *kind == Kind::Deployment);
    let mut deployments = Reading::new(text, None, None, stored).documents_where(nodes, is_deployment)?.into_iter();
    let read = named.into_iter().filter_map(|(kind, name)| match kind {
        Kind::Deployment => deployments.next().map(|document| Named::Deployment(Box::new(document))),
        _ => Some(Named::Other(kind, name)),
    });
    Ok(read.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Result<Vec<(Kind, String)>, Vec<String>> {
        let read = read_named(text, Format::Yaml, &|_, _| None);
        let read = read.map_err(|violations| violations.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let name = |named| match named {
            Named::Deployment(document) => (Kind::Deployment, document.artifact.name().to_owned()),
            Named::Other(kind, name) => (kind, name),
        };
        Ok(read.into_iter().map(name).collect())
    }

    #[test]
    fn kind_and_name_are_enough_whatever_else_is_said() {
        for kind in Kind::ALL {
            let name = if kind == Kind::Instances { "shop/web/web:1" } else { "a" };
            let text = format!("{{kind: {}, name: {name}}}", kind.plural());
            assert_eq!(named(&text), Ok(vec![(kind, name.to_owned())]));
        }
        let text =
            "kind: gateways\nname: g\nport: no port\nimport: {kind: templates, name: gone}\nroutes: 7\ncolour: red";
        assert_eq!(named(text), Ok(vec![(Kind::Gateway, "g".to_owned())]));
    }

    #[test]
    fn deployments_are_read_with_the_services_that_they_name() {
        let text =
            "kind: breeds\nname: b\n---\nkind: deployments\nname: d\nclusters: {web: b}\n---\nkind: slas\nname: s";
        let read = read_named(text, Format::Yaml, &|_, _| None).unwrap();
        let [Named::Other(Kind::Breed, _), Named::Deployment(document), Named::Other(Kind::Sla, _)] = read.as_slice()
        else {
            panic!("{read:?}");
        };
        let crate::Artifact::Deployment(deployment) = &document.artifact else { panic!("{document:?}") };
        assert!(deployment.body.cluster("web").is_some(), "{deployment:?}");
        let refused = named("[{kind: breeds, name: b}, {kind: deployments, name: d, clustres: {}}]").unwrap_err();
        assert!(refused.len() == 1 && refused[0].contains("no field `clustres`"), "{refused:?}");
    }

    #[test]
    fn what_names_nothing_is_refused_with_its_place() {
        for (text, part) in [
            ("", "no document"),
            ("7", "the artifact is a number"),
            ("{name: a}", "has no kind"),
            ("{kind: breads, name: a}", "no kind `breads`"),
            ("{kind: breeds}", "the breed has no name"),
            ("[{kind: breeds, name: a}, {kind: breeds, name: [b]}]", "the name of the breed is a list"),
        ] {
            let violations = read_named(text, Format::Yaml, &|_, _| None).unwrap_err();
            let [violation] = violations.as_slice() else { panic!("{text}: {violations:?}") };
            assert!(violation.message.contains(part) && violation.line.is_some(), "{text}: {violation:?}");
        }
    }
}
