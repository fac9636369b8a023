//! Tests of copies: what is as it must be passes, and each way of being wrong is seen.

use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::seed::Seed;
use crate::stream::TAG;

/// Two streams of 256 bytes, each received as segments of 100 and 156 bytes in buffers of 2 KiB.
struct Sight {
    streams: Vec<Stream>,
    placed: Vec<Placed>,
    received: Vec<Received>,
    found: Vec<Found>,
}

fn sight() -> Sight {
    let streams: Vec<_> = (0..2).map(|number| Stream::new(Seed(3), number, 256)).collect();
    let mut placed = Vec::new();
    for stream in 0..2 {
        for (index, (position, len)) in [(0, 100), (100, 156)].into_iter().enumerate() {
            let start = 0x10_0000 + 2048 * (stream as u64 * 2 + index as u64) + 66;
            placed.push(Placed { stream, position, file: Span { start, len } });
        }
    }
    let received = placed.iter().map(|piece| slot_of(&streams, piece)).collect();
    let found = placed.iter().flat_map(|piece| found_in(&streams, piece)).collect();
    Sight { streams, placed, received, found }
}

fn bytes_of<'a>(streams: &'a [Stream], piece: &Placed) -> &'a [u8] {
    let len = usize::try_from(piece.file.len).unwrap();
    &streams[piece.stream].bytes()[piece.position..piece.position + len]
}

fn slot_of(streams: &[Stream], piece: &Placed) -> Received {
    let hash = xxh3_64(bytes_of(streams, piece));
    Received { stream: piece.stream, file: piece.file, hash }
}

/// The whole needles that a search of the buffer finds.
fn found_in(streams: &[Stream], piece: &Placed) -> Vec<Found> {
    let bytes = bytes_of(streams, piece);
    let len = bytes.len();
    let tag = &streams[0].bytes()[..TAG];
    let hits = (0..=len - NEEDLE).filter(|&at| bytes[at..].starts_with(tag));
    hits.map(|at| Found {
        offset: piece.file.start + at as u64,
        bytes: bytes[at..at + NEEDLE].to_vec(),
    })
    .collect()
}

fn judge(sight: &Sight) -> Verdict {
    judge_pieces(&sight.placed)?;
    judge_slots(&sight.streams, &sight.placed, &sight.received)?;
    judge_census(&sight.streams, &sight.placed, &sight.found)
}

#[test]
fn payload_that_lies_only_where_it_was_written_passes() {
    let sight = sight();
    assert_eq!(judge(&sight), Ok(()));
    assert_eq!(sight.found.len(), 2 * 7);
    assert_eq!(copied_bytes(&sight.placed, sight.found.len()), 0);
}

#[test]
fn a_second_copy_anywhere_is_seen() {
    let mut sight = sight();
    let copy = Found { offset: 0x50_0000, ..sight.found[0].clone() };
    sight.found.push(copy);
    assert!(judge(&sight).unwrap_err().contains("0x500000, where nothing was received"));
    assert_eq!(copied_bytes(&sight.placed, sight.found.len()), 32);
}

#[test]
fn a_copy_inside_the_range_of_another_frame_is_seen() {
    let mut sight = sight();
    // Same alignment, but the bytes of the other connection.
    sight.found[0].bytes = sight.streams[1].bytes()[..NEEDLE].to_vec();
    assert!(judge(&sight).unwrap_err().contains("was not received there"));
}

#[test]
fn a_needle_that_is_gone_is_seen() {
    let mut sight = sight();
    sight.found.remove(1);
    assert!(judge(&sight).unwrap_err().contains("the needle at 32 is nowhere"));
    sight.found.clear();
    assert!(judge(&sight).is_err());
}

#[test]
fn a_slot_elsewhere_than_the_backend_wrote_is_seen() {
    let mut sight = sight();
    sight.received[1].file.start += 2048;
    assert!(judge(&sight).unwrap_err().contains("connection 0 at byte 100: the slot lies at"));
}

#[test]
fn wrong_missing_swapped_and_surplus_slots_are_seen() {
    let mut wrong = sight();
    wrong.received[0].hash ^= 1;
    assert!(judge(&wrong).unwrap_err().contains("are not those that were sent"));
    let mut missing = sight();
    missing.received.pop();
    assert!(judge(&missing).unwrap_err().contains("100 of 256 bytes arrived"));
    let mut swapped = sight();
    swapped.received.swap(0, 1);
    assert!(judge(&swapped).is_err());
    let mut surplus = sight();
    surplus.received.push(surplus.received[0]);
    assert!(judge(&surplus).unwrap_err().contains("more than were sent"));
}

#[test]
fn a_segment_without_a_needle_proves_nothing() {
    let file = Span { start: 0, len: 40 };
    let piece = Placed { stream: 0, position: 20, file };
    assert!(judge_pieces(&[piece]).unwrap_err().contains("has no needle"));
}

#[test]
fn a_retransmitted_segment_may_lie_twice() {
    let mut sight = sight();
    let again =
        Placed { file: Span { start: 0x20_0000, ..sight.placed[0].file }, ..sight.placed[0] };
    sight.placed.push(again);
    sight.found.extend(found_in(&sight.streams, &again));
    assert_eq!(judge(&sight), Ok(()));
}
