//! Journal: a device's writes, as its backend tells them in a file ("DMA journal").
//!
//! The file grows while it is read, by another process: load its word `end` by one atomic load
//! with acquire order, then everything before `end` stands still and may be looked at as bytes.

use crate::line::Offset;

/// Length of the file's head; the first record begins behind it.
pub const HEAD: usize = 64;
/// Where in the head the word `end` lies.
pub const END_AT: usize = 8;
const MAGIC: [u8; 8] = *b"PSTDMAJ1";
const RECORD_HEAD: usize = 16;
const ALIGN: usize = 8;
const FULL: u64 = 1;

/// Why bytes are no journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The head is too short, or of another kind of file.
    #[error("no DMA journal")]
    NoJournal,
    /// A word of the head cannot be: `end` outside the file, flags that version 1 does not have,
    /// or a window that wraps around.
    #[error("a DMA journal whose head makes no sense")]
    Head,
    /// A record that is empty, ends outside the window or behind `end`, or has a word that is not
    /// zero where it must be.
    #[error("DMA journal: the record {0} bytes behind the start makes no sense")]
    Record(usize),
}

/// What the file says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes used, from the file's start.
    pub end: u64,
    /// A write did not fit: neither it nor any later one is here.
    pub full: bool,
    /// Guest-physical start of the window.
    pub base: u64,
    /// Bytes of the window.
    pub len: u64,
}

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where in the window the first byte went.
    pub offset: Offset,
    /// What was written.
    pub bytes: &'a [u8],
}

impl Head {
    /// Reads the head from the first [`HEAD`] bytes of a file.
    ///
    /// # Errors
    /// [`Error::NoJournal`], [`Error::Head`].
    pub fn parse(file: &[u8]) -> Result<Self, Error> {
        let head = file.get(..HEAD).filter(|head| head.starts_with(&MAGIC));
        let head = head.ok_or(Error::NoJournal)?;
        let [end, flags, base, len] = [END_AT, 16, 24, 32].map(|at| word(head, at));
        let rest_is_zero = head[40..].iter().all(|byte| *byte == 0);
        let sane = end >= HEAD as u64 && end.is_multiple_of(ALIGN as u64);
        let window = base.checked_add(len).is_some();
        if !sane || !window || flags & !FULL != 0 || !rest_is_zero {
            return Err(Error::Head);
        }
        Ok(Self { end, full: flags & FULL != 0, base, len })
    }

    /// All writes in a file that stands still (a copy, or one whose writer has ended).
    ///
    /// # Errors
    /// [`Error::Head`] if the file ends before `end`, and those of [`records`].
    pub fn records<'a>(&self, file: &'a [u8]) -> Result<Vec<Record<'a>>, Error> {
        let end = usize::try_from(self.end).map_err(|_| Error::Head)?;
        records(file.get(HEAD..end).ok_or(Error::Head)?, self.len)
    }
}

/// The writes in `bytes`: a part of the file from the start of a record up to `end`, at which the
/// next part will begin. `window` is the length of the window.
///
/// # Errors
/// [`Error::Record`] with the place in `bytes` of the first record that cannot be; there is no way
/// to go on behind it.
pub fn records(bytes: &[u8], window: u64) -> Result<Vec<Record<'_>>, Error> {
    let (mut at, mut found) = (0, Vec::new());
    while at < bytes.len() {
        let record = record(&bytes[at..], window).ok_or(Error::Record(at))?;
        at += RECORD_HEAD + record.bytes.len().next_multiple_of(ALIGN);
        found.push(record);
    }
    Ok(found)
}

