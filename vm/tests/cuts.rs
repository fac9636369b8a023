//! Cuts: guests that lose their power at a marker, against a shell script that plays QEMU and the
//! observer.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use vm::crash::{CrashState, Op, Rules};
use vm::nvdimm::Mode;
use vm::watch::Cut;
use vm::{Command, Error, Failure, Guest, Mib, Nvdimm, Watch};

use support::Play;

const AT: &str = "checkpoint:3#2";

/// A watched guest whose script, once it is asked for something, does as told. `$w` is the
/// observer's folder.
fn watched(script: &str) -> (Guest, Play) {
    let begin = "w=${0%/*}/watched; : > $w/observed.jsonl; greet; hello";
    let play = Play::new(&format!("{begin}; {script}"));
    let nvdimm = Nvdimm::create(play.dir.path().join("nvdimm"), Mib(16), Mode::Devdax).unwrap();
    let watch = Watch::diff(&PathBuf::from("observer"), &folder(&play), Rules::default());
    (play.spec().nvdimm(nvdimm).watch(watch).boot().unwrap(), play)
}

fn folder(play: &Play) -> PathBuf {
    play.dir.path().join("watched")
}

/// What the observer would have told and kept, and QEMU's end.
fn cut_by(told: &str) -> String {
    let state = CrashState { nvdimm_bytes: 64, persisted: "d".into(), lines: Vec::new() };
    let state = serde_json::to_string(&state).unwrap();
    let durable = "printf '%064d' 7 > $w/d";
    format!(
        "{durable}; echo '{state}' > $w/cut.json; echo '{told}' > $w/observed.jsonl; kill -9 $$"
    )
}

fn state_word(play: &Play) -> u64 {
    let bytes = fs::read(folder(play).join("cuts")).unwrap();
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

#[test]
fn a_guest_that_cuts_its_power_has_lost_it_and_is_not_a_lost_vm() {
    let script = cut_by(r#"{"cut":7,"n":1,"op":"cut"}"#);
    let (guest, _play) = watched(&format!("asked; {script}"));
    let error = guest.run(&Command::new("true")).unwrap_err();
    let cut = Cut { id: 7, n: 1, op: Op::Cut };
    assert_eq!(error.failure(), Some(&Failure::PowerLost(cut)), "{error}");
    assert!(error.to_string().contains("the power was cut at marker cut:7#1"), "{error}");
    let off = guest.lost_power(Duration::ZERO).unwrap();
    assert_eq!(off.cut().unwrap(), Some(cut));
    let (state, durable) = off.crash_state().unwrap().unwrap();
    assert_eq!((state.lines.len(), durable.len(), durable[63]), (0, 64, b'7'));
}

#[test]
fn a_guest_that_is_asked_for_loses_its_power() {
    let script = cut_by(r#"{"cut":3,"n":2,"op":"checkpoint"}"#);
    let (guest, _play) = watched(&format!("asked; {script}"));
    let pending = guest.cut_at(AT.parse().unwrap()).unwrap();
    drop(guest.spawn(&Command::new("true")).unwrap());
    let off = pending.wait(guest, Duration::from_secs(20)).unwrap();
    assert_eq!(off.cut().unwrap(), Some(Cut { id: 3, n: 2, op: Op::Checkpoint }));
}

#[test]
fn what_does_not_come_is_withdrawn_and_the_guest_goes_on() {
    let (guest, play) = watched("sleep 1000");
    let at = AT.parse().unwrap();
    let pending = guest.cut_at(at).unwrap();
    let asked = state_word(&play);
    let error = guest.cut_at(at).unwrap_err();
    assert!(error.to_string().contains("another one is asked for"), "{error}");
    let not = pending.wait(guest, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(not.why.failure(), Some(Failure::Timeout(_))), "{}", not.why);
    assert_ne!(state_word(&play), asked);
    // Asked for again, and withdrawn by being dropped.
    drop(not.guest.cut_at(at).unwrap());
    drop(not.guest.cut_at(at).unwrap());
    assert!(!not.guest.kernel().is_empty());
}

#[test]
fn a_guest_that_ends_otherwise_has_not_lost_its_power() {
    let (guest, _play) = watched("asked; panic; event SHUTDOWN guest-reset");
    assert!(guest.run(&Command::new("true")).is_err());
    let not = guest.lost_power(Duration::ZERO).unwrap_err();
    assert!(matches!(not.why.failure(), Some(Failure::Panicked(_))), "{}", not.why);
    let (guest, _play) = watched("asked; kill -9 $$");
    assert!(guest.run(&Command::new("true")).is_err());
    let not = guest.lost_power(Duration::ZERO).unwrap_err();
    assert!(matches!(not.why.failure(), Some(Failure::Lost(_))), "{}", not.why);
}

#[test]
fn an_observer_that_could_not_keep_the_state_is_quoted() {
    let script = r#"asked; echo '{"failed":"disk full"}' > $w/observed.jsonl; sleep 1000"#;
    let (guest, _play) = watched(script);
    let pending = guest.cut_at(AT.parse().unwrap()).unwrap();
    drop(guest.spawn(&Command::new("true")).unwrap());
    let mut guest = guest;
    let told = loop {
        // The script writes when it has heard of the program.
        match guest.lost_power(Duration::from_millis(20)).unwrap_err() {
            not if matches!(not.why, Error::Guest(_)) => guest = not.guest,
            not => break not.why.to_string(),
        }
    };
    assert!(told.contains("disk full"), "{told}");
    drop(pending);
}

#[test]
fn nobody_cuts_where_nobody_observes() {
    let play = Play::new("greet; hello; sleep 1000");
    let guest = play.spec().boot().unwrap();
    let error = guest.cut_at(AT.parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("needs TCG and an NVDIMM"), "{error}");
}
