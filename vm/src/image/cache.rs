//! Cache: finished entries under their key; an entry is whole or absent, whatever happens.
//!
//! An entry is a directory `KIND/KEY` that holds files, perhaps a tree, and `record.json` with
//! size, time and hash of every file. It is written beside its place, made durable and renamed.
//! Only the holder of the cache's lock writes; reading needs no lock.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{Progress, hash};
use crate::error::{Error, Result};

const RECORD: &str = "record.json";
const TEMPORARY: &str = ".new-";
/// A file up to this size is hashed whenever its entry is used.
const SMALL: u64 = 64 << 10;
/// What is not used for this long is removed when something new is made.
const KEEP: Duration = Duration::from_hours(30 * 24);

/// A directory of entries.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    dir: PathBuf,
}

/// A finished entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) dir: PathBuf,
    record: Record,
}

/// What was found under a key.
#[derive(Debug)]
pub(crate) enum Found {
    Whole(Entry),
    Absent,
    /// Something is wrong with the entry: what.
    Damaged(String),
}

/// The right to write; gone when dropped, also when the process dies.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    cache: &'a Cache,
    _lock: Flock<File>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Record {
    files: Vec<FileRecord>,
    tree: Option<TreeRecord>,
    /// A fact that the maker of the entry wants to read back.
    note: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct FileRecord {
    name: String,
    size: u64,
    modified: (i64, i64),
    sha256: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct TreeRecord {
    name: String,
    entries: u64,
    bytes: u64,
}

/// What a maker put into a new entry.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) files: Vec<String>,
    pub(crate) tree: Option<&'static str>,
    pub(crate) note: String,
}

impl Cache {
    /// Opens (or makes) a cache.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        // Absolute, because programs run with other working directories.
        let dir = dir.canonicalize().map_err(|e| Error::io("open", dir, e))?;
        Ok(Self { dir })
    }

    /// A folder of the cache that is not an entry (downloads, package lists).
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).map_err(|e| Error::io("create", &dir, e))?;
        Ok(dir)
    }

    /// Looks an entry up. Sizes are compared; a file is hashed if it is small or was touched.
    pub(crate) fn find(&self, kind: &str, key: &str) -> Found {
        let dir = self.dir.join(kind).join(key);
        if !dir.exists() {
            return Found::Absent;
        }
        let record = match fs::read(dir.join(RECORD)) {
            Ok(text) => serde_json::from_slice(&text).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let entry = match record {
            Ok(record) => Entry { dir, record },
            Err(why) => return Found::Damaged(format!("{}: {why}", dir.join(RECORD).display())),
        };
        match entry.check(false) {
            Ok(()) => {
                touch(&entry.dir.join(RECORD));
                Found::Whole(entry)
            }
            Err(why) => Found::Damaged(why),
        }
    }

    /// Waits for the right to write, saying so if another process has it.
    pub(crate) fn lock(&self, progress: Progress<'_>) -> Result<Writer<'_>> {
        let path = self.dir.join("lock");
        let open = || {
            let mut options = File::options();
            options.create(true).truncate(false).write(true).open(&path)
        };
        let mut file = open().map_err(|e| Error::io("open", &path, e))?;
        let mut how = FlockArg::LockExclusiveNonblock;
        let lock = loop {
            match Flock::lock(file, how) {
                Ok(lock) => break lock,
                Err((same, Errno::EWOULDBLOCK)) => {
                    progress("another build is running here: waiting for it");
                    (file, how) = (same, FlockArg::LockExclusive);
                }
                Err((_, errno)) => return Err(Error::io("lock", &path, errno.into())),
            }
        };
        Ok(Writer { cache: self, _lock: lock })
    }
}

impl Writer<'_> {
    /// Makes the entry: `fill` writes into an empty directory, which then becomes the entry. An
    /// entry that was there before is replaced.
    pub(crate) fn publish(
        &self,
        kind: &str,
        key: &str,
        fill: impl FnOnce(&Path) -> Result<Content>,
    ) -> Result<Entry> {
        let parent = self.cache.folder(kind)?;
        remove_leftovers(&parent);
        remove_unused(&parent, |entry| entry.join(RECORD));
        let temporary = temporary(&parent)?;
        let content = fill(temporary.path())?;
        let record = Record::of(temporary.path(), content)?;
        let text = serde_json::to_vec_pretty(&record).expect("a record is plain data");
        let path = temporary.path().join(RECORD);
        fs::write(&path, text).map_err(|e| Error::io("write", &path, e))?;
        let dir = parent.join(key);
        settle(temporary, &parent, &dir)?;
        Ok(Entry { dir, record })
    }
}

