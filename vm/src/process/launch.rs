//! Launch: makes a process without copying ours.
//!
//! `fork` copies the tables of all our memory, and each page that either side touches then costs a
//! fault: with images of NVDIMMs in memory that is most of what a short program costs. So the
//! child borrows our memory until it has become the program (`CLONE_VM`, `CLONE_VFORK`), as with
//! `posix_spawn`, which cannot ask for a signal at our death.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::ptr;

use libc::{c_char, c_int, c_void};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// Words of the child's stack: room for a few system calls and for many small `execve`.
const STACK: usize = 8 << 10;

/// The highest number of a signal.
const LAST_SIGNAL: c_int = 64;

/// Where a program is looked for without `PATH`, as glibc does.
const USUAL_PATH: &str = "/bin:/usr/bin";

/// A process that has become its program.
#[derive(Debug)]
pub(super) struct Launched {
    pub(super) pid: i32,
    /// Readable once it has ended.
    pub(super) pidfd: OwnedFd,
}

/// What a process is to become. All of it is made before there is a process, which may not
/// allocate.
pub(super) struct Launch<'a> {
    pub(super) name: &'a OsStr,
    pub(super) args: &'a [OsString],
    /// Variables beside ours, or in place of them.
    pub(super) envs: &'a [(OsString, OsString)],
    pub(super) folder: Option<&'a Path>,
    /// What becomes its descriptors 0, 1 and 2; none: what we have there.
    pub(super) standard: [Option<OwnedFd>; 3],
    /// Descriptors that it gets under the numbers that we have for them.
    pub(super) inherited: &'a [OwnedFd],
}

impl Launch<'_> {
    /// Makes the process: the leader of its own group, which dies with this thread.
    ///
    /// # Errors
    /// The words of the system call that was refused, in the child too.
    pub(super) fn run(self) -> io::Result<Launched> {
        let environment = environment(self.envs)?;
        let files = files(self.name, &environment)?;
        let args = std::iter::once(self.name).chain(self.args.iter().map(OsString::as_os_str));
        let args = args.map(text).collect::<io::Result<Vec<_>>>()?;
        let folder = self.folder.map(|folder| text(folder.as_os_str())).transpose()?;
        let standard = self.standard.map(|fd| fd.map(above_standard).transpose());
        let [stdin, stdout, stderr] = standard;
        let standard = [stdin?, stdout?, stderr?];
        let (files, args, environment) = (list(&files), list(&args), list(&environment));
        let inherited: Vec<_> = self.inherited.iter().map(AsRawFd::as_raw_fd).collect();
        let mut plan = Plan {
            files: files.as_ptr(),
            args: args.as_ptr(),
            environment: environment.as_ptr(),
            folder: folder.as_ref().map_or(ptr::null(), |folder| folder.as_ptr()),
            standard: standard.each_ref().map(|fd| fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)),
            inherited: &inherited,
            parent: std::process::id().cast_signed(),
            error: 0,
        };
        launch(&mut plan)
    }
}

/// What the child reads, and the one word that it writes. The lists end with a null pointer.
struct Plan<'a> {
    files: *const *const c_char,
    args: *const *const c_char,
    environment: *const *const c_char,
    folder: *const c_char,
    standard: [RawFd; 3],
    inherited: &'a [RawFd],
    parent: i32,
    /// Why there is no program.
    error: c_int,
}

fn launch(plan: &mut Plan<'_>) -> io::Result<Launched> {
    let mut stack: Vec<MaybeUninit<u128>> = Vec::with_capacity(STACK);
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // A handler of ours must not run in the child, on memory that is not its own.
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let argument = ptr::from_mut(plan).cast::<c_void>();
    // SAFETY: the child runs on `stack`, which grows down from its end and is its own; it reads
    // `plan`, and what that points to, and we are stopped until it needs neither (CLONE_VFORK).
    let pid = unsafe {
        libc::clone(become_program, top.cast(), flags, argument, ptr::from_mut(&mut pidfd))
    };
    let refusal = io::Error::last_os_error();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    if pid < 0 {
        return Err(refusal);
    }
    // SAFETY: the kernel made this descriptor for us (CLONE_PIDFD), and nobody else owns it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    if plan.error == 0 {
        return Ok(Launched { pid, pidfd });
    }
    // It has ended already; an error says that it is gone.
    let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None);
    Err(io::Error::from_raw_os_error(plan.error))
}

