//! Census: every place in guest memory where a needle lies.
//!
//! The search reads the files behind the memory table, not the mappings: holes of a sparse file are
//! skipped and stay holes (reading them through a mapping would allocate them). Page cache and
//! mappings are the same pages, so nothing the guest wrote is missed. The caller pauses the guest;
//! otherwise bytes may move while the search passes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use memchr::memmem::Finder;
use nix::unistd::{Whence, lseek};

use crate::error::{Error, Result};
use crate::memory::{FileOffset, GuestAddress, MemRegion, Region};

/// Bytes read at once: large enough for few system calls, small enough for the cache.
const WINDOW: usize = 1 << 20;

/// One place where a needle was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occurrence {
    /// Guest address of its first byte.
    pub guest: GuestAddress,
    /// Place of that byte in the file behind the guest's memory.
    pub file: Option<FileOffset>,
}

/// Searches all `regions`. File bytes that two regions map are searched once.
pub(crate) fn census(regions: &[Arc<MemRegion>], needle: &[u8]) -> Result<Vec<Occurrence>> {
    if needle.is_empty() {
        let why = io::Error::new(io::ErrorKind::InvalidInput, "the needle is empty");
        return Err(Error::Census(why));
    }
    let finder = Finder::new(needle);
    let mut found = BTreeMap::new();
    for region in regions {
        let Region { guest, len, file } = region.describe();
        search(region.backing(), file.offset, file.offset + len, &finder, &mut |offset| {
            let guest = GuestAddress(guest.0 + (offset - file.offset));
            found.entry(FileOffset { offset, ..file }).or_insert(guest);
        })
        .map_err(Error::Census)?;
    }
    let mut all: Vec<_> =
        found.into_iter().map(|(file, guest)| Occurrence { guest, file: Some(file) }).collect();
    all.sort_by_key(|occurrence| occurrence.guest);
    Ok(all)
}

/// Reports the offset of every occurrence that lies wholly in `[start, end)` of the file.
fn search(
    file: &File,
    start: u64,
    end: u64,
    finder: &Finder,
    report: &mut impl FnMut(u64),
) -> io::Result<()> {
    let overlap = finder.needle().len() as u64 - 1;
    let mut window = vec![0; WINDOW.max(finder.needle().len() * 2)];
    // First byte at which an occurrence may still begin unreported.
    let mut next = start;
    while let Some((data, hole)) = extent(file, next, end)? {
        // A needle may begin in the zeros before the data or end in those behind.
        next = next.max(data.saturating_sub(overlap));
        let until = (hole + overlap).min(end);
        while next + overlap < until {
            let want = usize::try_from(until - next).unwrap_or(usize::MAX).min(window.len());
            let read = &mut window[..want];
            file.read_exact_at(read, next)?;
            for at in finder.find_iter(read) {
                report(next + at as u64);
            }
            next += want as u64 - overlap;
        }
        next = next.max(hole);
    }
    Ok(())
}

/// The next range of `[from, end)` that holds data. Where holes are unknown, all is data.
fn extent(file: &File, from: u64, end: u64) -> io::Result<Option<(u64, u64)>> {
    if from >= end {
        return Ok(None);
    }
    let seek = |at: u64, whence| {
        let at = i64::try_from(at).map_err(io::Error::other)?;
        lseek(file, at, whence).map(i64::cast_unsigned).map_err(io::Error::from)
    };
    let data = match seek(from, Whence::SeekData) {
        Ok(data) if data < end => data,
        Ok(_) => return Ok(None),
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::ENXIO as i32) => return Ok(None),
        Err(e) if e.raw_os_error() == Some(nix::errno::Errno::EINVAL as i32) => {
            return Ok(Some((from, end)));
        }
        Err(e) => return Err(e),
    };
    let hole = seek(data, Whence::SeekHole)?.min(end);
    Ok(Some((data, hole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDLE: &[u8] = b"thirty-two bytes nobody else has";

    fn sparse(len: u64, places: &[u64]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len).unwrap();
        for place in places {
            file.write_all_at(NEEDLE, *place).unwrap();
        }
        file
    }

    fn map(file: &File, guest: u64, offset: u64, len: u64) -> Arc<MemRegion> {
        Arc::new(MemRegion::map(guest, 0, len, file.try_clone().unwrap(), offset).unwrap())
    }

    fn guests(regions: &[Arc<MemRegion>], needle: &[u8]) -> Vec<u64> {
        census(regions, needle).unwrap().iter().map(|o| o.guest.0).collect()
    }

    #[test]
    fn every_place_is_found_across_windows_holes_and_ends() {
        let window = WINDOW as u64;
        let len = window * 8;
        let places =
            [0, 4090, window - 16, window * 2 - 1, window * 5 + 77, len - NEEDLE.len() as u64];
        let file = sparse(len, &places);
        let regions = [map(&file, 0x10_0000_0000, 0, len)];
        let expected: Vec<_> = places.iter().map(|place| place + 0x10_0000_0000).collect();
        assert_eq!(guests(&regions, NEEDLE), expected);
        let blocks = std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap());
        assert!(blocks * 512 < window, "the search filled {blocks} blocks of a sparse file");
    }

    #[test]
    fn bytes_outside_the_region_do_not_count() {
        let file = sparse(0x10000, &[0xff0, 0x2000, 0x2ff0]);
        assert_eq!(guests(&[map(&file, 0, 0x1000, 0x2000)], NEEDLE), [0x1000]);
    }

    #[test]
    fn a_file_mapped_twice_counts_once() {
        let file = sparse(0x4000, &[0x1100, 0x3000]);
        let regions = [map(&file, 0x10000, 0, 0x4000), map(&file, 0x80000, 0x1000, 0x1000)];
        assert_eq!(guests(&regions, NEEDLE), [0x11100, 0x13000]);
    }

    #[test]
    fn a_needle_that_ends_in_a_hole_is_found() {
        let file = sparse(0x20000, &[]);
        file.write_all_at(b"edge", 0xffc).unwrap();
        let regions = [map(&file, 0, 0, 0x20000)];
        assert_eq!(guests(&regions, b"edge\0\0\0\0"), [0xffc]);
        assert!(matches!(census(&regions, b""), Err(Error::Census(_))));
    }
}
