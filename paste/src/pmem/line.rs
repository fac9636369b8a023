//! Line: the cache lines that a byte range touches.

use std::ops::Range;

/// Bytes of a cache line, the unit that reaches persistent memory.
pub(crate) const LINE: usize = 64;

/// The numbers of all lines with a byte of `range`. An unaligned start needs a line more than
/// the length alone says: flushing `start, start + 64, ...` would miss the last one.
pub(crate) fn cover(range: &Range<usize>) -> Range<usize> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / LINE..range.end.div_ceil(LINE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_range_is_covered_and_no_other() {
        for start in 0..3 * LINE {
            for len in 0..4 * LINE {
                let range = start..start + len;
                let lines: Vec<_> = cover(&range).collect();
                let touched = |line: &usize| range.clone().any(|byte| byte / LINE == *line);
                let expected: Vec<_> = (0..8).filter(touched).collect();
                assert_eq!(lines, expected, "{range:?}");
            }
        }
    }

    #[test]
    fn the_last_bytes_of_an_unaligned_record_are_covered() {
        // Payload at 226, 1024 bytes: 17 lines, of which stepping from the start flushes 16.
        assert_eq!(cover(&(226..226 + 1024)), 3..20);
    }

    #[test]
    fn the_highest_addresses_do_not_overflow() {
        assert_eq!(cover(&(usize::MAX - 1..usize::MAX)).len(), 1);
    }
}
