//! Crash: the commands on a recording, on the real program; no guest is needed.

mod bad_input;
#[path = "../../src/report/browser.rs"]
mod browser;
mod page;
mod pasted;
mod redundant;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use vm::crash::trace::{Header, Writer, hash};
use vm::crash::{FenceKind, FlushKind, Op, Recording, Rules};
use vm::nvdimm::Window;
use vm::recording::{BASE, Elf, Record, SCHEMA, TRACE};

use pasted::{pasted, printed};

const BYTES: usize = 8192;
/// Where the program's device begins in the NVDIMM.
const DEVICE: u64 = 4096;

/// The text at 64 is 16 times 7 if the word at 0 says so.
const CHECKER: &str = "set -- $(od -An -v -tu1 -N80 {image}); [ $1 = 0 ] && exit; shift 64; \
                       [ \"$*\" = '7 7 7 7 7 7 7 7 7 7 7 7 7 7 7 7' ] || \
                       { echo 'the text is <not> there'; exit 1; }";

/// Few states: each costs some processes.
const FEW: [&str; 6] = ["--exhaustive", "8", "--random", "0", "--most", "8"];

/// A program that writes its text and says so, with a fence between if it is a good one.
fn program(is_good: bool) -> Recording {
    let mut program = Recording::new(BYTES);
    program.at(0x1000).marker(Op::Arm, [0; 3], Vec::new());
    program.at(0x1004).store(DEVICE + 64, &[7; 16]);
    program.at(0x1008).flush(FlushKind::Clwb, DEVICE + 64);
    if is_good {
        program.fence(FenceKind::Sfence);
    }
    program.at(0x100c).store(DEVICE, &[1]);
    program.at(0x1010).flush(FlushKind::Clwb, DEVICE);
    program.at(0x1014).fence(FenceKind::Sfence);
    program.at(0x1018).flush(FlushKind::Clwb, DEVICE);
    program.checkpoint(1);
    program
}

/// A recording of it.
fn recording(is_good: bool) -> tempfile::TempDir {
    recording_of(&program(is_good), Elf { path: "gone".into(), bias: 0 })
}

/// A recording of a program that is in this file.
fn recording_of(program: &Recording, elf: Elf) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let image = vec![0; BYTES];
    let header = Header {
        nvdimm_bytes: BYTES as u64,
        base: BASE.into(),
        base_hash: hash(&image),
        seed: 5,
        rules: Rules::default(),
        command: Vec::new(),
    };
    let trace = std::fs::File::create(folder.path().join(TRACE)).expect("a file");
    let mut trace = Writer::new(trace, &header).expect("a trace");
    program.events.iter().try_for_each(|event| trace.write(event)).expect("events");
    trace.finish().expect("an end");
    std::fs::write(folder.path().join(BASE), image).expect("an image");
    let record = Record {
        schema: SCHEMA,
        window: Window::new(DEVICE, BYTES as u64 - DEVICE).expect("whole lines"),
        guest: None,
        program: vec!["./program".into()],
        command: Vec::new(),
        versions: [].into(),
        elf: vec![elf],
        kernel: None,
    };
    record.write(folder.path()).expect("a record");
    folder
}

