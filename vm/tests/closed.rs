//! Closed guests, tested against a shell script that plays QEMU.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

#[expect(dead_code, reason = "closed guests boot from other files")]
mod support;

use std::fs;
use std::time::Duration;

use vm::nvdimm::Mode;
use vm::{BootFiles, Closed, Ended, Error, ExitCode, Failure, Mac, Mib, Nic, Nvdimm, Result, Spec};

use support::Play;

const ENDED: &str = "echo 'paste-agent: the program ended: code 3'";

fn closed(play: &Play, change: impl Fn(Spec) -> Spec) -> Closed {
    let run = play.dir.path().join("run");
    fs::create_dir_all(&run).unwrap();
    let initrd = play.dir.path().join("initrd");
    fs::write(&initrd, "first archive|").unwrap();
    let nvdimm = Nvdimm::seeded(run.join("nv"), Mib(16), Mode::Devdax, 7).unwrap();
    let boot = BootFiles { kernel: "/no/such/kernel".into(), initrd, root: Some("/root".into()) };
    let spec = Spec::from_files("g", boot, &run).ram(Mib(64)).qemu(play.dir.path().join("qemu"));
    let spec = change(spec.nvdimm(nvdimm)).nic(Nic::Hub { mac: Mac::local(1) });
    spec.closed(7, ["/closed/it", "two words"]).file("it", b"the program".to_vec())
}

fn run(script: &str) -> (Result<Ended>, Play) {
    let play = Play::new(script);
    (closed(&play, |spec| spec).run(Duration::from_secs(20)), play)
}

#[track_caller]
fn failure(ended: Result<Ended>) -> (Failure, String) {
    let error = ended.unwrap_err();
    (error.failure().unwrap().clone(), error.to_string())
}

#[test]
fn its_end_is_its_programs() {
    let (ended, _play) = run(&format!("echo hello; {ENDED}"));
    let ended = ended.unwrap();
    assert_eq!(ended.code, ExitCode::Code(3));
    assert!(ended.console.contains("hello"));
}

#[test]
fn its_files_are_named_as_seen_from_its_folder() {
    let (ended, play) =
        run(&format!("printf '%s\\n' \"$@\" > words; cat ./initrd > seen; {ENDED}"));
    ended.unwrap();
    let read = |name: &str| fs::read(play.dir.path().join("run").join(name)).unwrap();
    let words = String::from_utf8(read("words")).unwrap();
    assert!(!words.contains(play.dir.path().to_str().unwrap()), "{words}");
    for word in ["./kernel", "./initrd", "size=64M,mem-path=./ram", "size=16M,mem-path=./nv"] {
        assert!(words.contains(word), "{word} in {words}");
    }
    let initrd = String::from_utf8(read("seen")).unwrap();
    assert!(initrd.starts_with("first archive|"));
    assert!(initrd.contains("the program") && initrd.contains("/closed/it\0two words\0"));
}

#[test]
fn an_end_without_a_word_is_no_end() {
    let (died, silent) = ("echo 'no such machine' >&2; exit 1", "echo booting; exit 0");
    let (why, text) = failure(run(died).0);
    assert!(matches!(why, Failure::Start(_)) && text.contains("no such machine"), "{text}");
    let (why, text) = failure(run(silent).0);
    assert!(matches!(why, Failure::Lost(_)) && text.contains("booting"), "{text}");
    let panic = format!("{ENDED}; echo 'Kernel panic - not syncing: x'");
    assert!(matches!(failure(run(&panic).0).0, Failure::Panicked(_)));
}

#[test]
fn a_guest_that_does_not_end_is_killed() {
    let play = Play::new("echo booting; sleep 1000");
    let time = Duration::from_millis(300);
    let (why, text) = failure(closed(&play, |spec| spec).run(time));
    assert!(why == Failure::Timeout(time) && text.contains("booting"), "{text}");
}

#[test]
fn what_leads_out_is_refused() {
    let play = Play::new("exit 1");
    let user = |spec: Spec| spec.nic(Nic::User { mac: Mac::local(2) });
    let kvm = |spec: Spec| spec.accel(vm::Accel::Kvm);
    let two = |spec: Spec| spec.cpus(2);
    let changes: [(&dyn Fn(Spec) -> Spec, &str); 3] =
        [(&user, "leads out"), (&kvm, "only TCG"), (&two, "one CPU")];
    for (change, words) in changes {
        let error = closed(&play, change).run(Duration::from_secs(1)).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}
