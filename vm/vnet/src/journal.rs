//! Journal: what the device wrote into a window of guest memory, as a file that others read.
//!
//! Nothing else can see a device write: it is no instruction of the guest. Each one is added when
//! its bytes are in memory, and before the used index that tells the guest of it. The format is in
//! `docs/crash-model.md`, "DMA journal"; only this process writes, at the end.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use vm_memory::mmap::MmapRegion;
use vm_memory::{FileOffset, GuestAddress, VolatileMemory};

use crate::error::{Error, Result};
use crate::sync::lock;

const MAGIC: [u8; 8] = *b"PSTDMAJ1";
/// Where the words of the file's head lie, in bytes.
const END_AT: usize = 8;
const FLAGS_AT: usize = 16;
const BASE_AT: usize = 24;
const LEN_AT: usize = 32;
/// Length of the file's head, and of a record's.
const HEAD: usize = 64;
const RECORD_HEAD: usize = 16;
/// Records begin at multiples of this.
const ALIGN: usize = 8;
/// A record did not fit; there are no more.
const FULL: u64 = 1;

/// A piece of guest memory, for example an NVDIMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First guest address.
    pub base: GuestAddress,
    /// Length in bytes.
    pub len: u64,
}

impl Window {
    /// What of `[guest, guest + len)` lies inside, as an offset in the window, and how many bytes
    /// lie before it.
    fn clip(&self, guest: u64, len: usize) -> Option<(u64, usize, usize)> {
        let before = self.base.0.saturating_sub(guest);
        let offset = guest.saturating_sub(self.base.0);
        let room = self.len.checked_sub(offset).filter(|room| *room > 0)?;
        let before = usize::try_from(before).ok()?;
        let inside = len.checked_sub(before).filter(|inside| *inside > 0)?;
        let inside = usize::try_from(room).map_or(inside, |room| inside.min(room));
        Some((offset, before, inside))
    }
}

#[derive(Debug)]
struct Writer {
    map: MmapRegion<()>,
    window: Window,
    end: usize,
    full: bool,
}

/// A handle to a journal; each clone writes to the same one.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Mutex<Writer>>);

impl Journal {
    /// Makes a new file of `capacity` bytes, for what is written into `window`. Its room on the
    /// disk is reserved, because a full disk would kill this process with SIGBUS later.
    ///
    /// # Errors
    /// `Journal`: there is such a file already, no room, or a capacity too small for one byte.
    pub fn create(path: &Path, window: Window, capacity: u64) -> Result<Self> {
        let failed = |source| Error::Journal { path: path.to_owned(), source };
        let map = map(path, capacity).map_err(failed)?;
        let writer = Writer { map, window, end: HEAD, full: false };
        writer.copy(0, &MAGIC);
        writer.copy(BASE_AT, &window.base.0.to_le_bytes());
        writer.copy(LEN_AT, &window.len.to_le_bytes());
        writer.publish();
        Ok(Self(Arc::new(Mutex::new(writer))))
    }

    /// The guest memory whose writes it takes.
    pub fn window(&self) -> Window {
        lock(&self.0).window
    }

    /// Adds what was written at a guest address: `parts`, one behind the other. What lies outside
    /// the window is left out.
    ///
    /// # Panics
    /// If they are 4 GiB or more.
    pub fn add(&self, guest: GuestAddress, parts: &[&[u8]]) {
        let mut writer = lock(&self.0);
        let len = parts.iter().map(|part| part.len()).sum();
        if let Some((offset, before, inside)) = writer.window.clip(guest.0, len) {
            writer.add(offset, parts, before, inside);
        }
    }
}

impl Writer {
    /// Adds one record: `len` bytes of `parts`, after the first `skip`.
    fn add(&mut self, offset: u64, parts: &[&[u8]], skip: usize, len: usize) {
        let end = self.end + RECORD_HEAD + len.next_multiple_of(ALIGN);
        if self.full || end > self.map.size() {
            self.full = true;
            self.store(FLAGS_AT, FULL);
            return;
        }
        let in_record = u32::try_from(len).expect("a write is below 4 GiB");
        self.copy(self.end, &offset.to_le_bytes());
        self.copy(self.end + 8, &in_record.to_le_bytes());
        let (mut at, mut skip, mut left) = (self.end + RECORD_HEAD, skip, len);
        for part in parts {
            let (skipped, part) = part.split_at(skip.min(part.len()));
            let part = &part[..left.min(part.len())];
            self.copy(at, part);
            (at, skip, left) = (at + part.len(), skip - skipped.len(), left - part.len());
        }
        self.end = end;
        self.publish();
    }

    /// Makes everything before `end` visible to readers.
    fn publish(&self) {
        self.store(END_AT, self.end as u64);
    }

    fn store(&self, at: usize, value: u64) {
        let word = self.map.get_atomic_ref::<AtomicU64>(at);
        word.expect("the head is mapped and aligned").store(value.to_le(), Ordering::Release);
    }

    fn copy(&self, at: usize, bytes: &[u8]) {
        let slice = self.map.get_slice(at, bytes.len());
        slice.expect("the record's end was checked").copy_from(bytes);
    }
}

/// A new file, with room for `capacity` bytes, mapped.
fn map(path: &Path, capacity: u64) -> io::Result<MmapRegion<()>> {
    let len = i64::try_from(capacity).map_err(io::Error::other)?;
    let size = usize::try_from(capacity).map_err(io::Error::other)?;
    if size < HEAD + RECORD_HEAD + ALIGN {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no room for a record"));
    }
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    match fallocate(&file, FallocateFlags::empty(), 0, len) {
        // A file system that cannot reserve.
        Err(Errno::EOPNOTSUPP) => file.set_len(capacity)?,
        reserved => reserved?,
    }
    MmapRegion::from_file(FileOffset::new(file, 0), size).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window { base: GuestAddress(0x1000), len: 0x100 };

    #[test]
    fn only_what_lies_in_the_window_is_clipped_out() {
        assert_eq!(WINDOW.clip(0x1000, 16), Some((0, 0, 16)));
        assert_eq!(WINDOW.clip(0xff8, 16), Some((0, 8, 8)), "over the start");
        assert_eq!(WINDOW.clip(0x10f8, 16), Some((0xf8, 0, 8)), "over the end");
        assert_eq!(WINDOW.clip(0xff8, 0x200), Some((0, 8, 0x100)), "over both");
        for (guest, len) in [(0xff0, 16), (0x1100, 16), (0, 16), (u64::MAX, 1), (0x1010, 0)] {
            assert_eq!(WINDOW.clip(guest, len), None, "{guest:#x}+{len}");
        }
    }

    #[test]
    fn a_file_that_is_there_or_too_small_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert!(Journal::create(&path, WINDOW, 80).is_err());
        Journal::create(&path, WINDOW, 88).unwrap();
        let error = Journal::create(&path, WINDOW, 4096).unwrap_err();
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}
