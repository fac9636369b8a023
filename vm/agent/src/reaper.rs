//! Reaper: the one thread that waits for children, ours and adopted ones.
//!
//! No signal handler is needed: whoever has no child has no orphan to adopt either, so the thread
//! waits for a child to end, or else for the first one to be started.
//!
//! A child of ours is the leader of a process group. Its group is killed before the leader is
//! reaped: until then the group's number cannot belong to anybody else. A child is started and
//! entered under one lock, so its end is never seen before its entry.

use std::collections::HashMap;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use agent_proto::End;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::{Result, fatal};

/// Starts children and tells how they ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reaper(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    children: Mutex<Children>,
    started: Condvar,
}

#[derive(Debug, Default)]
struct Children {
    /// Where to tell the end of each child that was not reaped yet.
    ends: HashMap<i32, PipeWriter>,
    /// How many were started ever.
    started: u64,
}

/// Starts the reaper's thread.
pub(crate) fn start() -> Result<Reaper> {
    let reaper = Reaper::default();
    let this = reaper.clone();
    let thread = thread::Builder::new().name("reaper".into()).spawn(move || {
        let mut seen = 0;
        loop {
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Ok(status) => this.reap(status),
                Err(Errno::ECHILD) => this.wait_for_start(&mut seen),
                Err(Errno::EINTR) => {}
                Err(error) => fatal(&format!("wait for children: {error}")),
            }
        }
    });
    thread.map(|_| reaper).map_err(|error| format!("start reaper: {error}"))
}

impl Reaper {
    /// Starts a child that leads its own process group. The returned pipe will carry its
    /// [`End`] as [`end_from`] reads it; poll it together with the child's output.
    pub(crate) fn start(
        &self,
        command: &mut std::process::Command,
    ) -> std::io::Result<(std::process::Child, PipeReader)> {
        use std::os::unix::process::CommandExt;
        let (reader, writer) = pipe()?;
        let mut children = self.lock();
        let child = command.process_group(0).spawn()?;
        children.ends.insert(child.id().cast_signed(), writer);
        children.started += 1;
        self.0.started.notify_all();
        Ok((child, reader))
    }

    /// Signals the group of a child that is not reaped yet.
    pub(crate) fn kill(&self, child: i32, signal: Signal) {
        if self.lock().ends.contains_key(&child) {
            let _ = killpg(Pid::from_raw(child), signal);
        }
    }

    /// Reaps one child that has ended.
    fn reap(&self, status: WaitStatus) {
        let Some(pid) = status.pid() else { return };
        let mut children = self.lock();
        let entry = children.ends.remove(&pid.as_raw());
        if entry.is_some() {
            let _ = killpg(pid, Signal::SIGKILL);
        }
        // Gone already if it was a child whose exec failed: its starter reaps that one.
        let status = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        drop(children);
        if let (Some(mut pipe), Ok(status)) = (entry, status) {
            // Nobody listens if the run was given up.
            let _ = pipe.write_all(&wire(status));
        }
    }

    /// Waits until a child was started since `seen` was noted.
    fn wait_for_start(&self, seen: &mut u64) {
        let mut children = self.lock();
        while children.started == *seen {
            children = self.0.started.wait(children).unwrap_or_else(PoisonError::into_inner);
        }
        *seen = children.started;
    }

    fn lock(&self) -> MutexGuard<'_, Children> {
        self.0.children.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a reaper's pipe says about a child's end.
pub(crate) fn end_from(bytes: [u8; 8]) -> End {
    let (signalled, value) = bytes.split_at(4);
    let value = i32::from_le_bytes([value[0], value[1], value[2], value[3]]);
    if signalled[0] == 0 { End::Code(value) } else { End::Signal(value) }
}

fn wire(status: WaitStatus) -> [u8; 8] {
    let (signalled, value) = match status {
        WaitStatus::Exited(_, code) => (0_i32, code),
        WaitStatus::Signaled(_, signal, _) => (1, signal as i32),
        // Only ends are waited for.
        _ => (1, 0),
    };
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&signalled.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_survive_the_pipe() {
        let pid = Pid::from_raw(2);
        assert_eq!(end_from(wire(WaitStatus::Exited(pid, 255))), End::Code(255));
        let killed = WaitStatus::Signaled(pid, Signal::SIGSEGV, true);
        assert_eq!(end_from(wire(killed)), End::Signal(11));
    }
}
