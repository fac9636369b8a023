//! Added: the packages and files that set-up brought to this machine, kept as `setup.json`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::process::Program;

const NAME: &str = "setup.json";

/// What set-up added to this machine, over all its runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// Packages by name, dependencies included.
    pub packages: Vec<String>,
    /// Files outside of packages.
    pub files: Vec<String>,
}

impl Added {
    /// Reads the notes in a state folder; none count as nothing added.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Invalid`] if the notes are damaged.
    pub fn read(state: &Path) -> Result<Self> {
        let path = state.join(NAME);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| Error::invalid(path.display().to_string(), error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(Error::io("read", &path, error)),
        }
    }

    pub(super) fn write(&self, state: &Path) -> Result<()> {
        fs::create_dir_all(state).map_err(|e| Error::io("create", state, e))?;
        let text = serde_json::to_vec_pretty(self).expect("notes are plain data");
        let path = state.join(NAME);
        let new =
            tempfile::NamedTempFile::new_in(state).map_err(|e| Error::io("write", state, e))?;
        fs::write(new.path(), text).map_err(|e| Error::io("write", new.path(), e))?;
        new.as_file().sync_all().map_err(|e| Error::io("sync", new.path(), e))?;
        new.persist(&path).map_err(|e| Error::io("write", &path, e.error))?;
        Ok(())
    }

    fn add(
        &mut self,
        packages: impl IntoIterator<Item = String>,
        files: impl IntoIterator<Item = String>,
    ) {
        self.packages.extend(packages);
        self.packages.sort();
        self.packages.dedup();
        self.files.extend(files);
        self.files.sort();
        self.files.dedup();
    }
}

/// The packages that are installed now.
pub(super) fn installed() -> Result<BTreeSet<String>> {
    let format = "-f=${db:Status-Abbrev}${Package}\n";
    let text = Program::new("dpkg-query").args(["-W", format]).run_ok()?.text();
    Ok(text.lines().filter_map(|line| line.strip_prefix("ii ")).map(str::to_owned).collect())
}

/// Writes down what is new since `before`, and which of `files` exist.
pub(super) fn note(state: &Path, before: &BTreeSet<String>, files: &[&str]) -> Result<()> {
    let mut added = Added::read(state)?;
    let files = files.iter().filter(|file| Path::new(file).exists());
    added.add(installed()?.difference(before).cloned(), files.map(|&file| file.to_owned()));
    added.write(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_grow_and_survive() {
        let state = tempfile::tempdir().unwrap();
        let dir = state.path().join("new");
        assert_eq!(Added::read(&dir).unwrap(), Added::default());
        let mut added = Added::default();
        added.add(["lz4".to_owned(), "kmod".to_owned()], ["/x".to_owned()]);
        added.write(&dir).unwrap();
        let mut again = Added::read(&dir).unwrap();
        again.add(["kmod".to_owned()], ["/x".to_owned()]);
        assert_eq!(again, added);
        fs::write(dir.join(NAME), "{").unwrap();
        assert!(Added::read(&dir).unwrap_err().to_string().contains("setup.json"));
    }
}
