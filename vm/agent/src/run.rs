//! Run: one program that the host asked for, from start to its true end.

use std::ffi::OsStr;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use agent_proto::{CHUNK, End, Frame, Run, WINDOW};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::outbox::Outbox;
use crate::reaper::{Reaper, end_from};

/// What programs find in their environment unless the host says otherwise.
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
    ("TERM", "dumb"),
];

/// What a pipe can hold at most: a daemon that goes on writing is not waited for.
const LARGEST_PIPE: u64 = 1 << 20;

/// A program that was started.
pub(crate) struct Running {
    id: u32,
    child: Child,
    end: PipeReader,
    deadline: Option<Instant>,
    /// Tells how many bytes of output the host has taken.
    taken: PipeReader,
    /// Bytes of output that the host has not taken yet.
    in_flight: u64,
}

/// What the rest of the agent needs to know about a running program.
#[derive(Debug)]
pub(crate) struct Handle {
    /// Process id and group.
    pub(crate) pid: i32,
    /// Bytes for standard input; `None` = it is `/dev/null` or closed.
    pub(crate) stdin: Option<Sender<Vec<u8>>>,
    taken: PipeWriter,
}

impl Handle {
    /// The host has taken so many bytes of output.
    pub(crate) fn taken(&mut self, bytes: u64) {
        // The program has ended if nobody wants to know.
        let _ = self.taken.write_all(&bytes.to_le_bytes());
    }
}

/// Starts a program; the answer to a failure is the reason in words.
pub(crate) fn start(
    id: u32,
    run: &Run,
    reaper: &Reaper,
    outbox: &Outbox,
) -> Result<(Running, Handle), String> {
    let (taken, tell_taken) = pipe().map_err(|error| format!("open a pipe: {error}"))?;
    let mut command = command(run)?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if run.stdin { Stdio::piped() } else { Stdio::null() });
    let deadline = match run.timeout_ms {
        0 => None,
        ms => Instant::now().checked_add(Duration::from_millis(ms)),
    };
    let (mut child, end) = reaper.start(&mut command).map_err(|error| refused(run, &error))?;
    let stdin = child.stdin.take().map(|pipe| feed(pipe, id, outbox.clone()));
    let handle = Handle { pid: child.id().cast_signed(), stdin, taken: tell_taken };
    Ok((Running { id, child, end, deadline, taken, in_flight: 0 }, handle))
}

/// Starts a program that shares our console; the pipe will carry its end.
pub(crate) fn on_console(run: &Run, reaper: &Reaper) -> Result<(Child, PipeReader), String> {
    let mut command = command(run)?;
    reaper.start(command.stdin(Stdio::null())).map_err(|error| refused(run, &error))
}

fn command(run: &Run) -> Result<Command, String> {
    let (name, args) = run.argv.split_first().ok_or("start a program: it has no name")?;
    let mut command = Command::new(OsStr::from_bytes(name));
    command.args(args.iter().map(|arg| OsStr::from_bytes(arg)));
    command.env_clear().envs(ENVIRONMENT);
    command.envs(run.env.iter().map(|(k, v)| (OsStr::from_bytes(k), OsStr::from_bytes(v))));
    command.current_dir(folder(run));
    Ok(command)
}

fn folder(run: &Run) -> &OsStr {
    if run.cwd.is_empty() { OsStr::new("/") } else { OsStr::from_bytes(&run.cwd) }
}

fn refused(run: &Run, error: &std::io::Error) -> String {
    let name = OsStr::from_bytes(&run.argv[0]).to_string_lossy();
    format!("start {name} in {}: {error}", folder(run).to_string_lossy())
}

/// A thread that writes to a program, so that one that does not read stops nobody else.
fn feed(mut pipe: ChildStdin, id: u32, outbox: Outbox) -> Sender<Vec<u8>> {
    let (sender, chunks): (_, Receiver<Vec<u8>>) = channel();
    std::thread::spawn(move || {
        for chunk in chunks {
            // The program closed its input or ended: nobody wants the rest.
            if chunk.is_empty() || pipe.write_all(&chunk).is_err() {
                return;
            }
            outbox.send(&Frame::Taken(id, chunk.len() as u64));
        }
    });
    sender
}

