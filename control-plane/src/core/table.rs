//! The table that follows from the artifacts, ready to publish, with the compiled form that the linter made of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use vamp_routing::wire::{self, Digest, Encoded, ManifestEntry};
use vamp_routing::{CompiledGateway, CompiledTable, Part};
use vamp_store::tables::Publishable;

use super::artifacts::{Artifacts, Changed};
use crate::plan::{Finding, PlanSettings, Warning, lint, plan};

/// A table, ready to publish.
#[derive(Debug)]
pub(crate) struct Table {
    /// Of the whole table, as manifests and acknowledgements carry it.
    pub(crate) digest: Digest,
    /// The table as every gateway process will compile it.
    pub(crate) compiled: CompiledTable,
    /// The value of each gateway, in the order of the compiled table.
    values: Vec<Arc<Encoded>>,
}

impl Table {
    /// What is published, sorted by name.
    pub(crate) fn publishables(&self) -> Vec<Publishable<'_>> {
        let gateways = self.compiled.gateways().iter().zip(&self.values);
        gateways.map(|(gateway, value)| Publishable { name: &gateway.wire.name, value }).collect()
    }

    /// One gateway as published.
    pub(crate) fn gateway(&self, name: &str) -> Option<wire::Gateway> {
        let index = self.compiled.find(name)?;
        self.compiled.gateways().get(index).map(|gateway| gateway.to_wire())
    }

    fn digest_of(&self, name: &str) -> Option<Digest> {
        let index = self.compiled.find(name)?;
        self.compiled.gateways().get(index).map(|gateway| gateway.digest)
    }

    /// Whether a gateway is another one, or is new or gone, since a former table.
    pub(crate) fn differs_in(&self, former: Option<&Self>, name: &str) -> bool {
        former.and_then(|former| former.digest_of(name)) != self.digest_of(name)
    }
}

/// What follows from the artifacts.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// The table.
    pub(crate) table: Arc<Table>,
    /// The port of each gateway.
    pub(crate) ports: BTreeMap<String, u16>,
    /// What works, but most likely not as meant.
    pub(crate) warnings: Vec<Warning>,
}

/// Plans and compiles, or names everything that stands in the way. Pure: what `former` gives is taken over where nothing
/// has changed, and changes nothing about what follows.
pub(super) fn derive(
    artifacts: &Artifacts,
    ports: &BTreeMap<String, u16>,
    settings: &PlanSettings,
    former: Option<Former<'_>>,
) -> Result<Planned, Vec<Finding>> {
    let former = former.map(|former| (former, artifacts.changed_since(former.artifacts)));
    if let Some((former, changed)) = &former
        && former.planned.ports == *ports
        && !changed.concerns_table(artifacts)
    {
        return Ok(former.planned.clone());
    }
    let kept = former.as_ref().map(|(former, changed)| former.kept(artifacts, changed, ports)).unwrap_or_default();
    let former = former.as_ref().map(|(former, _)| *former);
    match derive_with(artifacts, ports, settings, former, &kept) {
        // Who is to blame for a name that two claim is told by all of them.
        Err(_) if !kept.is_empty() => derive_with(artifacts, ports, settings, None, &HashMap::new()),
        derived => derived,
    }
}

/// What was derived before, and from what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Former<'f> {
    pub(super) artifacts: &'f Artifacts,
    pub(super) planned: &'f Planned,
}

impl<'f> Former<'f> {
    /// The gateways that are what they were: they, what they refer to, and their ports.
    fn kept(
        self,
        artifacts: &Artifacts,
        changed: &Changed,
        ports: &BTreeMap<String, u16>,
    ) -> HashMap<&'f str, &'f Arc<CompiledGateway>> {
        let compiled = self.planned.table.compiled.gateways().iter();
        let is_kept = |gateway: &&Arc<CompiledGateway>| {
            let name = gateway.wire.name.as_str();
            ports.get(name).copied() == gateway.wire.port && !changed.touches(artifacts, name)
        };
        compiled.filter(is_kept).map(|gateway| (gateway.wire.name.as_str(), gateway)).collect()
    }

    /// The value of a gateway, if it is this one's.
    fn value(self, index: usize, gateway: &Arc<CompiledGateway>) -> Option<Arc<Encoded>> {
        let table = &self.planned.table;
        let at = |index: usize| table.compiled.gateways().get(index).zip(table.values.get(index));
        // Most gateways stand where they stood.
        let found = at(index).filter(|(former, _)| Arc::ptr_eq(former, gateway));
        let found = found.or_else(|| table.compiled.find(&gateway.wire.name).and_then(at));
        found.filter(|(former, _)| former.digest == gateway.digest).map(|(_, value)| Arc::clone(value))
    }
}

