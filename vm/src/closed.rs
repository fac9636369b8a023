//! Closed: a guest that takes nothing from outside between its start and its end, so that its
//! like does the same again, to the last store.
//!
//! Its time is the number of its instructions, its randomness comes from a seed, and one CPU does
//! all. Its program, with what that needs, lies in the initrd; its network cards hear each other
//! only. It has no disk, because a disk answers when the host has time, and no monitor, nor an
//! agent that could be asked something: a console leads out, and that is all.
//!
//! QEMU runs in the guest's folder and names files there as seen from there: traces hold its
//! command line, and are to be the same wherever the folder lies.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent_proto::End;
use agent_proto::closed as words;
use nix::fcntl::{FcntlArg, fcntl};

use crate::accel::Accel;
use crate::command::ExitCode;
use crate::console::Console;
use crate::error::{Error, Failure, GuestError, Result};
use crate::evidence::Evidence;
use crate::image::cpio::Archive;
use crate::nvdimm::Nvdimm;
use crate::process::{Program, Sink};
use crate::spec::{Nic, Spec};

/// How many console lines an error shows.
const SHOWN: usize = 30;

/// Room for what the guest says before we have read it, in bytes: as much as any user may have. A
/// guest that says more at once would wait, and be no longer alone.
const CONSOLE: i32 = 1 << 20;

/// Names in the guest's folder.
const KERNEL: &str = "kernel";
const INITRD: &str = "initrd";
const RAM: &str = "ram";
const OBSERVER: &str = "observer.so";

/// Where instructions are counted, QEMU comes back to its loop after each step of a string
/// instruction, so a guest is better off with fewer of them: CPU features and kernel arguments.
const FLAGS: [&str; 2] = ["-erms", "-fsrm"];
const ARGS: [&str; 2] = [
    "init_on_alloc=0",
    // 64 MiB that nobody needs, zeroed byte by byte.
    "swiotlb=noforce",
];

/// A closed guest before it runs.
#[derive(Debug)]
pub struct Closed {
    spec: Spec,
    seed: u64,
    command: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
}

/// A closed guest that has ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// How its program ended.
    pub code: ExitCode,
    /// The end of what it said.
    pub console: String,
}

impl Spec {
    /// Closes the guest: it will run this program, whose files are in [`Closed::FOLDER`], with
    /// these arguments, and end with it. The root of the image is not there: a program needs to
    /// be static.
    #[must_use]
    pub fn closed<W: Into<String>>(
        self,
        seed: u64,
        command: impl IntoIterator<Item = W>,
    ) -> Closed {
        let command = command.into_iter().map(Into::into).collect();
        Closed { spec: self, seed, command, files: Vec::new() }
    }
}

impl Closed {
    /// Where the files of a closed guest are.
    pub const FOLDER: &str = words::FOLDER;

    /// Brings a file along, which may be executed.
    #[must_use]
    pub fn file(mut self, name: &str, content: Vec<u8>) -> Self {
        self.files.push((name.to_owned(), content));
        self
    }

    /// Runs the guest to its end.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what a closed guest cannot have; [`Error::Guest`] if it panics, does
    /// not come to an end in this time, or ends without a word about its program.
    pub fn run(self, time: Duration) -> Result<Ended> {
        self.check()?;
        let Self { mut spec, seed, command, files } = self;
        let dir = spec.dir.clone();
        fs::create_dir_all(&dir).map_err(|error| Error::io("create", &dir, error))?;
        let memory = crate::host::memory_file(spec.ram, &spec.ram_places)?;
        link(Path::new(&crate::host::name_of(&memory)), &dir.join(RAM))?;
        link(&spec.boot.kernel, &dir.join(KERNEL))?;
        bring(&spec.boot.initrd, &command, &files, &dir.join(INITRD))?;
        if let Some(watch) = spec.watch.take() {
            watch.prepare()?;
            link(&watch.library, &dir.join(OBSERVER))?;
            let folder = seen_from(&dir, &watch.folder);
            spec.watch = Some(watch.named(here(OBSERVER), folder));
        }
        spec.boot.kernel = here(KERNEL);
        spec.boot.initrd = here(INITRD);
        spec.boot.root = None;
        spec.cpu_flags.extend(FLAGS.map(str::to_owned));
        spec.kernel_args.extend(ARGS.map(str::to_owned));
        spec.closed = Some(seed);
        let renamed = |nvdimm: Nvdimm| {
            let path = seen_from(&dir, nvdimm.path());
            nvdimm.named(path)
        };
        spec.nvdimms = spec.nvdimms.into_iter().map(renamed).collect();
        play(&spec, seed, time)
    }

