//! Power: a guest that stays up, and loses its power at markers, on the real program. Boots guests,
//! so it is run by name: `cargo test -p vmctl --test power -- --ignored`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long anything may take here, a first build of the guest programs included.
const PATIENCE: Duration = Duration::from_mins(10);

/// Where in the NVDIMM `/dev/dax0.0` begins, and bytes of a record there: two lines of text, and
/// the line of its number.
const START: u64 = 2 << 20;
const LINE: usize = 64;
const RECORD: usize = 3 * LINE;

/// A folder with a program for guests, the file of their NVDIMM, and the place of sockets.
struct Lab {
    dir: tempfile::TempDir,
}

/// `vmctl up`, and what it says. Dropped, it is killed.
struct Up {
    child: Child,
    said: Receiver<String>,
}

impl Lab {
    fn new() -> Self {
        let lab = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        let source = "../tests/e2e/protocols/protocols.c";
        let mut cc = Command::new("cc");
        let built = cc.args(["-O1", "-static", "-o"]).arg(lab.path("protocols")).arg(source);
        assert!(built.status().expect("a C compiler").success());
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn vmctl(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vmctl"));
        command.args(args).env("XDG_RUNTIME_DIR", self.dir.path()).stdin(Stdio::null());
        command
    }

    /// A guest whose program is a shell script, once it is up.
    fn up(&self, script: &str) -> Up {
        let words = ["up", "--accel", "tcg", "--no-nic", "--no-module", "--nvdimm", "16"];
        let mut command = self.vmctl(&words);
        command.arg("--nvdimm-file").arg(self.path("nvdimm"));
        command.arg("--put").arg(format!("{}:.", self.path("protocols").display()));
        command.args(["--", "sh", "-c", script]).stderr(Stdio::piped());
        let mut child = command.spawn().expect("vmctl starts");
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let (tell, said) = channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).take_while(|line| tell.send(line.clone()).is_ok()).count()
        });
        let up = Up { child, said };
        up.wait_for("is up, kernel");
        up
    }

    fn power(&self, args: &[&str]) -> Output {
        let all = [&["power", args[0], "debian-12"], &args[1..]].concat();
        self.vmctl(&all).output().expect("vmctl starts")
    }

    /// The first records on the NVDIMM: two lines of text, and a number.
    fn records(&self) -> Vec<([u8; 2 * LINE], u64)> {
        let file = fs::File::open(self.path("nvdimm")).expect("the NVDIMM");
        let mut bytes = [0; 6 * RECORD];
        file.read_exact_at(&mut bytes, START).expect("records");
        let record = |record: &[u8]| {
            let (text, number) = record.split_at(2 * LINE);
            let number = number[..8].try_into().expect("eight bytes");
            (text.try_into().expect("two lines"), u64::from_le_bytes(number))
        };
        bytes.chunks_exact(RECORD).map(record).collect()
    }

    /// Processes that have our NVDIMM on their command line, but for `vmctl up`.
    fn guests(&self) -> usize {
        let nvdimm = self.path("nvdimm").display().to_string();
        let processes = fs::read_dir("/proc").expect("processes").flatten();
        let words = processes.filter_map(|of| fs::read(of.path().join("cmdline")).ok());
        let words = words.map(|words| String::from_utf8_lossy(&words).into_owned());
        words.filter(|words| words.contains(&nvdimm) && words.starts_with("qemu")).count()
    }
}

impl Up {
    fn wait_for(&self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut all = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("{words:?} was not said, but {all:#?}"));
            if line.contains(words) {
                return line;
            }
            all.push(line);
        }
    }

    fn end(&mut self, signal: Signal) -> Option<i32> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("vmctl is there");
        self.child.wait().expect("vmctl ends").code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// At checkpoint 3 of a log that flushes numbers, but no text: which of the six lines of text have
/// survived.
fn judge(records: &[([u8; 2 * LINE], u64)]) -> Vec<bool> {
    let numbers: Vec<_> = records.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, [1, 2, 3, 0, 0, 0], "what was flushed and fenced, and nothing else");
    let lines = records.iter().zip(1_u8..).flat_map(|((text, _), number)| {
        text.chunks_exact(LINE).map(move |line| (line.to_vec(), b'a' + number))
    });
    let survived = lines.map(|(line, letter)| {
        assert!(line == [letter; LINE] || line == [0; LINE], "{letter}: {line:?}");
        line[0] == letter
    });
    let survived: Vec<_> = survived.collect();
    assert_eq!(survived[6..], [false; 6], "what was not written yet");
    survived[..6].to_vec()
}

#[test]
#[ignore = "boots guests"]
fn a_guest_stays_loses_its_power_at_markers_and_goes_with_its_command() {
    let lab = Lab::new();
    let mut up = lab.up("while ./protocols /dev/dax0.0 no_flush; do :; done");

    let late = lab.power(&["cut", "--at", "stats:9", "--within", "1"]);
    assert_eq!(late.status.code(), Some(124), "{late:?}");
    assert!(said(&late).contains("marker stats:9") && said(&late).contains("goes on"), "{late:?}");

    let cut = lab.power(&["cut", "--at", "checkpoint:3", "--seed", "7"]);
    assert_eq!(cut.status.code(), Some(0), "{cut:?}");
    let expected = "cut at marker checkpoint:3#1; 6 lines were not durable, seed 7 drew";
    assert!(said(&cut).contains(expected), "{cut:?}");
    let survived = judge(&lab.records());
    // Seed 7 draws some of each; without a draw everything would be there.
    assert!(survived.contains(&true) && survived.contains(&false), "{survived:?}");
    assert_eq!(lab.guests(), 0);

    let again = lab.power(&["cut"]);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    assert!(said(&again).contains("`cycle` boots it"), "{again:?}");
    let cycled = lab.power(&["cycle"]);
    assert!(said(&cycled).contains("debian-12 is up again"), "{cycled:?}");
    assert_eq!(lab.guests(), 1);

    let cut = lab.power(&["cut", "--at", "checkpoint:3#2", "--seed", "7"]);
    assert!(said(&cut).contains("checkpoint:3#2; 6 lines were not durable"), "{cut:?}");
    assert_eq!(judge(&lab.records()), survived, "the same seed draws the same");

    let cycled = lab.power(&["cycle"]);
    assert!(said(&cycled).contains("is up again"), "{cycled:?}");
    up.end(Signal::SIGKILL);
    let deadline = Instant::now() + PATIENCE;
    while lab.guests() > 0 {
        assert!(Instant::now() < deadline, "the guest outlives its command");
    }
    let gone = lab.power(&["cut"]);
    assert_eq!(gone.status.code(), Some(2), "{gone:?}");
}

#[test]
#[ignore = "boots guests"]
fn a_program_that_cuts_its_power_leaves_a_dark_guest() {
    let lab = Lab::new();
    let mut up = lab.up("exec ./protocols /dev/dax0.0 cut");
    up.wait_for("power was cut at marker cut:2#1; 0 lines were not durable");
    up.wait_for("vmctl power cycle debian-12");
    assert_eq!(lab.guests(), 0);
    assert_eq!(lab.records()[0], ([b'b'; 2 * LINE], 0));
    let refused = lab.power(&["cut", "--at", "cut"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert_eq!(up.end(Signal::SIGINT), Some(130), "interrupted, in order");
    assert!(!Path::new(&lab.path("vmctl/debian-12.sock")).exists());
}
