//! Rules on crates: who may depend on whom, licences, and one dependency for one job.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

use crate::{report, root};

/// What the pure crate may use: nothing with a socket, a clock, a random source, a runtime or a store.
const ROUTING_MAY_USE: &[&str] = &["flate2", "ipnet", "memchr", "regex", "serde", "serde_json", "sha2", "thiserror"];

/// Licences that an Apache-2.0 product may carry.
const LICENCES: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "MPL-2.0+",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates whose job another dependency has already, or that we do not want to build: name and reason.
const BANNED: &[(&str, &str)] = &[
    ("openssl", "TLS is rustls"),
    ("native-tls", "TLS is rustls"),
    ("aws-lc-sys", "the provider of cryptography is ring: one is enough, and this one needs cmake"),
    ("chrono", "times are jiff's"),
    ("time", "times are jiff's"),
    ("serde_yaml", "YAML is saphyr's"),
    ("log4rs", "logs are tracing's"),
    ("async-std", "the runtime is tokio"),
];

/// Crates that stand twice in the tree for a reason outside of it: name and reason.
const TWICE: &[(&str, &str)] = &[
    ("base64", "sqlx is one release behind hyper"),
    ("block-buffer", "as sha2"),
    ("cpufeatures", "as sha2"),
    ("crypto-common", "as sha2"),
    ("digest", "as sha2"),
    ("getrandom", "ring and rand each have their own"),
    ("hashbrown", "sqlx is one release behind"),
    ("hashlink", "sqlx is one release behind saphyr"),
    ("rand_core", "imbl is one release behind rand"),
    ("sha2", "sqlx is one release behind"),
    ("syn", "used at build time only; half of the macros have moved to version 3"),
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .unwrap()
}

fn package<'metadata>(metadata: &'metadata Metadata, name: &str) -> &'metadata Package {
    metadata.packages.iter().find(|package| package.name == name).unwrap_or_else(|| panic!("no crate {name}"))
}

fn direct(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let dependencies = &package(metadata, name).dependencies;
    dependencies.iter().filter(|one| one.kind == DependencyKind::Normal).map(|one| one.name.clone()).collect()
}

/// Crates of ours that a crate reaches, through others too.
fn reached(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        for next in direct(metadata, &name).into_iter().filter(|next| next.starts_with("vamp-")) {
            if reached.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    reached
}

#[test]
fn a_routing_decision_can_only_be_pure() {
    let allowed: BTreeSet<_> = ROUTING_MAY_USE.iter().map(|name| (*name).to_owned()).collect();
    let more: Vec<_> = direct(&metadata(), "vamp-routing").difference(&allowed).cloned().collect();
    assert!(more.is_empty(), "vamp-routing must not use {more:?}: it decides, and does nothing else");
}

#[test]
fn the_gateway_knows_no_artifact() {
    let reached = reached(&metadata(), "vamp-gateway");
    for unknown in ["vamp-model", "vamp-control-plane"] {
        assert!(!reached.contains(unknown), "vamp-gateway must not reach {unknown}");
    }
    assert!(reached.contains("vamp-routing"), "the rule looks at nothing: {reached:?}");
}

#[test]
fn the_control_plane_does_not_hold_a_gateway() {
    assert!(!reached(&metadata(), "vamp-control-plane").contains("vamp-gateway"));
}

#[test]
fn every_member_has_the_workspace_lints() {
    let metadata = metadata();
    let offences: Vec<_> = metadata
        .workspace_packages()
        .iter()
        .filter(|package| {
            let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
            !manifest.contains("[lints]\nworkspace = true")
        })
        .map(|package| format!("{}: no `[lints] workspace = true`; add it", package.manifest_path))
        .collect();
    report(&offences);
}

/// Whether an SPDX expression can be met with licences of the list.
fn is_permitted(expression: &str) -> bool {
    let plain = expression.replace('/', " OR ").replace(['(', ')'], " ");
    plain.split(" OR ").any(|choice| choice.split(" AND ").all(|one| LICENCES.contains(&one.trim())))
}

#[test]
fn every_dependency_has_a_licence_that_we_may_pass_on() {
    let offences: Vec<_> = metadata()
        .packages
        .iter()
        .filter(|package| !package.license.as_deref().is_some_and(is_permitted))
        .map(|package| {
            format!("{} {}: licence {:?}; choose another crate", package.name, package.version, package.license)
        })
        .collect();
    report(&offences);
}

#[test]
fn licence_expressions_are_read() {
    assert!(is_permitted("MIT OR Apache-2.0"));
    assert!(is_permitted("GPL-3.0 OR MIT"));
    assert!(is_permitted("Apache-2.0 AND ISC"));
    assert!(is_permitted("MIT/Apache-2.0"));
    assert!(!is_permitted("GPL-3.0-only"));
    assert!(!is_permitted("MIT AND GPL-3.0-only"));
}

/// The crates that are built into a program on this system, not only named in the lock file.
fn built(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let tree = std::process::Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["tree", "--workspace", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .current_dir(&metadata.workspace_root)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let mut built: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(tree.stdout).unwrap().lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            built.entry(name.to_owned()).or_default().insert(version.to_owned());
        }
    }
    built
}

#[test]
fn no_banned_crate_is_built() {
    let built = built(&metadata());
    let offences: Vec<_> = BANNED
        .iter()
        .filter(|(name, _)| built.contains_key(*name))
        .map(|(name, reason)| format!("{name} is built; {reason}: `cargo tree -i {name}` shows who wants it"))
        .collect();
    report(&offences);
    assert!(built.contains_key("tokio"), "the rule looks at nothing");
}

#[test]
fn no_crate_is_built_in_two_versions_without_a_reason() {
    let twice: BTreeMap<_, _> = built(&metadata()).into_iter().filter(|(_, versions)| versions.len() > 1).collect();
    let mut offences: Vec<_> = twice
        .iter()
        .filter(|(name, _)| !TWICE.iter().any(|(known, _)| known == name))
        .map(|(name, versions)| format!("{name} is built in versions {versions:?}; agree on one, or give the reason"))
        .collect();
    let stale = TWICE.iter().filter(|(name, _)| !twice.contains_key(*name));
    offences.extend(stale.map(|(name, _)| format!("{name} is built once now; strike it from the list")));
    report(&offences);
}
