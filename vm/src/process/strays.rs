//! Strays: processes that outlive the contained program that started them.
//!
//! A process leaves its group and its session at will, but not its ancestors: orphans are given to
//! us (`PR_SET_CHILD_SUBREAPER`). Whose orphan one is says its environment, where a contained
//! program has a token. One without a token is nobody's, and goes when no child is left whose it
//! could be.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::spawner;

/// The environment variable that holds the token.
pub(super) const NAME: &str = "VM_CONTAINED";

/// The tokens of contained programs that run.
static RUNNING: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// One sweep at a time: only the one that has killed a stray waits for it.
static SWEEP: Mutex<()> = Mutex::new(());

/// A contained program, from before its start to its end; then what it left behind is killed.
#[derive(Debug)]
pub(super) struct Watch(String);

impl Watch {
    /// Orphans become ours from now on.
    pub(super) fn begin() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let _ = before_us();
        // Without it (before Linux 3.4) orphans are init's, and live on.
        let _ = nix::sys::prctl::set_child_subreaper(true);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let token = format!("{}-{number}", std::process::id());
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone());
        Self(token)
    }

    /// What the program's environment holds under [`NAME`].
    pub(super) fn token(&self) -> &str {
        &self.0
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        RUNNING.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
        sweep();
    }
}

/// The children that this process had before it started any: it came to them by `exec`.
fn before_us() -> &'static BTreeSet<i32> {
    static CHILDREN: OnceLock<BTreeSet<i32>> = OnceLock::new();
    CHILDREN.get_or_init(|| spawner::with_living(|living| &children() - living))
}

/// Kills strays until none is left: what a killed one has started becomes ours only now.
fn sweep() {
    let _one = SWEEP.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let killed = spawner::with_living(|living| {
            let strays = &(&children() - living) - before_us();
            let mut killed = Vec::new();
            for pid in strays.into_iter().map(Pid::from_raw) {
                let has_ended =
                    waitpid(pid, Some(WaitPidFlag::WNOHANG)) != Ok(WaitStatus::StillAlive);
                if !has_ended && may_be_killed(pid, living) && kill(pid, Signal::SIGKILL).is_ok() {
                    killed.push(pid);
                }
            }
            killed
        });
        if killed.is_empty() {
            return;
        }
        for pid in killed {
            // It is ours to wait for; an error says that it is gone.
            let _ = waitpid(pid, None);
        }
    }
}

/// Whether no contained program that runs has started it.
fn may_be_killed(pid: Pid, living: &BTreeSet<i32>) -> bool {
    match token(&format!("/proc/{pid}/environ")) {
        Some(token) => {
            !RUNNING.lock().unwrap_or_else(PoisonError::into_inner).contains(token.as_str())
        }
        None => living.is_empty(),
    }
}

fn token(environ: &str) -> Option<String> {
    let environ = std::fs::read(environ).ok()?;
    let mut variables = environ.split(|byte| *byte == 0);
    let prefix = format!("{NAME}=");
    let value = variables.find_map(|variable| variable.strip_prefix(prefix.as_bytes()))?;
    String::from_utf8(value.to_vec()).ok()
}

/// Our children: of each thread, as the kernel lists them.
fn children() -> BTreeSet<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists: Option<Vec<_>> =
        tasks.map(|task| std::fs::read_to_string(task.path().join("children")).ok()).collect();
    // A kernel without these lists, or a thread that ended meanwhile.
    let Some(lists) = lists else { return children_by_parent() };
    lists.iter().flat_map(|list| list.split_whitespace()).flat_map(str::parse).collect()
}

/// Our children, by a look at every process.
fn children_by_parent() -> BTreeSet<i32> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_ours = |folder: &Path| {
        let stat = std::fs::read_to_string(folder.join("stat")).unwrap_or_default();
        // After the name, which may hold anything: the state, and the parent, proc(5).
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        after_name.split_ascii_whitespace().nth(1) == Some(&own)
    };
    let names = processes.filter(|process| is_ours(&process.path()));
    names.filter_map(|process| process.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_name_a_child() {
        let child = crate::process::Program::new("sleep").arg("1000").start().unwrap();
        let pid = child.pid().cast_signed();
        assert!(children().contains(&pid));
        assert!(children_by_parent().contains(&pid));
        assert!(!children().contains(&std::process::id().cast_signed()));
    }
}
