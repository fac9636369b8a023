//! Command: a program to run inside a guest, and how it ended.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use agent_proto::{End, Run};

/// A program with its arguments, not yet started. Arguments reach it byte for byte; no shell.
#[derive(Debug, Clone)]
pub struct Command {
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    cwd: OsString,
    timeout: Duration,
    stdin: Vec<u8>,
}

/// How long a program may take unless the command says otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(2);

impl Command {
    /// A program by path, or by name in the guest's `PATH`. Its time is 2 minutes.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            argv: vec![program.as_ref().to_owned()],
            env: Vec::new(),
            cwd: OsString::new(),
            timeout: DEFAULT_TIMEOUT,
            stdin: Vec::new(),
        }
    }

    /// A script for the guest's `/bin/sh`; it ends at its first failure.
    pub fn shell(script: impl AsRef<OsStr>) -> Self {
        Self::new("/bin/sh").arg("-ec").arg(script)
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the working directory (default `/`).
    #[must_use]
    pub fn cwd(mut self, dir: impl AsRef<OsStr>) -> Self {
        dir.as_ref().clone_into(&mut self.cwd);
        self
    }

    /// Sets the time after which its whole process group is killed.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Gives it these bytes as standard input (default `/dev/null`). For [`crate::Guest::run`];
    /// a program started by [`crate::Guest::spawn`] is written to while it runs.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// The command line for messages.
    pub fn line(&self) -> String {
        self.argv.iter().map(crate::process::quoted).collect::<Vec<_>>().join(" ")
    }

    /// Its time.
    pub(crate) fn time(&self) -> Duration {
        self.timeout
    }

    /// Its standard input.
    pub(crate) fn input(&self) -> &[u8] {
        &self.stdin
    }

    pub(crate) fn to_run(&self, stdin: bool) -> Run {
        let bytes = |text: &OsString| text.clone().into_vec();
        let timeout_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        Run {
            argv: self.argv.iter().map(bytes).collect(),
            env: self.env.iter().map(|(name, value)| (bytes(name), bytes(value))).collect(),
            cwd: self.cwd.as_bytes().to_vec(),
            // 0 would mean "for ever".
            timeout_ms: timeout_ms.max(1),
            stdin,
        }
    }
}

/// How a program in the guest ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitCode {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// Its time was over; its process group was killed.
    Timeout,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        match end {
            End::Code(code) => Self::Code(code),
            End::Signal(signal) => Self::Signal(signal),
            End::Timeout => Self::Timeout,
        }
    }
}

impl std::fmt::Display for ExitCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::Timeout => f.write_str("killed, its time was over"),
        }
    }
}

/// A program's end and all it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// How it ended.
    pub code: ExitCode,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Exit {
    /// Whether it exited with code 0.
    pub fn success(&self) -> bool {
        self.code == ExitCode::Code(0)
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn error_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}
