//! Child: a started host program; its group dies with this value.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::meter::Meter;
use super::spawner;
use crate::error::{Error, Result};

/// How much of a failed program's standard error an error shows.
const STDERR_LINES: usize = 20;

/// A running host program. Dropping it kills its whole process group and reaps it.
#[derive(Debug)]
pub struct Child {
    pid: i32,
    line: String,
    /// Readable once the child has ended; needs no signal handler and no polling.
    pidfd: OwnedFd,
    /// The reading ends of its outputs that are pipes.
    outputs: [Option<PipeReader>; 2],
    status: Option<ExitStatus>,
    /// Its last [`Child::cpu_time`].
    cpu_time: Duration,
    /// Where its time counts, once it has ended.
    meter: Meter,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// All it wrote to standard output (if that was a pipe).
    pub stdout: Vec<u8>,
    /// All it wrote to standard error (if that was a pipe).
    pub stderr: Vec<u8>,
}

impl Output {
    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last lines of standard error, for messages.
    pub fn stderr_tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(STDERR_LINES)..].join("\n")
    }
}

impl Child {
    pub(super) fn adopt(
        pid: i32,
        pidfd: OwnedFd,
        line: String,
        outputs: [Option<PipeReader>; 2],
        meter: Meter,
    ) -> Self {
        let (status, cpu_time) = (None, Duration::ZERO);
        Self { pid, line, pidfd, outputs, status, cpu_time, meter }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid.cast_unsigned()
    }

    /// The reading end of standard output, once, if it is a pipe.
    pub fn take_stdout(&mut self) -> Option<PipeReader> {
        self.outputs[0].take()
    }

    /// The reading end of standard error, once, if it is a pipe.
    pub fn take_stderr(&mut self) -> Option<PipeReader> {
        self.outputs[1].take()
    }

    /// User and system time of all its threads so far; the last value once it has ended.
    pub fn cpu_time(&self) -> Duration {
        if self.status.is_some() { self.cpu_time } else { cpu_times(self.pid()).0 }
    }

    /// Waits until the program has ended; `None` if the deadline came first.
    ///
    /// # Errors
    /// [`Error::Io`] if the host cannot wait.
    pub fn wait(&mut self, deadline: Instant) -> Result<Option<ExitStatus>> {
        if self.status.is_none() && self.ended_by(Some(deadline))? {
            self.reap();
        }
        Ok(self.status)
    }

    /// Kills the whole process group (SIGKILL) and reaps the leader.
    pub fn kill(&mut self) -> ExitStatus {
        self.reap();
        self.status.unwrap_or_else(|| ExitStatus::from_raw(libc::SIGKILL))
    }

    /// Readable once the program has ended.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub(super) fn set_oom_score_adj(&self, adj: i32) -> Result<()> {
        let path = format!("/proc/{}/oom_score_adj", self.pid());
        match fs::write(&path, adj.to_string()) {
            // Lowering the own score needs privilege, and the child may have ended already.
            Err(error) if !tolerable(&error) => Err(Error::io("write", path.as_ref(), error)),
            _ => Ok(()),
        }
    }

    /// Waits for the end and collects both pipes; kills the group when the time is over.
    pub(super) fn collect(mut self, timeout: Option<Duration>) -> Result<Output> {
        let [stdout, stderr] = std::mem::take(&mut self.outputs).map(|pipe| pipe.map(reader));
        let ended = self.ended_by(timeout.map(|timeout| Instant::now() + timeout))?;
        // Also leftovers of the group: they would hold the pipes open for ever.
        let status = self.kill();
        let output = Output { status, stdout: joined(stdout), stderr: joined(stderr) };
        if ended {
            return Ok(output);
        }
        Err(Error::Program {
            doing: format!("run {}", self.line),
            status: format!("killed after {:?}", timeout.unwrap_or_default()),
            stderr: output.stderr_tail(),
        })
    }

    fn ended_by(&self, deadline: Option<Instant>) -> Result<bool> {
        loop {
            let timeout = deadline.map_or(PollTimeout::NONE, |deadline| {
                // One more millisecond, else the last poll would spin with a timeout of 0.
                let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            });
            let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, timeout) {
                Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => {
                    return Ok(false);
                }
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => {
                    let doing = format!("wait for {}", self.line);
                    return Err(Error::Io { doing, source: error.into() });
                }
            }
        }
    }

    fn reap(&mut self) {
        if self.status.is_none() {
            let _ = killpg(Pid::from_raw(self.pid), Signal::SIGKILL);
            // After SIGKILL the end is near; only then is the lock of `forget` taken.
            let _ = self.ended_by(None);
            let (own, of_children) = cpu_times(self.pid());
            self.cpu_time = own;
            self.meter.add(own + of_children);
            self.status = spawner::forget(self.pid, || reaped(self.pid));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.reap();
    }
}

/// The program's own, and that of the children it has waited for: from /proc/PID/stat, which a
/// zombie still has, fields 14 to 17 in clock ticks, proc(5).
fn cpu_times(pid: u32) -> (Duration, Duration) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, field 2, may hold spaces and parentheses; the last parenthesis ends it.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let fields = after_name.split_ascii_whitespace().skip(11);
    let mut ticks = fields.map(|field| field.parse().unwrap_or(0));
    // USER_HZ is 100 on every Linux architecture that runs QEMU.
    let mut two = || Duration::from_millis(ticks.by_ref().take(2).sum::<u64>() * 10);
    (two(), two())
}

fn tolerable(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
}

/// How a child that has ended did so; nothing if somebody else has reaped it.
fn reaped(pid: i32) -> Option<ExitStatus> {
    loop {
        let mut status = 0;
        // SAFETY: waits for a child of ours, and writes one number.
        match unsafe { libc::waitpid(pid, &raw mut status, 0) } {
            -1 if Errno::last() == Errno::EINTR => {}
            found => return (found == pid).then(|| ExitStatus::from_raw(status)),
        }
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // A broken pipe ends the output like an end of file does.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

fn joined(reader: Option<JoinHandle<Vec<u8>>>) -> Vec<u8> {
    reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
}
