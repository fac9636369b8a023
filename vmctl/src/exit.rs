//! Exit status: the one table for every command.

use std::error::Error;
use std::process::ExitCode;

use e2e::Outcome;
use e2e::outcome::{CaseResult, Cause, TimedOut};
use e2e::runner::{CutShort, Summary};
use vm::Failure;

/// The table as the help text prints it.
pub(crate) const TABLE: &str = "\
Exit status:
  0    everything held (for tests: all passed, none skipped)
  1    a test failed, or a chosen one was skipped
  2    wrong usage
  124  a deadline passed
  125  the host could not provide what is needed
  126  the guest died
  130  interrupted";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Pass = 0,
    Failed = 1,
    Usage = 2,
    Timeout = 124,
    Infrastructure = 125,
    GuestDied = 126,
    Interrupted = 130,
}

/// A wish that cannot be fulfilled as it was spelled.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Usage {}

impl Exit {
    /// The status of a command that gave up.
    pub(crate) fn of_error(error: &anyhow::Error) -> Self {
        let is_usage = error.chain().any(<dyn Error>::is::<Usage>);
        let is_late = error.chain().any(<dyn Error>::is::<TimedOut>);
        let of_guest = error.chain().find_map(|cause| cause.downcast_ref::<vm::Error>());
        match (is_usage, is_late, of_guest.and_then(vm::Error::failure)) {
            (true, ..) => Self::Usage,
            (_, true, _) | (.., Some(Failure::Timeout(_))) => Self::Timeout,
            (.., None | Some(Failure::Start(_) | Failure::Agent(_))) => Self::Infrastructure,
            _ => Self::GuestDied,
        }
    }

    /// The number.
    pub(crate) fn status(self) -> u8 {
        self as u8
    }

    /// The status of a run of cases. A failed verdict outweighs everything but an interrupt;
    /// without one, what brought cases down decides.
    pub(crate) fn of_run(summary: &Summary) -> Self {
        match summary.cut_short {
            Some(CutShort::Interrupted) => return Self::Interrupted,
            Some(CutShort::TimedOut) => return Self::Timeout,
            None => {}
        }
        let any = |cause| summary.results.iter().any(|result| result.cause == cause);
        let skipped = |result: &CaseResult| matches!(result.outcome, Outcome::Skip(_));
        if any(Cause::Verdict) || summary.results.iter().any(skipped) {
            Self::Failed
        } else if any(Cause::Host) {
            Self::Infrastructure
        } else if any(Cause::GuestDied) {
            Self::GuestDied
        } else if any(Cause::Timeout) {
            Self::Timeout
        } else {
            Self::Pass
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
