//! First hour: what a newcomer's commands say before any guest is there, on the real program.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Vmctl with cache and state in a folder of its own.
fn vmctl(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmctl"));
    command.args(args).stdin(Stdio::null()).env_remove("CI");
    command.env("XDG_CACHE_HOME", home.join("cache")).env("XDG_STATE_HOME", home.join("state"));
    command
}

fn run(home: &Path, args: &[&str]) -> Output {
    vmctl(home, args).output().expect("vmctl starts")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_command_explains_itself_with_an_example() {
    for command in ["run", "shell", "up", "power", "crash", "doctor", "setup", "image", "test"] {
        let output = run(folder().path(), &[command, "--help"]);
        let help = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{command}");
        assert!(help.contains(&format!("  vmctl {command}")), "{command}: {help}");
    }
}

#[test]
fn what_cannot_be_run_is_refused_before_a_guest_boots() {
    let home = folder();
    let missing = run(home.path(), &["run", "--", "./no-such-program"]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(text(&missing.stderr).contains("./no-such-program"), "{missing:?}");
    for wrong in [
        &["run"][..],
        &["run", "--"],
        &["run", "./program-without-dashes"],
        &["run", "--put", "x", "--", "true"],
        &["run", "--timeout", "0", "--", "true"],
        &["run", "--no-nic", "--forward", "1:2", "--", "true"],
        &["run", "--", "/etc/passwd"],
        &["shell", "program"],
    ] {
        assert_eq!(run(home.path(), wrong).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn only_a_guest_that_is_up_can_lose_its_power() {
    let home = folder();
    for action in ["cut", "cycle"] {
        let mut power = vmctl(home.path(), &["power", action, "debian-12"]);
        let output = power.env("XDG_RUNTIME_DIR", home.path()).output().expect("vmctl starts");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("vmctl up --guest debian-12"), "{output:?}");
    }
    assert_eq!(run(home.path(), &["power", "cut", "../x"]).status.code(), Some(2));
    assert_eq!(run(home.path(), &["power", "cut"]).status.code(), Some(2));
    for wrong in ["here", "cut:x", "arm:1", "checkpoint:3#0", ""] {
        let output = run(home.path(), &["power", "cut", "debian-12", "--at", wrong]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(text(&output.stderr).contains("checkpoint:ID"), "{output:?}");
    }
    let two = ["power", "cycle", "debian-12", "--at", "cut", "--dma", "700"];
    assert_eq!(run(home.path(), &two).status.code(), Some(2));
}

#[test]
fn a_host_that_cannot_provide_is_told_as_such() {
    for args in [
        &["run", "--qemu", "/no/such/qemu", "--", "true"][..],
        &["shell", "--qemu", "/no/such/qemu"],
        &["doctor", "--qemu", "/no/such/qemu"],
    ] {
        let output = run(folder().path(), args);
        assert_eq!(output.status.code(), Some(125), "{output:?}");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains("/no/such/qemu"), "{said}");
    }
}

#[test]
fn the_doctor_says_something_about_everything_and_how_to_mend_it() {
    let output = run(folder().path(), &["doctor"]);
    let said = text(&output.stdout);
    for what in ["Rust", "/dev/shm", "NVDIMM", "vhost-net", "KVM: not judged"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    let is_bad = said.lines().any(|line| line.starts_with("BAD "));
    assert_eq!(output.status.code(), Some(if is_bad { 125 } else { 0 }), "{said}");
    assert!(!is_bad || said.contains("fix: "), "{said}");
}

#[test]
fn the_doctor_tells_how_to_get_a_rust_that_is_missing() {
    let home = folder();
    let mut doctor = vmctl(home.path(), &["doctor"]);
    let output = doctor.env("CARGO", "/no/such/cargo").output().expect("vmctl starts");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    let said = text(&output.stdout);
    let found = "/no/such/cargo: not found)\n     fix: install Rust with rustup";
    assert!(said.contains(found), "{said}");
}

#[test]
fn an_empty_cache_holds_nothing_and_is_whole() {
    let home = folder();
    let listed = run(home.path(), &["image", "ls"]);
    assert_eq!((listed.status.code(), text(&listed.stdout).lines().count()), (Some(0), 1));
    let verified = run(home.path(), &["image", "verify"]);
    assert_eq!(text(&verified.stdout), "0 whole, 0 damaged\n");
    assert_eq!(run(home.path(), &["image", "rm", "abc"]).status.code(), Some(2));
    assert_eq!(run(home.path(), &["image", "rm"]).status.code(), Some(2));
    assert_eq!(run(home.path(), &["image", "rm", "--all"]).status.code(), Some(0));
    // The cache is not one image's: a name would be ignored.
    for words in [&["ls"][..], &["verify"], &["rm", "--all"]] {
        let named = [&["image"], words, &["--name", "debian-12"]].concat();
        assert_eq!(run(home.path(), &named).status.code(), Some(2), "{named:?}");
    }
}

#[test]
fn a_damaged_entry_is_found_and_can_be_removed() {
    let home = folder();
    let entry = home.path().join("cache/vmctl/modules/abcdef0123456789");
    std::fs::create_dir_all(&entry).expect("a folder");
    std::fs::write(entry.join("record.json"), "{").expect("a file");
    let verified = run(home.path(), &["image", "verify"]);
    assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    assert!(text(&verified.stdout).contains("vmctl image rm abcdef"), "{verified:?}");
    assert_eq!(run(home.path(), &["image", "rm", "abcd"]).status.code(), Some(0));
    assert!(!entry.exists());
}

#[test]
fn there_is_nothing_to_undo_where_nothing_was_added() {
    let output = run(folder().path(), &["setup", "--undo"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("nothing"), "{output:?}");
}
