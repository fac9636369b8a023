//! Crates: who may depend on whom, and a reason for every crate from outside.

use std::collections::{BTreeMap, BTreeSet};

use crate::expect_none;
use crate::tree::{files, root};

/// What each crate of the project may use of the project.
const DIRECTIONS: [(&str, &[&str]); 10] = [
    ("vmctl", &["e2e", "vm"]),
    ("e2e", &["paste-net", "vm", "vnet"]),
    ("e2e-guest", &["paste-net"]),
    ("vm", &["agent-proto", "crash", "vnet"]),
    ("agent", &["agent-proto"]),
    ("agent-proto", &[]),
    ("vnet", &[]),
    ("crash", &[]),
    ("observer", &["crash"]),
    ("paste-net", &[]),
];

/// A crate's name and what it depends on, development included.
type Crates = BTreeMap<String, BTreeSet<String>>;

#[test]
fn dependencies_point_down() {
    let crates = manifests();
    let mut found = Vec::new();
    for (name, uses) in &crates {
        let Some((_, may)) = DIRECTIONS.iter().find(|(known, _)| known == name) else {
            found.push(format!("{name} is not in the table of directions"));
            continue;
        };
        let own = uses.iter().filter(|used| crates.contains_key(*used));
        found.extend(own.filter(|used| !may.contains(&used.as_str())).map(|used| {
            format!("{name} uses {used}") //
        }));
    }
    expect_none("these crates point up or sideways", &found);
}

#[test]
fn the_guest_half_knows_neither_vm_nor_vhost() {
    let locked = locked();
    let mut reached = BTreeSet::new();
    let mut open = vec!["e2e-guest".to_owned()];
    while let Some(name) = open.pop() {
        if reached.insert(name.clone()) {
            open.extend(locked.get(&name).into_iter().flatten().cloned());
        }
    }
    assert!(reached.len() > 1, "e2e-guest is in Cargo.lock");
    let found: Vec<_> =
        reached.into_iter().filter(|name| name == "vm" || name.starts_with("vhost")).collect();
    expect_none("e2e-guest must not reach", &found);
}

#[test]
fn every_crate_from_outside_has_its_reason() {
    let crates = manifests();
    let used: BTreeSet<_> =
        crates.values().flatten().filter(|name| !crates.contains_key(*name)).cloned().collect();
    let reasons = reasons();
    let mut found: Vec<_> =
        used.difference(&reasons).map(|name| format!("{name} has no reason")).collect();
    found.extend(reasons.difference(&used).map(|name| format!("{name} is not used")));
    expect_none("keep the table of crates in ARCHITECTURE.md true", &found);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let found: Vec<_> = files()
        .into_iter()
        .filter(|file| file.path.ends_with("/Cargo.toml"))
        .filter(|file| !file.text.contains("[lints]\nworkspace = true"))
        .map(|file| file.path)
        .collect();
    expect_none("add `[lints] workspace = true`", &found);
}

/// The crates of the workspace, from their manifests.
fn manifests() -> Crates {
    let manifests = files().into_iter().filter(|file| file.path.ends_with("/Cargo.toml"));
    manifests
        .map(|file| {
            let manifest: toml::Table = file.text.parse().expect("a manifest is TOML");
            let name = manifest["package"]["name"].as_str().expect("a package has a name");
            (name.to_owned(), dependencies(&manifest))
        })
        .collect()
}

fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let mut tables: Vec<_> =
        kinds.iter().filter_map(|kind| manifest.get(*kind)?.as_table()).collect();
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let of_targets = targets.into_iter().flat_map(|table| table.values());
    tables.extend(of_targets.filter_map(|target| target.get("dependencies")?.as_table()));
    tables.into_iter().flat_map(|table| table.keys().cloned()).collect()
}

/// All crates of Cargo.lock with what they depend on.
fn locked() -> Crates {
    let text = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is there");
    let lock: toml::Table = text.parse().expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("Cargo.lock lists packages");
    packages
        .iter()
        .map(|package| {
            let uses = package.get("dependencies").and_then(toml::Value::as_array);
            let uses = uses.into_iter().flatten().filter_map(toml::Value::as_str);
            let names = uses.filter_map(|used| used.split(' ').next()).map(str::to_owned);
            let name = package["name"].as_str().expect("a package has a name");
            (name.to_owned(), names.collect())
        })
        .collect()
}

/// The crates that ARCHITECTURE.md gives a reason for: rows `| `name` | reason |`.
fn reasons() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md"));
    let text = text.expect("ARCHITECTURE.md is there");
    let section = text.split("## Crates from outside").nth(1).unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| {
        let (name, reason) = row.split_once("` | ")?;
        (reason.len() > 10).then(|| name.to_owned())
    })
    .collect()
}