fn derive_with(
    artifacts: &Artifacts,
    ports: &BTreeMap<String, u16>,
    settings: &PlanSettings,
    former: Option<Former<'_>>,
    kept: &HashMap<&str, &Arc<CompiledGateway>>,
) -> Result<Planned, Vec<Finding>> {
    let mut findings = artifacts.unsound();
    let mut picture = artifacts.picture(ports, settings);
    picture.kept = kept.iter().map(|(name, gateway)| (*name, gateway.as_ref())).collect();
    let plan = match plan(&picture) {
        Ok(plan) if findings.is_empty() => plan,
        Ok(_) => return Err(findings),
        Err(more) => {
            findings.extend(more);
            return Err(findings);
        }
    };
    let taken_over = kept.values().map(|gateway| Part::Compiled(Arc::clone(gateway)));
    let all = taken_over.chain(plan.gateways.into_iter().map(|value| Part::Value(value, None))).collect();
    let compiled = lint(all, former.map(|former| &former.planned.table.compiled))?;
    let value = |(index, gateway): (usize, &Arc<CompiledGateway>)| {
        let known = former.and_then(|former| former.value(index, gateway));
        known.unwrap_or_else(|| Arc::new(wire::encode_gateway(&gateway.to_wire())))
    };
    let values: Vec<Arc<Encoded>> = compiled.gateways().iter().enumerate().map(value).collect();
    let digest = digest(&compiled, &values);
    let mut warnings = plan.warnings;
    let is_kept = |warning: &&Warning| warning.gateway.as_deref().is_some_and(|gateway| kept.contains_key(gateway));
    warnings.extend(former.iter().flat_map(|former| &former.planned.warnings).filter(is_kept).cloned());
    warnings.sort_by(|a, b| a.gateway.cmp(&b.gateway));
    Ok(Planned { table: Arc::new(Table { digest, compiled, values }), ports: plan.assigned_ports, warnings })
}

