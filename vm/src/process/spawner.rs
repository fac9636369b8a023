//! Spawner: the one thread that starts children, because they die with the thread that did.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::child::Child;
use super::launch::{Launch, Launched};
use super::meter::Meter;
use super::{Program, Sink, Stdin};
use crate::error::{Error, Result};

const NULL: &str = "/dev/null";

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
    let io = |source| Error::Io { doing: format!("start {line}"), source };
    let (stdin, feed) = input(program.stdin).map_err(io)?;
    let (stdout, from_stdout) = output(program.stdout).map_err(io)?;
    let (stderr, from_stderr) = output(program.stderr).map_err(io)?;
    let launch = Launch {
        name: &program.name,
        args: &program.args,
        envs: &program.envs,
        folder: program.cwd.as_deref(),
        standard: [stdin, stdout, stderr],
        inherited: &program.inherited,
    };
    let mut living = LIVING.lock().unwrap_or_else(PoisonError::into_inner);
    if living.closed {
        return Err(Error::Interrupted(line));
    }
    let Launched { pid, pidfd } =
        launch.run().map_err(|error| start_error(&line, &program.name, error))?;
    living.groups.insert(pid);
    drop(living);

    if let Some((bytes, mut pipe)) = feed {
        // A child that ends early breaks the pipe; its exit status tells more than EPIPE does.
        thread::spawn(move || drop(pipe.write_all(&bytes)));
    }
    Ok(Child::adopt(pid, pidfd, line, [from_stdout, from_stderr], meter))
}

/// What a child reads, and what is written there.
type Input = (Option<OwnedFd>, Option<(Vec<u8>, PipeWriter)>);

fn input(stdin: Stdin) -> io::Result<Input> {
    Ok(match stdin {
        Stdin::Null => (Some(File::open(NULL)?.into()), None),
        Stdin::File(file) => (Some(file.into()), None),
        Stdin::Inherit => (None, None),
        Stdin::Bytes(bytes) => {
            let (reader, writer) = io::pipe()?;
            (Some(reader.into()), Some((bytes, writer)))
        }
    })
}

/// Where a child writes, and where that is read.
fn output(sink: Sink) -> io::Result<(Option<OwnedFd>, Option<PipeReader>)> {
    Ok(match sink {
        Sink::Null => (Some(File::options().write(true).open(NULL)?.into()), None),
        Sink::File(file) => (Some(file.into()), None),
        Sink::Inherit => (None, None),
        Sink::Pipe => {
            let (reader, writer) = io::pipe()?;
            (Some(writer.into()), Some(reader))
        }
    })
}

fn start_error(line: &str, name: &std::ffi::OsStr, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        let name = name.to_string_lossy();
        return Error::missing(format!("program {name}"), format!("not found; wanted for: {line}"));
    }
    Error::Io { doing: format!("start {line}"), source: error }
}
