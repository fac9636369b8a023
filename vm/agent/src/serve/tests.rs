//! Serve, tested: a host at one end of a socket, the agent at the other, real programs.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use agent_proto::{Checksum, End, WINDOW};

use super::*;
use crate::outbox::Loss;
use crate::reaper;

/// A host that talks to an agent on a thread of this process.
struct Host {
    stream: UnixStream,
    decoder: Decoder,
    agent: Option<thread::JoinHandle<Result<()>>>,
}

/// One reaper for all tests: it reaps every child of the process.
fn reaper() -> Reaper {
    static REAPER: std::sync::OnceLock<Reaper> = std::sync::OnceLock::new();
    REAPER.get_or_init(|| reaper::start().unwrap()).clone()
}

impl Host {
    fn new() -> Self {
        let (stream, theirs) = UnixStream::pair().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let port = File::from(OwnedFd::from(theirs));
        let agent = Some(thread::spawn(move || serve(&port, &reaper())));
        let mut host = Self { stream, decoder: Decoder::new(), agent };
        assert!(matches!(host.hear(), Frame::Hello { proto: VERSION, .. }));
        host
    }

    fn say(&mut self, frame: &Frame) {
        self.stream.write_all(&frame.encode().unwrap()).unwrap();
    }

    /// The next frame that is not about flow control.
    fn hear(&mut self) -> Frame {
        loop {
            match self.hear_any() {
                Frame::Taken(..) => {}
                frame => return frame,
            }
        }
    }

    fn hear_any(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return frame;
            }
            let mut bytes = [0; 4096];
            let len = self.stream.read(&mut bytes).unwrap();
            assert_ne!(len, 0, "the agent closed the port");
            self.decoder.push(&bytes[..len]);
        }
    }

    fn run(&mut self, id: u32, argv: &[&str], change: impl FnOnce(&mut Run)) {
        let argv = argv.iter().map(|arg| arg.as_bytes().to_vec()).collect();
        let mut run = Run { argv, ..Run::default() };
        change(&mut run);
        self.say(&Frame::Run { id, run });
    }

    /// Standard output, standard error and end of a program.
    fn finish(&mut self, id: u32) -> (String, String, End) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        loop {
            match self.hear() {
                Frame::Out(of, bytes) if of == id => out.extend(bytes),
                Frame::Err(of, bytes) if of == id => err.extend(bytes),
                Frame::Exit(of, end) if of == id => {
                    let text = |bytes| String::from_utf8(bytes).unwrap();
                    return (text(out), text(err), end);
                }
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    fn shell(&mut self, script: &str) -> (String, String, End) {
        self.run(1, &["sh", "-c", script], |_| ());
        self.finish(1)
    }
}

#[test]
fn output_is_kept_apart_and_codes_are_true() {
    let mut host = Host::new();
    let expected = ("out\n".into(), "err\n".into(), End::Code(3));
    assert_eq!(host.shell("echo out; echo err >&2; exit 3"), expected);
    assert_eq!(host.shell("kill -TERM $$").2, End::Signal(15));
}

#[test]
fn arguments_environment_and_folder_arrive_as_sent() {
    let mut host = Host::new();
    host.run(1, &["printf", "%s|", "", "a  b", "*", "\n'\"$"], |_| ());
    assert_eq!(host.finish(1).0, "|a  b|*|\n'\"$|");
    host.run(2, &["sh", "-c", "echo $A $HOME; pwd"], |run| {
        run.env = vec![(b"A".to_vec(), b"b".to_vec())];
        run.cwd = b"/proc".to_vec();
    });
    assert_eq!(host.finish(2).0, "b /root\n/proc\n");
}

#[test]
fn everything_a_program_wrote_comes_before_its_end() {
    let mut host = Host::new();
    for _ in 0..20 {
        let (out, err, _) = host.shell("head -c 100000 /dev/zero; head -c 50000 /dev/zero >&2");
        assert_eq!((out.len(), err.len()), (100_000, 50_000));
    }
}

#[test]
fn a_timeout_kills_the_whole_group() {
    let mut host = Host::new();
    host.run(1, &["sh", "-c", "sleep 1000 & echo $!; wait"], |run| run.timeout_ms = 100);
    let (out, _, end) = host.finish(1);
    assert_eq!(end, End::Timeout);
    let sleeper = format!("/proc/{}/exe", out.trim());
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::read_link(&sleeper).is_ok() {
        assert!(Instant::now() < deadline);
        thread::yield_now();
    }
}

#[test]
fn a_leader_that_ends_takes_its_group_along() {
    let mut host = Host::new();
    // Without that, the sleeper would hold the pipes and the end would never be told.
    assert_eq!(host.shell("sleep 1000 & echo x"), ("x\n".into(), String::new(), End::Code(0)));
}

#[test]
fn a_daemon_that_keeps_writing_does_not_keep_the_end_away() {
    let mut host = Host::new();
    let (out, _, end) = host.shell("setsid yes & echo $!; sleep 0.1");
    assert_eq!(end, End::Code(0));
    let daemon = out.lines().find_map(|line| line.parse().ok()).unwrap();
    // It ends by itself, too, now that nobody reads.
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(daemon), Signal::SIGKILL);
}

