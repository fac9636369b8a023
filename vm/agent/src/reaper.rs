//! Reaper: the one thread that waits for children, ours and adopted ones.
//!
//! A child of ours is the leader of a process group. Its group is killed before the leader is
//! reaped: until then the group's number cannot belong to anybody else. A child is started and
//! entered under one lock, so its end is never seen before its entry.

use std::collections::HashMap;
use std::io::{PipeReader, PipeWriter, Write, pipe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use agent_proto::End;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

use crate::{Result, fatal};

type Children = HashMap<i32, PipeWriter>;

/// Starts children and tells how they ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reaper(Arc<Mutex<Children>>);

/// Blocks SIGCHLD, so that the reaper can wait for it. All later threads inherit that.
pub(crate) fn block_sigchld() -> Result<()> {
    sigchld().thread_block().map_err(|error| format!("block SIGCHLD: {error}"))
}

/// Starts the reaper's thread.
pub(crate) fn start() -> Result<Reaper> {
    let reaper = Reaper::default();
    let this = reaper.clone();
    let thread = thread::Builder::new().name("reaper".into()).spawn(move || {
        loop {
            this.reap_all();
            // One pending signal stands for any number of ended children.
            if let Err(error) = sigchld().wait() {
                fatal(&format!("wait for SIGCHLD: {error}"));
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
        children.insert(child.id().cast_signed(), writer);
        Ok((child, reader))
    }

    /// Signals the group of a child that is not reaped yet.
    pub(crate) fn kill(&self, child: i32, signal: Signal) {
        if self.lock().contains_key(&child) {
            let _ = killpg(Pid::from_raw(child), signal);
        }
    }

    fn reap_all(&self) {
        let peek = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Ok(status) = waitid(Id::All, peek) {
            let Some(pid) = status.pid() else { return };
            let mut children = self.lock();
            let entry = children.remove(&pid.as_raw());
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
    }

    fn lock(&self) -> MutexGuard<'_, Children> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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

fn sigchld() -> SigSet {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCHLD);
    set
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