impl Running {
    /// Streams the output until the program ends, then tells how.
    pub(crate) fn stream(mut self, outbox: &Outbox, reaper: &Reaper) {
        let mut stdout = self.child.stdout.take().map(|pipe| (pipe, Frame::Out as MakeFrame));
        let mut stderr = self.child.stderr.take().map(|pipe| (pipe, Frame::Err as MakeFrame));
        let mut timed_out = false;
        loop {
            // A host that does not take the output lets the program wait, as a full pipe does.
            let open = self.in_flight < WINDOW;
            let ready = self.wait(
                stdout.as_ref().filter(|_| open).map(fd),
                stderr.as_ref().filter(|_| open).map(fd),
            );
            if ready.out {
                self.in_flight += pass_on(&mut stdout, self.id, outbox).unwrap_or(0);
            }
            if ready.err {
                self.in_flight += pass_on(&mut stderr, self.id, outbox).unwrap_or(0);
            }
            if self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                timed_out = true;
                self.deadline = None;
                reaper.kill(self.child.id().cast_signed(), Signal::SIGKILL);
            }
            if ready.ended {
                break;
            }
        }
        // Everything the program wrote is in the pipes now. Their ends of file may never come: a
        // daemon of its own session may hold them.
        drain(&mut stdout, self.id, outbox);
        drain(&mut stderr, self.id, outbox);
        let mut end = [0; 8];
        let end = match self.end.read_exact(&mut end) {
            _ if timed_out => End::Timeout,
            Ok(()) => end_from(end),
            Err(_) => End::Signal(0),
        };
        outbox.send(&Frame::Exit(self.id, end));
    }

    /// Hears how many bytes the host has taken.
    fn make_room(&mut self) {
        let mut bytes = [0; 8];
        // Without that end of the pipe nothing is polled either.
        if self.taken.read_exact(&mut bytes).is_ok() {
            self.in_flight = self.in_flight.saturating_sub(u64::from_le_bytes(bytes));
        }
    }

    fn wait(&mut self, stdout: Option<BorrowedFd<'_>>, stderr: Option<BorrowedFd<'_>>) -> Ready {
        let timeout = self.deadline.map_or(PollTimeout::NONE, |deadline| {
            let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let end = self.end.as_fd();
        // An absent pipe is stood in for by the end pipe; its result is not looked at.
        let watch = [stdout.unwrap_or(end), stderr.unwrap_or(end), end, self.taken.as_fd()];
        let mut fds = watch.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, timeout) {
            Ok(0) | Err(Errno::EINTR) => return Ready::default(),
            Ok(_) => {}
            Err(error) => crate::fatal(&format!("wait for a program: {error}")),
        }
        let [out, err, ended, taken] = fds.map(|fd| happened(&fd));
        if taken {
            self.make_room();
        }
        Ready { out: stdout.is_some() && out, err: stderr.is_some() && err, ended }
    }
}

#[derive(Default)]
struct Ready {
    out: bool,
    err: bool,
    ended: bool,
}

type MakeFrame = fn(u32, Vec<u8>) -> Frame;

type Pipe<P> = Option<(P, MakeFrame)>;

fn fd<P: AsFd>(pipe: &(P, MakeFrame)) -> BorrowedFd<'_> {
    pipe.0.as_fd()
}

fn happened(fd: &PollFd<'_>) -> bool {
    fd.revents().is_some_and(|events| !events.is_empty())
}

/// Sends what one read gives and tells how much; forgets the pipe at its end. None: no more now.
fn pass_on<P: Read>(pipe: &mut Pipe<P>, id: u32, outbox: &Outbox) -> Option<u64> {
    let (reader, make) = pipe.as_mut()?;
    let mut bytes = vec![0; CHUNK];
    match reader.read(&mut bytes) {
        Ok(0) => *pipe = None,
        Ok(len) => {
            bytes.truncate(len);
            outbox.send(&make(id, bytes));
            return Some(len as u64);
        }
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Some(0),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
        Err(_) => *pipe = None,
    }
    None
}

fn drain<P: Read + AsFd>(pipe: &mut Pipe<P>, id: u32, outbox: &Outbox) {
    let Some((reader, _)) = pipe else { return };
    if fcntl(reader.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok() {
        let mut passed = 0;
        while passed < LARGEST_PIPE
            && let Some(len) = pass_on(pipe, id, outbox)
        {
            passed += len;
        }
    }
}
