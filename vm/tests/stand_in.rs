//! Stand-in: guests tested against a shell script that plays QEMU.
//!
//! The script (see `support`) greets on the monitor, lets the agent say hello, then misbehaves as a
//! test says.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

mod support;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use agent_proto::{Frame, VERSION};
use vm::{Command, Error, Failure, Guest, Mib};

use support::Play;

/// A guest that has booted and, once it is asked for something, does as the script says.
fn booted(script: &str) -> (Guest, Play) {
    let play = Play::new(&format!("greet; hello; {script}"));
    (play.spec().boot().unwrap(), play)
}

#[track_caller]
fn failure(error: &Error) -> Failure {
    error.failure().unwrap_or_else(|| panic!("no guest error: {error}")).clone()
}

fn run(guest: &Guest) -> Error {
    guest.run(&Command::new("true")).unwrap_err()
}

fn gone(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_qemu_that_dies_at_start_is_quoted() {
    let error = Play::new("echo 'no such machine' >&2; exit 1").spec().boot().unwrap_err();
    assert!(matches!(failure(&error), Failure::Start(_)), "{error}");
    let text = error.to_string();
    assert!(text.contains("exit status: 1") && text.contains("no such machine"), "{text}");
}

#[test]
fn a_missing_qemu_is_named() {
    let play = Play::new("");
    let error = play.spec().qemu("/no/qemu").boot().unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
}

#[test]
fn a_guest_that_never_answers_is_a_timeout_with_console() {
    let play = Play::new("greet; echo booting >&$c; sleep 1000");
    let error = play.spec().boot_timeout(Duration::from_millis(300)).boot().unwrap_err();
    assert_eq!(failure(&error), Failure::Timeout(Duration::from_millis(300)));
    assert!(error.console().unwrap().contains("booting"), "{error}");
}

#[test]
fn a_panic_during_boot_is_a_panic() {
    let error = Play::new("greet; panic; event SHUTDOWN guest-reset").spec().boot().unwrap_err();
    assert!(matches!(failure(&error), Failure::Panicked(_)), "{error}");
}

#[test]
fn a_panic_reported_by_qemu_alone_is_a_panic() {
    let (guest, _play) = booted("asked; event GUEST_PANICKED");
    assert!(matches!(failure(&run(&guest)), Failure::Panicked(_)));
}

#[test]
fn a_reset_without_panic_is_a_reboot() {
    let (guest, _play) = booted("asked; event SHUTDOWN guest-reset");
    assert!(matches!(failure(&run(&guest)), Failure::Rebooted(_)));
}

#[test]
fn a_qemu_that_ends_is_a_lost_vm() {
    let (guest, _play) = booted("asked; echo oh >&2; kill -SEGV $$");
    let failure = failure(&run(&guest));
    assert!(matches!(&failure, Failure::Lost(why) if why.contains("oh")), "{failure}");
}

#[test]
fn a_hang_is_told_although_qemu_runs_on() {
    let script = "asked; echo 'watchdog: BUG: soft lockup - CPU#0' >&$c; sleep 1000";
    let (guest, _play) = booted(script);
    assert!(matches!(failure(&run(&guest)), Failure::Hung(_)));
}

#[test]
fn a_guest_stopped_by_qemu_is_a_lost_vm() {
    let script = r#"asked; say '{"event": "STOP"}'
        hear; say '{"return": {"status": "internal-error"}, "id": 2}'; sleep 1000"#;
    let (guest, _play) = booted(script);
    let failure = failure(&run(&guest));
    assert!(matches!(&failure, Failure::Lost(why) if why.contains("internal-error")), "{failure}");
}

#[test]
fn an_agent_that_babbles_is_a_lost_vm() {
    let (guest, _play) = booted("asked; printf '\\377\\377\\377\\377' >&$g; sleep 1000");
    let failure = failure(&run(&guest));
    assert!(matches!(&failure, Failure::Lost(why) if why.contains("no sense")), "{failure}");
}

#[test]
fn an_agent_of_another_version_is_refused() {
    let play = Play::new("greet; hello; sleep 1000");
    let hello = Frame::Hello { proto: VERSION + 1, kernel: vec![], boot_id: vec![] };
    play.put_frame("hello", &hello);
    let error = play.spec().boot().unwrap_err();
    assert!(matches!(failure(&error), Failure::Agent(_)), "{error}");
}

#[test]
fn a_refused_qmp_command_is_quoted() {
    let script = r#"hear
        say '{"error": {"class": "GenericError", "desc": "not now"}, "id": 2}'; sleep 1000"#;
    let (guest, _play) = booted(script);
    let error = guest.pause().unwrap_err();
    assert!(error.to_string().contains("execute QMP stop: QEMU refused\n    | not now"), "{error}");
}

#[test]
fn a_silent_guest_is_a_timeout_of_the_program() {
    let (guest, _play) = booted("sleep 1000");
    let running = guest.spawn(&Command::new("true")).unwrap();
    let error = running.recv(Instant::now() + Duration::from_millis(50)).unwrap_err();
    assert!(matches!(failure(&error), Failure::Timeout(_)), "{error}");
}

#[test]
fn input_for_a_guest_that_goes_away_ends() {
    let (guest, _play) = booted("asked");
    let running = guest.spawn(&Command::new("cat")).unwrap();
    let input = running.input();
    let writer = std::thread::spawn(move || while input.write(&[0; 4096]).is_ok_and(|on| on) {});
    assert!(running.recv(Instant::now() + Duration::from_secs(20)).is_err());
    writer.join().unwrap();
}

#[test]
fn power_fails_at_once_and_comes_back() {
    let (guest, _play) = booted("sleep 1000");
    assert_eq!((guest.kernel(), guest.boot_id()), ("6.1", "id"));
    let (pid, running) = (guest.qemu_pid(), guest.spawn(&Command::new("true")).unwrap());
    let off = guest.power_fail();
    assert!(gone(pid));
    assert!(running.recv(Instant::now() + Duration::from_secs(20)).is_err());
    let pid = off.boot().unwrap().qemu_pid();
    assert!(gone(pid), "the guest was dropped");
}

#[test]
fn an_orderly_end_needs_the_guests_word() {
    let (guest, _play) = booted("asked; event SHUTDOWN guest-shutdown");
    assert!(guest.shut_down().is_ok());
    let (guest, _play) = booted("asked");
    let error = guest.shut_down().unwrap_err();
    assert!(matches!(failure(&error), Failure::Lost(_)), "{error}");
}

#[test]
fn memory_that_does_not_fit_is_refused_before_anything_starts() {
    let play = Play::new("echo started > ${0%/*}/started");
    let error = play.spec().ram(Mib(1 << 30)).boot().unwrap_err();
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    assert!(!play.dir.path().join("started").exists());
}

#[test]
fn the_run_folder_tells_the_story() {
    let (guest, play) = booted("asked; echo one >&$c; echo two >&2");
    let error = run(&guest);
    assert!(error.to_string().starts_with("g: run true: "), "{error}");
    let read = |name: &str| fs::read_to_string(play.dir.path().join("run").join(name)).unwrap();
    assert!(read("console.log").contains("one"));
    assert!(read("qemu.log").contains("two"));
    assert!(read("qmp.log").contains("QMP"));
    assert!(read("cmdline.sh").contains("-device virtio-rng-pci \\\n"));
}
