//! Checkers that are programs, tested: good ones, and those that do everything wrong.

use std::os::unix::fs::MetadataExt;

use crash::{
    Bounds, Explored, Failure, FenceKind, FlushKind, Plan, Points, Recording, Rules, explore,
    explore_by,
};

use super::*;

const BYTES: usize = 3 * 4096 + 64;

fn options(command: &str) -> Options {
    Options {
        command: command.to_owned(),
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

#[test]
fn a_program_sees_every_state_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let seen = folder.path().join("seen");
    let mut expected = Vec::new();
    let mut record = |view: &View<'_>| {
        expected.push(crash::trace::hash(view.image));
        Ok(Verdict::Good)
    };
    explore(vec![0; BYTES], &program().events, &plan(), &mut record);
    // It spoils its image in every way, for the next one to see.
    let spoil = "printf bad >> {image}; printf worse | dd of={image} conv=notrunc status=none";
    let command = format!("cat {{image}} >> {}; {spoil}; touch {{image}}-wal", quoted(&seen));
    let found = explored(&mut checker(&command));
    assert!(found.is_good(), "{found:?}");
    let bytes = fs::read(&seen).unwrap();
    let seen: Vec<_> = bytes.chunks(BYTES).map(crash::trace::hash).collect();
    assert!(seen == expected, "{} states, {} expected", seen.len(), expected.len());
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
    let left = fs::read_dir(checker.scratch.path()).unwrap().count();
    assert_eq!(left, 0);
    drop(checker);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn a_place_that_is_full_is_a_fault_and_what_was_judged_stays() {
    let place = tempfile::tempdir().unwrap();
    let places = vec![place.path().to_owned()];
    // From the third state on a folder stands where the image belongs.
    let block = "f=$(dirname {image}); mkdir -p $(dirname $f)/$(($(basename $f) + 2))/image";
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
    pages.write(&image, &path).unwrap();
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.len(), bytes as u64);
    assert!(metadata.blocks() <= 16, "{}", metadata.blocks());
    assert!(fs::read(&path).unwrap() == image, "the same bytes");
}
