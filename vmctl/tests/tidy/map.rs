//! Map: every folder with files stands in ARCHITECTURE.md, and what stands there exists.

use std::collections::BTreeSet;

use crate::expect_none;
use crate::tree::{files, root};

#[test]
fn every_file_is_reachable_from_the_code_map() {
    let named = named();
    let folders: BTreeSet<_> = files()
        .iter()
        .filter(|file| !file.path.ends_with("Cargo.toml"))
        .filter_map(|file| file.path.rsplit_once('/').map(|(folder, _)| format!("{folder}/")))
        .collect();
    // What stands in the map covers what lies below it.
    let covered = |folder: &String| named.iter().any(|path| folder.starts_with(path.as_str()));
    let found: Vec<_> = folders.into_iter().filter(|folder| !covered(folder)).collect();
    expect_none("add these folders to the code map of ARCHITECTURE.md", &found);
}

#[test]
fn the_code_map_names_only_what_exists() {
    let found: Vec<_> = named().into_iter().filter(|path| !root().join(path).exists()).collect();
    expect_none("these paths of the code map do not exist", &found);
}

#[test]
fn the_front_pages_are_short() {
    for (page, most) in [("README.md", 120), ("ARCHITECTURE.md", 200)] {
        let text = std::fs::read_to_string(root().join(page)).expect("the page is there");
        assert!(text.lines().count() <= most, "{page} has more than {most} lines");
    }
}

/// The paths in the section "Code map": words in backticks that hold a slash.
fn named() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md"));
    let text = text.expect("ARCHITECTURE.md is there");
    let section = text.split("## Code map").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let words = section.split('`').skip(1).step_by(2);
    words.filter(|word| word.contains('/') && !word.contains(' ')).map(str::to_owned).collect()
}
