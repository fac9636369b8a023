//! Watch: what the observer, a plugin of QEMU, sees of a guest.
//!
//! The guest asks for the counters with a marker; the observer appends them to a file as one line
//! of JSON. See `observer` for both ends' words.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};

/// How a guest is watched.
#[derive(Debug, Clone)]
pub struct Watch {
    pub(crate) library: PathBuf,
    pub(crate) out: PathBuf,
}

/// The counters at one marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Stats {
    /// The marker's number.
    #[serde(rename = "stats")]
    pub number: u64,
    /// The virtual CPU that executed it.
    pub vcpu: u32,
    /// Instructions that all virtual CPUs have executed since the guest's start.
    pub instructions: u64,
}

impl Watch {
    /// `library` is the observer, built; `out` is the file that it makes anew.
    pub fn new(library: &Path, out: &Path) -> Self {
        Self { library: library.to_owned(), out: out.to_owned() }
    }

    /// What was told so far, in order.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read, [`Error::Invalid`] for a line that the observer
    /// did not write. A line that is being written is left out.
    pub fn stats(&self) -> Result<Vec<Stats>> {
        let text = std::fs::read_to_string(&self.out);
        let text = text.map_err(|error| Error::io("read", &self.out, error))?;
        parse(&text).map_err(|why| Error::invalid(self.out.display().to_string(), why))
    }
}

fn parse(text: &str) -> std::result::Result<Vec<Stats>, String> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let line = |line| serde_json::from_str(line).map_err(|why| format!("{line:?}: {why}"));
    whole.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_read_and_foreign_ones_refused() {
        let first = r#"{"stats":1,"vcpu":0,"instructions":70}"#;
        let stats = Stats { number: 1, vcpu: 0, instructions: 70 };
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse(first), Ok(vec![]));
        assert_eq!(parse(&format!("{first}\n{{\"sta")), Ok(vec![stats]));
        assert!(parse("{\"stats\":1}\n").unwrap_err().contains("vcpu"));
    }
}
