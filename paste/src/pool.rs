//! Pool: a file or device that holds a superblock, a packet log and buffers.
//!
//! ```text
//!   0             4096         8192                        buffers_offset
//!   +------------+------------+-----------------------+---+----------+----------+----
//!   | superblock | log header | log entries, 32 bytes |   | buffer 0 | buffer 1 | ...
//!   +------------+------------+-----------------------+---+----------+----------+----
//! ```
//!
//! What is not certainly a pool, or certainly nothing, is never overwritten unless told to.

mod storage;
pub(crate) mod superblock;

use std::{
    hash::{BuildHasher, RandomState},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use self::{
    storage::Storage,
    superblock::{FORMAT, Flaw, Geometry, MAGIC, PoolId, SUPERBLOCK},
};
use crate::{
    buf::{BufSize, Buffers},
    error::{Error, Result},
    log::header::Header,
    map::{Mapping, PAGE, Words},
    pmem::{
        promise::Promise,
        region::{Granularity, Persist, Region, Volatile},
    },
};

/// Description of a pool before it exists.
#[derive(Debug, Clone)]
pub struct PoolSpec {
    path: PathBuf,
    size: u64,
    buf_size: BufSize,
    log_entries: u32,
    overwrite: bool,
    id: Option<PoolId>,
}

impl PoolSpec {
    /// A pool at `path` with 2048-byte buffers and 65536 log entries, as large as the device or
    /// file is.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let (buf_size, log_entries) = (BufSize::B2048, 1 << 16);
        Self { path: path.into(), size: 0, buf_size, log_entries, overwrite: false, id: None }
    }

    /// Bytes that an ordinary file shall have at least. Devices have the size they have.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        Self { size, ..self }
    }

    /// Size of each buffer.
    #[must_use]
    pub fn buf_size(self, buf_size: BufSize) -> Self {
        Self { buf_size, ..self }
    }

    /// How many entries the log shall have room for: one per packet that is kept.
    #[must_use]
    pub fn log_entries(self, log_entries: u32) -> Self {
        Self { log_entries, ..self }
    }

    /// Whether whatever is at the path may be lost.
    #[must_use]
    pub fn overwrite(self, overwrite: bool) -> Self {
        Self { overwrite, ..self }
    }

    /// The pool's number, instead of a random one.
    #[must_use]
    pub fn id(self, id: PoolId) -> Self {
        Self { id: Some(id), ..self }
    }

    fn plan(&self, size: u64) -> Result<Geometry> {
        // A hasher with random keys is the standard library's only source of randomness.
        let id = self.id.unwrap_or_else(|| PoolId(RandomState::new().hash_one(0)));
        let plan = Geometry::plan(id, size, self.buf_size, self.log_entries);
        plan.map_err(|reason| Error::Geometry { path: self.path.clone(), reason })
    }
}

/// An open pool, locked against other openers. Clones are the same pool.
#[derive(Debug, Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    region: Region,
    buffers: Buffers,
    geometry: Geometry,
    log_taken: AtomicBool,
    /// Holds the lock; absent for memory.
    _storage: Option<Storage>,
}

impl Pool {
    /// Makes a pool. A file that does not exist is created.
    ///
    /// # Errors
    /// `Exists` or `Foreign` if something is there and `overwrite` was not said, `Geometry` if
    /// there is no room, `Busy`, `NotDurable`, `Io`.
    pub fn create(spec: &PoolSpec) -> Result<Self> {
        let mut storage = Storage::open(&spec.path, true)?;
        let path = || spec.path.clone();
        if !spec.overwrite {
            match Geometry::decode(&storage.first_page()?, storage.size()) {
                Err(Flaw::Empty) => {}
                Err(Flaw::Foreign) => return Err(Error::Foreign { path: path() }),
                _ => return Err(Error::Exists { path: path() }),
            }
        }
        let geometry = spec.plan(storage.size_grown_to(spec.size))?;
        storage.grow(spec.size)?;
        storage.settle()?;
        let (words, persist) = storage.map()?;
        Self::format(words, persist, geometry, Some(storage))
    }

