//! Bias: how far above its own addresses a program was loaded, found by the markers in its code.

use std::collections::BTreeMap;

use vm::crash::marker::LEN;
use vm::crash::{Op, Pc};

use crate::elf::{Segment, is_fixed, loaded};

const PAGE: u64 = 4096;

/// Where Linux loads a position-independent program with a loader if nothing is random.
const USUAL: u64 = 0x5555_5555_4000;

/// The distance that explains most of the executed markers; without any, the usual one.
pub(super) fn find(file: &[u8], executed: &[Pc]) -> u64 {
    if is_fixed(file) {
        return 0;
    }
    let mut explained: BTreeMap<u64, usize> = BTreeMap::new();
    for own in loaded(file).iter().flat_map(|segment| markers(file, segment)) {
        let distances = executed.iter().filter_map(|pc| pc.0.checked_sub(own));
        for distance in distances.filter(|distance| distance.is_multiple_of(PAGE)) {
            *explained.entry(distance).or_default() += 1;
        }
    }
    explained.into_iter().max_by_key(|(_, count)| *count).map_or(USUAL, |(distance, _)| distance)
}

/// The program's own addresses of its markers in a segment.
fn markers<'a>(file: &'a [u8], segment: &Segment) -> impl Iterator<Item = u64> + use<'a> {
    let start = usize::try_from(segment.offset).unwrap_or(usize::MAX);
    let len = usize::try_from(segment.len).unwrap_or(usize::MAX);
    let code = file.get(start..start.saturating_add(len)).unwrap_or_default();
    let is_marker = |(_, bytes): &(u64, &[u8])| Op::decode(bytes).is_some();
    (segment.address..).zip(code.windows(LEN)).filter(is_marker).map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program of one segment, from 0x2000 in the file to 0x1000 in memory, with markers at
    /// 0x1010 and 0x1100.
    fn program(kind: u16) -> Vec<u8> {
        let mut file = vec![0; 0x2200];
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"\x7fELF\x02\x01");
        put(16, &kind.to_le_bytes());
        put(32, &64_u64.to_le_bytes());
        put(54, &[56, 0, 1, 0]);
        put(64, &[1]);
        put(64 + 8, &0x2000_u64.to_le_bytes());
        put(64 + 16, &0x1000_u64.to_le_bytes());
        put(64 + 32, &0x200_u64.to_le_bytes());
        put(0x2010, b"\x0f\x1f\x80PST\x01");
        put(0x2100, b"\x0f\x1f\x80PST\x05");
        file
    }

    #[test]
    fn markers_tell_where_a_program_was_loaded() {
        let seen = [Pc(0x7f00_0000_1010), Pc(0x7f00_0000_1100), Pc(0x7f00_0000_3010)];
        assert_eq!(find(&program(3), &seen), 0x7f00_0000_0000);
        assert_eq!(find(&program(3), &[]), USUAL);
        assert_eq!(find(&program(3), &[Pc(0x1234)]), USUAL);
        assert_eq!(find(&program(2), &seen), 0);
        assert_eq!(find(b"#!/bin/sh", &seen), USUAL);
    }
}