    fn check(&self) -> Result<()> {
        self.spec.check()?;
        let what = format!("closed guest {}", self.spec.name);
        let invalid = |why: &str| Err(Error::invalid(what.clone(), why));
        let is_outside = |nic: &Nic| !matches!(nic, Nic::Hub { .. });
        if self.spec.accel != Accel::Tcg {
            return invalid("only TCG counts instructions");
        }
        if self.spec.cpus != 1 {
            return invalid("it has one CPU");
        }
        if self.spec.nics.iter().any(is_outside) {
            return invalid("a network card leads out of it; Nic::Hub does not");
        }
        if self.command.is_empty() {
            return invalid("it has no program");
        }
        Ok(())
    }
}

/// Starts QEMU, and waits for its end.
fn play(spec: &Spec, seed: u64, time: Duration) -> Result<Ended> {
    let dir = &spec.dir;
    let heard = Heard::default();
    let (console, thread, stdout) = console(dir, &heard)?;
    let log = dir.join("qemu.log");
    let stderr = File::create(&log).map_err(|error| Error::io("create", &log, error))?;
    let program = Program::new(found_from_anywhere(&spec.qemu)?).cwd(dir);
    let program = program.args(crate::argv::closed(spec, seed, &here(RAM)));
    crate::machine::write_command_line(&program, &dir.join("cmdline.sh"))?;
    let program = program.stdout(stdout).stderr(Sink::File(stderr)).oom_score_adj(800);
    let mut child = program.start()?;
    let status = child.wait(Instant::now() + time)?;
    child.kill();
    // QEMU is gone, so the console has come to its end. A reader that panicked has said so.
    drop(thread.join());
    let console = console.tail(SHOWN);
    let end = *heard.end.lock().unwrap_or_else(PoisonError::into_inner);
    let failure = match (heard.evidence.failure(), status, end) {
        (None, Some(_), Some(end)) => {
            return Ok(Ended { code: end.into(), console });
        }
        (Some(failure), ..) => failure,
        (None, None, _) => Failure::Timeout(time),
        (None, Some(status), None) => {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let text = format!("QEMU ended, {status}: {}", said.trim());
            let ran = heard.evidence.guest_ran();
            if ran { Failure::Lost(text) } else { Failure::Start(text) }
        }
    };
    let (guest, doing) = (spec.name.clone(), "run to its end".to_owned());
    Err(Error::Guest(Box::new(GuestError { guest, doing, failure, console })))
}

/// What the console has told.
#[derive(Clone, Debug, Default)]
struct Heard {
    evidence: Arc<Evidence>,
    end: Arc<Mutex<Option<End>>>,
}

/// A console that is read, and the end that QEMU writes to.
fn console(dir: &Path, heard: &Heard) -> Result<(Console, JoinHandle<()>, Sink)> {
    let io = |error| Error::io("make a console for", dir, error);
    let (reader, writer) = std::io::pipe().map_err(io)?;
    fcntl(writer.as_fd(), FcntlArg::F_SETPIPE_SZ(CONSOLE)).map_err(|e| io(e.into()))?;
    let heard = heard.clone();
    let on_line = Box::new(move |line: &str| {
        heard.evidence.line(line);
        if let Some(end) = words::ended(line) {
            *heard.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        }
    });
    let (console, thread) = Console::start(reader, &dir.join("console.log"), on_line)?;
    Ok((console, thread, Sink::File(File::from(OwnedFd::from(writer)))))
}

/// A program that is named by a path, named so that it is found from any folder.
fn found_from_anywhere(program: &Path) -> Result<PathBuf> {
    if program.components().count() == 1 {
        return Ok(program.to_owned());
    }
    std::path::absolute(program).map_err(|error| Error::io("find", program, error))
}

/// The initrd, and behind it what the guest brings along.
fn bring(initrd: &Path, command: &[String], files: &[(String, Vec<u8>)], to: &Path) -> Result<()> {
    let mut archive = Archive::default();
    let inside = |path: &str| path.trim_start_matches('/').to_owned();
    archive.directory(&inside(words::FOLDER), 0o755);
    for (name, content) in files {
        archive.file(&inside(&format!("{}/{name}", words::FOLDER)), 0o755, content);
    }
    archive.file(&inside(words::COMMAND), 0o644, &words::command(command));
    let mut bytes = fs::read(initrd).map_err(|error| Error::io("read", initrd, error))?;
    bytes.extend(archive.finish());
    fs::write(to, bytes).map_err(|error| Error::io("write", to, error))
}

/// A second name for a file; an older one of that name goes.
fn link(file: &Path, name: &Path) -> Result<()> {
    let io = |error| Error::io("make", name, error);
    let file = std::path::absolute(file).map_err(io)?;
    match fs::remove_file(name) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    symlink(file, name).map_err(io)
}

/// A file of the guest's folder, as seen from there.
fn here(name: &str) -> PathBuf {
    // With a folder, because QEMU would look for a library without one in the system's.
    Path::new(".").join(name)
}

/// A path as seen from this folder, if it lies in there.
fn seen_from(folder: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(folder).map_or_else(|_| path.to_owned(), |inside| Path::new(".").join(inside))
}