#[test]
fn programs_run_side_by_side_and_read_what_is_sent() {
    let mut host = Host::new();
    host.run(1, &["cat"], |run| run.stdin = true);
    host.run(2, &["echo", "meanwhile"], |_| ());
    assert_eq!(host.finish(2).0, "meanwhile\n");
    host.say(&Frame::Stdin(1, b"in".to_vec()));
    assert_eq!(host.hear(), Frame::Out(1, b"in".to_vec()));
    host.say(&Frame::Stdin(1, vec![]));
    assert_eq!(host.finish(1).2, End::Code(0));
}

#[test]
fn a_host_that_takes_nothing_stops_the_output_and_a_word_lets_it_go_on() {
    let mut host = Host::new();
    host.run(1, &["head", "-c", "8000000", "/dev/zero"], |_| ());
    let mut got = 0;
    while got < WINDOW {
        let Frame::Out(1, bytes) = host.hear() else { panic!("no output") };
        got += bytes.len() as u64;
    }
    // Nothing but the answer to this comes while nothing is taken.
    host.say(&Frame::Ping(1));
    assert_eq!(host.hear(), Frame::Pong(1));
    host.say(&Frame::Taken(1, 8_000_000));
    let (rest, _, end) = host.finish(1);
    assert_eq!((got + rest.len() as u64, end), (8_000_000, End::Code(0)));
}

#[test]
fn input_is_told_as_taken_once_the_program_has_it() {
    let mut host = Host::new();
    host.run(1, &["sleep", "1000"], |run| run.stdin = true);
    host.say(&Frame::Stdin(1, vec![0; 1 << 10]));
    host.say(&Frame::Stdin(1, vec![0; 1 << 17]));
    // The pipe holds the first piece whole, the second one not.
    assert_eq!(host.hear_any(), Frame::Taken(1, 1 << 10));
    host.say(&Frame::Ping(2));
    assert_eq!(host.hear_any(), Frame::Pong(2));
    host.say(&Frame::Kill(1, 9));
    assert_eq!(host.finish(1).2, End::Signal(9));
}

#[test]
fn signals_reach_the_program_and_only_it() {
    let mut host = Host::new();
    host.run(1, &["sleep", "1000"], |_| ());
    host.say(&Frame::Kill(99, 9));
    host.say(&Frame::Kill(1, 10));
    assert_eq!(host.finish(1).2, End::Signal(10));
}

#[test]
fn what_cannot_start_is_refused_with_the_reason() {
    let mut host = Host::new();
    host.run(7, &["/no/such/program"], |_| ());
    let Frame::Refused(7, why) = host.hear() else { panic!("started") };
    assert!(String::from_utf8(why).unwrap().contains("/no/such/program"));
    host.run(8, &["true"], |run| run.cwd = b"/no/such/folder".to_vec());
    assert!(matches!(host.hear(), Frame::Refused(8, _)));
}

#[test]
fn files_travel_with_checksums() {
    let mut host = Host::new();
    let dir = std::env::temp_dir().join(format!("agent-{}", std::process::id()));
    let path = dir.join("deep/file").into_os_string().into_encoded_bytes();
    let content = b"content".repeat(10_000);
    let (len, sum) = (content.len() as u64, Checksum::of(&content));
    for (id, sum) in [(1, sum ^ 1), (2, sum)] {
        host.say(&Frame::Put { id, path: path.clone(), mode: 0o640, len, sum });
        content.chunks(999).for_each(|piece| host.say(&Frame::Data(id, piece.to_vec())));
    }
    assert!(matches!(host.hear(), Frame::Refused(1, _)), "wrong checksum");
    assert_eq!(host.hear(), Frame::Done { id: 2, len, sum });
    host.say(&Frame::Get(3, path));
    let mut got = Vec::new();
    while got.len() < content.len() {
        let Frame::Data(3, bytes) = host.hear() else { panic!("no data") };
        got.extend(bytes);
    }
    assert_eq!(host.hear(), Frame::Done { id: 3, len, sum });
    assert!(got == content);
    assert_eq!(fs::read_dir(dir.join("deep")).unwrap().count(), 1, "no partial file is left");
    fs::remove_dir_all(dir).unwrap();
    host.say(&Frame::Get(4, b"/no/such/file".to_vec()));
    assert!(matches!(host.hear(), Frame::Refused(4, _)));
}

#[test]
fn the_end_is_ordered_or_an_error() {
    let mut host = Host::new();
    host.say(&Frame::Ping(5));
    assert_eq!(host.hear(), Frame::Pong(5));
    host.say(&Frame::PowerOff);
    assert_eq!(host.agent.take().unwrap().join().unwrap(), Ok(()));
    let mut host = Host::new();
    host.stream.write_all(&[0xff; 8]).unwrap();
    let why = host.agent.take().unwrap().join().unwrap().unwrap_err();
    assert!(why.contains("longer than"), "{why}");
}

#[test]
fn output_after_the_order_to_switch_off_may_be_lost() {
    let (mut host, theirs) = UnixStream::pair().unwrap();
    let port = File::from(OwnedFd::from(theirs));
    let outbox = Outbox::new(port.try_clone().unwrap());
    host.write_all(&Frame::PowerOff.encode().unwrap()).unwrap();
    assert_eq!(serve_with(&port, outbox.clone(), &reaper()), Ok(()));
    drop(host);
    assert_eq!(outbox.put(&Frame::Out(1, b"late".to_vec())), Err(Loss::Expected));
}
