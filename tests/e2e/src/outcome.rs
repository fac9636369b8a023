//! Outcome: how a case ended, and the errors that decide it.
//!
//! A case returns `anyhow::Result<()>`. What lies in its chain of errors tells the four outcomes
//! apart: a [`Skipped`] is a skip, a guest that vanished is a lost VM, everything else failed.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use vm::Failure;

use crate::way::Way;

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The case held.
    Pass,
    /// The case did not hold, and why.
    Fail(String),
    /// The case was not run, and why.
    Skip(String),
    /// The guest or the way to it vanished, so that there is no verdict.
    LostVm(String),
}

impl Outcome {
    /// The outcome's name in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail(_) => "fail",
            Self::Skip(_) => "skip",
            Self::LostVm(_) => "lost_vm",
        }
    }

    /// Why it ended so; empty for a pass.
    pub fn reason(&self) -> &str {
        match self {
            Self::Pass => "",
            Self::Fail(why) | Self::Skip(why) | Self::LostVm(why) => why,
        }
    }

    /// Whether the outcome counts as failed: a failure or a lost VM.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Fail(_) | Self::LostVm(_))
    }
}

/// What brought a case down; decides the exit status of a run without failed verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing did: the case passed or was skipped.
    Nothing,
    /// The case itself said no.
    Verdict,
    /// A deadline passed.
    Timeout,
    /// The guest panicked, rebooted by itself or vanished.
    GuestDied,
    /// The host could not provide what the case needs.
    Host,
}

/// Figures of a case by the names that the report documents.
pub type Figures = BTreeMap<&'static str, f64>;

/// One case after it ran.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// Name of the case.
    pub name: String,
    /// Name of the image that its guests run.
    pub guest: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What brought it down.
    pub cause: Cause,
    /// What the verdict does not cover; shown with it.
    pub remark: String,
    /// Wall time.
    pub wall: Duration,
    /// CPU time of its thread, of its guests and of what was built for it.
    pub cpu: Duration,
    /// What the case measured.
    pub figures: Figures,
    /// Examples of how payload went.
    pub ways: Vec<Way>,
    /// The last lines of the guest's console, for a failure.
    pub console: Vec<String>,
    /// Where the case left its files.
    pub artefacts: PathBuf,
}

/// A case that does not apply here.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Skipped(pub String);

/// A guest that vanished without a verdict.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Lost(pub String);

/// A deadline that passed before what it bounds.
#[derive(Debug, thiserror::Error)]
#[error("timed out after {} s: {what}", limit.as_secs())]
pub struct TimedOut {
    /// How long it was waited for.
    pub limit: Duration,
    /// What was waited for.
    pub what: String,
}

/// The outcome of a case and its cause, from what it returned.
pub fn judge(result: anyhow::Result<()>) -> (Outcome, Cause) {
    let Err(error) = result else { return (Outcome::Pass, Cause::Nothing) };
    let why = format!("{error:#}");
    if error.chain().any(<dyn Error>::is::<Skipped>) {
        return (Outcome::Skip(why), Cause::Nothing);
    }
    if error.chain().any(<dyn Error>::is::<Lost>) {
        return (Outcome::LostVm(why), Cause::GuestDied);
    }
    if error.chain().any(<dyn Error>::is::<TimedOut>) {
        return (Outcome::Fail(why), Cause::Timeout);
    }
    let of_guest = error.chain().find_map(|cause| cause.downcast_ref::<vm::Error>());
    match of_guest {
        Some(vm::Error::Guest(error)) => judge_guest(&error.failure, first_line(&why)),
        Some(_) => (Outcome::Fail(why), Cause::Host),
        None => (Outcome::Fail(why), Cause::Verdict),
    }
}

/// What a guest's failure means for the case.
fn judge_guest(failure: &Failure, why: String) -> (Outcome, Cause) {
    match failure {
        Failure::Lost(_) => (Outcome::LostVm(why), Cause::GuestDied),
        Failure::Panicked(_) | Failure::Rebooted(_) | Failure::Hung(_) | Failure::PowerLost(_) => {
            (Outcome::Fail(why), Cause::GuestDied)
        }
        Failure::Timeout(_) => (Outcome::Fail(why), Cause::Timeout),
        Failure::Start(_) => (Outcome::Fail(why), Cause::Host),
        Failure::Agent(_) => (Outcome::Fail(why), Cause::Verdict),
    }
}

/// A guest's error goes on with its console, which reports show elsewhere.
fn first_line(why: &str) -> String {
    why.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_chain_of_errors_decides_the_outcome() {
        assert_eq!(judge(Ok(())), (Outcome::Pass, Cause::Nothing));
        let plain = judge(Err(anyhow!("payload differs")).context("receive"));
        assert_eq!(plain, (Outcome::Fail("receive: payload differs".into()), Cause::Verdict));
        let skip = judge(Err(Skipped("needs KVM".into()).into()));
        assert_eq!(skip, (Outcome::Skip("needs KVM".into()), Cause::Nothing));
        let lost = judge(Err(anyhow::Error::from(Lost("QEMU ended".into())).context("boot")));
        assert_eq!(lost, (Outcome::LostVm("boot: QEMU ended".into()), Cause::GuestDied));
    }

    #[test]
    fn a_guests_failure_is_told_without_its_console() {
        let by = |failure| {
            let (guest, doing) = ("debian-12".to_owned(), "run true".to_owned());
            let console = "last words\n".to_owned();
            let error = vm::GuestError { guest, doing, failure, console };
            judge(Err(vm::Error::Guest(Box::new(error)).into()))
        };
        let (panic, cause) = by(Failure::Panicked("Oops".into()));
        assert_eq!(panic, Outcome::Fail("debian-12: run true: guest panicked (Oops)".into()));
        assert_eq!(cause, Cause::GuestDied);
        let (lost, _) = by(Failure::Lost("QEMU ended".into()));
        assert_eq!(lost, Outcome::LostVm("debian-12: run true: lost VM (QEMU ended)".into()));
    }

    #[test]
    fn a_passed_deadline_is_a_failure_that_says_what_was_waited_for() {
        let late = TimedOut { limit: Duration::from_secs(3), what: "a reply".into() };
        let (outcome, cause) = judge(Err(late.into()));
        assert_eq!(outcome.reason(), "timed out after 3 s: a reply");
        assert_eq!((outcome.name(), cause), ("fail", Cause::Timeout));
    }
}
