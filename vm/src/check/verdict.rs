//! Verdict: what the end of a checker means. Only 0 and 1 are words of its own.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crash::{Fault, Verdict};
use nix::sys::signal::Signal;

use crate::error::{Error, Result};
use crate::process::Contained;

/// How many lines of a checker's output are shown.
const LINES: usize = 8;
/// The longest line that is shown, in characters.
const LONGEST: usize = 200;

/// What a checker's end means.
pub(super) fn of(ended: Result<Contained>, limit: Duration) -> std::result::Result<Verdict, Fault> {
    let Contained { status, output } = ended.map_err(|error| of_error(&error))?;
    let said = last_lines(&output);
    let what = match status.map(|status| (status.code(), status.signal())) {
        Some((Some(0), _)) => return Ok(Verdict::Good),
        Some((Some(1), _)) if said.is_empty() => {
            return Ok(Verdict::Bad("exit status 1, without a word".to_owned()));
        }
        Some((Some(1), _)) => return Ok(Verdict::Bad(said)),
        Some((Some(code), _)) => of_code(code),
        Some((None, signal)) => format!("it was killed by {}", name(signal.unwrap_or_default())),
        None => format!("its time was over after {limit:?}, and it was killed"),
    };
    let said = said.lines().fold(String::new(), |all, line| all + "\n    | " + line);
    Err(Fault(format!("the checker gave no verdict: {what}{said}")))
}

/// Something is wrong with what a checker needs.
pub(super) fn of_error(error: &Error) -> Fault {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        text = format!("{text}: {source}");
    }
    Fault(format!("the checker gave no verdict: {text}"))
}

fn of_code(code: i32) -> String {
    match code {
        126 => "exit status 126: the shell may not run the command (is it executable?)".to_owned(),
        127 => "exit status 127: the shell finds no such command".to_owned(),
        129.. => format!("exit status {code}, as after {}", name(code - 128)),
        _ => format!("exit status {code} (0 is good, 1 is bad)"),
    }
}

fn name(signal: i32) -> String {
    let name = Signal::try_from(signal).map_or("a signal", Signal::as_str);
    format!("signal {signal} ({name})")
}

/// The last lines of what was written, without what a terminal would obey.
fn last_lines(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    let clean = |line: &&str| -> String {
        let shown = line.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
        shown.take(LONGEST).collect()
    };
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(clean).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::process::ExitStatus;

    use super::*;

    /// What an end with this wait status means, as text.
    fn meaning(status: Option<i32>, output: &str) -> String {
        let status = status.map(ExitStatus::from_raw);
        let ended = Contained { status, output: output.as_bytes().to_vec() };
        format!("{:?}", of(Ok(ended), Duration::from_secs(7)))
    }

    #[test]
    fn only_0_and_1_are_verdicts() {
        assert_eq!(meaning(Some(0), "fine"), "Ok(Good)");
        assert_eq!(meaning(Some(1 << 8), "a\nlost\n"), "Ok(Bad(\"a\\nlost\"))");
        assert!(meaning(Some(1 << 8), "").contains("without a word"));
        for code in (2..256).chain([126, 127]) {
            let meaning = meaning(Some(code << 8), "words");
            assert!(meaning.starts_with("Err(") && meaning.contains("words"), "{meaning}");
            assert!(meaning.contains(&format!("exit status {code}")), "{meaning}");
        }
        assert!(meaning(Some(139 << 8), "").contains("SIGSEGV"));
        assert!(meaning(Some(6), "").contains("killed by signal 6 (SIGABRT)"));
        assert!(meaning(None, "").contains("its time was over after 7s"));
    }

    #[test]
    fn output_is_short_and_plain() {
        let long = "x".repeat(1000) + "\n\u{1b}[2J\n\n";
        let text = last_lines(long.repeat(20).as_bytes());
        assert_eq!((text.lines().count(), text.lines().map(str::len).max()), (8, Some(200)));
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
