//! Lines: what the observer tells, one JSON object a line of a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crash::model::diff::Missing;
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
    /// CUT: power was lost; the last line of a guest's life.
    Cut {
        /// The marker's id.
        cut: u64,
        /// How often it was executed.
        n: u64,
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

/// The file that the lines go to.
#[derive(Debug)]
pub(crate) struct Out(Mutex<File>);

impl Out {
    /// Makes the file anew.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(File::create(path)?)))
    }

    /// Appends one line, which the host can read from then on.
    pub(crate) fn tell(&self, line: &Line) {
        let written = serde_json::to_vec(line).map_err(io::Error::from).and_then(|mut text| {
            text.push(b'\n');
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&text)
        });
        if let Err(error) = written {
            // QEMU's log is all that is left.
            eprintln!("observer: tell {line:?}: {error}");
        }
    }
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
}
