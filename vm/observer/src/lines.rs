//! Lines: what the observer tells, one JSON object a line of a file.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crash::model::diff::Missing;
use crash::{Marker, Op};
use serde::Serialize;

/// One line.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Line {
    /// STATS: how far a virtual CPU had come.
    Stats {
        /// The marker's number.
        stats: u64,
        /// The CPU that executed the marker.
        vcpu: u32,
        /// Instructions that all CPUs have executed since the guest's start, to the end of the
        /// translated block that holds the marker.
        instructions: u64,
    },
    /// `ASSERT_PERSISTED`: what of the range is not durable.
    Asserted {
        /// The marker's id.
        asserted: u64,
        /// The marker's address.
        pc: u64,
        /// What should be durable and is not.
        missing: Vec<Missing>,
        /// Bytes of the range that lie elsewhere than in the NVDIMM, or nowhere.
        outside: u64,
    },
    /// SNAP: a crash state was kept.
    Kept {
        /// The marker's id.
        kept: u64,
        /// How often it was executed.
        n: u64,
        /// The name of the state's file.
        state: String,
    },
    /// CUT, or a marker at which a cut was asked for: power was lost; the last line of a guest's
    /// life.
    Cut {
        /// The marker's id, 0 if it has none.
        cut: u64,
        /// How often it was executed; since a cut was asked for, if that is why.
        n: u64,
        /// The marker's operation.
        op: Op,
    },
    /// DISARM, or the end: a trace is complete.
    Recorded {
        /// The name of its folder.
        recorded: String,
        /// Its events.
        events: u64,
    },
    /// A flush named a page that its program had not touched; told once for each instruction.
    Unmapped {
        /// The instruction's address.
        unmapped: u64,
    },
    /// Something did not work; what was told before stands.
    Failed {
        /// What, and why.
        failed: String,
    },
}

impl Line {
    /// Power is lost at a marker.
    pub(crate) fn cut(marker: &Marker, n: u64) -> Self {
        Self::Cut { cut: marker.id().unwrap_or_default(), n, op: marker.op }
    }
}
/// The most bytes of lines: a guest that executes markers for ever fills nobody's disk.
const MOST: u64 = 64 << 20;

/// The file that the lines go to.
#[derive(Debug)]
pub(crate) struct Out(Mutex<Lines>);

#[derive(Debug)]
struct Lines {
    file: File,
    written: u64,
    most: u64,
    /// Whether the last line was told, which says that the others are not all.
    is_closed: bool,
}

impl Out {
    /// Makes the file anew.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Self::with_most(path, MOST)
    }

    fn with_most(path: &Path, most: u64) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(Self(Mutex::new(Lines { file, written: 0, most, is_closed: false })))
    }

    /// Appends one line, which the host can read from then on. Ends QEMU if not even a failure
    /// can be told: a host that hears nothing would take that for a good sign.
    pub(crate) fn tell(&self, line: &Line) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = lines.tell(line) {
            // QEMU's log is all that is left.
            eprintln!("observer: tell {line:?}: {error}");
            std::process::abort();
        }
    }
}

impl Lines {
    fn tell(&mut self, line: &Line) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let text = text(line)?;
        if self.written + text.len() as u64 > self.most {
            let most = self.most;
            return self.close(format!("keep more than {most} bytes of lines: the rest is lost"));
        }
        match self.file.write_all(&text) {
            Ok(()) => self.written += text.len() as u64,
            Err(error) => self.close(format!("tell a line, and all that follow: {error}"))?,
        }
        Ok(())
    }

    /// Tells a failure as the last line; where there is no room, in that of the others.
    fn close(&mut self, failed: String) -> io::Result<()> {
        self.is_closed = true;
        let text = text(&Line::Failed { failed })?;
        self.cut(self.written).and_then(|()| self.file.write_all(&text)).or_else(|_| {
            self.cut(0)?;
            self.file.write_all(&text)
        })
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        self.file.seek(SeekFrom::Start(len)).map(drop)
    }
}

fn text(line: &Line) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_is_a_line() {
        let path = std::env::temp_dir().join(format!("observer-{}", std::process::id()));
        let out = Out::create(&path).unwrap();
        out.tell(&Line::Stats { stats: 1, vcpu: 0, instructions: 70 });
        let missing = vec![Missing { line: crash::Line(5), is_pending: true }];
        out.tell(&Line::Asserted { asserted: 2, pc: 3, missing, outside: 0 });
        out.tell(&Line::Recorded { recorded: "1".into(), events: 4 });
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            text,
            "{\"stats\":1,\"vcpu\":0,\"instructions\":70}\n\
             {\"asserted\":2,\"pc\":3,\"missing\":[{\"line\":5,\"is_pending\":true}],\
             \"outside\":0}\n\
             {\"recorded\":\"1\",\"events\":4}\n"
        );
    }

    #[test]
    fn a_million_lines_end_with_one_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let out = Out::with_most(&path, 1000).unwrap();
        for unmapped in 0..1_000_000 {
            out.tell(&Line::Unmapped { unmapped });
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("{\"unmapped\":0}\n{\"unmapped\":1}\n"), "{text}");
        let last = text.lines().last().unwrap();
        let expected = "{\"failed\":\"keep more than 1000 bytes of lines: the rest is lost\"}";
        assert_eq!((last, text.matches("failed").count()), (expected, 1));
        assert!((900..1100).contains(&text.len()), "{}", text.len());
    }

    #[test]
    fn a_line_that_cannot_be_told_is_never_passed_over() {
        let out = Out::create(Path::new("/dev/full")).unwrap();
        let told = out.0.lock().unwrap().tell(&Line::Unmapped { unmapped: 1 });
        assert!(told.is_err(), "{told:?}");
    }

    #[test]
    fn a_failure_takes_the_place_of_a_line_that_was_cut_short() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        let out = Out::create(&path).unwrap();
        out.tell(&Line::Unmapped { unmapped: 1 });
        let mut lines = out.0.lock().unwrap();
        lines.file.write_all(b"{\"unma").unwrap();
        lines.close("no room".into()).unwrap();
        lines.tell(&Line::Unmapped { unmapped: 2 }).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"unmapped\":1}\n{\"failed\":\"no room\"}\n");
    }
}