/// Makes the new directory durable and gives it its name.
fn settle(temporary: TempDir, parent: &Path, dir: &Path) -> Result<()> {
    let handle = File::open(parent).map_err(|e| Error::io("open", parent, e))?;
    nix::unistd::syncfs(&handle).map_err(|e| Error::io("sync", parent, e.into()))?;
    let mut aside = None;
    if dir.exists() {
        let old = self::temporary(parent)?;
        fs::rename(dir, old.path()).map_err(|e| Error::io("move aside", dir, e))?;
        aside = Some(old);
    }
    fs::rename(temporary.path(), dir).map_err(|e| Error::io("create", dir, e))?;
    // It has its final name now: nothing to clean up any more.
    let _ = temporary.keep();
    drop(aside);
    handle.sync_all().map_err(|e| Error::io("sync", parent, e))
}

/// A folder that [`remove_leftovers`] removes if nobody else did.
pub(super) fn temporary(parent: &Path) -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    let made = builder.prefix(TEMPORARY).tempdir_in(parent);
    made.map_err(|e| Error::io("create folder in", parent, e))
}

/// Removes what a killed build left. Only the holder of the lock writes, so nobody uses it.
pub(super) fn remove_leftovers(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in
        entries.filter(|e| e.file_name().as_encoded_bytes().starts_with(TEMPORARY.as_bytes()))
    {
        // A leftover that stays costs room, nothing else.
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// Notes that something is in use.
pub(super) fn touch(path: &Path) {
    // Someone else's cache can be used, too; its owner keeps it.
    let _ = File::options().append(true).open(path).and_then(|f| f.set_modified(SystemTime::now()));
}

/// Removes what nobody used for a long time; `stamp` is the file of an entry that tells.
pub(super) fn remove_unused(parent: &Path, stamp: impl Fn(&Path) -> PathBuf) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let used = fs::metadata(stamp(&entry.path())).and_then(|stamp| stamp.modified());
        let age = used.ok().and_then(|used| used.elapsed().ok());
        if age.is_some_and(|age| age > KEEP) {
            let path = entry.path();
            // What stays costs room, nothing else.
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

impl Entry {
    /// A file of the entry.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What the maker noted.
    pub(crate) fn note(&self) -> &str {
        &self.record.note
    }

    /// Compares every byte that has a recorded hash, and the tree's size.
    pub(crate) fn verify(&self) -> Result<()> {
        self.check(true).map_err(|why| Error::invalid(self.dir.display().to_string(), why))
    }

    fn check(&self, whole: bool) -> std::result::Result<(), String> {
        for record in &self.record.files {
            self.check_file(record, whole).map_err(|why| format!("{} {why}", record.name))?;
        }
        match &self.record.tree {
            Some(tree) if whole => {
                let now = TreeRecord::of(&self.dir, &tree.name).map_err(|e| e.to_string())?;
                if now == *tree { Ok(()) } else { Err(format!("{} has changed", tree.name)) }
            }
            Some(tree) if !self.dir.join(&tree.name).is_dir() => {
                Err(format!("{} is missing", tree.name))
            }
            _ => Ok(()),
        }
    }

    fn check_file(&self, record: &FileRecord, whole: bool) -> std::result::Result<(), String> {
        let path = self.dir.join(&record.name);
        let metadata = fs::metadata(&path).map_err(|error| error.to_string())?;
        if metadata.len() != record.size {
            return Err(format!("has {} bytes instead of {}", metadata.len(), record.size));
        }
        let touched = modified(&metadata) != record.modified;
        if !whole && !touched && record.size > SMALL {
            return Ok(());
        }
        match hash::file(&path) {
            Ok(sha256) if sha256 == record.sha256 => Ok(()),
            Ok(_) => Err("has other content than when it was made".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Record {
    fn of(dir: &Path, content: Content) -> Result<Self> {
        let file = |name: &String| {
            let path = dir.join(name);
            let metadata = fs::metadata(&path).map_err(|e| Error::io("read", &path, e))?;
            Ok(FileRecord {
                name: name.clone(),
                size: metadata.len(),
                modified: modified(&metadata),
                sha256: hash::file(&path)?,
            })
        };
        let files = content.files.iter().map(file).collect::<Result<_>>()?;
        let tree = content.tree.map(|name| TreeRecord::of(dir, name)).transpose()?;
        Ok(Self { files, tree, note: content.note })
    }
}

impl TreeRecord {
    fn of(dir: &Path, name: &str) -> Result<Self> {
        let mut record = Self { name: name.to_owned(), ..Self::default() };
        let mut folders = vec![dir.join(name)];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(|e| Error::io("read", &folder, e))? {
                let entry = entry.map_err(|e| Error::io("read", &folder, e))?;
                let metadata = entry.metadata().map_err(|e| Error::io("read", &entry.path(), e))?;
                record.entries += 1;
                if metadata.is_file() {
                    record.bytes += metadata.len();
                } else if metadata.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        Ok(record)
    }
}

fn modified(metadata: &fs::Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
