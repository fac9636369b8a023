//! Checkers that are programs, tested: good ones, and those that do everything wrong.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crash::{
    Bounds, Explored, Failure, FenceKind, FlushKind, Plan, Points, Recording, Rules, explore,
    explore_by,
};

use super::*;
use crate::process::quoted;

const BYTES: usize = 3 * 4096 + 64;

fn options(command: &str) -> Options {
    Options {
        command: command.to_owned(),
        folder: std::env::temp_dir(),
        window: Window::whole(BYTES as u64).unwrap(),
        limit: Duration::from_secs(20),
        places: vec![PathBuf::from(crate::host::SHARED_MEMORY), std::env::temp_dir()],
        at_once: 1,
    }
}

fn checker(command: &str) -> ExecChecker {
    ExecChecker::new(options(command)).unwrap()
}

/// Few states: each costs a process.
const BOUNDS: Bounds = Bounds { exhaustive: 8, random: 2, most: 8 };

/// A program that says that its data is there, and only then sees to it.
fn program() -> Recording {
    let mut program = Recording::new(BYTES);
    for number in 1..4 {
        program.store(4096 * (number % 3) + 64, &[u8::try_from(number).unwrap(); 100]);
        program.store(0, &[u8::try_from(number).unwrap()]);
        program.flush(FlushKind::Clwb, 0);
        program.fence(FenceKind::Sfence);
        program.checkpoint(number);
    }
    program
}

fn explored(checker: &mut ExecChecker) -> Explored {
    explore_by(vec![0; BYTES], &program().events, &plan(), checker)
}

fn plan() -> Plan {
    Plan { bounds: BOUNDS, ..Plan::default() }
}

/// Why the first state got no verdict.
fn fault(command: &str, limit: Duration) -> String {
    let mut checker = ExecChecker::new(Options { limit, ..options(command) }).unwrap();
    let found = explored(&mut checker);
    assert_eq!((found.states, found.failing), (0, 0), "{found:?}");
    found.fault.unwrap().why
}

/// What checkers see of each state, which they spoil by `spoil` for the next one: the same as what
/// is there. How many files that took: `usize::MAX` if it was one for each state.
fn seen_and_spoiled(spoil: &str, at_once: usize) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    let mut record = |view: &View<'_>| {
        expected.push(crash::trace::hash(view.image));
        Ok(Verdict::Good)
    };
    let bounds = Bounds { exhaustive: 4, random: 0, most: 4 };
    let plan = Plan { points: Points::FENCES, bounds, ..Plan::default() };
    explore(vec![0; BYTES], &program().events, &plan, &mut record);
    let command = format!("cat {{image}} > $(mktemp -p {}) && {spoil}", folder.path().display());
    let mut checker = ExecChecker::new(Options { at_once, ..options(&command) }).unwrap();
    let found = explore_by(vec![0; BYTES], &program().events, &plan, &mut checker);
    assert!(found.is_good(), "{spoil}: {found:?}");
    let files = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().path());
    let mut seen: Vec<_> = files.map(|path| crash::trace::hash(&fs::read(path).unwrap())).collect();
    seen.sort();
    expected.sort();
    assert!(seen == expected, "{spoil}: {} states, {} expected", seen.len(), expected.len());
    let free = checker.free.lock().unwrap();
    assert_eq!(free.len(), at_once);
    let made = free.iter().map(|stage| stage.made).sum();
    assert!(made <= expected.len(), "{spoil}");
    if made == expected.len() { usize::MAX } else { made }
}

