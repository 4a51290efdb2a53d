//! The sticky cookie: its name, its value, and reading it back.

/// Name of the cookie of a sticky gateway: `vamp_<gateway lookup>`.
pub fn name(gateway_lookup: &str) -> String {
    format!("vamp_{gateway_lookup}")
}
