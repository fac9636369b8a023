//! Console: what the guest's serial port said, with times, in a file and (its tail) in memory.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::error::{Error, Result};

/// How many lines are kept in memory.
const KEPT: usize = 2000;

/// The largest line; the rest of a longer one is the next line.
const LONGEST: u64 = 4096;

/// What a console is told about every line, on the console's thread.
pub(crate) type OnLine = Box<dyn Fn(&str) + Send>;

/// The console of one guest.
#[derive(Debug, Clone)]
pub(crate) struct Console(Arc<Mutex<Log>>);

#[derive(Debug)]
struct Log {
    file: File,
    start: Instant,
    lines: VecDeque<String>,
}

impl Console {
    /// Reads `source` on a thread of its own until it ends; each line goes to the file (which is
    /// continued, so that boots of one guest follow each other) and to `on_line`.
    pub(crate) fn start(
        source: impl Read + Send + 'static,
        path: &Path,
        on_line: OnLine,
    ) -> Result<(Self, JoinHandle<()>)> {
        let file = File::options().create(true).append(true).open(path);
        let file = file.map_err(|error| Error::io("open", path, error))?;
        let log = Log { file, start: Instant::now(), lines: VecDeque::new() };
        let console = Self(Arc::new(Mutex::new(log)));
        let this = console.clone();
        let thread = thread::Builder::new().name("console".into());
        let thread = thread.spawn(move || this.read(BufReader::new(source), &on_line));
        let thread = thread.map_err(|source| Error::Io { doing: "start thread".into(), source })?;
        Ok((console, thread))
    }

    /// The last `count` lines, each with the seconds since the start of QEMU.
    pub(crate) fn tail(&self, count: usize) -> String {
        let log = self.lock();
        let skip = log.lines.len().saturating_sub(count);
        log.lines.iter().skip(skip).fold(String::new(), |all, line| all + line + "\n")
    }

    /// The lines that contain one of these words.
    pub(crate) fn lines_with(&self, words: &[&str]) -> Vec<String> {
        let log = self.lock();
        let hit = |line: &&String| words.iter().any(|word| line.contains(word));
        log.lines.iter().filter(hit).cloned().collect()
    }

    fn read(&self, mut source: impl BufRead, on_line: &OnLine) {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            match source.by_ref().take(LONGEST).read_until(b'\n', &mut bytes) {
                Ok(len) if len > 0 => {}
                // The end of QEMU shows as an end of file or as a reset.
                _ => return,
            }
            let line = printable(&bytes);
            self.keep(&line);
            on_line(&line);
        }
    }

    fn keep(&self, line: &str) {
        let mut log = self.lock();
        let line = format!("{:9.3} {line}", log.start.elapsed().as_secs_f64());
        // A full disk must not stop the reading: the guest would block on its serial port.
        let _ = writeln!(log.file, "{line}");
        if log.lines.len() == KEPT {
            log.lines.pop_front();
        }
        log.lines.push_back(line);
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One line without its end, and without bytes that would confuse a terminal.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim_end_matches(['\r', '\n'])
        .chars()
        .map(|c| if c.is_control() && c != '\t' { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(text: &[u8]) -> (Console, String, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("console.log");
        let (sender, lines) = std::sync::mpsc::channel();
        let on_line = Box::new(move |line: &str| sender.send(line.to_owned()).unwrap());
        let source = std::io::Cursor::new(text.to_vec());
        let (console, thread) = Console::start(source, &path, on_line).unwrap();
        thread.join().unwrap();
        (console, std::fs::read_to_string(path).unwrap(), lines.into_iter().collect())
    }

    #[test]
    fn lines_get_times_and_lose_control_bytes() {
        let (console, file, lines) = console(b"one\r\n\x1b[2Jtwo\n\xffunfinished");
        assert_eq!(lines, ["one", "?[2Jtwo", "\u{fffd}unfinished"]);
        assert_eq!(file.lines().count(), 3);
        assert!(file.lines().next().unwrap().ends_with(" one"), "{file}");
        assert_eq!(console.tail(1).lines().count(), 1);
        assert!(console.tail(1).ends_with("unfinished\n"));
    }

    #[test]
    fn endless_lines_are_cut() {
        let (console, _, lines) = console(&vec![b'x'; 10_000]);
        assert_eq!(lines.len(), 3);
        assert_eq!(console.tail(100).lines().count(), 3);
    }

    #[test]
    fn memory_is_bounded() {
        let (console, file, _) = console("line\n".repeat(KEPT + 10).as_bytes());
        assert_eq!(console.tail(usize::MAX).lines().count(), KEPT);
        assert_eq!(file.lines().count(), KEPT + 10);
    }
}
