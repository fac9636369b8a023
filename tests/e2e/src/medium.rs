//! Medium: the file behind a guest's NVDIMM, as the host sees it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::Context;
use vm::vnet::{FileId, FileOffset};

use crate::oracle::Span;

/// The file behind a guest's NVDIMM, as the host sees it.
#[derive(Debug)]
pub struct Medium {
    file: File,
    id: FileId,
    data_offset: u64,
    /// Where the pool's bytes lie on the device if it is a file; in order, none if it is the
    /// device itself.
    extents: Vec<Extent>,
}

/// A part of a file and its place on the device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    of_file: Span,
    device: u64,
}

impl Medium {
    /// Looks at the file of an NVDIMM whose device begins at `data_offset`.
    pub(crate) fn open(path: &Path, data_offset: u64) -> anyhow::Result<Self> {
        let file = File::options().read(true).write(true).open(path);
        let file = file.with_context(|| format!("open {}", path.display()))?;
        let id = FileId::of_file(&file).with_context(|| format!("look at {}", path.display()))?;
        Ok(Self { file, id, data_offset, extents: Vec::new() })
    }

    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> anyhow::Result<u64> {
        Ok(self.file.metadata().context("look at the NVDIMM")?.len())
    }

    /// All bytes of its device.
    pub(crate) fn device(&self) -> anyhow::Result<Vec<u8>> {
        let len = usize::try_from(self.bytes()?.saturating_sub(self.data_offset));
        self.read(self.data_offset, len.context("hold an NVDIMM in memory")?)
    }

    /// Where in the NVDIMM a place of the guest's pool lies.
    pub(crate) fn of_pool(&self, offset: u64, len: u64) -> anyhow::Result<Span> {
        let place = Span { start: offset, len };
        let device = if self.extents.is_empty() {
            offset
        } else {
            let extent = self.extents.iter().find(|extent| extent.of_file.holds(place));
            let extent = extent.with_context(|| format!("find {place:?} in one extent"))?;
            extent.device + (offset - extent.of_file.start)
        };
        Ok(Span { start: self.data_offset + device, len })
    }

    /// Says that the pool is a file, by what `filefrag -b1 -e` tells of it.
    pub(crate) fn map_file(&mut self, told: &str) -> anyhow::Result<()> {
        self.extents = extents(told);
        anyhow::ensure!(!self.extents.is_empty(), "filefrag tells no extents: {told}");
        Ok(())
    }

    /// The offset in the NVDIMM's file, if the place lies in that file.
    pub fn offset(&self, place: Option<FileOffset>) -> Option<u64> {
        place.filter(|place| place.file() == self.id).map(|place| place.offset)
    }

    /// Overwrites the device: the pool first, zeros behind it.
    pub(crate) fn write_pool(&self, pool: &[u8]) -> anyhow::Result<()> {
        let room = usize::try_from(self.bytes()? - self.data_offset).context("address the pool")?;
        let mut bytes = pool.to_vec();
        bytes.resize(room, 0);
        self.file.write_all_at(&bytes, self.data_offset).context("write the NVDIMM")
    }

    /// Reads the file; a place near its end gives fewer bytes.
    pub fn read(&self, offset: u64, len: usize) -> anyhow::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        let read = self.file.read_at(&mut bytes, offset).context("read the NVDIMM")?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

/// The rows `0: 0..4095: 8192..12287: 4096: ...` of `filefrag -b1 -e`.
fn extents(told: &str) -> Vec<Extent> {
    let row = |line: &str| {
        let mut columns = line.split(':').map(str::trim);
        let _index: u64 = columns.next()?.parse().ok()?;
        let first = |column: &str| column.split("..").next()?.trim().parse().ok();
        let (start, device) = (first(columns.next()?)?, first(columns.next()?)?);
        let len = columns.next()?.parse().ok()?;
        Some(Extent { of_file: Span { start, len }, device })
    };
    told.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "\
Filesystem type is: ef53
File size of /mnt/pool is 12288 (12288 blocks of 1 bytes)
 ext:     logical_offset:        physical_offset: length:   expected: flags:
   0:        0..    8191:      40960..     49151:   8192:             unwritten
   1:     8192..   12287:      65536..     69631:   4096:      49152: last,eof
/mnt/pool: 2 extents found
";

    #[test]
    fn a_file_is_mapped_by_its_extents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nvdimm");
        std::fs::write(&path, [7; 100]).unwrap();
        let mut medium = Medium::open(&path, 1000).unwrap();
        assert_eq!(medium.of_pool(9000, 64).unwrap(), Span { start: 10_000, len: 64 });
        medium.map_file(TOLD).unwrap();
        assert_eq!(medium.of_pool(100, 64).unwrap().start, 1000 + 40960 + 100);
        assert_eq!(medium.of_pool(8200, 64).unwrap().start, 1000 + 65536 + 8);
        assert!(medium.of_pool(8190, 64).is_err(), "crosses extents");
        assert!(medium.map_file("no such file").is_err());
        assert_eq!(medium.read(90, 64).unwrap(), [7; 10]);
    }
}
