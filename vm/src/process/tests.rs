//! Processes, tested: no orphan, whoever dies.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn soon() -> Instant {
    Instant::now() + 20 * SECOND
}

fn alive(pid: u32) -> bool {
    // A zombie still has its directory, but no executable.
    Path::new(&format!("/proc/{pid}/exe")).canonicalize().is_ok()
}

fn first_number(child: &mut Child) -> u32 {
    let lines = BufReader::new(child.take_stdout().unwrap()).lines();
    lines.map_while(io::Result::ok).find_map(|line| line.parse().ok()).unwrap()
}

#[test]
fn output_and_status_are_collected() {
    let program = Program::new("sh").args(["-c", "cat; echo err >&2; exit 3"]);
    let output = program.stdin(Stdin::Bytes(b"in".to_vec())).run().unwrap();
    assert_eq!((output.stdout, output.stderr), (b"in".to_vec(), b"err\n".to_vec()));
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn a_failure_shows_the_line_and_stderr() {
    let error = Program::new("sh").args(["-c", "echo no good >&2; false"]).run_ok().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("run sh -c 'echo no good"), "{text}");
    assert!(text.contains("| no good"), "{text}");
}

#[test]
fn a_missing_program_is_named() {
    let error = Program::new("no-such-program-here").run().unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(error.to_string().contains("no-such-program-here"));
}

#[test]
fn a_timeout_kills_the_whole_group() {
    let start = Instant::now();
    // The grandchild holds the pipe: only killing the group ends the reader.
    let program = Program::new("sh").args(["-c", "sleep 1000 & echo x; wait"]);
    let error = program.timeout(SECOND / 10).run().unwrap_err();
    assert!(error.to_string().contains("killed after 100ms"), "{error}");
    assert!(start.elapsed() < 20 * SECOND);
}

#[test]
fn dropping_a_child_kills_its_group() {
    let mut child = Program::new("sh").args(["-c", "sleep 1000 & echo $!; wait"]).start().unwrap();
    let grandchild = first_number(&mut child);
    let pid = child.pid();
    assert!(alive(grandchild));
    drop(child);
    assert!(!alive(pid));
    wait_gone(grandchild);
}

#[test]
fn waiting_honours_its_deadline() {
    let mut child = Program::new("sleep").arg("1000").start().unwrap();
    assert_eq!(child.wait(Instant::now() + SECOND / 20).unwrap(), None);
    assert!(!child.kill().success());
    assert!(child.wait(soon()).unwrap().is_some());
}

#[test]
fn the_oom_score_is_set() {
    let child = Program::new("sleep").arg("1000").oom_score_adj(800).start().unwrap();
    let path = format!("/proc/{}/oom_score_adj", child.pid());
    assert_eq!(std::fs::read_to_string(path).unwrap().trim(), "800");
}

#[test]
fn a_child_is_what_a_shell_would_start() {
    let said = |script: &str| Program::new("sh").args(["-c", script]).env("WORD", "a b");
    // Nothing blocked, and nothing ignored that we ignore for ourselves.
    let signals = Program::new("cat").arg("/proc/self/status").run_ok().unwrap().text();
    let of = |name: &str| {
        let line = signals.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let pipe = 1 << (nix::sys::signal::Signal::SIGPIPE as i32 - 1);
    assert_eq!((of("SigBlk:"), of("SigIgn:") & pipe, of("SigCgt:")), (0, 0, 0), "{signals}");
    let script = "echo $WORD; pwd; echo ${PATH:+path}; ps -o pgid= -p $$ | tr -d ' '; echo $$";
    let text = said(script).cwd("/").run_ok().unwrap().text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[..3], ["a b", "/", "path"]);
    assert_eq!(lines[3], lines[4], "the leader of its group");
    // The last word counts, and a variable of ours can be replaced.
    let words = Program::new("env").env("PATH", "/usr/bin:/bin").env("HOME", "x").run_ok().unwrap();
    assert_eq!(words.text().lines().filter(|line| line.starts_with("HOME=")).count(), 1);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("closed"), "").unwrap();
    let error = Program::new("./closed").cwd(folder.path()).run().unwrap_err();
    assert!(matches!(&error, Error::Io { source, .. } if source.raw_os_error() == Some(13)));
    assert!(matches!(Program::new("closed").run(), Err(Error::Missing { .. })));
    assert!(Program::new("true").cwd("/no/such").run().is_err());
    assert!(Program::new("a\0b").run().is_err());
    // A signal without a name, too.
    let ended = said("kill -40 $$").run().unwrap().status;
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(40));
}