#[test]
fn a_program_sees_every_state_as_it_is() {
    const EACH: usize = usize::MAX;
    for (spoil, files) in [
        ("true", 1),
        ("touch {image}-wal; mkdir -p {image}-d/e", 1),
        ("printf worse | dd of={image} conv=notrunc status=none", 1),
        ("printf x | dd of={image} seek=9000 bs=1 conv=notrunc status=none", 1),
        ("fallocate -p -o 0 -l 8192 {image}", 1),
        ("truncate -s 0 {image}; truncate -s 12352 {image}", 1),
        ("truncate -s 64 {image}", EACH),
        ("printf bad >> {image}", EACH),
        ("cp {image} {image}2 && mv {image}2 {image}", EACH),
        ("rm {image}; ln -s /etc/passwd {image}", EACH),
        ("chmod 0 {image}", EACH),
        ("chmod 0 {image}; chmod 644 {image}", EACH),
        ("ln {image} {image}2; printf bad | dd of={image}2 conv=notrunc status=none", EACH),
        ("cd ${CRASH_IMAGE%/*}/..; mv 0 gone$$; mkdir 0; cat gone$$/image > 0/image", EACH),
        ("rm -rf ${CRASH_IMAGE%/*}; : {image}", EACH),
        ("rm -f {markers}; ln -s /etc/passwd {markers}; : {image}", 1),
    ] {
        assert_eq!(seen_and_spoiled(spoil, 1), files, "{spoil}");
    }
    let made = seen_and_spoiled("printf worse | dd of={image} conv=notrunc status=none", 3);
    assert!(made <= 3, "{made}");
}

#[test]
fn what_is_written_through_memory_is_seen_too() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("append");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/crash-c/append.c");
    Program::new("cc").arg("-o").arg(&program).arg(source).run_ok().unwrap();
    assert_eq!(seen_and_spoiled(&format!("{} {{image}}", quoted(program)), 1), 1);
}

#[test]
fn a_program_without_a_shell_is_judged_likewise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("check");
    fs::write(&path, "#!/bin/sh\ntest $# = 2 && test \"$1\" = $CRASH_IMAGE && exit $2\n").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let judged = |status: &str| {
        let options = options(&format!("./check {{image}} {status}"));
        let folder = folder.path().to_owned();
        explored(&mut ExecChecker::new(Options { folder, ..options }).unwrap())
    };
    assert!(judged("0").is_good());
    let bad = judged("1");
    assert!(bad.failing == bad.states && bad.fault.is_none(), "{bad:?}");
    assert!(judged("7").fault.unwrap().why.contains("exit status 7"));
    let gone = Options { folder: folder.path().join("gone"), ..options("./check {image}") };
    assert!(ExecChecker::new(gone).unwrap_err().to_string().contains("where it is to start"));
}

#[test]
fn several_at_a_time_find_the_same() {
    // The first byte says what is at 64, 4160 and 8256.
    let command = "set -- $(od -An -v -tu1 -N1 {image}) $(od -An -v -tu1 -j163 -N1 {image}); \
                   [ $1 -ne 3 ] || [ $2 -eq 3 ] && exit; \
                   echo $CRASH_CHECKPOINT $CRASH_POINT; exit 1";
    let one = explored(&mut checker(command));
    assert!(one.failing > 3 && one.failing < one.states && one.fault.is_none(), "{one:?}");
    let mut many = ExecChecker::new(Options { at_once: 4, ..options(command) }).unwrap();
    assert_eq!(explored(&mut many), one);
    assert_eq!(explored(&mut many), one, "a second time by the same checker");
    let Failure { point, choice, why } = one.failures.last().unwrap();
    let words: Vec<&str> = why.split(' ').collect();
    assert_eq!(words, ["3", &point.to_string()], "{choice}");
    let mut moment = crash::Moment::at(vec![0; BYTES], &program().events, Rules::default(), *point);
    assert_eq!(moment.judge(choice, &mut many), Ok(Verdict::Bad(why.clone())));
}

#[test]
fn a_program_sees_its_window_only() {
    let window = Window::new(64, 4096).unwrap();
    let mut program = Recording::new(BYTES);
    program.store(0, &[7; 200]);
    let command = "test $(stat -c %s {image}) = 4096 && ! od -An -v -tx1 -N136 {image} | grep 00";
    let mut checker = ExecChecker::new(Options { window, ..options(command) }).unwrap();
    let bounds = Bounds { exhaustive: 0, ..BOUNDS };
    let plan = Plan { bounds, points: Points::MARKERS, ..plan() };
    program.checkpoint(1);
    let found = explore_by(vec![0; BYTES], &program.events, &plan, &mut checker);
    // All of it survives in some states, whatever is lost outside the window.
    assert!(found.fault.is_none() && found.failing > 0, "{found:?}");
    assert!(found.failing < found.states, "{found:?}");
}