fn record(bytes: &[u8], window: u64) -> Option<Record<'_>> {
    let (head, rest) = bytes.split_at_checked(RECORD_HEAD)?;
    let (offset, len_and_zero) = (word(head, 0), word(head, 8));
    // Both in one word: whatever stands in the upper half makes it longer than any window.
    let len = u32::try_from(len_and_zero).ok().filter(|len| *len > 0)?;
    let inside = offset.checked_add(len.into()).is_some_and(|end| end <= window);
    let len = usize::try_from(len).ok()?;
    let (bytes, rest) = rest.split_at_checked(len)?;
    let padding = rest.get(..len.next_multiple_of(ALIGN) - len)?;
    let whole = inside && padding.iter().all(|byte| *byte == 0);
    whole.then_some(Record { offset: Offset(offset), bytes })
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let word = bytes[at..at + 8].try_into().expect("8 bytes are 8 bytes");
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A journal of a window of 256 bytes with two writes: 3 bytes at 5, 8 at 248.
    fn journal() -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        for head_word in [64 + 24 + 24, 0, 0x1_0000_0000, 256, 0, 0, 0] {
            file.extend(u64::to_le_bytes(head_word));
        }
        for (offset, bytes) in [(5_u64, &b"abc\0\0\0\0\0"[..]), (248, b"12345678")] {
            let len = bytes.iter().filter(|byte| **byte != 0).count() as u64;
            file.extend([offset.to_le_bytes(), len.to_le_bytes()].concat());
            file.extend(bytes);
        }
        file
    }

    fn read(file: &[u8]) -> Result<Vec<Record<'_>>, Error> {
        Head::parse(file)?.records(file)
    }

    #[test]
    fn writes_are_read_in_order_and_part_by_part() {
        let mut file = journal();
        file.extend([0xee; 40]); // Behind the end anything may lie.
        let head = Head::parse(&file).unwrap();
        assert_eq!(head, Head { end: 112, full: false, base: 0x1_0000_0000, len: 256 });
        let all = head.records(&file).unwrap();
        let first = Record { offset: Offset(5), bytes: b"abc" };
        let second = Record { offset: Offset(248), bytes: b"12345678" };
        assert_eq!(all, [first, second]);
        assert_eq!(records(&file[64..88], 256).unwrap(), [first]);
        assert_eq!(records(&file[88..112], 256).unwrap(), [second]);
        assert_eq!(records(&[], 256).unwrap(), []);
        file[16] = 1;
        assert!(Head::parse(&file).unwrap().full);
    }

    #[test]
    fn nonsense_is_an_error() {
        let cases: [(usize, u8, Error); 12] = [
            (0, b'X', Error::NoJournal),
            (8, 56, Error::Head),        // The end lies in the head
            (8, 113, Error::Head),       // or is no multiple of 8
            (15, 1, Error::Head),        // or lies outside the file.
            (16, 2, Error::Head),        // An unknown flag.
            (31, 0xff, Error::Head),     // A window that does not wrap around, but a base so high
            (63, 1, Error::Head),        // A word that must be zero.
            (64, 254, Error::Record(0)), // Two of three bytes inside the window.
            (72, 0, Error::Record(0)),   // No bytes.
            (72, 200, Error::Record(0)), // More bytes than there are.
            (76, 1, Error::Record(0)),   // The word behind the length.
            (83, 1, Error::Record(0)),   // Padding.
        ];
        for (at, value, error) in cases {
            let mut file = journal();
            file[at] = value;
            if at == 31 {
                file[39] = 0xff;
            }
            assert_eq!(read(&file), Err(error), "byte {at} is {value}");
        }
        let mut file = journal();
        file[88 + 8] = 9;
        assert_eq!(read(&file), Err(Error::Record(24)), "the second");
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_taken_without_a_panic() {
        let file = journal();
        for len in 0..file.len() {
            assert!(read(&file[..len]).is_err(), "{len} bytes");
            let head = Head::parse(&file);
            let cut = records(&file[HEAD.min(len)..len], head.unwrap().len);
            assert!(cut.is_err() || [64, 88].contains(&len) || len < 64, "{len} bytes");
        }
        for at in 0..file.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut file = file.clone();
                file[at] = value;
                let inside = |record: &Record<'_>| record.offset.0 + record.bytes.len() as u64;
                if let Ok(all) = read(&file) {
                    let len = Head::parse(&file).unwrap().len;
                    assert!(all.iter().all(|record| inside(record) <= len));
                }
            }
        }
    }
}
