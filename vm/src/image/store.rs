//! Store: what the cache holds, to be shown, checked and taken away by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Progress;
use super::cache::{Cache, Found};
use crate::error::{Error, Result};
use crate::spec::BootFiles;

/// Everything that is an entry.
const KINDS: [&str; 3] = ["roots", "initrds", "modules"];

/// An entry of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `roots`, `initrds` or `modules`.
    pub kind: &'static str,
    /// Hash of what it was made from.
    pub key: String,
    /// Room that it takes, in bytes.
    pub bytes: u64,
    /// When it was used last.
    pub used: SystemTime,
    dir: PathBuf,
}

/// The entries of a cache folder, those used last first; none if there is no such folder.
pub fn list(cache: &Path) -> Vec<Stored> {
    let mut found: Vec<_> = KINDS.iter().flat_map(|kind| entries(cache, kind)).collect();
    found.sort_by_key(|stored| std::cmp::Reverse(stored.used));
    found
}

fn entries(cache: &Path, kind: &'static str) -> Vec<Stored> {
    let entries = fs::read_dir(cache.join(kind)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry)));
    // A name that begins with a dot is an entry in the making.
    let finished = names.filter(|(name, _)| !name.starts_with('.'));
    let stored = |(key, entry): (String, fs::DirEntry)| {
        let dir = entry.path();
        let record = fs::metadata(dir.join("record.json")).and_then(|record| record.modified());
        let used = record.unwrap_or(SystemTime::UNIX_EPOCH);
        Stored { kind, key, bytes: size(&dir), used, dir }
    };
    finished.map(stored).collect()
}

/// Room that a folder's files take; what cannot be read counts as nothing.
fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

impl Stored {
    /// Compares every file with its recorded hash.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names what has changed.
    pub fn verify(&self, cache: &Path) -> Result<()> {
        match Cache::open(cache)?.find(self.kind, &self.key) {
            Found::Whole(entry) => entry.verify(),
            Found::Absent => Err(Error::invalid(self.dir.display().to_string(), "is gone")),
            Found::Damaged(why) => Err(Error::invalid(self.dir.display().to_string(), why)),
        }
    }
}

/// Takes entries away; it waits for a build that is running. Guests that run keep what they have
/// open.
///
/// # Errors
/// [`Error::Io`] for one that cannot be taken away; the ones before it are gone.
pub fn remove(cache: &Path, entries: &[Stored], progress: Progress<'_>) -> Result<()> {
    let cache = Cache::open(cache)?;
    let _writer = cache.lock(progress)?;
    for Stored { dir, .. } in entries {
        // Under a name that every build sweeps away, so that half an entry is never found.
        let parent = dir.parent().unwrap_or(dir);
        let aside = super::cache::temporary(parent)?;
        fs::rename(dir, aside.path()).map_err(|error| Error::io("remove", dir, error))?;
        aside.close().map_err(|error| Error::io("remove", dir, error))?;
    }
    Ok(())
}

/// What the newest guest in a cache boots from, if a whole one is there; nothing is built.
pub fn newest(cache: &Path) -> Option<BootFiles> {
    let stored = list(cache);
    let dir = |kind| stored.iter().find(|stored| stored.kind == kind).map(|s| s.dir.clone());
    let (root, initrd) = (dir("roots")?, dir("initrds")?);
    let files = BootFiles {
        kernel: root.join(super::root::KERNEL),
        initrd: initrd.join("initrd.cpio"),
        root: Some(root.join(super::root::ROOT)),
    };
    let is_whole = files.kernel.is_file() && files.initrd.is_file();
    is_whole.then_some(files)
}

#[cfg(test)]
mod tests {
    use super::super::cache::Content;
    use super::*;

    #[test]
    fn entries_are_listed_checked_and_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(list(dir.path()), []);
        let cache = Cache::open(dir.path()).unwrap();
        let writer = cache.lock(&mut |_| ()).unwrap();
        for key in ["one", "two"] {
            let fill = |dir: &Path| {
                fs::write(dir.join("file"), key.repeat(40_000)).unwrap();
                Ok(Content { files: vec!["file".into()], ..Content::default() })
            };
            writer.publish("modules", key, fill).unwrap();
        }
        drop(writer);
        let stored = list(dir.path());
        assert_eq!(stored.len(), 2);
        assert!(stored.iter().all(|entry| entry.bytes > 120_000));
        assert!(stored.iter().all(|entry| entry.verify(dir.path()).is_ok()));
        let one = stored.iter().find(|entry| entry.key == "one").unwrap().clone();
        fs::write(one.dir.join("file"), "eno".repeat(40_000)).unwrap();
        assert!(one.verify(dir.path()).unwrap_err().to_string().contains("other content"));
        remove(dir.path(), std::slice::from_ref(&one), &mut |_| ()).unwrap();
        assert!(one.verify(dir.path()).is_err());
        let left = list(dir.path());
        assert_eq!((left.len(), left[0].key.as_str()), (1, "two"));
        assert!(newest(dir.path()).is_none());
    }
}
