//! Window: where in the guest's address space the NVDIMM is, and what it holds.

use std::io;
use std::path::Path;

use crash::{Line, Offset, Range};

use crate::memory::Memory;
use crate::options;
use crate::walk::{PAGE, Tables};

/// The NVDIMM as the guest sees it.
#[derive(Debug)]
pub(crate) struct Window {
    /// What it holds at this moment.
    pub(crate) live: Memory,
    base: u64,
    ram: Memory,
}

/// Where a virtual address leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// To a line of the NVDIMM.
    Line(Line),
    /// To other memory.
    Elsewhere,
    /// Nowhere yet. A CPU would fault and have the page mapped; TCG passes flushes by.
    Unmapped,
}

/// What of a virtual range lies in the NVDIMM.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Covered {
    /// Ascending by virtual address.
    pub(crate) ranges: Vec<Range>,
    /// Bytes that do not.
    pub(crate) outside: u64,
}

impl Window {
    /// Maps the guest's memory and its NVDIMM.
    pub(crate) fn map(place: &options::Place) -> Result<Self, String> {
        let map = |path: &Path| {
            Memory::map(path).map_err(|error: io::Error| format!("map {}: {error}", path.display()))
        };
        Ok(Self { live: map(&place.nvdimm)?, base: place.base, ram: map(&place.ram)? })
    }

    /// Where in the NVDIMM a guest-physical address lies, if it does.
    pub(crate) fn offset(&self, physical: u64) -> Option<Offset> {
        let offset = physical.checked_sub(self.base)?;
        (offset < self.live.len() as u64).then_some(Offset(offset))
    }

    /// Where in the NVDIMM a virtual address lies, if it does.
    pub(crate) fn translate(&self, tables: Tables, address: u64) -> Option<Offset> {
        self.offset(tables.physical(address, |at| self.ram.word(at))?)
    }

    /// What a flush of this virtual address is about.
    pub(crate) fn line(&self, tables: Tables, address: u64) -> Place {
        match tables.physical(address, |at| self.ram.word(at)) {
            None => Place::Unmapped,
            Some(physical) => {
                self.offset(physical).map_or(Place::Elsewhere, |offset| Place::Line(offset.line()))
            }
        }
    }

    /// What of `len` bytes from a virtual address on lies in the NVDIMM. A range that is longer
    /// than the NVDIMM lies outside from there on.
    pub(crate) fn cover(&self, tables: Tables, address: u64, len: u64) -> Covered {
        let most = len.min(self.live.len() as u64);
        let mut covered = Covered { outside: len - most, ..Covered::default() };
        let mut at = 0;
        while at < most {
            let here = address.wrapping_add(at);
            let part = (PAGE - here % PAGE).min(most - at);
            match self.translate(tables, here) {
                Some(offset) => covered.add(Range { offset, len: part }),
                None => covered.outside += part,
            }
            at += part;
        }
        covered
    }
}

impl Covered {
    fn add(&mut self, range: Range) {
        match self.ranges.last_mut() {
            Some(last) if last.offset.0 + last.len == range.offset.0 => last.len += range.len,
            _ => self.ranges.push(range),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Page tables that map three virtual pages from 0x5000 on: to the NVDIMM's pages 1 and 2,
    /// and to memory; an NVDIMM of four pages at 4 GiB.
    fn window() -> (Window, Tables, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut ram = vec![0; 0x6000];
        let mut put = |at: usize, entry: u64| ram[at..at + 8].copy_from_slice(&entry.to_le_bytes());
        for (table, next) in [(0x1000, 0x2000), (0x2000, 0x3000), (0x3000, 0x4000)] {
            put(table, next | 1);
        }
        for (page, physical) in [(5, 0x1_0000_1000), (6, 0x1_0000_2000), (7, 0x5000)] {
            put(0x4000 + page * 8, physical | 1);
        }
        let (nvdimm, memory) = (dir.path().join("nvdimm"), dir.path().join("ram"));
        std::fs::write(&nvdimm, [7; 0x4000]).unwrap();
        std::fs::write(&memory, ram).unwrap();
        let window = Window::map(&options::Place { nvdimm, base: 1 << 32, ram: memory }).unwrap();
        (window, Tables { cr3: 0x1000, cr4: 0 }, dir)
    }

    #[test]
    fn virtual_ranges_are_found_in_the_nvdimm() {
        let (window, tables, _dir) = window();
        assert_eq!(window.line(tables, 0x5fff), Place::Line(Offset(0x1fff).line()));
        assert_eq!(window.line(tables, 0x7000), Place::Elsewhere);
        assert_eq!(window.line(tables, 0x8000), Place::Unmapped);
        let range = |offset, len| Range { offset: Offset(offset), len };
        let cover = |at, len| window.cover(tables, at, len);
        let both = Covered { ranges: vec![range(0x1f00, 0x1100)], outside: 0x10 };
        assert_eq!(cover(0x5f00, 0x1110), both);
        assert_eq!(cover(0x5000, 0), Covered::default());
        // Neither a huge range nor one that wraps takes long.
        assert_eq!(cover(0x5000, u64::MAX).ranges, [range(0x1000, 0x2000)]);
        assert_eq!(cover(u64::MAX, u64::MAX).ranges, []);
    }
}
