//! Memory: the guest's memory and its NVDIMM, as files that QEMU and its devices write at the
//! same time.
//!
//! Nothing here forms a reference into them: bytes are copied by volatile loads, so that a change
//! in the middle gives old or new words and nothing worse. Files are never shortened while mapped
//! (who made them holds them), so no load can fail. Words that both sides write are atomic.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use crash::line::{LINE, Line, LineBytes, WORD};
use crash::model::live::Live;
use memmap2::{MmapOptions, MmapRaw};

/// A file, mapped to look at.
#[derive(Debug)]
pub(crate) struct Memory(MmapRaw);

impl Memory {
    /// Maps a whole file.
    pub(crate) fn map(path: &Path) -> io::Result<Self> {
        MmapOptions::new().map_raw_read_only(&File::open(path)?).map(Self)
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Eight bytes at an offset that is a multiple of eight; none beyond the end.
    #[expect(clippy::cast_ptr_alignment, reason = "mappings are aligned, and so is the offset")]
    pub(crate) fn word(&self, at: u64) -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        if !at.is_multiple_of(WORD) || at.checked_add(WORD)? > self.len() {
            return None;
        }
        // SAFETY: the mapping lives as long as `self` and has eight bytes at `at`.
        let word = unsafe { self.0.as_ptr().add(at) }.cast::<u64>();
        // SAFETY: as above, aligned because mappings are; whoever else writes does so in words.
        Some(unsafe { word.read_volatile() })
    }

    /// All bytes from `at` on that fit in `into`, whole words; how many.
    pub(crate) fn copy(&self, at: usize, into: &mut [u8]) -> usize {
        let words = into.chunks_exact_mut(WORD).zip((at as u64..).step_by(WORD));
        let copied = words.map_while(|(bytes, at)| {
            self.word(at).map(|word| bytes.copy_from_slice(&word.to_le_bytes()))
        });
        copied.count() * WORD
    }
}

impl Live for Memory {
    fn line(&self, line: Line) -> LineBytes {
        let mut bytes = [0; LINE];
        self.copy(line.span().start, &mut bytes);
        bytes
    }

    fn next_difference(&self, persisted: &[u8], from: Line) -> Option<Line> {
        let words = persisted[from.span().start..].chunks_exact(WORD);
        let mut words = words.zip((from.start().0..).step_by(WORD));
        let differs = words.find(|(word, at)| {
            let now = self.word(*at).map(u64::to_le_bytes);
            now.is_some_and(|now| now != **word)
        });
        differs.map(|(_, at)| Line(at / LINE as u64))
    }
}

/// A file of words that another process reads and writes at the same time.
#[derive(Debug)]
pub(crate) struct Words(MmapRaw);

impl Words {
    /// Maps a whole file.
    pub(crate) fn map(path: &Path) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(path)?;
        MmapOptions::new().map_raw(&file).map(Self)
    }

    /// The `n`-th word; none beyond the end.
    #[expect(clippy::cast_ptr_alignment, reason = "mappings are aligned, and so are words")]
    pub(crate) fn word(&self, n: usize) -> Option<&AtomicU64> {
        let at = n.checked_mul(WORD)?;
        if at.checked_add(WORD)? > self.0.len() {
            return None;
        }
        // SAFETY: the mapping lives as long as `self` and has eight bytes at `at`.
        let word = unsafe { self.0.as_mut_ptr().add(at) }.cast::<u64>();
        // SAFETY: as above, for as long as `self` is borrowed, and aligned; here and in the other
        // process everybody uses these words as atomic ones.
        Some(unsafe { AtomicU64::from_ptr(word) })
    }
}

/// Maps a file to be written, `bytes` long; whoever opens it sees what is written at once, and
/// keeps it when this process is gone.
pub(crate) fn shared(path: &Path, bytes: usize) -> io::Result<memmap2::MmapMut> {
    let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
    file.set_len(bytes as u64)?;
    // SAFETY: only this process writes to the file; who reads it waits until this process has
    // ended, and nobody shortens it.
    unsafe { MmapOptions::new().map_mut(&file) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_mapped_file_is_read_in_words_to_its_end() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = (0..128).collect();
        file.write_all(&bytes).unwrap();
        let memory = Memory::map(file.path()).unwrap();
        assert_eq!(memory.line(Line(1))[..], bytes[64..]);
        assert_eq!(memory.word(8), Some(u64::from_le_bytes([8, 9, 10, 11, 12, 13, 14, 15])));
        assert_eq!(
            (memory.word(4), memory.word(128), memory.word(u64::MAX - 7)),
            (None, None, None)
        );
        let mut durable = bytes.clone();
        assert_eq!(memory.next_difference(&durable, Line(0)), None);
        durable[127] = 0;
        assert_eq!(memory.next_difference(&durable, Line(0)), Some(Line(1)));
        durable[0] = 9;
        assert_eq!(memory.next_difference(&durable, Line(0)), Some(Line(0)));
        assert_eq!(memory.next_difference(&durable, Line(1)), Some(Line(1)));
        let mut copy = [0; 256];
        assert_eq!(memory.copy(64, &mut copy), 64);
        assert_eq!(copy[..64], bytes[64..]);
    }
}
