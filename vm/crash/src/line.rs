//! Lines: the unit of caching, and where things lie in an NVDIMM (M1, M2).

use serde::{Deserialize, Serialize};

/// Bytes of a line (M1).
pub const LINE: usize = 64;
/// Bytes of a word, which survives whole or not at all (M2).
pub const WORD: usize = 8;
/// Words of a line.
pub const WORDS: usize = LINE / WORD;

/// The bytes of one line.
pub type LineBytes = [u8; LINE];

/// A distance in bytes from the start of the NVDIMM.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Offset(pub u64);

/// The number of a line, counted from the start of the NVDIMM.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Line(pub u64);

impl Offset {
    /// The line that holds this byte.
    pub fn line(self) -> Line {
        Line(self.0 / LINE as u64)
    }

    /// Where in its line this byte lies.
    pub fn in_line(self) -> usize {
        // Less than 64.
        usize::try_from(self.0 % LINE as u64).unwrap_or_default()
    }
}

impl Line {
    /// The line's first byte.
    pub fn start(self) -> Offset {
        Offset(self.0 * LINE as u64)
    }

    /// Where the line's bytes lie in an image of the NVDIMM.
    ///
    /// # Panics
    /// On a machine that cannot address such an image.
    pub fn span(self) -> std::ops::Range<usize> {
        let start = usize::try_from(self.start().0).expect("an image is addressable");
        start..start + LINE
    }

    /// The line's bytes in an image.
    ///
    /// # Panics
    /// If the image ends before the line does.
    pub fn of(self, image: &[u8]) -> LineBytes {
        let bytes = image[self.span()].try_into();
        bytes.expect("a span is as long as a line")
    }
}

/// Some bytes in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Range {
    /// The first byte.
    pub offset: Offset,
    /// The number of bytes.
    pub len: u64,
}

impl Range {
    /// Each line that the range touches, with the part of the line that belongs to the range.
    pub fn parts(self) -> impl Iterator<Item = (Line, std::ops::Range<usize>)> {
        let end = self.offset.0.saturating_add(self.len);
        let mut at = self.offset.0;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let start = Offset(at);
            let len = (end - at).min((LINE - start.in_line()) as u64);
            at += len;
            let first = start.in_line();
            // At most a line's length.
            Some((start.line(), first..first + usize::try_from(len).unwrap_or(LINE)))
        })
    }
}

/// A write to one word: new bytes for those that the mask names (M2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WordWrite {
    /// Which word of its line.
    pub word: u8,
    /// Which bytes of the word, the lowest bit for the first.
    pub mask: u8,
    /// The bytes; those outside the mask mean nothing.
    pub bytes: [u8; WORD],
}

impl WordWrite {
    /// Carries the write out.
    pub fn apply(&self, line: &mut LineBytes) {
        let word = &mut line[usize::from(self.word) * WORD..][..WORD];
        if self.mask == 0xff {
            word.copy_from_slice(&self.bytes);
            return;
        }
        for byte in (0..WORD).filter(|byte| self.mask >> byte & 1 == 1) {
            word[byte] = self.bytes[byte];
        }
    }
}

/// Splits bytes at lines and words, ascending (M1, M2).
pub fn split(offset: Offset, bytes: &[u8]) -> impl Iterator<Item = (Line, WordWrite)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let here = Offset(offset.0 + at as u64);
        let first = here.in_line() % WORD;
        let len = (WORD - first).min(bytes.len() - at);
        let mut word = [0; WORD];
        word[first..first + len].copy_from_slice(&bytes[at..at + len]);
        at += len;
        let mask = (0xff_u8 >> (WORD - len)) << first;
        // At most 7.
        let number = u8::try_from(here.in_line() / WORD).unwrap_or_default();
        Some((here.line(), WordWrite { word: number, mask, bytes: word }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_split_at_words_and_lines() {
        let bytes: Vec<u8> = (1..=13).collect();
        let parts: Vec<_> = split(Offset(64 * 3 - 3), &bytes).collect();
        assert_eq!(parts.len(), 3);
        let of = |word, mask, bytes| WordWrite { word, mask, bytes };
        assert_eq!(parts[0], (Line(2), of(7, 0xe0, [0, 0, 0, 0, 0, 1, 2, 3])));
        assert_eq!(parts[1], (Line(3), of(0, 0xff, [4, 5, 6, 7, 8, 9, 10, 11])));
        assert_eq!(parts[2], (Line(3), of(1, 0x03, [12, 13, 0, 0, 0, 0, 0, 0])));
        let mut line = [0xaa; LINE];
        parts[2].1.apply(&mut line);
        assert_eq!(line[6..12], [0xaa, 0xaa, 12, 13, 0xaa, 0xaa]);
    }

    #[test]
    fn ranges_fall_into_lines() {
        let range = Range { offset: Offset(60), len: 70 };
        let parts: Vec<_> = range.parts().collect();
        assert_eq!(parts, [(Line(0), 60..64), (Line(1), 0..64), (Line(2), 0..2)]);
        assert_eq!(Range { offset: Offset(5), len: 0 }.parts().count(), 0);
        assert_eq!(Range { offset: Offset(u64::MAX - 1), len: 9 }.parts().count(), 1);
    }
}
