//! Error: what went wrong with a guest or its host, one variant per reaction.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::watch::Cut;

/// The result of everything in this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong. The caller's reaction differs per variant, hence the split.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A host file or socket operation failed. `doing` is noun + verb, e.g. "create RAM file /x".
    #[error("{doing}")]
    Io {
        /// What was being done to which thing.
        doing: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// A host program ran and failed.
    #[error("{doing}: {status}{}", indented(stderr))]
    Program {
        /// What the program was to do.
        doing: String,
        /// Its exit status in words.
        status: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// The host lacks something: a program, a device, memory, a place.
    #[error("{what}: {hint}")]
    Missing {
        /// What is missing.
        what: String,
        /// The way out.
        hint: String,
    },
    /// A place has too little room.
    #[error("{}: {need_mib} MiB needed for {what}, {free_mib} MiB free", place.display())]
    NoSpace {
        /// The directory that was looked at.
        place: PathBuf,
        /// What the room is for.
        what: String,
        /// Room asked for.
        need_mib: u64,
        /// Room found.
        free_mib: u64,
    },
    /// Input (a manifest, a size, a path) that cannot be used.
    #[error("{what}: {reason}")]
    Invalid {
        /// Which input.
        what: String,
        /// Why it cannot be used.
        reason: String,
    },
    /// A guest stopped being usable.
    #[error(transparent)]
    Guest(Box<GuestError>),
    /// The process is ending, nothing is started any more.
    #[error("{0}: not started, an interrupt is being handled")]
    Interrupted(String),
}

/// How a guest ended or failed, with what its console last said.
#[derive(Debug, thiserror::Error)]
#[error("{guest}: {doing}: {failure}{}", indented(console))]
pub struct GuestError {
    /// The guest's name.
    pub guest: String,
    /// What was being done with it.
    pub doing: String,
    /// What happened.
    pub failure: Failure,
    /// The last lines of its console.
    pub console: String,
}

/// What can happen to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The guest's kernel died; the evidence is a console line or a QMP event.
    Panicked(String),
    /// The guest reset itself though nobody asked for it.
    Rebooted(String),
    /// A fatal console line without a panic: lockup, hung task, failed boot.
    Hung(String),
    /// It lost its power at a marker, as it or somebody else had asked for.
    /// [`crate::Guest::lost_power`] has what is left.
    PowerLost(Cut),
    /// QEMU or the agent's channel vanished: there is no verdict.
    Lost(String),
    /// The deadline passed and nothing explains why.
    Timeout(Duration),
    /// QEMU did not start or died before the guest's agent spoke; its standard error.
    Start(String),
    /// The guest is fine, but the agent could not do it (its words), or a program that had to
    /// succeed did not (its end and output).
    Agent(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Panicked(why) => write!(f, "guest panicked ({why})"),
            Failure::Rebooted(why) => write!(f, "unexpected reboot ({why})"),
            Failure::Hung(why) => write!(f, "guest hangs ({why})"),
            Failure::PowerLost(cut) => write!(f, "the power was cut at marker {cut}"),
            Failure::Lost(why) => write!(f, "lost VM ({why})"),
            Failure::Timeout(after) => write!(f, "timeout after {:.1} s", after.as_secs_f64()),
            Failure::Start(why) => write!(f, "QEMU did not start ({})", why.trim()),
            Failure::Agent(why) => f.write_str(why),
        }
    }
}

impl Error {
    /// An [`Error::Io`] about one path: `verb` is a word like "create", `path` what it was done to.
    pub fn io(verb: &str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing: format!("{verb} {}", path.display()), source }
    }

    /// An [`Error::Invalid`].
    pub fn invalid(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), reason: reason.into() }
    }

    /// An [`Error::Missing`].
    pub fn missing(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Missing { what: what.into(), hint: hint.into() }
    }

    /// What happened to the guest, if this error is about a guest.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Guest(error) => Some(&error.failure),
            _ => None,
        }
    }

    /// The guest's last console lines, if this error is about a guest.
    pub fn console(&self) -> Option<&str> {
        match self {
            Self::Guest(error) => Some(&error.console),
            _ => None,
        }
    }
}

fn indented(text: &str) -> String {
    text.trim_end().lines().fold(String::new(), |all, line| all + "\n    | " + line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_error_names_guest_action_and_console() {
        let error = Error::Guest(Box::new(GuestError {
            guest: "g0".into(),
            doing: "run true".into(),
            failure: Failure::Panicked("Kernel panic - not syncing: x".into()),
            console: "one\ntwo\n".into(),
        }));
        let text = error.to_string();
        assert!(text.starts_with("g0: run true: guest panicked (Kernel panic"), "{text}");
        assert!(text.ends_with("\n    | one\n    | two"), "{text}");
        assert_eq!(error.console(), Some("one\ntwo\n"));
    }

    #[test]
    fn missing_room_names_place_and_need() {
        let error = Error::NoSpace {
            place: "/dev/shm".into(),
            what: "guest RAM".into(),
            need_mib: 1024,
            free_mib: 64,
        };
        let text = error.to_string();
        assert_eq!(text, "/dev/shm: 1024 MiB needed for guest RAM, 64 MiB free");
    }
}
