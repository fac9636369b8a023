//! Pasted: commands that a report prints, given to a shell elsewhere.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use super::{CHECKER, FEW, explore, path, recording, run, said, vmctl};

/// The command that stands after this word.
pub(super) fn printed(text: &str, word: &str) -> String {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(word));
    line.unwrap_or_else(|| panic!("no {word}in {text}")).to_owned()
}

/// What a shell in another folder says to a line that was printed.
pub(super) fn pasted(line: &str) -> (Option<i32>, String) {
    said(&Command::new("sh").args(["-c", line]).current_dir("/").output().expect("sh starts"))
}

#[test]
fn a_printed_command_works_when_pasted_elsewhere_whatever_the_names_are() {
    let base = tempfile::tempdir().expect("a folder");
    let odd = OsStr::from_bytes(b"it's $(a) \"r\xffc\"; \x1b[31m *");
    let (here, there) = (base.path().join("-a b"), base.path().join(odd));
    std::fs::create_dir(&here).expect("a folder");
    std::fs::rename(recording(false).keep(), &there).expect("a folder");
    std::fs::write(
        here.join("check it"),
        format!("#!/bin/sh\nset -- \"$1\"\n{}", CHECKER.replace("{image}", "\"$CRASH_IMAGE\"",)),
    )
    .expect("a checker");
    let elf = here.join("no@elf");
    let options = ["--checker-timeout", "77", "--whole", "--fences", "hw", "--elf", "no@elf@0x7"];
    let explore = |checker: &str| {
        let recording = Path::new("..").join(odd);
        let mut command = vmctl(&["explore"]);
        command.arg(recording).args(["--checker", checker]).args(FEW).args(options);
        said(&command.current_dir(&here).output().expect("vmctl starts"))
    };
    let (status, text) =
        explore("dd bs=4096 skip=1 if={image} of=s 2>e; CRASH_IMAGE=s sh 'check it'");
    assert_eq!(status, Some(1), "{text}");
    let again = printed(&text, "again: ");
    for part in ["--checker-timeout 77", "--whole", "--fences hw", "no@elf@0x7"] {
        assert!(again.contains(part), "{part}: {again}");
    }
    assert!(!again.contains('\u{1b}') && !elf.exists());
    let (status, text) = pasted(&again);
    assert_eq!(status, Some(1), "{again}: {text}");
    assert!(text.contains("bad: the text is <not> there\nflushed, not fenced"), "{text}");
    let (status, text) = explore("exit 9; {image}");
    assert_eq!(status, Some(125), "{text}");
    let (status, text) = pasted(&printed(&text, "the state: "));
    let state = here.join("state.img");
    assert_eq!((status, state.is_file()), (Some(125), true), "{text}");
    assert!(text.contains(&format!("{}: 8192 bytes", state.display())), "{text}");
    let mut json = vmctl(&["explore"]);
    json.arg(&there).args(["--checker", "{image}", "--json", "r.json"]);
    let (status, text) = said(&json.current_dir(&here).output().expect("vmctl starts"));
    assert_eq!((status, text.contains("which JSON cannot hold")), (Some(2), true), "{text}");
}

#[test]
fn a_result_whose_recording_has_moved_is_told_where() {
    let folder = recording(false);
    let json = path(folder.path(), "r.json");
    explore(folder.path(), CHECKER, &["--json", &json]);
    let to = tempfile::tempdir().expect("a folder");
    let new = path(to.path(), "new");
    std::fs::rename(folder.path(), &new).expect("a folder");
    let json = path(Path::new(&new), "r.json");
    let text = std::fs::read_to_string(&json).expect("the result is there");
    let result: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let id = result["mistakes"][0]["id"].as_str().expect("a name");
    let replay = ["replay", &json, "--id", id];
    let page = path(to.path(), "page");
    assert_eq!(run(&replay).0, Some(2));
    let (status, text) = run(&["report", &json, "--html", &page]);
    assert_eq!((status, text.contains("where is it? --recording DIR")), (Some(1), true), "{text}");
    let (status, text) = run(&["report", &json, "--html", &page, "--recording", &new]);
    assert_eq!((status, text.contains("no pictures")), (Some(1), false), "{text}");
    assert!(std::fs::read_to_string(&page).expect("a page").contains("<svg"));
    assert!(text.contains(&format!("crash replay {new}")), "{text}");
    let (status, text) = run(&[&replay[..], &["--recording", &new]].concat());
    assert_eq!(status, Some(1), "{text}");
    // Another one took its place.
    std::fs::rename(recording(true).keep(), path(to.path(), "other")).expect("a folder");
    let (status, text) = run(&[&replay[..], &["--recording", &path(to.path(), "other")]].concat());
    assert_eq!(
        (status, text.contains("another recording is there now")),
        (Some(2), true),
        "{text}"
    );
    assert_eq!(run(&["replay", &new, "--recording", &new]).0, Some(2));
    assert_eq!(run(&["report", "/no/such.json"]).0, Some(2));
}
