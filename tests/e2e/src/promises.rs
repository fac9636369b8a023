//! Promises: what programs said was durable, held against what the observer knew, in every life
//! of a case's guests.
//!
//! The library says so wherever it returns with a promise (`ASSERT_PERSISTED`), and needs no case
//! for it: whoever has an NVDIMM and runs under TCG is observed.

use std::sync::{Mutex, PoisonError};

use anyhow::{Context, anyhow, ensure};
use vm::Watch;
use vm::crash::LINE;
use vm::watch::Asserted;

use crate::outcome::Skipped;

/// What was promised so far.
#[derive(Debug, Default)]
pub(crate) struct Promises(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    /// Who watches the life that has not been read yet.
    watch: Option<Watch>,
    count: u64,
    broken: Vec<Asserted>,
    /// Whether the case breaks some on purpose.
    some_break: bool,
    /// Why nobody sees what is durable.
    blind: Option<String>,
}

/// Promises that did not hold.
#[derive(Debug, thiserror::Error)]
#[error("in {guest} {} of {count} promises of durability did not hold, the first: {first}", .all)]
pub(crate) struct Broken {
    guest: &'static str,
    all: usize,
    count: u64,
    first: String,
}

impl Promises {
    /// A guest begins a life; the one before has ended, and its files are read before they go.
    ///
    /// # Errors
    /// The observer says that something did not work, or its file is no good.
    pub(crate) fn begin(&self, watch: Option<&Watch>) -> anyhow::Result<()> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.close()?;
        book.watch = watch.cloned();
        Ok(())
    }

    /// Some will break, on purpose: then it is wrong if none does.
    pub(crate) fn some_break(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).some_break = true;
    }

    /// Nobody sees what is durable in this guest, and why.
    pub(crate) fn nobody_sees(&self, why: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).blind = Some(why);
    }

    /// Why nobody sees what is durable, if that is so.
    pub(crate) fn why_nobody_sees(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).blind.clone()
    }

    /// What becomes of a case that needs somebody who sees it.
    pub(crate) fn unseen(&self) -> anyhow::Error {
        match self.why_nobody_sees() {
            Some(why) => Skipped(format!("nobody sees what is durable: {why}")).into(),
            None => anyhow!("a bench without an observer"),
        }
    }

    /// The verdict on all lives, the last included; how many promises there were.
    ///
    /// # Errors
    /// [`Broken`], or as [`Promises::begin`].
    pub(crate) fn verdict(&self, guest: &'static str) -> anyhow::Result<u64> {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.close()?;
        let (all, count) = (book.broken.len(), book.count);
        if let (true, Some(why)) = (book.some_break, &book.blind) {
            return Err(Skipped(format!("nobody sees what is durable: {why}")).into());
        }
        if book.some_break {
            ensure!(all > 0, "of {count} promises some were to be broken, and none was");
            return Ok(count);
        }
        let Some(first) = book.broken.first() else { return Ok(count) };
        Err(Broken { guest, all, count, first: told(first) }.into())
    }
}

impl Book {
    fn close(&mut self) -> anyhow::Result<()> {
        let Some(watch) = self.watch.take() else { return Ok(()) };
        let told = watch.assertions().context("read what was promised")?;
        self.count += told.len() as u64;
        self.broken.extend(told.into_iter().filter(is_broken));
        Ok(())
    }
}

/// Whether something of what was promised is not durable.
pub(crate) fn is_broken(promise: &Asserted) -> bool {
    !promise.missing.is_empty() || promise.outside > 0
}

/// One that did not hold.
fn told(promise: &Asserted) -> String {
    let Asserted { id, pc, missing, outside } = promise;
    let what = missing.first().map_or_else(
        || format!("{outside} bytes do not lie in the NVDIMM"),
        |first| {
            let state = if first.is_pending { "flushed, not fenced" } else { "not flushed" };
            let (line, more) = (first.line.0, missing.len() - 1);
            let at = first.line.start().0;
            let is = format!("line {line} ({LINE} bytes at {at:#x} of the NVDIMM) is {state}");
            if more == 0 { is } else { format!("{is}, and {more} more lines") }
        },
    );
    format!("promise {id} at pc {pc:#x}: {what}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use vm::crash::Rules;

    use super::*;

    const KEPT: &str = r#"{"asserted":4,"pc":16,"missing":[],"outside":0}"#;
    const BROKEN: &str =
        r#"{"asserted":4,"pc":4096,"missing":[{"line":8,"is_pending":true}],"outside":0}"#;

    /// The verdict on lives in which these lines were told, if some are to break or not.
    fn verdict(lives: &[&str], some_break: bool) -> Result<u64, String> {
        let dir = tempfile::tempdir().unwrap();
        let promises = Promises::default();
        for lines in lives {
            let watch = Watch::diff(Path::new("lib"), dir.path(), Rules::default());
            promises.begin(Some(&watch)).map_err(|error| format!("{error:#}"))?;
            std::fs::write(dir.path().join("observed.jsonl"), format!("{lines}\n")).unwrap();
        }
        if some_break {
            promises.some_break();
        }
        promises.verdict("debian-12").map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_broken_promise_of_any_life_counts() {
        assert_eq!(verdict(&[], false), Ok(0));
        assert_eq!(verdict(&[KEPT, KEPT], false), Ok(2));
        let why = "in debian-12 1 of 2 promises of durability did not hold, the first: promise 4 \
                   at pc 0x1000: line 8 (64 bytes at 0x200 of the NVDIMM) is flushed, not fenced";
        assert_eq!(verdict(&[BROKEN, KEPT], false), Err(why.to_owned()));
        assert_eq!(verdict(&[KEPT, BROKEN], false), Err(why.to_owned()));
        let outside = r#"{"asserted":1,"pc":1,"missing":[],"outside":64}"#;
        assert!(verdict(&[outside], false).unwrap_err().contains("64 bytes do not lie"));
    }

    #[test]
    fn whoever_breaks_promises_on_purpose_must() {
        assert_eq!(verdict(&[BROKEN], true), Ok(1));
        assert!(verdict(&[KEPT], true).unwrap_err().contains("none was"));
    }

    #[test]
    fn what_nobody_sees_is_neither_kept_nor_broken() {
        let promises = Promises::default();
        assert!(!promises.unseen().is::<Skipped>());
        promises.nobody_sees("KVM".to_owned());
        assert_eq!(promises.verdict("debian-12").unwrap(), 0);
        promises.some_break();
        for error in [promises.verdict("debian-12").unwrap_err(), promises.unseen()] {
            assert!(error.is::<Skipped>(), "{error}");
            assert_eq!(error.to_string(), "nobody sees what is durable: KVM");
        }
    }

    #[test]
    fn an_observer_that_did_not_work_gives_no_verdict() {
        for lives in [&[r#"{"failed":"disk full"}"#, KEPT][..], &[r#"{"failed":"disk full"}"#]] {
            assert!(verdict(lives, false).unwrap_err().contains("disk full"));
        }
    }
}
