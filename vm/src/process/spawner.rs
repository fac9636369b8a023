//! Spawner: the one thread that starts children, because they die with the thread that did.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpid, getppid};

use super::child::Child;
use super::meter::Meter;
use super::{Program, Sink, Stdin};
use crate::error::{Error, Result};

type Job = Box<dyn FnOnce() + Send>;

/// The process groups of children that were started and not yet reaped.
struct Living {
    groups: BTreeSet<i32>,
    closed: bool,
}

static LIVING: Mutex<Living> = Mutex::new(Living { groups: BTreeSet::new(), closed: false });

/// Kills every child with its process group and refuses to start another one: for the end of the
/// process on an interrupt. Whoever waits for a child sees it die and unwinds as on any error.
pub fn kill_all() {
    let mut living = LIVING.lock().unwrap_or_else(PoisonError::into_inner);
    living.closed = true;
    for group in &living.groups {
        // The group is not reaped yet (see `forget`), so its number is still its own.
        let _ = killpg(Pid::from_raw(*group), Signal::SIGKILL);
    }
}

/// Reaps a child by `reap` and strikes it off the list in one step, so that `kill_all` never
/// signals a number that is free for reuse.
pub(super) fn forget<T>(group: i32, reap: impl FnOnce() -> T) -> T {
    let mut living = LIVING.lock().unwrap_or_else(PoisonError::into_inner);
    living.groups.remove(&group);
    reap()
}

/// Looks at the process groups of our children while nobody starts or reaps one.
pub(super) fn with_living<T>(look: impl FnOnce(&BTreeSet<i32>) -> T) -> T {
    look(&LIVING.lock().unwrap_or_else(PoisonError::into_inner).groups)
}

pub(super) fn start(program: Program, line: String) -> Result<Child> {
    let (reply, result) = channel();
    let meter = Meter::of_this_thread();
    let job: Job = Box::new(move || {
        // The receiver waits below; it can only be gone if its thread panicked.
        let _ = reply.send(start_here(program, line, meter));
    });
    thread_of_children().send(job).expect("the spawner thread never ends");
    result.recv().expect("the spawner answers every job")
}

fn thread_of_children() -> Sender<Job> {
    static SPAWNER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, queue) = channel::<Job>();
        thread::Builder::new()
            .name("spawner".into())
            .spawn(move || queue.into_iter().for_each(|job| job()))
            .expect("the host has room for one more thread");
        Mutex::new(jobs)
    });
    spawner.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn start_here(program: Program, line: String, meter: Meter) -> Result<Child> {
    let mut command = Command::new(&program.name);
    command.args(&program.args).envs(program.envs.iter().map(|(k, v)| (k, v)));
    if let Some(dir) = &program.cwd {
        command.current_dir(dir);
    }
    let mut input = None;
    command.stdin(match program.stdin {
        Stdin::Null => Stdio::null(),
        Stdin::File(file) => Stdio::from(file),
        Stdin::Inherit => Stdio::inherit(),
        Stdin::Bytes(bytes) => {
            input = Some(bytes);
            Stdio::piped()
        }
    });
    command.stdout(stdio(program.stdout)).stderr(stdio(program.stderr)).process_group(0);
    let inherited = program.inherited.iter().map(AsRawFd::as_raw_fd).collect();
    die_with_parent(&mut command, inherited);

    let mut living = LIVING.lock().unwrap_or_else(PoisonError::into_inner);
    if living.closed {
        return Err(Error::Interrupted(line));
    }
    let mut child = command.spawn().map_err(|error| start_error(&line, &program.name, error))?;
    living.groups.insert(child.id().cast_signed());
    drop(living);

    if let (Some(bytes), Some(mut pipe)) = (input, child.stdin.take()) {
        // A child that ends early breaks the pipe; its exit status tells more than EPIPE does.
        thread::spawn(move || drop(pipe.write_all(&bytes)));
    }
    Child::adopt(child, line, meter)
}

fn stdio(sink: Sink) -> Stdio {
    match sink {
        Sink::Null => Stdio::null(),
        Sink::Pipe => Stdio::piped(),
        Sink::File(file) => Stdio::from(file),
        Sink::Inherit => Stdio::inherit(),
    }
}

fn die_with_parent(command: &mut Command, inherited: Vec<RawFd>) {
    let parent = getpid();
    let ask = move || {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        inherited.iter().try_for_each(|fd| keep_across_exec(*fd))?;
        // The parent may have died between fork and prctl; then no signal will ever come.
        if getppid() == parent { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; `ask` makes plain
    // system calls, reads a list made before the fork, and touches no heap and no lock.
    unsafe { command.pre_exec(ask) };
}

fn keep_across_exec(fd: RawFd) -> io::Result<()> {
    // SAFETY: the owner of the descriptor, `Program::inherited`, lives until the child runs; so
    // it is open here. F_SETFD takes an integer.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn start_error(line: &str, name: &std::ffi::OsStr, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        let name = name.to_string_lossy();
        return Error::missing(format!("program {name}"), format!("not found; wanted for: {line}"));
    }
    Error::Io { doing: format!("start {line}"), source: error }
}
