//! Places: what may stand in one module only: unsafe code, spawning, reading the environment.

use crate::expect_none;
use crate::tree::{File, Kind, of};

/// The modules that may hold unsafe code: a file of that name or a folder of it.
const UNSAFE: [&str; 13] = [
    "paste/src/sys",
    "paste/src/map",
    "paste/src/pmem/cpu",
    "vm/src/process",
    "vm/src/map",
    "vm/vnet/src/memory",
    "vm/vnet/src/vring",
    "vm/vnet/src/protocol",
    "vm/vnet/src/tap_port",
    "vm/agent/src/sys",
    "vm/observer/src/memory",
    "vm/observer/src/plugin",
    "vm/observer/src/qemu_api",
];

/// The modules that may spawn processes: one on the host; inside the guest the agent, which
/// starts commands and reaps what it inherits as PID 1.
const SPAWNS: [&str; 4] =
    ["vm/src/process", "vm/agent/src/run", "vm/agent/src/reaper", "vm/agent/src/pty"];

/// The file that reads environment variables.
const ENVIRONMENT: [&str; 1] = ["vmctl/src/env"];

#[test]
fn unsafe_code_lies_in_its_modules_only() {
    expect_none(
        "move unsafe code to a module that is made for it",
        &outside(&UNSAFE, |line| words(line).contains(&"unsafe")),
    );
}

#[test]
fn one_module_spawns_processes() {
    expect_none(
        "spawn through vm::process",
        &outside(&SPAWNS, |line| {
            line.contains("process::Command")
                || (line.contains("process::{") && names_command(line))
        }),
    );
}

#[test]
fn one_file_reads_the_environment() {
    expect_none(
        "read the variable in vmctl/src/env.rs and pass its value",
        &outside(&ENVIRONMENT, |line| {
            ["env::var", "env::set_var", "env = "].iter().any(|what| line.contains(what))
        }),
    );
}

#[test]
fn crate_roots_say_whether_they_hold_unsafe_code() {
    let roots = of(Kind::Rust)
        .into_iter()
        .filter(|file| file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs"));
    let found: Vec<_> = roots
        .filter(|file| {
            let forbids = file.text.contains("#![forbid(unsafe_code)]");
            let strict = ["vmctl/", "tests/e2e/"].iter().any(|place| file.path.starts_with(place));
            let denies = file.text.contains("#![deny(unsafe_code)]");
            !(forbids || (denies && !strict))
        })
        .map(|file| file.path)
        .collect();
    expect_none("state #![forbid(unsafe_code)] or #![deny(unsafe_code)]", &found);
}

#[test]
fn libraries_have_error_enums() {
    let may_use_anyhow = |file: &File| {
        ["vmctl/", "tests/e2e/", "paste/examples/"].iter().any(|place| file.path.starts_with(place))
    };
    let found: Vec<_> = of(Kind::Rust)
        .into_iter()
        .filter(|file| !may_use_anyhow(file) && file.code().iter().any(|l| l.contains("anyhow")))
        .map(|file| file.path)
        .collect();
    expect_none("use the crate's own error enum instead of anyhow", &found);
}

#[test]
fn the_core_in_c_names_no_operating_system() {
    let banned = ["LINUX_VERSION", "__FreeBSD", "<linux/", "<sys/", "<net/", "__KERNEL__"];
    let mut found = Vec::new();
    for file in of(Kind::C).iter().filter(|file| file.path.starts_with("kernel/core/")) {
        for (number, line) in file.text.lines().enumerate() {
            if let Some(word) = banned.iter().find(|word| line.contains(**word)) {
                found.push(format!("{}:{}: {word}", file.path, number + 1));
            }
        }
    }
    expect_none("ask the OS contract header instead", &found);
}

/// The lines of code for which `is_hit` holds, outside the given modules and outside tests.
fn outside(modules: &[&str], is_hit: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for file in of(Kind::Rust).iter().filter(|file| !file.is_test_code()) {
        if modules.iter().any(|module| is_module(&file.path, module)) {
            continue;
        }
        for (number, line) in file.code().iter().enumerate() {
            if is_hit(line) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    found
}

fn is_module(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

fn words(line: &str) -> Vec<&str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect()
}

fn names_command(line: &str) -> bool {
    words(line).contains(&"Command")
}

#[test]
fn a_module_is_a_file_or_a_folder() {
    assert!(is_module("vm/src/process.rs", "vm/src/process"));
    assert!(is_module("vm/src/process/group.rs", "vm/src/process"));
    assert!(!is_module("vm/src/processor.rs", "vm/src/process"));
}
