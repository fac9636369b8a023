//! Processes: the only place of this crate (and of what uses it) that starts host programs.
//!
//! Every child is the leader of its own process group and dies with us, whatever kills us: the
//! kernel sends it SIGKILL (`PR_SET_PDEATHSIG`) when the *thread* that started it ends. Therefore
//! one thread starts all children, and that thread lives as long as the process. A child's whole
//! group is killed before its leader is reaped, so that the group's number cannot be reused yet.

mod child;
mod contained;
mod launch;
mod meter;
mod spawner;
mod strays;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};

pub use child::{Child, Output};
pub use contained::Contained;
pub use meter::Meter;
pub use spawner::kill_all;

/// A host program with its arguments, not yet started.
#[derive(Debug)]
pub struct Program {
    pub(crate) name: OsString,
    pub(crate) args: Vec<OsString>,
    pub(crate) envs: Vec<(OsString, OsString)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) stdin: Stdin,
    pub(crate) stdout: Sink,
    pub(crate) stderr: Sink,
    timeout: Option<Duration>,
    oom_score_adj: Option<i32>,
    pub(crate) inherited: Vec<OwnedFd>,
}

/// Where a child reads from.
#[derive(Debug)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// These bytes, then end of file.
    Bytes(Vec<u8>),
    /// An open file (or the reading end of another child's output).
    File(File),
    /// The terminal or whatever we read from ourselves.
    Inherit,
}

/// Where a child's output goes.
#[derive(Debug)]
pub enum Sink {
    /// `/dev/null`.
    Null,
    /// To us: [`Program::run`] collects it, [`Child::take_stdout`] hands it out.
    Pipe,
    /// An open file.
    File(File),
    /// Where our own output goes.
    Inherit,
}

impl Program {
    /// A program found by name in `PATH`, or by path.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            name: name.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            cwd: None,
            stdin: Stdin::Null,
            stdout: Sink::Pipe,
            stderr: Sink::Pipe,
            timeout: None,
            oom_score_adj: None,
            inherited: Vec::new(),
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable; the others are inherited.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.cwd = Some(dir.as_ref().to_owned());
        self
    }

    /// Sets where the program reads from (default: `/dev/null`).
    #[must_use]
    pub fn stdin(mut self, stdin: Stdin) -> Self {
        self.stdin = stdin;
        self
    }

    /// Sets where standard output goes (default: to us).
    #[must_use]
    pub fn stdout(mut self, sink: Sink) -> Self {
        self.stdout = sink;
        self
    }

    /// Sets where standard error goes (default: to us).
    #[must_use]
    pub fn stderr(mut self, sink: Sink) -> Self {
        self.stderr = sink;
        self
    }

    /// Bounds [`Program::run`]; without it the program may take as long as it likes.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets `oom_score_adj` (-1000 to 1000): who dies first when the host runs out of memory.
    #[must_use]
    pub fn oom_score_adj(mut self, adj: i32) -> Self {
        self.oom_score_adj = Some(adj);
        self
    }

    /// Lets the program have this descriptor, under the same number as we have it. Our copy is
    /// closed once the program runs.
    #[must_use]
    pub fn inherit(mut self, fd: OwnedFd) -> Self {
        self.inherited.push(fd);
        self
    }

    /// Runs the program to its end and collects what it wrote, whatever its exit status.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such program, [`Error::Program`] if the timeout passed
    /// (its whole process group is dead then), [`Error::Io`], [`Error::Interrupted`].
    pub fn run(self) -> Result<Output> {
        let timeout = self.timeout;
        self.start()?.collect(timeout)
    }

    /// Runs the program to its end; a status other than 0 is an error that shows its stderr.
    ///
    /// # Errors
    /// As [`Program::run`], and [`Error::Program`] for a status other than 0.
    pub fn run_ok(self) -> Result<Output> {
        let line = self.line();
        let output = self.run()?;
        if output.status.success() {
            return Ok(output);
        }
        Err(Error::Program {
            doing: format!("run {line}"),
            status: output.status.to_string(),
            stderr: output.stderr_tail(),
        })
    }

    /// Starts the program and returns at once.
    ///
    /// # Errors
    /// [`Error::Missing`] if there is no such program, [`Error::Io`], [`Error::Interrupted`].
    pub fn start(self) -> Result<Child> {
        let line = self.line();
        let oom_score_adj = self.oom_score_adj;
        let child = spawner::start(self, line)?;
        if let Some(adj) = oom_score_adj {
            child.set_oom_score_adj(adj)?;
        }
        Ok(child)
    }

    /// The command line as a shell would take it, for messages and logs.
    pub fn line(&self) -> String {
        std::iter::once(&self.name).chain(&self.args).map(quoted).collect::<Vec<_>>().join(" ")
    }
}

/// One word of a command line, quoted for a POSIX shell where it has to be; what a terminal would
/// obey, and what is no text, stands as numbers.
pub fn quoted(word: impl AsRef<OsStr>) -> String {
    let bytes = word.as_ref().as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+=./:,@%".contains(byte);
    let obeyed = |c: char| c.is_control() && c != '\n';
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.is_empty() && bytes.iter().all(is_plain) => text.to_owned(),
        Ok(text) if !text.contains(obeyed) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => {
            // A shell takes the last line breaks away.
            let end = bytes.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
            let number = |byte: &u8| match byte {
                byte if is_plain(byte) && *byte != b'%' => char::from(*byte).to_string(),
                byte => format!("\\{byte:03o}"),
            };
            let (text, breaks) = (bytes[..end].iter().map(number), bytes.len() - end);
            let breaks =
                if breaks > 0 { format!("'{}'", "\n".repeat(breaks)) } else { String::new() };
            format!("\"$(printf '{}')\"{breaks}", text.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests;