fn vmctl(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmctl"));
    command.arg("crash").args(words).stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> (Option<i32>, String) {
    said(&vmctl(words).output().expect("vmctl starts"))
}

/// The exit status, and both outputs.
fn said(output: &Output) -> (Option<i32>, String) {
    let text = [&output.stdout[..], &output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn explore(folder: &Path, checker: &str, more: &[&str]) -> (Option<i32>, String) {
    let folder = folder.to_str().expect("a plain path");
    run(&[&["explore", folder, "--checker", checker], &FEW[..], more].concat())
}

fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().expect("a plain path").to_owned()
}

#[test]
fn a_mistake_is_named_and_its_command_replays_it() {
    let folder = recording(false);
    let json = path(folder.path(), "r.json");
    let (status, text) = explore(folder.path(), CHECKER, &["--json", &json]);
    assert_eq!(status, Some(1), "{text}");
    for part in [
        "flushed, not fenced: the text is <not> there",
        "line 0x1040: flushed, not fenced",
        "last written by 0x1004 (event 2, CPU 0)",
        "last flushed by 0x1008 (event 3, CPU 0)",
        "last marker: Arm",
        "flushes of lines without anything new: 1 of 3\n       1 0x1018",
        "no names from",
        "gone: No such file",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let again = printed(&text, "again: ");
    let state = path(folder.path(), "state.img");
    let (status, text) = pasted(&again.replace("--point", &format!("--image {state} --point")));
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("bad: the text is <not> there\nflushed, not fenced"), "{text}");
    assert!(text.contains("not as the CPUs saw them: 0x1040 (value 0 of 3)"), "{text}");
    let state = std::fs::read(state).expect("the state is kept");
    assert_eq!((state.len(), state[0], state[64]), (4096, 1, 0));
    by_name(&json);
}

/// A result knows its failures by name, and is shown again as it was.
fn by_name(json: &str) {
    let text = std::fs::read_to_string(json).expect("the result is there");
    let result: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(result["mistakes"][0]["report"]["class"], "flushed_not_fenced");
    let id = result["mistakes"][0]["id"].as_str().expect("a name");
    let (status, text) = run(&["replay", json, "--id", id]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("bad: the text is <not> there"), "{text}");
    // What is given goes before what the result says.
    let other = ["replay", json, "--id", id, "--checker", "echo other; ! : {image}"];
    assert!(run(&other).1.contains("bad: other\n"));
    let slow = ["--checker", "sleep 9; : {image}", "--checker-timeout", "1"];
    assert!(run(&[&other[..4], &slow].concat()).1.contains("its time was over after 1s"));
    let hw = run(&[&other[..4], &["--domain", "eadr"]].concat());
    assert!(hw.0 == Some(2) && hw.1.contains("no such line in flight"), "{hw:?}");
    assert_eq!(run(&["replay", json, "--id", "none"]).0, Some(2));
    let (status, text) = run(&["report", json]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains(&format!("--- {id} (1 of 1)\nflushed, not fenced")), "{text}");
}

#[test]
fn every_command_explains_itself_with_an_example() {
    for command in ["record", "explore", "replay", "matrix", "report", "merge"] {
        let (status, text) = run(&[command, "--help"]);
        let example = format!("  vmctl crash {command} ");
        assert_eq!((status, text.contains(&example)), (Some(0), true), "{command}: {text}");
    }
}

#[test]
fn a_good_program_passes() {
    let folder = recording(true);
    let (status, text) = explore(folder.path(), CHECKER, &[]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(", 0 failing"), "{text}");
    let from = folder.path().to_str().expect("a plain path");
    let one = ["replay", from, "--point", "4.0", "--choice", "all", "--checker", CHECKER];
    let (status, text) = run(&one);
    assert_eq!((status, text.contains("\ngood\n")), (Some(0), true), "{text}");
}

#[test]
fn shards_are_merged_if_all_are_there() {
    let folder = recording(false);
    let json = |name: &str| path(folder.path(), name);
    let whole = explore(folder.path(), CHECKER, &["--jobs", "3"]);
    let parts = [json("0"), json("1")];
    for (part, shard) in parts.iter().zip(["0/2", "1/2"]) {
        explore(folder.path(), CHECKER, &["--shard", shard, "--json", part]);
    }
    let (status, text) = run(&["merge", &parts[0], &parts[1]]);
    assert_eq!((status, whole.0), (Some(1), Some(1)), "{text}");
    assert!(text.contains("flushed, not fenced") && whole.1.contains("flushed, not fenced"));
    let (_, text) = run(&["merge", &parts[0]]);
    assert!(text.contains("no verdict: shards are missing: [1]"), "{text}");
    let (status, text) = run(&["merge", &parts[0], &parts[0]]);
    assert_eq!((status, text.contains("shard 0/2 is there twice")), (Some(2), true), "{text}");
    explore(folder.path(), "true {image}", &["--shard", "1/2", "--json", &parts[1]]);
    let (status, text) = run(&["merge", &parts[0], &parts[1]]);
    assert_eq!((status, text.contains("another checker")), (Some(2), true), "{text}");
}

#[test]
fn the_page_needs_nothing_else() {
    let folder = recording(false);
    let page = path(folder.path(), "r.html");
    let json = path(folder.path(), "r.json");
    explore(folder.path(), CHECKER, &["--html", &page, "--json", &json]);
    let first = std::fs::read_to_string(&page).expect("the page is there");
    for part in ["flushed, not fenced", "&lt;not&gt;", "<svg", "0x1040", "crash replay", "0x1018"] {
        assert!(first.contains(part), "{part}: {first}");
    }
    for word in ["<script", "src=", "href=", "url(", "@import"] {
        assert!(!first.contains(word), "{word}");
    }
    assert_eq!(run(&["report", &json, "--html", &page]).0, Some(1));
    assert_eq!(std::fs::read_to_string(&page).expect("the page is there"), first);
    std::fs::remove_file(folder.path().join(TRACE)).expect("the trace goes");
    let (status, text) = run(&["report", &json, "--html", &page]);
    assert_eq!((status, text.contains("no pictures without the recording")), (Some(1), true));
}

#[test]
fn the_matrix_has_a_row_for_each_combination() {
    let folder = recording(false);
    let from = folder.path().to_str().expect("a plain path");
    let words = ["matrix", from, "--checker", CHECKER, "--points", "fence"];
    let (status, text) = run(&[&words[..], &FEW].concat());
    assert_eq!(status, Some(1), "{text}");
    let is_row = |line: &&str| line.contains(" strict ") && !line.contains("(cd ");
    let rows: Vec<_> = text.lines().filter(is_row).collect();
    assert!(text.contains("* adr     strict  cache"), "{text}");
    let bad = |row: &&&str| row.contains("flushed, not fenced");
    assert_eq!((rows.len(), rows.iter().filter(bad).count()), (4, 2), "{text}");
}