    /// Opens a pool.
    ///
    /// # Errors
    /// `NoPool` if there is nothing, `Foreign`, `PoolVersion` or `Corrupt` if there is something
    /// else, `Busy`, `NotDurable`, `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let storage = Storage::open(path.as_ref(), false)?;
        let page = storage.first_page()?;
        let geometry = Geometry::decode(&page, storage.size());
        let geometry = geometry.map_err(|flaw| flawed(storage.path(), flaw))?;
        let (words, persist) = storage.map()?;
        Self::assemble(words, persist, geometry, Some(storage)).settled()
    }

    /// The pool after its superblock was made durable: a program that was killed while it made
    /// the pool may have left it in the caches only. What is written back is what was read.
    fn settled(self) -> Result<Self> {
        let geometry = self.geometry();
        if Geometry::decode(&self.region().load(0), geometry.size) != Ok(geometry) {
            let reason = "the mapping shows another superblock".into();
            return Err(Error::Corrupt { path: "the mapping".into(), reason });
        }
        let mut found = self.region().batch();
        found.cover(0..SUPERBLOCK);
        found.flush().drain()?.promise(Promise::PoolOpened, 0..SUPERBLOCK);
        Ok(self)
    }

    /// Opens a copy of `image` in memory: what a power loss left of a pool.
    ///
    /// # Errors
    /// As `open`, with the path `image`.
    pub fn open_image(image: &[u8]) -> Result<Self> {
        Self::open_image_on(image, Box::new(Volatile))
    }

    pub(crate) fn open_image_on(image: &[u8], persist: Box<dyn Persist>) -> Result<Self> {
        let geometry = Geometry::of_image(image)?;
        let mapping = Mapping::copy_of(image).map_err(Error::io("allocate", "a pool"))?;
        Self::assemble(Words::new(mapping), persist, geometry, None).settled()
    }

    /// Makes a pool of `spec`'s size in memory, for tests; its path is not used.
    ///
    /// # Errors
    /// `Geometry` if there is no room.
    pub fn volatile(spec: &PoolSpec) -> Result<Self> {
        let geometry = spec.plan(spec.size)?;
        let len = usize::try_from(geometry.size).unwrap_or(usize::MAX);
        let mapping = Mapping::heap(len).map_err(Error::io("allocate", "a pool"))?;
        Self::format(Words::new(mapping), Box::new(Volatile), geometry, None)
    }

    fn format(
        words: Words,
        persist: Box<dyn Persist>,
        geometry: Geometry,
        storage: Option<Storage>,
    ) -> Result<Self> {
        let pool = Self::assemble(words, persist, geometry, storage);
        let region = &pool.inner.region;
        let mut pages = [[0; PAGE], Header::first().encode_page(geometry.id)];
        pages[0][..SUPERBLOCK].copy_from_slice(&geometry.encode());
        let (magic, rest) = pages.as_flattened().split_at(MAGIC.len());
        // First no pool, then the parts, then the pool. One word tells, so a cut leaves a pool or
        // none, and never half of one.
        let mut batch = region.batch();
        batch.store(0, &[0; MAGIC.len()]);
        let erased = batch.flush().drain()?;
        let parts = region.publish(MAGIC.len(), rest, &erased)?;
        let made = region.publish(0, magic, &parts)?;
        made.promise(Promise::PoolMade, 0..geometry.header_offset() + PAGE);
        Ok(pool)
    }

    fn assemble(
        words: Words,
        persist: Box<dyn Persist>,
        geometry: Geometry,
        storage: Option<Storage>,
    ) -> Self {
        let start = usize::try_from(geometry.buffers_offset).expect("a mapped pool");
        let divided = words.divide(start, geometry.buf_size.bytes(), geometry.buffers);
        let (words, area) = divided.expect("the geometry was checked against the size");
        let (region, buffers) = (Region::new(words, persist), Buffers::new(area));
        let log_taken = AtomicBool::new(false);
        let inner = Inner { region, buffers, geometry, log_taken, _storage: storage };
        Self { inner: Arc::new(inner) }
    }

    /// What lies where.
    pub fn geometry(&self) -> Geometry {
        self.inner.geometry
    }

    /// What makes stores durable here.
    pub fn granularity(&self) -> Granularity {
        self.inner.region.granularity()
    }

    /// The bytes of the pool now, as a reader of the memory would see them.
    pub fn image(&self) -> Vec<u8> {
        self.inner.region.snapshot()
    }

    pub(crate) fn region(&self) -> &Region {
        &self.inner.region
    }

    pub(crate) fn buffers(&self) -> &Buffers {
        &self.inner.buffers
    }

    /// The range of buffer bytes in the region.
    pub(crate) fn bytes_of(&self, index: u32, range: Range<usize>) -> Range<usize> {
        let start = self.inner.buffers.area().offset(index);
        start + range.start..start + range.end
    }

    /// The log is recovered once per opening: its buffers have one owner.
    pub(crate) fn take_log(&self) -> Result<()> {
        if self.inner.log_taken.swap(true, Ordering::AcqRel) {
            return Err(Error::Busy { what: "the pool's log".into() });
        }
        Ok(())
    }
}

impl Geometry {
    /// What the first page of an image says.
    pub(crate) fn of_image(image: &[u8]) -> Result<Self> {
        let whole = image.first_chunk::<PAGE>().map(|page| Self::decode(page, image.len() as u64));
        let geometry = whole.unwrap_or_else(|| {
            let mut page = [0; PAGE];
            page[..image.len()].copy_from_slice(image);
            Self::decode(&page, image.len() as u64)
        });
        geometry.map_err(|flaw| flawed(Path::new("image"), flaw))
    }
}

fn flawed(path: &Path, flaw: Flaw) -> Error {
    let path = path.to_path_buf();
    match flaw {
        Flaw::Empty => Error::NoPool { path },
        Flaw::Foreign => Error::Foreign { path },
        Flaw::Version(found) => Error::PoolVersion { path, found, known: FORMAT },
        Flaw::Corrupt(reason) => Error::Corrupt { path, reason },
    }
}

const _: () = assert!(SUPERBLOCK <= PAGE);
