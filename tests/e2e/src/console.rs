//! Console: what a case's guests said on theirs, from the files they left.

use std::path::{Path, PathBuf};

/// How many lines of a console a failure shows.
const SHOWN: usize = 40;

/// Words that a healthy kernel never says, though it goes on.
const WARNINGS: [&str; 5] =
    ["WARNING: CPU:", "INFO: lockdep", "Call Trace:", "Out of memory:", "refcount_t:"];

/// The last lines that a case's guest said.
pub(crate) fn tail(case_dir: &Path) -> Vec<String> {
    let lines = lines(&log(case_dir));
    lines[lines.len().saturating_sub(SHOWN)..].to_vec()
}

/// The first line of a case's guest that a healthy kernel never says.
pub(crate) fn warning(case_dir: &Path) -> Option<String> {
    let mut lines = lines(&log(case_dir)).into_iter();
    lines.find(|line| WARNINGS.iter().any(|words| line.contains(words)))
}

/// The folder of a case's guest.
pub(crate) fn guest_dir(case_dir: &Path) -> PathBuf {
    case_dir.join("guest")
}

fn log(case_dir: &Path) -> PathBuf {
    guest_dir(case_dir).join("console.log")
}

/// No lines if the guest never came so far.
fn lines(log: &Path) -> Vec<String> {
    let bytes = std::fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_found_and_the_tail_is_bounded() {
        let case = tempfile::tempdir().unwrap();
        assert!(tail(case.path()).is_empty() && warning(case.path()).is_none());
        std::fs::create_dir(guest_dir(case.path())).unwrap();
        let said = "a healthy line\n".repeat(100);
        std::fs::write(log(case.path()), said + "[1.2] WARNING: CPU: 0 PID: 7\r\n").unwrap();
        assert_eq!(warning(case.path()).unwrap(), "[1.2] WARNING: CPU: 0 PID: 7");
        assert_eq!(tail(case.path()).len(), SHOWN);
    }
}