/// The digest of the table is that of its manifest, whatever its generation.
fn digest(compiled: &CompiledTable, values: &[Arc<Encoded>]) -> Digest {
    let gateways = compiled.gateways().iter().zip(values);
    let entries: Vec<ManifestEntry> = gateways
        .map(|(gateway, value)| ManifestEntry { name: gateway.wire.name.clone(), digest: value.digest })
        .collect();
    wire::digest_of_table(&entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vamp_model::{Format, Kind, read_as};

    use super::*;

    /// What somebody writes: kind, name, document; none deletes.
    type Edit = (Kind, String, Option<String>);

    fn gateways(letters: &'static [&'static str]) -> impl Strategy<Value = Edit> {
        let routes = prop_oneof![
            Just("\"[10.0.0.1:80]\": {weight: 100%}".to_owned()),
            (0..=100_u8)
                .prop_map(|weight| format!("\"[10.0.0.1:80]\": {{weight: {weight}%}}, \"[10.0.0.2:80]\": {{}}")),
            // No route has weight: that works, with a warning.
            Just("\"[10.0.0.1:80]\": {weight: 0%}".to_owned()),
            // Stored routes, and other gateways, which may not be there.
            Just("\"[10.0.0.1:80]\": {reference: stored}".to_owned()),
            Just("\"[10.0.0.1:80]\": {condition: {reference: known}}".to_owned()),
            Just("\"[10.0.0.1:80]\": {rewrites: [moved]}".to_owned()),
            proptest::sample::select(letters).prop_map(|other| format!("{other}: {{weight: 100%}}")),
        ];
        let hosts = prop_oneof![Just(""), Just("virtual_hosts: [shared.example]"), Just("virtual_hosts: [a.vamp]")];
        let port = proptest::option::weighted(0.2, 20_000..20_003_u16);
        let document = (routes, hosts, port).prop_map(|(routes, hosts, port)| {
            let port = port.map_or_else(String::new, |port| format!("port: {port}"));
            format!("{port}\n{hosts}\nroutes: {{{routes}}}\n")
        });
        let name = proptest::sample::select(letters).prop_map(str::to_owned);
        (name, proptest::option::weighted(0.9, document)).prop_map(|(name, document)| (Kind::Gateway, name, document))
    }

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let route = (0..=100_u8, any::<bool>()).prop_map(|(weight, is_conditional)| {
            let condition = if is_conditional { "condition: {reference: known}\n" } else { "" };
            (Kind::Route, "stored".to_owned(), Some(format!("weight: {weight}%\n{condition}")))
        });
        let condition = proptest::option::weighted(0.9, "[a-z]{1,3}").prop_map(|word| {
            let document = word.map(|word| format!("condition: \"User-Agent == {word}\""));
            (Kind::Condition, "known".to_owned(), document)
        });
        let rewrite = proptest::option::weighted(0.9, "[a-z]{1,3}").prop_map(|word| {
            let document = word.map(|word| format!("path: \"/{word} if path is /old\""));
            (Kind::Rewrite, "moved".to_owned(), document)
        });
        let edit = prop_oneof![6 => gateways(&["a", "b", "c", "d"]), 1 => route, 1 => condition, 1 => rewrite];
        proptest::collection::vec(edit, 1..25)
    }

    fn write(artifacts: &mut Artifacts, (kind, name, document): &Edit) {
        match document {
            None => artifacts.remove(*kind, name),
            Some(document) => {
                let read = read_as(document, Format::Yaml, *kind, Some(name)).unwrap();
                for document in read {
                    artifacts.insert(document.artifact);
                }
            }
        }
    }

    /// All of it that anybody sees.
    fn shown(derived: &Result<Planned, Vec<Finding>>) -> impl PartialEq + std::fmt::Debug {
        let shown = |planned: &Planned| {
            let table = &planned.table;
            let gateways = table.compiled.gateways().iter().zip(&table.values);
            let gateways: Vec<_> =
                gateways.map(|(gateway, value)| (gateway.to_wire(), gateway.digest, Encoded::clone(value))).collect();
            (table.digest, gateways, planned.ports.clone(), planned.warnings.clone())
        };
        derived.as_ref().map(shown).map_err(Clone::clone)
    }

    proptest! {
        /// A change is derived on what the one before left; what follows is what would follow without it.
        #[test]
        fn what_was_derived_before_changes_nothing_about_what_follows(edits in edits()) {
            let settings = PlanSettings { port_range: 20_000..=20_005, ..PlanSettings::default() };
            let mut artifacts = Artifacts::default();
            let mut planned = derive(&artifacts, &BTreeMap::new(), &settings, None).unwrap();
            for edit in &edits {
                let mut next = artifacts.clone();
                write(&mut next, edit);
                let former = Former { artifacts: &artifacts, planned: &planned };
                let taken_over = derive(&next, &planned.ports, &settings, Some(former));
                let anew = derive(&next, &planned.ports, &settings, None);
                prop_assert_eq!(shown(&taken_over), shown(&anew), "after {:?}", edit);
                // What can't be planned is not kept.
                if let Ok(derived) = taken_over {
                    (artifacts, planned) = (next, derived);
                }
            }
        }
    }

    #[test]
    fn a_change_of_one_gateway_among_many_plans_and_compiles_it_alone() {
        let mut artifacts = Artifacts::default();
        let gateway = |name: &str, weight: u8| {
            let routes = format!("\"[10.0.0.1:80]\": {{weight: {weight}%}}, \"[10.0.0.2:80]\": {{}}");
            (Kind::Gateway, name.to_owned(), Some(format!("routes: {{{routes}}}")))
        };
        for number in 0..300 {
            write(&mut artifacts, &gateway(&format!("g{number}"), 50));
        }
        let settings = PlanSettings::default();
        let before = derive(&artifacts, &BTreeMap::new(), &settings, None).unwrap();
        let mut next = artifacts.clone();
        write(&mut next, &gateway("g7", 51));
        let former = Former { artifacts: &artifacts, planned: &before };
        let after = derive(&next, &before.ports, &settings, Some(former)).unwrap();
        let both = before.table.compiled.gateways().iter().zip(after.table.compiled.gateways());
        let other: Vec<_> = both.filter(|(before, after)| !Arc::ptr_eq(before, after)).collect();
        let names: Vec<_> = other.iter().map(|(_, after)| after.wire.name.as_str()).collect();
        assert_eq!(names, ["g7"]);
        let values = before.table.values.iter().zip(&after.table.values);
        assert_eq!(values.filter(|(before, after)| Arc::ptr_eq(before, after)).count(), 299);
    }
}
