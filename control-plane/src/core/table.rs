//! The table that follows from the artifacts, ready to publish, with the compiled form that the linter made of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use vamp_routing::CompiledTable;
use vamp_routing::wire::{self, Digest, Encoded, Generation, ManifestEntry};
use vamp_store::tables::Publishable;

use super::artifacts::Artifacts;
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

/// Plans and compiles, or names everything that stands in the way. Pure; gateways that have not changed since `former`
/// are taken over from there.
pub(super) fn derive(
    artifacts: &Artifacts,
    ports: &BTreeMap<String, u16>,
    settings: &PlanSettings,
    former: Option<&Table>,
) -> Result<Planned, Vec<Finding>> {
    let mut findings = artifacts.dangling();
    let plan = match plan(&artifacts.picture(ports, settings)) {
        Ok(plan) if findings.is_empty() => plan,
        Ok(_) => return Err(findings),
        Err(more) => {
            findings.extend(more);
            return Err(findings);
        }
    };
    let compiled = lint(&plan, former.map(|former| &former.compiled))?;
    let values: Vec<Arc<Encoded>> = compiled
        .gateways()
        .iter()
        .map(|gateway| {
            let kept = former.and_then(|former| {
                let index = former.compiled.find(&gateway.wire.name)?;
                let same = former.compiled.gateways().get(index)?.digest == gateway.digest;
                former.values.get(index).filter(|_| same).cloned()
            });
            kept.unwrap_or_else(|| Arc::new(wire::encode_gateway(&gateway.to_wire())))
        })
        .collect();
    let digest = digest(&compiled, &values);
    Ok(Planned {
        table: Arc::new(Table { digest, compiled, values }),
        ports: plan.assigned_ports,
        warnings: plan.warnings,
    })
}

/// The digest of the table is that of its manifest, whatever its generation.
fn digest(compiled: &CompiledTable, values: &[Arc<Encoded>]) -> Digest {
    let gateways = compiled.gateways().iter().zip(values);
    let entries: Vec<ManifestEntry> = gateways
        .map(|(gateway, value)| ManifestEntry { name: gateway.wire.name.clone(), digest: value.digest })
        .collect();
    let (manifest, _) = wire::encode_manifest(Generation::default(), None, &entries);
    #[expect(clippy::expect_used, reason = "what this build has just encoded, it decodes")]
    let manifest = wire::decode_manifest(&manifest).expect("a manifest");
    manifest.digest
}
