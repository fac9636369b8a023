//! Bad input: it is named, with the way out, and what was found until then is kept.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use vm::recording::{BASE, Elf, TRACE};

use super::{CHECKER, DEVICE, explore, path, program, recording, recording_of, run, said};

#[test]
fn a_recording_that_is_none_is_refused_by_name() {
    let folder = recording(true);
    let trace = folder.path().join(TRACE);
    let whole = std::fs::read(&trace).expect("a trace");
    std::fs::write(&trace, &whole[..whole.len() - 3]).expect("a file");
    let (status, text) = explore(folder.path(), CHECKER, &[]);
    assert_eq!(status, Some(125), "{text}");
    assert!(text.contains("no verdict: the recording is not whole: the trace is trunc"), "{text}");
    std::fs::write(&trace, "#!/bin/sh\n").expect("a file");
    let (status, text) = explore(folder.path(), CHECKER, &[]);
    assert_eq!((status, text.contains("this is no trace")), (Some(2), true), "{text}");
    std::fs::write(&trace, whole).expect("a file");
    std::fs::write(folder.path().join(BASE), [0; 64]).expect("a file");
    let (status, text) = explore(folder.path(), CHECKER, &[]);
    assert_eq!(
        (status, text.contains("of 8192 bytes, the image has 64")),
        (Some(2), true),
        "{text}"
    );
    let (status, text) = explore(Path::new("/no/such"), CHECKER, &[]);
    assert_eq!((status, text.contains("a recording is a folder")), (Some(2), true), "{text}");
    let (status, text) = run(&["report", "/etc/passwd"]);
    assert_eq!((status, text.contains("this is no result")), (Some(2), true), "{text}");
}

#[test]
fn a_checker_without_a_verdict_is_no_pass_and_its_state_can_be_had() {
    let folder = recording(true);
    for (checker, words) in [
        ("no-such-checker {image}", "exit status 127"),
        ("kill -SEGV $$; {image}", "SIGSEGV"),
        ("setsid sleep 1000 & sleep 1000; {image}", "its time was over after 1s"),
    ] {
        let (status, text) = explore(folder.path(), checker, &["--checker-timeout", "1"]);
        assert_eq!(status, Some(125), "{text}");
        assert!(text.contains(words) && text.contains("--image state.img"), "{text}");
    }
    let (status, text) = explore(folder.path(), "true", &[]);
    assert_eq!((status, text.contains("write {image} where")), (Some(2), true), "{text}");
}

#[test]
fn what_cannot_be_replayed_is_refused() {
    let folder = recording(false);
    let from = folder.path().to_str().expect("a plain path");
    for (point, choice) in [("99.0", "all"), ("5.0", "all,7=0"), ("5.0", "all,65=9"), ("x", "all")]
    {
        let words =
            ["replay", from, "--point", point, "--choice", choice, "--checker", "true {image}"];
        assert_eq!(run(&words).0, Some(2), "{point} {choice}");
    }
    assert_eq!(run(&["replay", from]).0, Some(2));
}

#[test]
fn a_full_disk_takes_neither_the_report_nor_what_was_found() {
    let folder = recording(false);
    let (status, text) = explore(folder.path(), CHECKER, &["--json", "/dev/full"]);
    assert_eq!(status, Some(125), "{text}");
    assert!(text.contains("write /dev/full: No space left"), "{text}");
    assert!(text.contains("flushed, not fenced") && text.contains("again: "), "{text}");
    // As if the place of the images had no room for one.
    let from = folder.path().to_str().expect("a plain path");
    let vmctl = env!("CARGO_BIN_EXE_vmctl");
    let limited =
        format!("trap '' XFSZ; ulimit -f 1; {vmctl} crash explore {from} --checker \"$0\"");
    let output = Command::new("sh").args(["-c", &limited, CHECKER]).output().expect("sh starts");
    let (status, text) = said(&output);
    assert_eq!(status, Some(125), "{text}");
    assert!(text.contains("no verdict: write /") && text.contains("File too large"), "{text}");
}

#[test]
fn an_interrupt_leaves_what_was_found() {
    let folder = recording(false);
    let json = path(folder.path(), "r.json");
    let from = folder.path().to_str().expect("a plain path");
    // Tells when it has called a state bad, and waits at the next one.
    let checker = format!(
        "{{ ls {from}/told && {{ echo waits >&9; sleep 1000; }}; }} 2>/dev/null; ({CHECKER}) || \
         {{ touch {from}/told; exit 1; }}"
    );
    let words = ["explore", from, "--jobs", "1", "--json", &json, "--checker"];
    let line = "exec 9>&1; exec \"$0\" crash \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_vmctl")]).args(words).arg(&checker);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("sh starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert!(lines.any(|line| line.is_ok_and(|line| line == "waits")));
    let pid = i32::try_from(child.id()).expect("a process id is small");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("vmctl runs");
    let rest: Vec<_> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("vmctl ends").code(), Some(130), "{rest:?}");
    assert!(rest.iter().any(|line| line == "no verdict: interrupted"), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("again: ")), "{rest:?}");
    let result = std::fs::read_to_string(&json).expect("the result is there");
    let result: serde_json::Value = serde_json::from_str(&result).expect("it is whole");
    assert_eq!(result["part"]["explored"]["failing"], 1);
}

#[test]
fn what_a_checker_leaves_is_gone_and_its_verdict_holds() {
    let folder = recording(false);
    let strays = path(folder.path(), "strays");
    let leave = format!("setsid sleep 1000 >/dev/null 2>&1 & echo $! >> {strays}; ({CHECKER})");
    let (status, text) = explore(folder.path(), &leave, &[]);
    assert_eq!((status, text.contains("flushed, not fenced")), (Some(1), true), "{text}");
    let strays = std::fs::read_to_string(strays).expect("strays were started");
    assert!(strays.lines().count() > 5, "{strays}");
    let lives = |pid: &&str| Path::new("/proc").join(pid).join("exe").canonicalize().is_ok();
    assert_eq!(strays.lines().find(lives), None);
}

#[test]
fn writes_beside_the_device_are_told() {
    let mut beside = program(true);
    beside.store(DEVICE - 64, &[1; 8]);
    let folder = recording_of(&beside, Elf { path: "gone".into(), bias: 0 });
    let told = "1 writes lie outside the program's device";
    let (status, text) = explore(folder.path(), CHECKER, &[]);
    assert_eq!((status, text.contains(told)), (Some(0), true), "{text}");
    let (_, text) = explore(folder.path(), "exit 0; {image}", &["--whole"]);
    assert!(!text.contains(told), "{text}");
}

#[test]
fn a_result_that_is_none_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = path(folder.path(), "r.json");
    for (text, why) in [
        ("{", "this is no result"),
        ("{\"schema\":1}", "it has schema 1, not 2"),
        ("{\"schema\":2}", "this is no result: missing field"),
    ] {
        std::fs::write(&json, text).expect("a file");
        for words in [&["report", &json][..], &["merge", &json], &["replay", &json, "--id", "a"]] {
            let (status, said) = run(words);
            assert_eq!((status, said.contains(why)), (Some(2), true), "{text}: {said}");
        }
    }
    let (status, text) = run(&["report", "/no/such"]);
    assert_eq!((status, text.contains("/no/such: this is no result: not there")), (Some(2), true));
}
