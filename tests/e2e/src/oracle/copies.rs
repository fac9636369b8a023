//! Copies: whether received payload lies where the device wrote it, and nowhere else.
//!
//! The judges compare three sources that do not know each other: what the host sent, where the
//! backend wrote each frame, and what the guest program and a search of all guest memory saw.

use std::collections::{BTreeMap, BTreeSet};

use super::{Span, Verdict};
use crate::stream::{NEEDLE, Stream};

/// A part of a stream that the backend wrote into guest memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Number of the connection.
    pub(crate) stream: usize,
    /// Position of its first byte in the stream.
    pub(crate) position: usize,
    /// Where it lies in the NVDIMM's file.
    pub(crate) file: Span,
}

/// A slot as the guest program saw it, in the order in which it saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Number of the connection.
    pub(crate) stream: usize,
    /// Where the payload lies in the NVDIMM's file.
    pub(crate) file: Span,
    /// `xxh3_64` of the payload.
    pub(crate) hash: u64,
}

/// A place where a whole needle was found, by its offset in the NVDIMM's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// Offset of its first byte.
    pub(crate) offset: u64,
    /// The needle.
    pub(crate) bytes: Vec<u8>,
}

/// Whether the slots hold every stream whole and in order, each where the backend wrote it.
pub(crate) fn judge_slots(streams: &[Stream], placed: &[Placed], received: &[Received]) -> Verdict {
    let mut done = vec![0_usize; streams.len()];
    let by_stream = by_stream(placed);
    for slot in received {
        let Some(stream) = streams.get(slot.stream) else {
            return Err(format!("a slot names connection {}, which is none", slot.stream));
        };
        let position = done[slot.stream];
        let len = usize::try_from(slot.file.len).unwrap_or(usize::MAX);
        let name = format!("connection {} at byte {position}", slot.stream);
        let Some(sent) = stream.bytes().get(position..position.saturating_add(len)) else {
            return Err(format!("{name}: a slot has {len} bytes, more than were sent"));
        };
        if xxhash_rust::xxh3::xxh3_64(sent) != slot.hash {
            return Err(format!("{name}: the slot's {len} bytes are not those that were sent"));
        }
        let wrote = by_stream.get(&slot.stream).map_or(&[][..], Vec::as_slice);
        if !wrote.iter().any(|piece| is_inside(piece, position, slot.file)) {
            return Err(format!(
                "{name}: the slot lies at {:#x}, the backend wrote it at {:#x?}",
                slot.file.start,
                places_of(wrote, position)
            ));
        }
        done[slot.stream] += len;
    }
    for (number, (stream, done)) in streams.iter().zip(done).enumerate() {
        let sent = stream.bytes().len();
        if done != sent {
            return Err(format!("connection {number}: {done} of {sent} bytes arrived in slots"));
        }
    }
    Ok(())
}

/// Whether every needle lies where the backend wrote it, and only there.
pub(crate) fn judge_census(streams: &[Stream], placed: &[Placed], found: &[Found]) -> Verdict {
    let mut order: Vec<_> = placed.iter().collect();
    order.sort_by_key(|piece| piece.file);
    for hit in found {
        let here = Span { start: hit.offset, len: NEEDLE as u64 };
        let upto = order.partition_point(|piece| piece.file.start <= hit.offset);
        let mut holders = order[..upto].iter().filter(|piece| piece.file.holds(here)).peekable();
        if holders.peek().is_none() {
            return Err(format!("a needle lies at {:#x}, where nothing was received", hit.offset));
        }
        if !holders.any(|piece| is_as_written(streams, piece, hit)) {
            return Err(format!("the needle at {:#x} was not received there", hit.offset));
        }
    }
    let offsets: BTreeSet<_> = found.iter().map(|hit| hit.offset).collect();
    for (number, stream) in streams.iter().enumerate() {
        for position in (0..stream.bytes().len()).step_by(NEEDLE) {
            let whole = Span { start: position as u64, len: NEEDLE as u64 };
            let of_it = placed.iter().filter(|piece| piece.stream == number);
            let mut wholes = of_it.filter(|piece| in_stream(piece).holds(whole)).peekable();
            let is_cut = wholes.peek().is_none();
            if !is_cut && !wholes.any(|piece| offsets.contains(&place(piece, position))) {
                return Err(format!("connection {number}: the needle at {position} is nowhere"));
            }
        }
    }
    Ok(())
}

/// Whether every piece that the backend wrote holds a whole needle; else the search proves
/// nothing about it.
pub(crate) fn judge_pieces(placed: &[Placed]) -> Verdict {
    for piece in placed {
        let first = piece.position.next_multiple_of(NEEDLE);
        let whole = Span { start: first as u64, len: NEEDLE as u64 };
        if !in_stream(piece).holds(whole) {
            let Placed { stream, position, .. } = piece;
            return Err(format!("connection {stream}: the segment at {position} has no needle"));
        }
    }
    Ok(())
}

/// How many bytes a CPU copied: needles found beyond those that the backend wrote.
pub(crate) fn copied_bytes(placed: &[Placed], found_anywhere: usize) -> u64 {
    let needles: usize = placed.iter().map(needles_in).sum();
    (found_anywhere.saturating_sub(needles) * NEEDLE) as u64
}

/// Number of whole needles in a piece.
fn needles_in(piece: &Placed) -> usize {
    let first = piece.position.next_multiple_of(NEEDLE);
    let end = piece.position + usize::try_from(piece.file.len).unwrap_or(0);
    (first..end).step_by(NEEDLE).filter(|at| at + NEEDLE <= end).count()
}

fn by_stream(placed: &[Placed]) -> BTreeMap<usize, Vec<Placed>> {
    let mut map: BTreeMap<usize, Vec<Placed>> = BTreeMap::new();
    for piece in placed {
        map.entry(piece.stream).or_default().push(*piece);
    }
    map
}

fn in_stream(piece: &Placed) -> Span {
    Span { start: piece.position as u64, len: piece.file.len }
}

/// Where a stream's byte lies if it lies in this piece.
fn place(piece: &Placed, position: usize) -> u64 {
    piece.file.start + (position - piece.position) as u64
}

fn is_inside(piece: &Placed, position: usize, file: Span) -> bool {
    let wanted = Span { start: position as u64, len: file.len };
    in_stream(piece).holds(wanted) && place(piece, position) == file.start
}

fn places_of(pieces: &[Placed], position: usize) -> Vec<u64> {
    let byte = Span { start: position as u64, len: 1 };
    let around = pieces.iter().filter(|piece| in_stream(piece).holds(byte));
    around.map(|piece| place(piece, position)).collect()
}

/// Whether the bytes found are those of the stream that the piece brought there.
fn is_as_written(streams: &[Stream], piece: &Placed, hit: &Found) -> bool {
    let into = usize::try_from(hit.offset - piece.file.start).unwrap_or(usize::MAX);
    let position = piece.position.saturating_add(into);
    let sent = streams.get(piece.stream).and_then(|stream| stream.needle(position));
    position.is_multiple_of(NEEDLE) && sent == Some(hit.bytes.as_slice())
}

#[cfg(test)]
#[path = "copies_tests.rs"]
mod tests;
