//! Remains: the records in the bytes of a pool that nobody has open, read where they lie.

use std::ops::Range;

use super::{
    entry::Entry,
    recover::{Media, recover},
};
use crate::{error::Result, pool::superblock::Geometry};

/// What is left of a pool, in a slice of memory: a copy of the file or device. Nothing is copied
/// and nothing is changed, so it says what [`Log::open`](super::Log::open) would find and does not
/// begin an epoch.
///
/// ```
/// use paste_net::{Log, Pool, PoolSpec, Remains};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let pool = Pool::volatile(&PoolSpec::new("memory").size(1 << 20).log_entries(128))?;
/// let _log = Log::open(&pool)?;
/// let image = pool.image();
/// assert_eq!(Remains::read(&image)?.records().count(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Remains<'a> {
    image: &'a [u8],
    geometry: Geometry,
    entries: Vec<Entry>,
}

impl<'a> Remains<'a> {
    /// Recovers what is there.
    ///
    /// # Errors
    /// As [`Pool::open_image`](crate::Pool::open_image) and [`Log::open`](super::Log::open).
    pub fn read(image: &'a [u8]) -> Result<Self> {
        let geometry = Geometry::of_image(image)?;
        let taken = vec![0; geometry.buffers.div_ceil(64) as usize];
        let (_, parts) = recover(Image { bytes: image, geometry, taken })?;
        let entries = parts.into_iter().map(|(_, entry)| entry).collect();
        Ok(Self { image, geometry, entries })
    }

    /// What lies where.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// All records, oldest first: the payloads of their packets.
    pub fn records(&self) -> impl Iterator<Item = impl Iterator<Item = &'a [u8]> + '_> + '_ {
        let records = self.entries.split_inclusive(|entry| !entry.more);
        records.map(|entries| entries.iter().map(|entry| &self.image[self.range(entry)]))
    }

    fn range(&self, entry: &Entry) -> Range<usize> {
        payload(&self.geometry, entry.buffer, entry.range())
    }
}

fn payload(geometry: &Geometry, buffer: u32, range: Range<usize>) -> Range<usize> {
    let start = geometry.buffer_offset(buffer);
    start + range.start..start + range.end
}

/// An image while it is recovered.
struct Image<'a> {
    bytes: &'a [u8],
    geometry: Geometry,
    /// Bit `i` set: an entry owns buffer `i`.
    taken: Vec<u64>,
}

impl Media for Image<'_> {
    /// The buffer's number.
    type Claim = u32;

    fn geometry(&self) -> Geometry {
        self.geometry
    }

    fn load<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes[at..at + N].try_into().expect("as many bytes")
    }

    fn claim(&mut self, buffer: u32) -> Option<u32> {
        let (word, bit) = (&mut self.taken[(buffer / 64) as usize], 1 << (buffer % 64));
        let is_free = *word & bit == 0;
        *word |= bit;
        is_free.then_some(buffer)
    }

    fn payload<'a>(&'a self, buffer: &'a u32, range: Range<usize>) -> &'a [u8] {
        &self.bytes[payload(&self.geometry, *buffer, range)]
    }
}
