//! Memory table: the frontend's memory-table regions, mapped, and the way from a guest address to a
//! file offset.
//!
//! A frontend shares each region as a file descriptor. Rings are given by the frontend's own
//! (user) addresses, buffers by guest addresses; both are resolved here, and nothing outside a
//! mapped region can be reached: every access is bounds-checked by `vm_memory`'s volatile slices.
//! The mapping is shared with a running guest, so all data are read by volatile copies.
//! [`MemRegion::write`] and [`MemRegion::store`] are the only two ways by which this crate changes
//! guest memory; both tell the journal.
//!
//! A file that its owner truncates while it is mapped ends this process with SIGBUS; regions that
//! are longer than their file are refused when they arrive.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use vm_memory::mmap::MmapRegion;
use vm_memory::{Bytes, VolatileMemory, VolatileSlice};

pub use vm_memory::GuestAddress;

use crate::journal::Journal;

/// A file, whatever its name: device and inode number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId {
    /// Device number (`st_dev`).
    pub dev: u64,
    /// Inode number (`st_ino`).
    pub ino: u64,
}

impl FileId {
    /// Identifies an open file.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub fn of_file(file: &File) -> io::Result<Self> {
        file.metadata().map(|meta| Self { dev: meta.dev(), ino: meta.ino() })
    }

    /// Identifies the file at `path`, following links.
    ///
    /// # Errors
    /// Those of `stat`.
    pub fn of_path(path: &Path) -> io::Result<Self> {
        path.metadata().map(|meta| Self { dev: meta.dev(), ino: meta.ino() })
    }
}

/// A byte of a file that backs guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileOffset {
    /// Device number of the file.
    pub dev: u64,
    /// Inode number of the file.
    pub ino: u64,
    /// Bytes from the start of the file.
    pub offset: u64,
}

impl FileOffset {
    /// The file this offset lies in.
    pub fn file(&self) -> FileId {
        FileId { dev: self.dev, ino: self.ino }
    }
}

/// One row of the memory table, as the frontend described it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First guest address.
    pub guest: GuestAddress,
    /// Length in bytes.
    pub len: u64,
    /// Where the first byte lies in its file.
    pub file: FileOffset,
}

/// A memory-table region with its mapping.
#[derive(Debug)]
pub(crate) struct MemRegion {
    guest: u64,
    user: u64,
    len: u64,
    file: FileOffset,
    map: MmapRegion<()>,
    journal: Option<Journal>,
}

impl MemRegion {
    /// Maps `len` bytes of `file` from `offset`; `guest` and `user` are the two addresses under
    /// which the frontend speaks of them.
    pub(crate) fn map(
        guest: u64,
        user: u64,
        len: u64,
        file: File,
        offset: u64,
    ) -> io::Result<Self> {
        let overflow = || io::Error::new(io::ErrorKind::InvalidInput, "region wraps around");
        guest.checked_add(len).ok_or_else(overflow)?;
        user.checked_add(len).ok_or_else(overflow)?;
        let end = offset.checked_add(len).ok_or_else(overflow)?;
        let size = usize::try_from(len).map_err(io::Error::other)?;
        let meta = file.metadata()?;
        if meta.is_file() && meta.len() < end {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "region ends past its file"));
        }
        let FileId { dev, ino } = FileId::of_file(&file)?;
        let map = MmapRegion::from_file(vm_memory::FileOffset::new(file, offset), size)
            .map_err(io::Error::other)?;
        Ok(Self { guest, user, len, file: FileOffset { dev, ino, offset }, map, journal: None })
    }

    /// The region with a journal of what is written into it.
    pub(crate) fn journalled(self, journal: Option<Journal>) -> Self {
        Self { journal, ..self }
    }

    /// What the frontend said of this region.
    pub(crate) fn describe(&self) -> Region {
        Region { guest: GuestAddress(self.guest), len: self.len, file: self.file }
    }

    /// The file behind the region.
    pub(crate) fn backing(&self) -> &File {
        self.map.file_offset().expect("every region is mapped from a file").file()
    }

    /// `len` bytes from `at`, or None outside the region.
    pub(crate) fn slice(&self, at: usize, len: usize) -> Option<VolatileSlice<'_, ()>> {
        self.map.get_slice(at, len).ok()
    }

    /// Writes `parts`, one behind the other, from `at`.
    ///
    /// # Panics
    /// If they do not end within the region.
    pub(crate) fn write(&self, at: usize, parts: &[&[u8]]) {
        let mut to = at;
        for part in parts {
            self.slice(to, part.len()).expect("a write ends within its region").copy_from(part);
            to += part.len();
        }
        self.tell(at, parts);
    }

    /// Writes a little-endian word at `at` by one store.
    ///
    /// # Panics
    /// If `at` is odd or not within the region.
    pub(crate) fn store(&self, at: usize, value: u16, order: Ordering) {
        let word = self.map.get_atomic_ref::<AtomicU16>(at);
        word.expect("a word is even and within its region").store(value.to_le(), order);
        self.tell(at, &[&value.to_le_bytes()]);
    }

    fn tell(&self, at: usize, parts: &[&[u8]]) {
        if let Some(journal) = &self.journal {
            journal.add(GuestAddress(self.guest + at as u64), parts);
        }
    }
}

