//! Reports: what a run of cases looks like on a terminal, as JSON, as `JUnit` XML and as a page.

#[cfg(test)]
mod browser;
pub(crate) mod crash;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod progress;
pub(crate) mod terminal;

use std::path::{Path, PathBuf};

use anyhow::Context;
use e2e::{CaseResult, Outcome};

use crate::exit::Usage;

/// What is true of a whole run.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The number that fixed every choice.
    pub(crate) seed: u64,
    /// How the guests ran.
    pub(crate) accel: String,
    /// Version of QEMU.
    pub(crate) qemu: String,
}

/// How many cases passed, failed (lost VMs included) and were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    pub(crate) fn of(results: &[CaseResult]) -> Self {
        let mut counts = Self::default();
        for result in results {
            match &result.outcome {
                Outcome::Pass => counts.passed += 1,
                Outcome::Skip(_) => counts.skipped += 1,
                Outcome::Fail(_) | Outcome::LostVm(_) => counts.failed += 1,
            }
        }
        counts
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Refuses a report's path before the run, not after it.
pub(crate) fn check_writable<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<()> {
    for path in paths {
        let folder = folder_of(path);
        if !folder.is_dir() || path.is_dir() {
            let why = format!("{} cannot be written: no such folder, or a folder", path.display());
            return Err(Usage(why).into());
        }
    }
    Ok(())
}

/// Writes a whole file or none; into what is no file (a pipe, a device) directly.
pub(crate) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if path.exists() && !path.is_file() {
        return std::fs::write(path, text).with_context(|| format!("write {}", path.display()));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let half = folder_of(path).join(format!(".{name}.{}", std::process::id()));
    std::fs::write(&half, text)
        .and_then(|()| std::fs::rename(&half, path))
        .inspect_err(|_| drop(std::fs::remove_file(&half)))
        .with_context(|| format!("write {}", path.display()))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use e2e::{Cause, Station, Way};

    use super::*;

    /// One result of each outcome.
    pub(crate) fn results() -> Vec<CaseResult> {
        let outcomes = [
            ("nic::ordinary", Outcome::Pass, Cause::Nothing),
            ("zero_copy::receive", Outcome::Fail("slot 3 <differs>".into()), Cause::Verdict),
            ("kmod::in_guest", Outcome::Skip("no compiler".into()), Cause::Nothing),
            ("persistence::log", Outcome::LostVm("QEMU ended".into()), Cause::GuestDied),
        ];
        let result = |(name, outcome, cause): (&str, Outcome, Cause)| CaseResult {
            name: name.into(),
            guest: "debian-12".into(),
            console: vec!["[1.0] last words".into()],
            artefacts: PathBuf::from("target/vmctl/run/case"),
            remark: String::new(),
            wall: Duration::from_millis(1250),
            cpu: Duration::from_millis(900),
            figures: [("payload_bytes", 4096.0)].into(),
            ways: vec![way()],
            outcome,
            cause,
        };
        outcomes.into_iter().map(result).collect()
    }

    /// A way with a station inside the NVDIMM and one outside.
    fn way() -> Way {
        let station = |name, offset| {
            let seen = "570 bytes <at> 0x104828".to_owned();
            Station { name, witness: "the NIC's backend", seen, offset }
        };
        let stations = vec![station("frame", None), station("guest memory", Some(0x48_2086))];
        Way { title: "a payload arrives".into(), nvdimm_bytes: 64 << 20, stations }
    }

    pub(crate) fn head() -> Head {
        Head { seed: 7, accel: "tcg".into(), qemu: "10.0.2".into() }
    }

    #[test]
    fn a_lost_vm_counts_as_failed() {
        assert_eq!(Counts::of(&results()).to_string(), "1 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn a_report_is_written_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        write(&path, "{}").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let nowhere = folder.path().join("missing/r.json");
        assert!(check_writable([&nowhere].into_iter()).is_err());
        assert!(check_writable([&folder.path().to_owned()].into_iter()).is_err());
        assert!(check_writable([&path].into_iter()).is_ok());
    }
}
