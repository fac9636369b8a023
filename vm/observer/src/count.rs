//! Count: instruction counts at markers, as lines of a file.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// How far a virtual CPU had come when it told.
#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    /// The marker's number.
    #[serde(rename = "stats")]
    pub(crate) number: u64,
    /// The CPU that executed the marker.
    pub(crate) vcpu: u32,
    /// Instructions that all CPUs have executed since the guest's start, to the end of the
    /// translated block that holds the marker.
    pub(crate) instructions: u64,
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
    pub(crate) fn tell(&self, stats: &Stats) -> io::Result<()> {
        let mut line = serde_json::to_vec(stats)?;
        line.push(b'\n');
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_marker_is_a_line() {
        let path = std::env::temp_dir().join(format!("observer-{}", std::process::id()));
        let out = Out::create(&path).unwrap();
        out.tell(&Stats { number: 1, vcpu: 0, instructions: 70 }).unwrap();
        out.tell(&Stats { number: 2, vcpu: 1, instructions: 80 }).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            text,
            "{\"stats\":1,\"vcpu\":0,\"instructions\":70}\n\
             {\"stats\":2,\"vcpu\":1,\"instructions\":80}\n"
        );
    }
}