/// A part of a guest buffer that lies in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    region: usize,
    at: usize,
    pub(crate) len: usize,
}

impl Piece {
    /// What is left of it behind its first `bytes` bytes, of which it has at least so many.
    pub(crate) fn behind(self, bytes: usize) -> Self {
        Self { at: self.at + bytes, len: self.len - bytes, ..self }
    }
}

/// All regions, ordered by guest address.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemTable {
    regions: Vec<Arc<MemRegion>>,
}

impl MemTable {
    /// Adds a region.
    ///
    /// # Errors
    /// When it overlaps another one in guest addresses: a buffer would have two places.
    pub(crate) fn insert(&mut self, region: MemRegion) -> io::Result<()> {
        let index = self.regions.partition_point(|other| other.guest < region.guest);
        let overlaps = |a: &MemRegion, b: &MemRegion| a.guest + a.len > b.guest;
        let before = index.checked_sub(1).map(|before| &self.regions[before]);
        let after = self.regions.get(index);
        if before.is_some_and(|before| overlaps(before, &region))
            || after.is_some_and(|after| overlaps(&region, after))
        {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "regions overlap"));
        }
        self.regions.insert(index, Arc::new(region));
        Ok(())
    }

    /// Removes the region with exactly these addresses; false when there is none.
    pub(crate) fn remove(&mut self, guest: u64, user: u64, len: u64) -> bool {
        let before = self.regions.len();
        self.regions.retain(|r| (r.guest, r.user, r.len) != (guest, user, len));
        self.regions.len() < before
    }

    /// The regions, ordered by guest address.
    pub(crate) fn regions(&self) -> &[Arc<MemRegion>] {
        &self.regions
    }

    /// The region that holds all of `len` bytes at the frontend's address `user`, and where.
    pub(crate) fn by_user(&self, user: u64, len: usize) -> Option<(Arc<MemRegion>, usize)> {
        self.regions.iter().find_map(|region| {
            let at = usize::try_from(user.checked_sub(region.user)?).ok()?;
            region.slice(at, len).map(|_| (Arc::clone(region), at))
        })
    }

    /// Cuts the guest buffer into pieces, one per region it crosses, and appends them.
    /// False (and nothing appended) when a byte lies outside every region.
    pub(crate) fn resolve(&self, guest: u64, len: u32, pieces: &mut Vec<Piece>) -> bool {
        let mark = pieces.len();
        let (mut guest, mut left) = (guest, u64::from(len));
        while left > 0 {
            let Some(piece) = self.first_piece(guest, left) else {
                pieces.truncate(mark);
                return false;
            };
            pieces.push(piece);
            left -= piece.len as u64;
            // Cannot wrap: the piece lies in a region, whose end was checked when it was mapped.
            guest += piece.len as u64;
        }
        true
    }

    fn first_piece(&self, guest: u64, left: u64) -> Option<Piece> {
        let index = self.regions.partition_point(|r| r.guest <= guest).checked_sub(1)?;
        let region = &self.regions[index];
        let at = guest - region.guest;
        let room = region.len.checked_sub(at).filter(|room| *room > 0)?;
        let len = usize::try_from(left.min(room)).ok()?;
        Some(Piece { region: index, at: usize::try_from(at).ok()?, len })
    }

    /// Guest memory of a piece. Pieces are only valid with the table that made them.
    pub(crate) fn slice(&self, piece: Piece) -> VolatileSlice<'_, ()> {
        self.regions[piece.region]
            .slice(piece.at, piece.len)
            .expect("a piece lies within its region")
    }

    /// Writes `parts`, one behind the other, to the start of a piece that has room for them.
    pub(crate) fn write(&self, piece: Piece, parts: &[&[u8]]) {
        self.regions[piece.region].write(piece.at, parts);
    }

    /// Writes a header and a frame into the pieces, as far as they reach.
    pub(crate) fn scatter(&self, pieces: &[Piece], mut header: &[u8], mut frame: &[u8]) {
        for piece in pieces {
            let (in_header, header_left) = header.split_at(header.len().min(piece.len));
            let room = piece.len - in_header.len();
            let (in_frame, frame_left) = frame.split_at(frame.len().min(room));
            self.write(*piece, &[in_header, in_frame]);
            (header, frame) = (header_left, frame_left);
            if header.is_empty() && frame.is_empty() {
                return;
            }
        }
    }

    /// Guest address of a piece's first byte.
    pub(crate) fn guest_address(&self, piece: Piece) -> GuestAddress {
        GuestAddress(self.regions[piece.region].guest + piece.at as u64)
    }

    /// Place of a piece's first byte in the file behind it:
    /// guest address - region's guest address + region's offset in the file.
    pub(crate) fn file_offset(&self, piece: Piece) -> FileOffset {
        let file = self.regions[piece.region].file;
        FileOffset { offset: file.offset + piece.at as u64, ..file }
    }

    /// Reads `buf.len()` bytes at a guest address; false when any lies outside.
    pub(crate) fn read(&self, guest: u64, buf: &mut [u8]) -> bool {
        let Some(piece) = self.first_piece(guest, buf.len() as u64) else { return buf.is_empty() };
        let (head, tail) = buf.split_at_mut(piece.len);
        let whole = self.slice(piece).read_slice(head, 0).is_ok();
        whole && (tail.is_empty() || self.read(guest + piece.len as u64, tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn file(len: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        file
    }

    fn table() -> MemTable {
        let mut table = MemTable::default();
        table
            .insert(MemRegion::map(0x2000, 0x7000_2000, 0x1000, file(0x3000), 0x1000).unwrap())
            .unwrap();
        table
            .insert(MemRegion::map(0x1000, 0x5000_1000, 0x1000, file(0x1000), 0).unwrap())
            .unwrap();
        table
    }

    #[test]
    fn a_buffer_across_two_regions_has_two_pieces_with_their_file_offsets() {
        let table = table();
        let mut pieces = Vec::new();
        assert!(table.resolve(0x1ff0, 0x20, &mut pieces));
        assert_eq!(pieces.len(), 2);
        assert_eq!(table.guest_address(pieces[0]), GuestAddress(0x1ff0));
        assert_eq!(table.file_offset(pieces[0]).offset, 0xff0);
        assert_eq!(table.guest_address(pieces[1]), GuestAddress(0x2000));
        assert_eq!(table.file_offset(pieces[1]).offset, 0x1000);
        let id = FileId::of_file(table.regions()[1].backing()).unwrap();
        assert_eq!(table.file_offset(pieces[1]).file(), id);
    }

    #[test]
    fn nothing_outside_a_region_resolves() {
        let table = table();
        let mut pieces = Vec::new();
        for (guest, len) in [(0xfff, 2), (0x2fff, 2), (u64::MAX, 2), (u64::MAX, u32::MAX), (0, 1)] {
            assert!(!table.resolve(guest, len, &mut pieces), "{guest:#x}+{len:#x}");
            assert!(pieces.is_empty());
        }
        assert!(table.by_user(0x5000_1fff, 2).is_none());
        assert!(table.by_user(0x5000_1ffe, 2).is_some());
    }

    #[test]
    fn bytes_of_the_file_are_bytes_of_the_guest() {
        let table = table();
        table.regions()[1].backing().write_all_at(b"needle", 0x1004).unwrap();
        let mut found = [0; 6];
        assert!(table.read(0x2004, &mut found));
        assert_eq!(&found, b"needle");
    }

    #[test]
    fn overlapping_and_too_long_regions_are_refused() {
        let mut table = table();
        assert!(table.insert(MemRegion::map(0x1800, 0, 0x1000, file(0x1000), 0).unwrap()).is_err());
        assert!(MemRegion::map(0x9000, 0, 0x1001, file(0x1000), 0).is_err());
        assert!(MemRegion::map(u64::MAX, 0, 0x1000, file(0x1000), 0).is_err());
        assert!(table.remove(0x1000, 0x5000_1000, 0x1000));
        assert!(!table.remove(0x1000, 0x5000_1000, 0x1000));
    }
}
