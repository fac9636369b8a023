//! Journal: the device writes that a backend tells in a file, put in order with the guest's.

use std::path::Path;
use std::sync::atomic::{Ordering, fence};

use crash::Dma;
use crash::journal::{self, END_AT, HEAD, Head};

use crate::memory::Memory;

/// The file, and how far it was read.
#[derive(Debug)]
pub(crate) struct Journal {
    file: Memory,
    window: u64,
    at: usize,
    writes: u64,
}

impl Journal {
    /// Maps the file of a backend that has begun.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let name = path.display();
        let file = Memory::map(path).map_err(|error| format!("map {name}: {error}"))?;
        let mut head = [0; HEAD];
        file.copy(0, &mut head);
        let head = Head::parse(&head).map_err(|error| format!("read {name}: {error}"))?;
        Ok(Self { file, window: head.len, at: HEAD, writes: 0 })
    }

    /// What was written so far is not of interest.
    pub(crate) fn skip(&mut self) -> Result<(), String> {
        self.news().map(drop)
    }

    /// What was written since the last call, in order.
    pub(crate) fn news(&mut self) -> Result<Vec<Dma>, String> {
        let end = self.file.word(END_AT as u64).and_then(|end| usize::try_from(end).ok());
        // The writer publishes `end` after what stands before it.
        fence(Ordering::Acquire);
        let end = end.filter(|end| (self.at..=self.file.len()).contains(end));
        let end = end.ok_or("the DMA journal ends where it cannot")?;
        if end == self.at {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; end - self.at];
        self.file.copy(self.at, &mut bytes);
        self.at = end;
        let records = journal::records(&bytes, self.window).map_err(|error| error.to_string())?;
        let events = records.into_iter().map(|record| {
            self.writes += 1;
            let (begin, end) = (self.writes - 1, self.writes);
            Dma { offset: record.offset, bytes: record.bytes.to_vec(), begin, end }
        });
        Ok(events.collect())
    }

    /// Whether no write was left out so far.
    pub(crate) fn is_whole(&self) -> bool {
        let mut head = [0; HEAD];
        self.file.copy(0, &mut head);
        Head::parse(&head).is_ok_and(|head| !head.full)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use crash::Offset;

    use super::*;

    fn word(file: &std::fs::File, at: u64, word: u64) {
        file.write_all_at(&word.to_le_bytes(), at).unwrap();
    }

    #[test]
    fn writes_come_once_and_in_order_while_the_file_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        assert!(Journal::open(&path).unwrap_err().contains("journal"));
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(4096).unwrap();
        assert!(Journal::open(&path).unwrap_err().contains("no DMA journal"));
        file.write_all_at(b"PSTDMAJ1", 0).unwrap();
        for (at, value) in [(8, 64), (24, 1 << 32), (32, 256)] {
            word(&file, at, value);
        }
        let mut journal = Journal::open(&path).unwrap();
        assert_eq!(journal.news(), Ok(vec![]));
        for (at, offset) in [(64, 5), (88, 100)] {
            word(&file, at, offset);
            word(&file, at + 8, 3);
            file.write_all_at(b"abc", at + 16).unwrap();
        }
        word(&file, 8, 88);
        journal.skip().unwrap();
        word(&file, 8, 112);
        let bytes = b"abc".to_vec();
        let second = Dma { offset: Offset(100), bytes, begin: 1, end: 2 };
        assert_eq!(journal.news(), Ok(vec![second]));
        assert!(journal.is_whole());
        word(&file, 16, 1);
        assert!(!journal.is_whole());
        word(&file, 16, 0);
        for nonsense in [64, 8192, u64::MAX] {
            word(&file, 8, nonsense);
            assert!(journal.news().unwrap_err().contains("ends where it cannot"));
        }
    }
}
