//! Leftovers: words that must not stay, words that have a better one, and first lines.

use crate::expect_none;
use crate::tree::{File, Kind, files, of};

/// Words of the glossary's column "do not say" that are never right here.
const SYNONYMS: [(&str, &str); 4] = [
    ("harness", "rig"),
    ("scenario", "case"),
    ("gpa", "guest address"),
    ("rootfs", "image or tree"),
];

#[test]
fn nothing_is_left_over() {
    // Spelled in halves so that this file does not hold them.
    let banned = [["to", "do!"], ["db", "g!"], ["FIX", "ME"], ["XX", "X"], ["unimp", "lemented!"]];
    let banned = banned.map(|halves| halves.concat());
    let mut found = Vec::new();
    for file in files() {
        for (number, line) in file.text.lines().enumerate() {
            let hit = banned.iter().find(|word| line.contains(word.as_str()));
            found.extend(hit.map(|word| format!("{}:{}: {word}", file.path, number + 1)));
        }
    }
    expect_none("finish these", &found);
}

#[test]
fn words_are_those_of_the_glossary() {
    let mut found = Vec::new();
    for file in files() {
        if file.path.ends_with("tidy/leftovers.rs") || file.kind() == Kind::Lock {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            let lower = line.to_lowercase();
            let words: Vec<_> = lower.split(|c: char| !c.is_alphanumeric()).collect();
            for (word, better) in SYNONYMS {
                if words.contains(&word) {
                    found.push(format!("{}:{}: {word} -> {better}", file.path, number + 1));
                }
            }
        }
    }
    expect_none("use the glossary's words", &found);
}

#[test]
fn the_first_line_names_the_files_noun() {
    let found: Vec<_> =
        files().iter().filter(|file| !has_noun(file)).map(|file| file.path.clone()).collect();
    expect_none("begin with the noun (`//! Noun: what it is.`, `name.c -- purpose`)", &found);
}

fn has_noun(file: &File) -> bool {
    let first = file.text.lines().next().unwrap_or_default();
    // The noun of a crate's root is the crate, which its name tells.
    let is_root = file.path.ends_with("/lib.rs") || file.path.ends_with("/main.rs");
    match file.kind() {
        Kind::Rust => first.strip_prefix("//! ").is_some_and(|said| {
            let noun = said.split_once([':', ',']).map(|(noun, _)| noun);
            noun.is_some_and(|noun| noun.starts_with(char::is_alphabetic)) || is_root
        }),
        Kind::C => {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            let head: Vec<_> = file.text.lines().take(3).collect();
            first.contains("SPDX-License-Identifier") && head.join("\n").contains(name)
        }
        Kind::Shell => file.text.lines().nth(1).is_some_and(|line| line.starts_with("# ")),
        _ => true,
    }
}

#[test]
fn no_host_and_no_place_of_one_machine_is_named() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| !file.path.ends_with("Cargo.lock")) {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(what) = foreign_host(line).or_else(|| machine_path(line)) {
                found.push(format!("{}:{}: {what}", file.path, number + 1));
            }
        }
    }
    expect_none("take the host from the system's sources and the path from the caller", &found);
}

/// The host of an address that is not one of the reserved example names.
fn foreign_host(line: &str) -> Option<String> {
    let reserved = |host: &str| {
        let examples = ["example", "test", "invalid", "localhost"];
        host.is_empty() || examples.contains(&host.rsplit('.').next().unwrap_or_default())
    };
    let hosts = line.split("://").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-.".contains(c)));
        rest[..end.unwrap_or(rest.len())].to_owned()
    });
    hosts.into_iter().find(|host| host.contains('.') && !reserved(host))
}

/// A home or a workplace of the machine that the text was written on.
fn machine_path(line: &str) -> Option<String> {
    let places = [["/wo", "rk/"], ["/ho", "me/"], ["/Us", "ers/"], ["/tmp/", "rig"]];
    let starts = |at: usize| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "-_./}".contains(c))
    };
    let places = places.map(|halves| halves.concat());
    places.into_iter().find(|place| line.find(place.as_str()).is_some_and(starts))
}

#[test]
fn hosts_and_places_are_recognised() {
    let scheme = ["http", "://"].concat();
    assert!(foreign_host(&format!("{scheme}mirror.{}/debian", "org")).is_some());
    assert_eq!(foreign_host(&format!("{scheme}mirror.example/debian")), None);
    assert_eq!(foreign_host(&format!("{scheme}MIRROR/debian")), None);
    let home = ["/ho", "me/me"].concat();
    assert!(machine_path(&format!("cd {home}")).is_some());
    assert_eq!(machine_path(&format!("tree{home}")), None);
}

#[test]
fn cases_never_sleep() {
    let mut found = Vec::new();
    for file in of(Kind::Rust).iter().filter(|file| file.path.starts_with("tests/e2e/")) {
        for (number, line) in file.text.lines().enumerate() {
            if line.split(|c: char| !c.is_alphanumeric()).any(|word| word == "sleep") {
                found.push(format!("{}:{}", file.path, number + 1));
            }
        }
    }
    expect_none("wait for an event with a deadline instead", &found);
}
