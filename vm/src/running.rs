//! Running: a program inside a guest that was started and may have ended.

mod input;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use agent_proto::{CHUNK, Frame, WINDOW};
use nix::sys::signal::Signal;

use crate::command::{Command, ExitCode};
use crate::error::{Failure, Result};
use crate::machine::{Machine, Silence};

pub use input::Input;
use input::Room;

/// How much longer than the program's own time its answer may take.
const GRACE: Duration = Duration::from_secs(30);

/// A started program. Dropping it kills the program's process group.
#[derive(Debug)]
pub struct Running {
    machine: Arc<Machine>,
    id: u32,
    answers: Receiver<Frame>,
    line: String,
    patience: Duration,
    start: Instant,
    /// Room for what [`Input`] writes.
    room: Arc<Room>,
    /// Bytes of output that were received and not told to the guest as taken.
    taken: AtomicU64,
}

/// What a running program did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It wrote to standard output.
    Stdout(Vec<u8>),
    /// It wrote to standard error.
    Stderr(Vec<u8>),
    /// It ended; the last event.
    Exit(ExitCode),
}

impl Running {
    pub(crate) fn start(machine: Arc<Machine>, command: &Command, stdin: bool) -> Result<Self> {
        let line = command.line();
        let doing = || format!("run {line}");
        let opened = machine.channel.open();
        let (id, answers) = opened.map_err(|_| machine.error(&doing(), Silence::Closed))?;
        let patience = command.time() + GRACE;
        let start = Instant::now();
        let (room, taken) = (Arc::default(), AtomicU64::new(0));
        let line = line.clone();
        let running = Self { machine, id, answers, line, patience, start, room, taken };
        let frame = Frame::Run { id, run: command.to_run(stdin) };
        running.send(&frame)?;
        Ok(running)
    }

    /// Waits for what the program does next.
    ///
    /// # Errors
    /// [`crate::Error::Guest`]: the program could not be started, the deadline passed
    /// ([`Failure::Timeout`]), or the guest panicked, rebooted, hangs or is lost.
    pub fn recv(&self, deadline: Instant) -> Result<Event> {
        let doing = || format!("run {}", self.line);
        let mut answer = self.answer(deadline);
        while let Ok(Frame::Taken(_, bytes)) = answer {
            self.room.give(bytes);
            answer = self.answer(deadline);
        }
        if let Ok(Frame::Out(_, bytes) | Frame::Err(_, bytes)) = &answer {
            self.note_taken(bytes.len() as u64)?;
        } else {
            self.room.close();
        }
        match answer {
            Ok(Frame::Out(_, bytes)) => Ok(Event::Stdout(bytes)),
            Ok(Frame::Err(_, bytes)) => Ok(Event::Stderr(bytes)),
            Ok(Frame::Exit(_, end)) => Ok(Event::Exit(end.into())),
            Ok(Frame::Refused(_, why)) => {
                let why = String::from_utf8_lossy(&why).into_owned();
                Err(self.machine.guest_error(&doing(), Failure::Agent(why)))
            }
            Ok(other) => {
                let why = format!("answer out of place: {other:?}");
                Err(self.machine.guest_error(&doing(), Failure::Agent(why)))
            }
            Err(RecvTimeoutError::Timeout) => {
                let silence = Silence::Deadline(self.start.elapsed());
                Err(self.machine.error(&doing(), silence))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(self.machine.error(&doing(), Silence::Closed))
            }
        }
    }

    fn answer(&self, deadline: Instant) -> std::result::Result<Frame, RecvTimeoutError> {
        self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    /// Lets the guest send more once a good part of what may be under way was received.
    fn note_taken(&self, bytes: u64) -> Result<()> {
        let taken = self.taken.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if taken < WINDOW / 4 {
            return Ok(());
        }
        self.taken.store(0, Ordering::Relaxed);
        self.send(&Frame::Taken(self.id, taken))
    }

    /// A handle that writes to the program's standard input from another thread, no faster than
    /// the program reads.
    pub fn input(&self) -> Input {
        let (machine, room) = (Arc::clone(&self.machine), Arc::clone(&self.room));
        Input { machine, id: self.id, line: self.line.clone(), room }
    }

    /// Writes to the program's standard input at once, whether it reads or not: for short input.
    ///
    /// # Errors
    /// [`crate::Error::Guest`] if the guest is gone. A program that does not read is no error.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        bytes.chunks(CHUNK).try_for_each(|piece| self.send(&Frame::Stdin(self.id, piece.to_vec())))
    }

    /// Ends the program's standard input.
    ///
    /// # Errors
    /// As [`Running::write`].
    pub fn close_stdin(&self) -> Result<()> {
        self.send(&Frame::Stdin(self.id, Vec::new()))
    }

    /// Sends a signal to the program's process group, by number. Its exit follows as an event.
    ///
    /// # Errors
    /// As [`Running::write`].
    pub fn kill(&self, signal: i32) -> Result<()> {
        self.send(&Frame::Kill(self.id, signal))
    }

    /// When the program's own time and some grace are over.
    pub(crate) fn patience(&self) -> Instant {
        self.start + self.patience
    }

    fn send(&self, frame: &Frame) -> Result<()> {
        send(&self.machine, &self.line, frame)
    }
}

fn send(machine: &Machine, line: &str, frame: &Frame) -> Result<()> {
    let doing = || format!("run {line}");
    let bytes = frame
        .encode()
        .map_err(|why| machine.guest_error(&doing(), Failure::Agent(why.to_string())))?;
    let sent = machine.channel.send(&bytes);
    sent.map_err(|_| machine.error(&doing(), Silence::Closed))
}

impl Drop for Running {
    fn drop(&mut self) {
        self.room.close();
        let kill = Frame::Kill(self.id, Signal::SIGKILL as i32);
        if let Ok(bytes) = kill.encode() {
            // No agent, no program. An ended program is not found by its id.
            let _ = self.machine.channel.send(&bytes);
        }
        self.machine.channel.forget(self.id);
    }
}
