//! Redundant: flushes and fences that work for nothing, with their places in the program.

use std::path::Path;
use std::process::Command;

use vm::crash::{FenceKind, FlushKind};
use vm::recording::Elf;

use super::{DEVICE, explore, path, program, recording_of};

const SOURCE: &str = "void again(void) {}\nvoid idle(void) {}\nint main(void) { return 0; }\n";

/// A program from that source, and where its functions are.
fn compiled(folder: &Path) -> (Elf, impl Fn(&str) -> u64) {
    let (source, file) = (path(folder, "p.c"), path(folder, "p"));
    std::fs::write(&source, SOURCE).expect("a file");
    let made = Command::new("cc").args(["-g", "-O0", "-no-pie", "-o", &file, &source]).status();
    assert!(made.expect("cc starts").success());
    let names = Command::new("nm").arg(&file).output().expect("nm starts").stdout;
    let names = String::from_utf8(names).expect("names");
    let at = move |name: &str| {
        let line = names.lines().find(|line| line.ends_with(&format!(" T {name}")));
        let number = line.and_then(|line| line.split(' ').next()).expect("a function");
        u64::from_str_radix(number, 16).expect("a number")
    };
    (Elf { path: file.into(), bias: 0 }, at)
}

#[test]
fn work_for_nothing_is_shown_with_function_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let (elf, at) = compiled(folder.path());
    let mut program = program(true);
    for _ in 0..3 {
        program.at(at("again")).flush(FlushKind::Clwb, DEVICE);
    }
    program.at(at("idle")).fence(FenceKind::Sfence);
    let recording = recording_of(&program, elf);
    let page = path(folder.path(), "r.html");
    let (status, text) = explore(recording.path(), "exit 0; {image}", &["--html", &page]);
    assert_eq!(status, Some(0), "{text}");
    let source = path(folder.path(), "p.c");
    for part in [
        format!("flushes of lines without anything new: 4 of 6\n       3 again at {source}:1\n"),
        format!("fences that completed nothing: 1 of 3\n       1 idle at {source}:2\n"),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    let page = std::fs::read_to_string(&page).expect("the page is there");
    for part in [
        "<h2>Flushes of lines without anything new <small>4 of 6</small></h2>".to_owned(),
        format!("<tr><td>again at {source}:1<td class=\"n\">3</tr>"),
        format!("<tr><td>idle at {source}:2<td class=\"n\">1</tr>"),
    ] {
        assert!(page.contains(&part), "{part}: {page}");
    }
}