#[test]
fn a_child_has_the_descriptors_it_was_given() {
    let (reader, writer) = io::pipe().unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&writer);
    // A plain shell knows no numbers of two digits.
    let script = format!("echo hello >/proc/self/fd/{fd}");
    let program = Program::new("sh").args(["-c", &script]).inherit(writer.into());
    assert!(program.run_ok().is_ok());
    // Ends because our copy of the writing end is closed.
    assert_eq!(io::read_to_string(reader).unwrap(), "hello\n");
}

#[test]
fn cpu_time_outlives_the_child() {
    let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let mut child = Program::new("sh").args(["-c", script]).start().unwrap();
    assert!(child.wait(soon()).unwrap().is_some());
    assert!(child.cpu_time() > Duration::ZERO);
}

/// Waits until the last background process has a session of its own.
const LEFT: &str = "until read _ _ _ _ _ session _ </proc/$!/stat && [ $session = $! ]; do :; done";

/// A contained shell that starts a process, tells its number and goes on.
fn with_stray(start: &str, then: &str, limit: Duration) -> (Contained, u32) {
    let script = format!("{start} & echo $!; {then}");
    let program = Program::new("sh").args(["-c", &script]);
    let ended = program.run_contained(limit, 100).unwrap();
    let stray = String::from_utf8_lossy(&ended.output).trim().parse().unwrap();
    (ended, stray)
}

#[test]
fn a_contained_program_leaves_nothing_behind() {
    // The second leaves its group, the third has a child there, the last one loses its parent.
    let family = "setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & sleep 1000'";
    for (start, then) in [("sleep 1000", ""), ("setsid sleep 1000", LEFT), (family, LEFT)] {
        let (ended, stray) = with_stray(start, &format!("{then}\nexit 3"), 20 * SECOND);
        assert_eq!(ended.status.and_then(|status| status.code()), Some(3), "{start}");
        wait_gone(stray);
    }
    let (late, stray) = with_stray("setsid sleep 1000", "sleep 1000", 2 * SECOND);
    assert!(late.status.is_none());
    wait_gone(stray);
    let orphan = format!("sh -c 'setsid sleep 1000 & echo $!; {LEFT}'");
    let ended = Program::new("sh").args(["-c", &orphan]).run_contained(20 * SECOND, 100).unwrap();
    wait_gone(String::from_utf8_lossy(&ended.output).trim().parse().unwrap());
}

#[test]
fn a_process_that_hides_its_origin_goes_with_the_last_child() {
    let output = helper("helper_has_a_hidden_stray").run_ok().unwrap().text();
    assert!(output.contains("it lived while another child did, and is gone"), "{output}");
}

/// Not a test: has no other children than its own.
#[test]
#[ignore = "helper process of another test"]
fn helper_has_a_hidden_stray() {
    let mut other = Program::new("sleep").arg("1000").start().unwrap();
    let (_, stray) = with_stray("env -i setsid sleep 1000", LEFT, 20 * SECOND);
    assert!(alive(stray));
    other.kill();
    Program::new("true").run_contained(20 * SECOND, 0).unwrap();
    wait_gone(stray);
    println!("\nit lived while another child did, and is gone");
}

#[test]
fn the_children_of_a_contained_program_are_spared_while_it_runs() {
    let (reader, writer) = io::pipe().unwrap();
    let fd = std::os::fd::AsRawFd::as_raw_fd(&writer);
    let orphan = format!("sh -c 'setsid sleep 1000 >/dev/null 2>&1 & {LEFT}; echo $!'");
    let rest = format!("echo >/proc/self/fd/{fd}; read _; kill -0 $pid && echo spared");
    let script = format!("pid=$({orphan}); {rest}");
    let (input, hold) = io::pipe().unwrap();
    let program = Program::new("sh").args(["-c", &script]).inherit(writer.into());
    let program = program.stdin(Stdin::File(std::os::fd::OwnedFd::from(input).into()));
    let runs = std::thread::spawn(move || program.run_contained(20 * SECOND, 100).unwrap());
    BufReader::new(reader).read_line(&mut String::new()).unwrap();
    for _ in 0..3 {
        Program::new("true").run_contained(20 * SECOND, 0).unwrap();
    }
    drop(hold);
    assert_eq!(runs.join().unwrap().output, b"spared\n");
}