/// The child: only system calls, and no memory but its stack and the plan.
extern "C" fn become_program(plan: *mut c_void) -> c_int {
    // SAFETY: `launch` passes its plan, which nobody else touches while it is stopped.
    let plan = unsafe { &mut *plan.cast::<Plan<'_>>() };
    plan.error = match prepare(plan) {
        Ok(()) => execute(plan),
        Err(error) => error,
    };
    // SAFETY: ends the child without the destructors of what it has borrowed.
    unsafe { libc::_exit(127) }
}

fn prepare(plan: &Plan<'_>) -> Result<(), c_int> {
    // SAFETY: these calls take numbers only.
    done(unsafe { libc::setpgid(0, 0) })?;
    // SAFETY: as above.
    done(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
    // The parent may have died before that; then no signal will ever come.
    // SAFETY: as above.
    if unsafe { libc::getppid() } != plan.parent {
        return Err(libc::ESRCH);
    }
    for (fd, number) in plan.standard.iter().zip(0..).filter(|(fd, _)| **fd >= 0) {
        // SAFETY: as above; `Launch::run` holds the descriptor, which is above 2.
        done(unsafe { libc::dup2(*fd, number) })?;
    }
    for fd in plan.inherited {
        // SAFETY: as above; `Launch::inherited` holds the descriptor.
        done(unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) })?;
    }
    if !plan.folder.is_null() {
        // SAFETY: `Launch::run` holds the text.
        done(unsafe { libc::chdir(plan.folder) })?;
    }
    reset_signals();
    Ok(())
}

/// As a program expects them: none blocked, none handled, and SIGPIPE, which Rust ignores, deadly.
fn reset_signals() {
    for signal in 1..=LAST_SIGNAL {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: asks only. This and the next call refuse the signals that are glibc's own.
        unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) };
        // SAFETY: all zeros is an action (the default), also if the kernel has not filled it in.
        let mut action = unsafe { action.assume_init() };
        let is_ignored = action.sa_sigaction == libc::SIG_IGN && signal != libc::SIGPIPE;
        if action.sa_sigaction != libc::SIG_DFL && !is_ignored {
            action.sa_sigaction = libc::SIG_DFL;
            // SAFETY: changes the child's own table (no CLONE_SIGHAND).
            unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
        }
    }
    // From here on a signal may end the child, and runs nothing.
    let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Tries each file; why none became the program.
fn execute(plan: &Plan<'_>) -> c_int {
    let (mut files, mut why) = (plan.files, libc::ENOENT);
    loop {
        // SAFETY: the list ends with a null pointer, and this has not met it yet.
        let file = unsafe { *files };
        if file.is_null() {
            return why;
        }
        // SAFETY: `Launch::run` holds the texts and the lists, which end with null pointers.
        unsafe { libc::execve(file, plan.args, plan.environment) };
        match nix::errno::Errno::last_raw() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => why = libc::EACCES,
            other => return other,
        }
        // SAFETY: as above.
        files = unsafe { files.add(1) };
    }
}

fn done(result: c_int) -> Result<(), c_int> {
    if result < 0 { Err(nix::errno::Errno::last_raw()) } else { Ok(()) }
}

/// The descriptor under another number, if `dup2` could meet it as a target.
fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    let other = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(3))?;
    // SAFETY: the kernel just made this descriptor for us, nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(other) })
}

/// Our variables, with these in place of those of the same names.
fn environment(envs: &[(OsString, OsString)]) -> io::Result<Vec<CString>> {
    let is_replaced = |variable: &OsStr| {
        let name = variable.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
        envs.iter().any(|(other, _)| other.as_bytes() == name)
    };
    let mut all = ours();
    all.retain(|variable| !is_replaced(OsStr::from_bytes(variable.as_bytes())));
    for (name, value) in envs {
        all.push(text(&joined(name, "=", value))?);
    }
    Ok(all)
}

/// Our variables, as a child would inherit them.
fn ours() -> Vec<CString> {
    let mut all = Vec::new();
    // SAFETY: a pointer is read; nobody changes the environment of this process once it runs.
    let mut next = unsafe { libc::environ };
    while !next.is_null() {
        // SAFETY: the list ends with a null pointer, and this has not met it yet.
        let variable = unsafe { *next };
        if variable.is_null() {
            break;
        }
        // SAFETY: each is a text that lives as long as the process.
        all.push(unsafe { CStr::from_ptr(variable) }.to_owned());
        // SAFETY: as above.
        next = unsafe { next.add(1) };
    }
    all
}

/// The files that a name may mean.
fn files(name: &OsStr, environment: &[CString]) -> io::Result<Vec<CString>> {
    if name.as_bytes().contains(&b'/') {
        return Ok(vec![text(name)?]);
    }
    let path = environment.iter().rev().find_map(|text| text.as_bytes().strip_prefix(b"PATH="));
    let folders = path.unwrap_or(USUAL_PATH.as_bytes()).split(|byte| *byte == b':');
    let file = |folder: &[u8]| {
        let folder = if folder.is_empty() { b"." } else { folder };
        text(&joined(OsStr::from_bytes(folder), "/", name))
    };
    folders.map(file).collect()
}

fn joined(first: &OsStr, sign: &str, second: &OsStr) -> OsString {
    [first, OsStr::new(sign), second].into_iter().collect()
}

fn text(words: &OsStr) -> io::Result<CString> {
    Ok(CString::new(words.to_owned().into_vec())?)
}

/// Pointers to texts, and the null pointer that ends a list.
fn list(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}
