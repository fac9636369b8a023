//! Contained: a program of which nothing is left once it has ended, and whose output is bounded.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Child, Program, Sink, strays};
use crate::error::{Error, Result};

/// How much is read at a time.
const READ: usize = 16 << 10;

/// The most reads of what is left in a pipe; more means that a stranger fills it.
const LAST_READS: usize = 16;

/// How a contained program ended.
#[derive(Debug)]
pub struct Contained {
    /// Its exit status; nothing if its time was over and it was killed.
    pub status: Option<ExitStatus>,
    /// The last of what it wrote, to standard output or standard error.
    pub output: Vec<u8>,
}

impl Program {
    /// Runs the program for at most `limit`, keeps the last `keep` bytes of what it writes, and
    /// kills every process that it leaves behind, also one in a session of its own.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such program, [`Error::Io`], [`Error::Interrupted`].
    pub fn run_contained(self, limit: Duration, keep: usize) -> Result<Contained> {
        let line = self.line();
        let io = |source| Error::Io { doing: format!("read what {line} writes"), source };
        let (reader, writer) = io::pipe().map_err(io)?;
        let writer = File::from(OwnedFd::from(writer));
        let mut tail = Tail::new(reader, keep).map_err(io)?;
        let watch = strays::Watch::begin();
        let program = self.env(strays::NAME, watch.token());
        let program = program.stdout(Sink::File(writer.try_clone().map_err(io)?));
        let mut child = program.stderr(Sink::File(writer)).start()?;
        let has_ended = tail.follow(&child, Instant::now() + limit).map_err(io)?;
        let status = child.kill();
        drop(watch);
        tail.read_rest();
        Ok(Contained { status: has_ended.then_some(status), output: tail.bytes.into() })
    }
}

/// The last bytes that came through a pipe.
struct Tail {
    pipe: PipeReader,
    keep: usize,
    bytes: VecDeque<u8>,
    is_open: bool,
}

impl Tail {
    fn new(pipe: PipeReader, keep: usize) -> io::Result<Self> {
        fcntl(&pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self { pipe, keep, bytes: VecDeque::new(), is_open: true })
    }

    /// Reads until the program has ended; false if the deadline came first.
    fn follow(&mut self, child: &Child, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // One more millisecond, else the last poll would spin with a timeout of 0.
            let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            let ended = PollFd::new(child.pidfd(), PollFlags::POLLIN);
            let written = PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN);
            let mut fds = [ended, written];
            let count = if self.is_open { 2 } else { 1 };
            match poll(&mut fds[..count], timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            let is_ready = |fd: &PollFd<'_>| fd.any().unwrap_or_default();
            let (has_ended, is_written) = (is_ready(&fds[0]), is_ready(&fds[1]));
            if has_ended {
                return Ok(true);
            }
            if is_written && self.is_open {
                self.read();
            }
        }
    }

    /// Reads what is still in the pipe.
    fn read_rest(&mut self) {
        for _ in 0..LAST_READS {
            if !self.is_open || !self.read() {
                return;
            }
        }
    }

    /// Reads once; false if nothing is there.
    fn read(&mut self) -> bool {
        let mut bytes = [0; READ];
        match self.pipe.read(&mut bytes) {
            Ok(0) => self.is_open = false,
            Ok(len) => self.keep(&bytes[..len]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.is_open = false,
        }
        true
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let surplus = self.bytes.len().saturating_sub(self.keep);
        self.bytes.drain(..surplus);
    }
}