#[test]
fn a_contained_program_may_write_without_end() {
    let ended = Program::new("yes").run_contained(SECOND / 5, 10).unwrap();
    assert!(ended.status.is_none());
    assert_eq!(ended.output, b"y\ny\ny\ny\ny\n");
    let closed = "exec >&- 2>&-; sleep 0.1; exit 7";
    let ended = Program::new("sh").args(["-c", closed]).run_contained(20 * SECOND, 10).unwrap();
    assert_eq!(ended.status.and_then(|status| status.code()), Some(7));
}

#[test]
fn words_are_quoted_for_a_shell() {
    assert_eq!(quoted("a=b,c"), "a=b,c");
    assert_eq!(quoted("it's"), r"'it'\''s'");
    assert_eq!(quoted(""), "''");
    assert_eq!(quoted("a\nb"), "'a\nb'");
    for word in [&b"\x1b[2J"[..], b"\xff", b"a'$(x)`\\ \xfe%s\n\n", b"\t\"", "\u{9b}x".as_bytes()] {
        let quoted = quoted(OsStr::from_bytes(word));
        assert!(quoted.chars().all(|c| c == '\n' || !c.is_control()), "{quoted}");
        let said =
            Program::new("sh").args(["-c", &format!("printf %s {quoted}")]).run_ok().unwrap();
        assert_eq!(said.stdout, word, "{quoted}");
    }
}

/// Not a test: the process that others kill. It starts its child on a thread that ends at once,
/// and must not lose it by that.
#[test]
#[ignore = "helper process of another test"]
fn helper_holds_a_child() {
    let thread = std::thread::spawn(|| Program::new("sleep").arg("1000").start().unwrap());
    let child = thread.join().unwrap();
    println!("\n{}", child.pid());
    loop {
        std::thread::park();
    }
}

/// Not a test: exits without dropping its child.
#[test]
#[ignore = "helper process of another test"]
fn helper_exits() {
    let child = Program::new("sleep").arg("1000").start().unwrap();
    println!("\n{}", child.pid());
    std::process::exit(0);
}

/// Not a test: ends all its children, as on an interrupt, and goes on.
#[test]
#[ignore = "helper process of another test"]
fn helper_is_interrupted() {
    let mut child = Program::new("sleep").arg("1000").start().unwrap();
    println!("\n{}", child.pid());
    kill_all();
    assert!(!child.wait(soon()).unwrap().unwrap().success());
    assert!(matches!(Program::new("true").run(), Err(Error::Interrupted(_))));
}

fn helper(name: &str) -> Program {
    let name = format!("process::tests::{name}");
    let program = Program::new(std::env::current_exe().unwrap());
    program.args(["--exact", &name, "--ignored", "--nocapture"])
}

#[test]
fn children_die_with_a_killed_parent() {
    let mut parent = helper("helper_holds_a_child").start().unwrap();
    let child = first_number(&mut parent);
    assert!(alive(child));
    let pid = nix::unistd::Pid::from_raw(parent.pid().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(parent.wait(soon()).unwrap().is_some());
    wait_gone(child);
}

#[test]
fn children_die_with_a_parent_that_exits() {
    let mut parent = helper("helper_exits").start().unwrap();
    let child = first_number(&mut parent);
    assert!(parent.wait(soon()).unwrap().is_some());
    wait_gone(child);
}

#[test]
fn an_interrupt_ends_all_children_and_starts_no_more() {
    let output = helper("helper_is_interrupted").run_ok().unwrap().text();
    wait_gone(output.lines().find_map(|line| line.parse().ok()).unwrap());
}

fn wait_gone(pid: u32) {
    let deadline = soon();
    while alive(pid) {
        assert!(Instant::now() < deadline, "process {pid} lives on");
        std::thread::yield_now();
    }
}

#[test]
fn the_time_of_children_and_theirs_counts_for_the_work_that_wanted_them() {
    let busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    let program = || Program::new("sh").args(["-c", "sh -c \"$0\"; true", busy]);
    let meter = Meter::of_this_thread();
    assert_eq!(meter.read(), Duration::ZERO);
    program().run_ok().unwrap();
    let alone = meter.read();
    assert!(alone > Duration::ZERO, "a grandchild's time counts");
    let other = std::thread::spawn(move || program().run_ok().map(|_| Meter::of_this_thread()));
    assert!(other.join().unwrap().unwrap().read() > Duration::ZERO);
    assert_eq!(meter.read(), alone, "another thread's work is its own");
    let shared = meter.clone();
    let helper = std::thread::spawn(move || {
        shared.share();
        program().run_ok().map(drop)
    });
    helper.join().unwrap().unwrap();
    assert!(meter.read() > alone, "a helper's work is not");
}
