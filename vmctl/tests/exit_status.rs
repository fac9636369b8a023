//! Exit status: one test for each row of the table, on the real program.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn vmctl(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmctl"));
    command.args(args).stdin(Stdio::null()).env_remove("CI");
    command
}

fn run(args: &[&str]) -> Output {
    vmctl(args).output().expect("vmctl starts")
}

fn status(args: &[&str]) -> Option<i32> {
    run(args).status.code()
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn pass_is_0() {
    let output = run(&["test", "inner::passes"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(last_line(&output), "1 passed, 0 failed, 0 skipped");
    assert_eq!(status(&["test", "list"]), Some(0));
    assert_eq!(status(&["--help"]), Some(0));
}

#[test]
fn a_failed_test_is_1() {
    let output = run(&["test", "inner::passes", "inner::says_no", "inner::loses_its_guest"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(last_line(&output), "1 passed, 2 failed, 0 skipped");
}

#[test]
fn a_skipped_test_is_1() {
    let output = run(&["test", "inner::does_not_apply"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(last_line(&output), "0 passed, 0 failed, 1 skipped");
    assert!(String::from_utf8_lossy(&output.stdout).contains("skipped: nothing to look at"));
}

#[test]
fn wrong_usage_is_2() {
    assert_eq!(status(&["test"]), Some(2));
    assert_eq!(status(&["tset", "all"]), Some(2));
    assert_eq!(status(&["test", "no::such_case"]), Some(2));
    assert_eq!(status(&["test", "inner::passes", "--seed", "seven"]), Some(2));
    assert_eq!(status(&["test", "inner::passes", "--timeout", "0"]), Some(2));
    assert_eq!(status(&["test", "inner::passes", "--jobs", "0"]), Some(2));
    assert_eq!(status(&["test", "inner::passes", "--accel", "hvf"]), Some(2));
    assert_eq!(status(&["test", "inner::passes", "--json", "/no/such/folder/r.json"]), Some(2));
}

#[test]
fn a_passed_deadline_is_124() {
    assert_eq!(status(&["test", "inner::waits_in_vain"]), Some(124));
    let output = run(&["test", "inner::waits_long", "--timeout", "1"]);
    assert_eq!(output.status.code(), Some(124));
    assert_eq!(last_line(&output), "0 passed, 1 failed, 0 skipped");
}

#[test]
fn a_host_that_cannot_provide_is_125() {
    let qemu = ["test", "inner::needs_a_guest", "--qemu", "/no/such/qemu"];
    let output = run(&qemu);
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/qemu"), "{output:?}");
}

#[test]
fn a_dead_guest_is_126() {
    let output = run(&["test", "inner::loses_its_guest"]);
    assert_eq!(output.status.code(), Some(126));
    assert_eq!(last_line(&output), "0 passed, 1 failed, 0 skipped");
}

#[test]
fn an_interrupt_is_130_and_leaves_whole_reports() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let json = folder.path().join("r.json");
        let junit = folder.path().join("r.xml");
        let mut command = vmctl(&["test", "inner::waits_long", "inner::passes", "--jobs", "1"]);
        command.arg("--json").arg(&json).arg("--junit").arg(&junit).stdout(Stdio::piped());
        let mut child = command.spawn().expect("vmctl starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert!(lines.any(|line| line.is_ok_and(|line| line.contains("inner::waits_long"))));
        let pid = i32::try_from(child.id()).expect("a process id is small");
        kill(Pid::from_raw(pid), signal).expect("vmctl runs");
        let last = lines.map_while(Result::ok).last();
        assert_eq!(child.wait().expect("vmctl ends").code(), Some(130));
        assert_eq!(last.as_deref(), Some("0 passed, 1 failed, 1 skipped"));
        let report = std::fs::read_to_string(&json).expect("the JSON report is there");
        let report: serde_json::Value = serde_json::from_str(&report).expect("it is whole");
        assert_eq!(report["cases"][0]["reason"], "interrupted");
        assert_eq!(report["cases"][1]["outcome"], "skip");
        assert!(std::fs::read_to_string(&junit).expect("JUnit").ends_with("</testsuites>\n"));
    }
}

#[test]
fn a_case_that_hangs_keeps_no_other_from_its_end() {
    let cases = ["test", "inner::waits_long", "inner::passes", "inner::says_no"];
    let output = vmctl(&cases).args(["--jobs", "2", "--timeout", "2"]).output().expect("it starts");
    assert_eq!(output.status.code(), Some(124));
    assert_eq!(last_line(&output), "1 passed, 2 failed, 0 skipped");
}

#[test]
fn two_runs_at_once_keep_apart() {
    let children: Vec<_> = (0..3)
        .map(|_| vmctl(&["test", "inner::says_no"]).stdout(Stdio::piped()).spawn())
        .collect::<Result<_, _>>()
        .expect("vmctl starts");
    let folders: std::collections::BTreeSet<_> = children
        .into_iter()
        .map(|child| child.wait_with_output().expect("vmctl ends"))
        .filter_map(|output| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().find(|line| line.trim().starts_with("files")).map(str::to_owned)
        })
        .collect();
    assert_eq!(folders.len(), 3, "{folders:?}");
}
