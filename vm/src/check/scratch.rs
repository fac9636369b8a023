//! Scratch: a folder that is removed with its owner, and by the next one if that was killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::error::{Error, Result};
use crate::host;

/// How folders begin that belong to a living owner, who holds a lock on them, or to nobody.
const PREFIX: &str = "vm-check-";
/// How folders begin that have no lock yet.
const NEW: &str = "vm-new-check-";

/// A locked folder.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Scratch {
    /// A new folder in the first of these places that has so many bytes free.
    pub(super) fn new(places: &[PathBuf], bytes: u64) -> Result<Self> {
        let mut refusal = Error::invalid("places for crash images", "none is given");
        for place in places {
            match Self::new_in(place, bytes) {
                Ok(scratch) => return Ok(scratch),
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }

    fn new_in(place: &Path, bytes: u64) -> Result<Self> {
        remove_abandoned(place);
        let (need_mib, free_mib) = (bytes.div_ceil(1 << 20), host::free_space(place)?.0.into());
        if need_mib > free_mib {
            let (place, what) = (place.to_owned(), "crash images".to_owned());
            return Err(Error::NoSpace { place, what, need_mib, free_mib });
        }
        let io = |error| Error::io("create a folder in", place, error);
        let folder = tempfile::Builder::new().prefix(NEW).tempdir_in(place).map_err(io)?;
        let lock = File::open(folder.path()).map_err(io)?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
        let lock = lock.map_err(|(_, error)| io(error.into()))?;
        let name = folder.path().file_name().unwrap_or_default().to_string_lossy();
        let path = place.join(name.replacen(NEW, PREFIX, 1));
        fs::rename(folder.path(), &path).map_err(io)?;
        // It is not there under its old name any more.
        let _ = folder.keep();
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Under the lock still. What cannot be removed now is the next owner's.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders whose owners were killed.
fn remove_abandoned(place: &Path) {
    for folder in fs::read_dir(place).into_iter().flatten().flatten() {
        let is_ours = folder.file_name().to_string_lossy().starts_with(PREFIX);
        if !is_ours || !folder.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let lock = File::open(folder.path()).ok();
        let lock = lock.and_then(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock).ok());
        if lock.is_some() {
            // Another one may be faster.
            let _ = fs::remove_dir_all(folder.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner_and_an_abandoned_one_with_the_next() {
        let place = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(place.path()).unwrap().count();
        let abandoned = place.path().join(format!("{PREFIX}old/1"));
        fs::create_dir_all(&abandoned).unwrap();
        let other = place.path().join("other");
        fs::create_dir(&other).unwrap();
        let places = [place.path().to_owned()];
        let first = Scratch::new(&places, 1).unwrap();
        assert!(!abandoned.exists() && other.exists());
        let second = Scratch::new(&places, 1).unwrap();
        assert!(first.path().is_dir() && second.path().is_dir());
        fs::write(first.path().join("file"), "x").unwrap();
        drop((first, second));
        assert_eq!(names(), 1);
    }

    #[test]
    fn a_place_without_room_is_passed_over_and_the_last_one_named() {
        let place = tempfile::tempdir().unwrap();
        let places = [PathBuf::from("/no/such/place"), place.path().to_owned()];
        assert!(Scratch::new(&places, 1).unwrap().path().starts_with(place.path()));
        let error = Scratch::new(&places, u64::MAX).unwrap_err().to_string();
        assert!(error.contains("MiB needed for crash images"), "{error}");
        assert!(error.starts_with(&place.path().display().to_string()), "{error}");
        assert!(Scratch::new(&[], 1).is_err());
    }
}