#[test]
fn markers_are_told_on_standard_input_as_a_file_and_as_a_variable() {
    let command = "n=$(wc -l < {markers}); test -e {image}; test $n = ${CRASH_CHECKPOINT:-0} && \
                   { test $n = 0 || tail -n 1 | \
                   grep -qF '\"op\":\"checkpoint\",\"args\":['$n',0,0]'; }";
    let found = explored(&mut checker(command));
    assert!(found.is_good(), "{found:?}");
}

#[test]
fn what_is_no_verdict_is_a_fault_that_says_what_happened() {
    let soon = Duration::from_millis(300);
    let long = Duration::from_secs(20);
    for (command, limit, why) in [
        ("echo one; sleep 1000 < {image}", soon, "its time was over after 300ms"),
        ("yes < {image}", soon, "its time was over after 300ms, and it was killed\n    | y"),
        ("kill -SEGV $$ # {image}", long, "killed by signal 11 (SIGSEGV)"),
        ("sh -c 'kill -ABRT $$; true' {image}; exit $?", long, "as after signal 6 (SIGABRT)"),
        ("no-such-checker {image}", long, "exit status 127: the shell finds no such command"),
        ("/etc/passwd {image}", long, "exit status 126: the shell may not run the command"),
        ("echo '{image}' \"", long, "exit status 2"),
        (
            "echo last words; exit 3; {image}",
            long,
            "exit status 3 (0 is good, 1 is bad)\n    | last",
        ),
    ] {
        let found = fault(command, limit);
        assert!(found.contains(why), "{command}: {found}");
    }
}

#[test]
fn a_checker_that_never_looks_is_refused() {
    let error = ExecChecker::new(options("true")).unwrap_err().to_string();
    assert!(error.contains("write {image} where its file belongs"), "{error}");
}

#[test]
fn what_a_checker_leaves_is_removed() {
    let place = tempfile::tempdir().unwrap();
    let places = vec![place.path().to_owned()];
    let leave = "mkdir -p {image}-d/e; chmod 0 {image}-d/e; ln -s /etc {image}-l; rm {image}";
    let mut checker = ExecChecker::new(Options { places, ..options(leave) }).unwrap();
    assert!(explored(&mut checker).is_good());
    // The place of the next state, if anything.
    let left = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let scratch = left(place.path());
    assert_eq!((scratch.len(), left(&scratch[0])), (1, Vec::new()));
    drop(checker);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn a_place_that_is_full_is_a_fault_and_what_was_judged_stays() {
    let place = tempfile::tempdir().unwrap();
    let places = vec![place.path().to_owned()];
    // After the second state the place is gone.
    let block = "cd $(dirname {image})/..; echo >> n; [ $(wc -l < n) = 1 ] || rm -rf $PWD";
    let mut checker = ExecChecker::new(Options { places, ..options(block) }).unwrap();
    let found = explored(&mut checker);
    assert_eq!((found.states, found.is_good()), (2, false), "{found:?}");
    assert!(found.fault.unwrap().why.contains("create "), "named");
}

#[test]
fn a_state_takes_room_for_what_it_holds_only() {
    let bytes = 64 << 20;
    let mut image = vec![0; bytes];
    image[5 << 20] = 1;
    let window = Window::whole(bytes as u64).unwrap();
    let folder = tempfile::tempdir_in(crate::host::SHARED_MEMORY).unwrap();
    let path = folder.path().join("image");
    let mut pages = Pages::default();
    pages.update(&image, window.offset(), None);
    let file = File::create(&path).unwrap();
    file.set_len(bytes as u64).unwrap();
    pages.write(&image, &file).unwrap();
    let blocks = fs::metadata(&path).unwrap().blocks();
    assert!(blocks <= 16, "{blocks}");
    assert!(fs::read(&path).unwrap() == image, "the same bytes");
}
