//! Where the instances of one service are: what the control plane found out last, kept so that a restart knows it.

use serde_json::{Map, Value, json};

use crate::decode::{Decoder, Field, Fields, entries, one_or_many};
use crate::host;

/// Where the instances of one service are that take requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instances {
    /// `deployment/cluster/service`.
    pub name: String,
    /// The instances, in the order of their names.
    pub instances: Vec<Instance>,
}

/// One instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its name, the same as long as it lives.
    pub name: String,
    /// `host:port` by the name of the breed's port.
    pub ports: Vec<(String, String)>,
}

impl Instances {
    pub(crate) const FIELDS: &'static [&'static str] = &["name", "kind", "metadata", "instances"];

    pub(crate) fn decode(decoder: &mut Decoder<'_>, fields: &mut Fields<'_>, name: String) -> Self {
        let items = fields.take("instances").map(|field| one_or_many(&field)).unwrap_or_default();
        let instances = items.iter().filter_map(|item| Instance::decode(decoder, item)).collect();
        Self { name, instances }
    }

    pub(crate) fn to_json(&self) -> Value {
        let instances: Vec<Value> = self.instances.iter().map(Instance::to_json).collect();
        json!({"name": self.name, "kind": "instances", "instances": instances})
    }
}

impl Instance {
    fn decode(decoder: &mut Decoder<'_>, item: &Field<'_>) -> Option<Self> {
        let mut fields = decoder.fields(item, "an instance")?;
        let name = fields.take("name").and_then(|field| decoder.text(&field, "the name of an instance"));
        let given = fields.take("ports").map(|field| entries(decoder, &field, "the ports of an instance"));
        let mut ports = Vec::new();
        for (key, port) in given.unwrap_or_default() {
            let Some(address) = decoder.text(&port, "an address of an instance") else { continue };
            if let Err((message, hint)) = host::parse_address(address) {
                decoder.refuse(&port, message, hint);
            }
            ports.push((key.text.clone(), address.to_owned()));
        }
        decoder.finish(&fields, &["name", "ports"]);
        Some(Self { name: name?.to_owned(), ports })
    }

    fn to_json(&self) -> Value {
        let ports: Map<String, Value> =
            self.ports.iter().map(|(port, address)| (port.clone(), json!(address))).collect();
        json!({"name": self.name, "ports": ports})
    }
}
