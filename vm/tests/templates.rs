//! Templates: guests saved and brought back, and crash states judged in them, against a shell
//! script that plays QEMU.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare has failed")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use agent_proto::{End, Frame};
use vm::check::{GuestChecker, InGuest};
use vm::crash::event::{Pc, Vcpu};
use vm::crash::{Checker, Fault, Judges, Marker, Op, Point, Verdict, View};
use vm::nvdimm::Mode;
use vm::{Command, Error, Failure, Guest, Mac, Mib, Nic, Nvdimm, Template};

use support::Play;

/// What the agent and the monitor of a guest that can be saved do. `exit N` is a file that ends
/// the request with that id.
const WORDS: &str = r#"
[[ " $* " == *" -incoming defer "* ]] && restored=1
answer() { hear; n=${line##*:}; say '{"return": {'"$1"'}, "id": '${n%\}}'}'; }
migration() { say '{"event": "MIGRATION", "data": {"status": "'$1'"}}'; }
pong() {
    local token="$(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) 0 0 0 0 0"
    printf -v bytes '\\x%02x' 9 0 0 0 3 $token
    printf "$bytes" >&$g
}
pinged() { head -c 13 <&$g >/dev/null; pong $$; }
ended() { cat "${0%/*}/exit $1" >&$g; }
save() { hello; asked; ended 1; pong $$; answer; answer; answer; migration completed; sleep 1000; }
load() { answer; answer; migration active; migration completed; answer; }
find() { asked; ended 2; }
"#;

/// A QEMU whose guest can be saved; its copies do as the script says.
fn play(script: &str) -> Play {
    let play = Play::new(&format!("{WORDS}\ngreet\n[ $restored ] || save\n{script}; sleep 1000"));
    for id in [1, 2, 3] {
        play.put_frame(&format!("exit {id}"), &Frame::Exit(id, End::Code(0)));
    }
    play
}

fn template(play: &Play) -> vm::Result<Template> {
    play.spec().template(Mib(16), |_| Ok(()))
}

/// A copy that does as the script says.
fn copy(script: &str) -> vm::Result<Guest> {
    let play = play(script);
    template(&play).unwrap().restore(nvdimm(play.dir.path(), Mib(16)), &play.dir.path().join("c"))
}

fn nvdimm(dir: &Path, size: Mib) -> Nvdimm {
    Nvdimm::create(dir.join("nv"), size, Mode::Devdax).unwrap()
}

#[track_caller]
fn failure(result: vm::Result<Guest>) -> Failure {
    let error = result.unwrap_err();
    error.failure().unwrap_or_else(|| panic!("no guest error: {error}")).clone()
}

#[test]
fn a_template_comes_back_any_number_of_times() {
    let play = play("load; pinged; find; asked; ended 3");
    let template = template(&play).unwrap();
    for name in ["one", "two"] {
        let dir = play.dir.path().join(name);
        let guest = template.restore(nvdimm(play.dir.path(), Mib(16)), &dir).unwrap();
        assert_eq!((guest.kernel(), guest.boot_id()), ("6.1", "id"));
        assert_eq!(guest.ram_path(), None);
        // The request after those that the template's agent knows.
        assert!(guest.run(&Command::new("true")).unwrap().success());
        let pid = guest.qemu_pid();
        drop(guest);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_state_that_qemu_cannot_load_is_told_in_its_words() {
    let script = r#"answer; answer; migration failed; answer '"error-desc": "odd bytes"'"#;
    let failure = failure(copy(script));
    assert!(matches!(&failure, Failure::Lost(why) if why.contains("odd bytes")), "{failure}");
}

#[test]
fn a_qemu_that_ends_instead_of_loading_is_quoted() {
    let failure = failure(copy("answer; answer; echo 'odd bytes' >&2; exit 1"));
    assert!(matches!(&failure, Failure::Start(why) if why.contains("odd bytes")), "{failure}");
}

#[test]
fn a_copy_without_an_agent_or_with_a_confused_one_is_refused() {
    let gone = failure(copy("load; exit"));
    assert!(matches!(gone, Failure::Start(_)), "{gone}");
    let confused = failure(copy("load; head -c 13 <&$g >/dev/null; pong $(($$ + 1))"));
    assert!(matches!(&confused, Failure::Agent(why) if why.contains("answer to ping")));
}

#[test]
fn a_copy_that_does_not_find_its_nvdimm_is_refused() {
    let play = play("load; pinged; find");
    play.put_frame("exit 2", &Frame::Exit(2, End::Code(1)));
    let template = template(&play).unwrap();
    let copy = template.restore(nvdimm(play.dir.path(), Mib(16)), &play.dir.path().join("c"));
    let failure = failure(copy);
    assert!(matches!(&failure, Failure::Agent(why) if why.contains("no /dev/dax0.0")));
}

#[test]
fn what_cannot_be_saved_is_refused_before_anything_starts() {
    let play = play("");
    let refused = |spec: vm::Spec| spec.template(Mib(16), |_| Ok(())).unwrap_err().to_string();
    let spec = play.spec().nic(Nic::User { mac: Mac::local(1) });
    assert!(refused(spec).contains("a network card"));
    let spec = play.spec().nvdimm(nvdimm(play.dir.path(), Mib(16)));
    assert!(refused(spec).contains("bring their NVDIMM along"));
    assert!(!play.dir.path().join("run").exists());
}

#[test]
fn a_guest_in_which_a_program_runs_is_not_saved() {
    let (play, mut running) = (play(""), None);
    let result = play.spec().template(Mib(16), |guest| {
        running = Some(guest.spawn(&Command::new("cat"))?);
        Ok(())
    });
    let error = result.unwrap_err();
    assert!(error.to_string().contains("a program runs in it"), "{error}");
}

#[test]
fn an_nvdimm_of_another_size_is_refused() {
    let play = play("");
    let other = nvdimm(play.dir.path(), Mib(32));
    let error = template(&play).unwrap().restore(other, &play.dir.path().join("c")).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
}

/// What a checker says that ends like this in its copy.
fn judged(end: End) -> Result<Verdict, Fault> {
    let play = play("load; pinged; find; asked; cat \"${0%/*}/said\" >&$g; ended 3");
    play.put_frame("said", &Frame::Err(3, b"a hole\n".into()));
    play.put_frame("exit 3", &Frame::Exit(3, end));
    check(&play, &image(&play))
}

fn checker(play: &Play) -> GuestChecker {
    let command = "look {image} {markers}".to_owned();
    let (limit, dir) = (Duration::from_secs(9), play.dir.path().join("copies"));
    let options = InGuest { command, limit, dir, at_once: 2 };
    GuestChecker::new(&Arc::new(template(play).unwrap()), options)
}

fn check(play: &Play, image: &[u8]) -> Result<Verdict, Fault> {
    let args = [7, 0, 0];
    let marker = Marker { vcpu: Vcpu(0), pc: Pc(1), op: Op::Checkpoint, args, ranges: vec![] };
    checker(play).check(&View { image, changed: None, point: Point::default(), markers: &[marker] })
}

fn image(play: &Play) -> Vec<u8> {
    fs::read(nvdimm(play.dir.path(), Mib(16)).path()).unwrap()
}

#[test]
fn only_a_programs_own_word_is_a_verdict() {
    assert_eq!(judged(End::Code(0)), Ok(Verdict::Good));
    assert_eq!(judged(End::Code(1)), Ok(Verdict::Bad("a hole".into())));
    let none = |end| judged(end).unwrap_err().to_string();
    assert!(none(End::Code(2)).contains("no verdict: exit status 2 (0 is good, 1 is bad)"));
    assert!(none(End::Signal(11)).ends_with("killed by signal 11 (SIGSEGV)\n    | a hole"));
    assert!(none(End::Timeout).contains("its time was over after 9s"));
}

#[test]
fn a_copy_leaves_its_folder_only_if_it_gave_no_verdict() {
    for (code, left) in [(0, 0), (1, 0), (3, 1)] {
        let play = play("load; pinged; find; asked; ended 3");
        play.put_frame("exit 3", &Frame::Exit(3, End::Code(code)));
        let _ = check(&play, &image(&play));
        assert_eq!(fs::read_dir(play.dir.path().join("copies")).unwrap().count(), left);
    }
}

#[test]
fn several_copies_judge_at_a_time_and_answer_in_order() {
    // One copy's program waits for the other's.
    let meet = "mkdir ${0%/*}/one 2>&- || touch ${0%/*}/two; until [ -e ${0%/*}/two ]; do :; done";
    let play = play(&format!("load; pinged; find; asked; {meet}; ended 3"));
    let (image, mut checker) = (image(&play), checker(&play));
    let view = View { image: &image, changed: None, point: Point::default(), markers: &[] };
    checker.hand_in(&view);
    checker.hand_in(&view);
    let answers = [(); 3].map(|()| checker.next(true));
    assert_eq!(answers, [Some(Ok(Verdict::Good)), Some(Ok(Verdict::Good)), None]);
}

#[test]
fn what_stops_a_copy_is_a_fault() {
    let play = play("load; pinged; find; asked; panic; event SHUTDOWN guest-reset; exit");
    let fault = check(&play, &image(&play)).unwrap_err().to_string();
    assert!(fault.contains("guest panicked"), "{fault}");
    let fault = check(&play, &[0; 4096]).unwrap_err().to_string();
    assert!(fault.starts_with("the checker gave no verdict: read "), "{fault}");
}

#[test]
fn a_checker_is_told_the_place_and_the_markers() {
    let play = play("load; pinged; find; grep -am1 checkpoint <&$g > \"${0%/*}/told\"; ended 3");
    check(&play, &image(&play)).unwrap();
    let told = fs::read(play.dir.path().join("told")).unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("look /dev/dax0.0 /dev/stdin"), "{told}");
    assert!(told.contains("CRASH_CHECKPOINT") && told.contains("CRASH_POINT"), "{told}");
    assert!(told.contains(r#""op":"checkpoint","args":[7,0,0]"#), "{told}");
}
