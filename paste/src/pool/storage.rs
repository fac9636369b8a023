//! Storage: the file or device under a pool, locked, and mapped with what makes it durable.

use std::{
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{FileExt, FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, posix_fallocate},
    sys::stat,
};

use crate::{
    error::{Error, Result},
    map::{Mapping, PAGE, Words},
    pmem::{cpu::WriteBack, page::PageCache, region::Persist},
};

/// An open file or device; nobody else has it open as a pool.
#[derive(Debug)]
pub(crate) struct Storage {
    file: Flock<File>,
    path: PathBuf,
    size: u64,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    /// A device without a page cache: only flushes by the CPU can make it durable.
    Devdax,
}

impl Storage {
    /// Opens what is at `path`; with `create` an ordinary file is made if nothing is there.
    pub(crate) fn open(path: &Path, create: bool) -> Result<Self> {
        let what = path.display().to_string();
        let file = File::options().read(true).write(true).create(create).truncate(false).open(path);
        let file = match file {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !create => {
                return Err(Error::NoPool { path: path.into() });
            }
            file => file.map_err(Error::io("open", &what))?,
        };
        let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Err((_, Errno::EWOULDBLOCK)) => return Err(Error::Busy { what }),
            file => file.map_err(|(_, errno)| errno).map_err(Error::io("lock", &what))?,
        };
        let metadata = file.metadata().map_err(Error::io("examine", &what))?;
        let (kind, size) = if metadata.file_type().is_char_device() {
            (Kind::Devdax, devdax_size(path, &metadata)?)
        } else {
            (Kind::File, metadata.len())
        };
        Ok(Self { file, path: path.into(), size, kind })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that there are.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that there will be after `grow`: a device stays as large as it is.
    pub(crate) fn size_grown_to(&self, size: u64) -> u64 {
        if self.kind == Kind::Devdax { self.size } else { size.max(self.size) }
    }

    /// The first page (a shorter file is continued with zeros), before anything is changed.
    pub(crate) fn first_page(&self) -> Result<[u8; PAGE]> {
        let mut page = [0; PAGE];
        if self.kind == Kind::Devdax {
            // A dax device has no read(); the whole of it is what may be mapped.
            let words = Words::new(self.map_synchronous()?);
            return Ok(words.load(0).expect("a dax device has a page"));
        }
        let len = PAGE.min(usize::try_from(self.size).unwrap_or(PAGE));
        let read = self.file.read_exact_at(&mut page[..len], 0);
        read.map_err(Error::io("read", self.path.display()))?;
        Ok(page)
    }

    /// Makes an ordinary file at least `size` bytes long, with all its blocks, so that no store
    /// meets a full disk later.
    pub(crate) fn grow(&mut self, size: u64) -> Result<()> {
        if self.kind == Kind::Devdax {
            return Ok(());
        }
        let size = self.size_grown_to(size);
        if size != 0 {
            let len = i64::try_from(size).map_err(io::Error::other);
            let len = len.map_err(Error::io("extend", self.path.display()))?;
            let grown = posix_fallocate(&*self.file, 0, len);
            grown.map_err(Error::io("extend", self.path.display()))?;
        }
        self.size = size;
        Ok(())
    }

    /// Makes an ordinary file itself durable: its name, its length, its blocks.
    pub(crate) fn settle(&self) -> Result<()> {
        if self.kind == Kind::Devdax {
            return Ok(());
        }
        let path = self.path.canonicalize();
        let folder = path.and_then(|path| File::open(path.parent().unwrap_or(Path::new("/"))));
        let synced =
            folder.and_then(|folder| self.file.sync_all().and_then(|()| folder.sync_all()));
        synced.map_err(Error::io("sync", self.path.display()))
    }

    /// Maps it all.
    pub(crate) fn map(&self) -> Result<(Words, Box<dyn Persist>)> {
        match self.map_synchronous() {
            Ok(mapping) => match WriteBack::detect() {
                Some(write_back) => Ok((Words::new(mapping), Box::new(write_back))),
                None => Err(self.not_durable("this CPU's cache write-back is not known")),
            },
            Err(Error::Io { source, .. })
                if self.kind == Kind::File && page_cache_only(&source) =>
            {
                let mapping = Mapping::file(&self.file, self.len()?, false);
                let mapping = mapping.map_err(Error::io("map", self.path.display()))?;
                Ok((Words::new(mapping), Box::new(PageCache::default())))
            }
            Err(Error::Io { source, .. }) if self.kind == Kind::Devdax => {
                Err(self.not_durable(&format!("mmap with MAP_SYNC: {source}")))
            }
            Err(error) => Err(error),
        }
    }

    fn map_synchronous(&self) -> Result<Mapping> {
        let mapping = Mapping::file(&self.file, self.len()?, true);
        mapping.map_err(Error::io("map", self.path.display()))
    }

    fn len(&self) -> Result<usize> {
        let len = usize::try_from(self.size).map_err(io::Error::other);
        len.map_err(Error::io("map", self.path.display()))
    }

    fn not_durable(&self, reason: &str) -> Error {
        Error::NotDurable { what: self.path.display().to_string(), reason: reason.into() }
    }
}

/// `EOPNOTSUPP`: not DAX. `EINVAL`: a kernel before 4.15. The page cache will do for files.
fn page_cache_only(refusal: &io::Error) -> bool {
    let errno = refusal.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EOPNOTSUPP | Errno::EINVAL))
}

/// A dax device's size is only in sysfs (drivers/dax/bus.c, attribute `size`).
fn devdax_size(path: &Path, metadata: &Metadata) -> Result<u64> {
    let (major, minor) = (stat::major(metadata.rdev()), stat::minor(metadata.rdev()));
    let file = format!("/sys/dev/char/{major}:{minor}/size");
    let text = fs::read_to_string(&file).map_err(Error::io("read the size of", path.display()))?;
    let size = text.trim().parse().map_err(io::Error::other);
    size.map_err(Error::io("read the size of", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_device_that_is_no_dax_device_is_refused() {
        let error = Storage::open(Path::new("/dev/null"), false).unwrap_err();
        assert_eq!(error.to_string(), "read the size of /dev/null");
    }

    #[test]
    fn an_absent_file_holds_no_pool() {
        let error = Storage::open(Path::new("/nonexistent/pool"), false).unwrap_err();
        assert!(matches!(error, Error::NoPool { .. }));
        let error = Storage::open(Path::new("/nonexistent/pool"), true).unwrap_err();
        assert_eq!(error.to_string(), "open /nonexistent/pool");
    }
}
