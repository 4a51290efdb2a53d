//! Volumes of services: `data:/data:ro`, and the long form.

use super::Reader;
use super::service::NEEDS_HOST;
use crate::decode::{Field, one_or_many};
use crate::tree::Content;

const ANONYMOUS: &str = "a volume without a name ends with its container anyway";

/// What a service has: volumes with a name, and places in memory.
type Volumes = (Vec<String>, Vec<String>);

impl Reader<'_, '_> {
    /// Volumes with a name, and places in memory; what stands on the host is told.
    pub(super) fn volumes(&mut self, field: &Field<'_>, service: &str) -> Volumes {
        let (mut volumes, mut temporary) = Volumes::default();
        for item in one_or_many(field) {
            if let Content::Map(_) = item.node.content {
                self.long_volume(&item, service, &mut volumes, &mut temporary);
                continue;
            }
            let Some(text) = self.text(&item, &format!("a volume of service `{service}`")) else { continue };
            match text.split_once(':').map(|(source, _)| source) {
                Some(source) if is_name(source) => volumes.push(format!("{}_{text}", self.project)),
                Some(_) => self.note(&item, NEEDS_HOST),
                None => self.note(&item, ANONYMOUS),
            }
        }
        (volumes, temporary)
    }

    fn long_volume(&mut self, item: &Field<'_>, service: &str, volumes: &mut Vec<String>, temporary: &mut Vec<String>) {
        let what = format!("a volume of service `{service}`");
        let Some(mut fields) = self.decoder.fields(item, &what) else { return };
        let mut text = |name: &str| {
            let field = fields.take(name)?;
            self.text(&field, &format!("the {name} of {what}"))
        };
        let (kind, source, target) = (text("type"), text("source"), text("target"));
        let is_read_only = fields.take("read_only").and_then(|field| self.switch(&field, &what)).unwrap_or_default();
        self.leave(&mut fields, |key| match key {
            "volume" | "bind" | "tmpfs" | "image" | "consistency" => Some("a volume is made without options"),
            _ => None,
        });
        let Some(target) = target.filter(|target| target.starts_with('/') && !target.contains(':')) else {
            let hint = "write `{type: volume, source: NAME, target: /PATH}`";
            self.decoder.refuse(item, format!("{what} has no absolute path as its target"), hint);
            return;
        };
        let ending = if is_read_only { ":ro" } else { "" };
        match (kind.as_deref().unwrap_or("volume"), source) {
            ("volume", Some(source)) if is_name(&source) => {
                volumes.push(format!("{}_{source}:{target}{ending}", self.project));
            }
            ("volume", None) => self.note(item, ANONYMOUS),
            ("volume" | "bind", _) => self.note(item, NEEDS_HOST),
            ("tmpfs", _) => temporary.push(target),
            _ => self.note(item, "volumes have a name, or are places in memory: there is no other type"),
        }
    }
}

fn is_name(source: &str) -> bool {
    let is_part = |found: char| found.is_ascii_alphanumeric() || matches!(found, '.' | '_' | '-');
    source.starts_with(|first: char| first.is_ascii_alphanumeric()) && source.chars().all(is_part)
}
