//! Where everything stands below the store's prefix: `v1/{namespace}/…`, never below the old product's keys.

/// The manifest of a namespace's table.
pub fn manifest(namespace: &str) -> String {
    format!("v1/{namespace}/table/manifest")
}

/// One part of a content-addressed value (a gateway or a page of the manifest).
pub fn value_part(namespace: &str, digest: &str, part: usize) -> String {
    format!("v1/{namespace}/table/values/{digest}/{part}")
}

/// All values of a namespace.
pub fn values(namespace: &str) -> String {
    format!("v1/{namespace}/table/values/")
}

/// The registration (and acknowledgement) of one gateway process.
pub fn registration(namespace: &str, gateway_id: &str) -> String {
    format!("v1/{namespace}/gateways/{gateway_id}")
}

/// All registrations of a namespace.
pub fn registrations(namespace: &str) -> String {
    format!("v1/{namespace}/gateways/")
}
