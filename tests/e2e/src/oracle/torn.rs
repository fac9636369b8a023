//! Torn: whether a device stopped in a packet where it should, and what became of the packet.

use super::records::{Record, judge_recovery};
use super::{Span, Verdict};

/// Whether memory holds the packet's payload up to the tear, and not the rest of it.
///
/// `expected` is the payload, `found` what lies at its place, `written` how much of it the device
/// was to write. The rest is at least as long as a word, so that chance cannot make it equal.
pub(crate) fn judge_payload(expected: &[u8], found: &[u8], written: usize) -> Verdict {
    if expected.len() != found.len() || written > expected.len() {
        let (len, have) = (expected.len(), found.len());
        return Err(format!("{written} of {len} bytes written, {have} bytes found"));
    }
    if let Some(at) = (0..written).find(|at| expected[*at] != found[*at]) {
        return Err(format!("byte {at} of a packet torn behind {written} bytes is missing"));
    }
    if written < expected.len() && expected[written..] == found[written..] {
        return Err(format!("the packet is whole, though torn behind {written} bytes"));
    }
    Ok(())
}

/// Whether all acknowledged records were recovered, and the one that was torn was not.
pub(crate) fn judge_torn(sent: &[Record], acked: usize, recovered: &[Record]) -> Verdict {
    judge_recovery(sent, acked, recovered)?;
    if recovered.len() > acked {
        return Err(format!("record {acked} never arrived whole, but was recovered"));
    }
    Ok(())
}

/// A payload that a backend says it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Where in the NVDIMM.
    pub(crate) places: Vec<Span>,
    /// `xxh3_64` of it.
    pub(crate) hash: u64,
}

/// Whether a journal of the device's writes (place and bytes) has all these payloads, in order.
pub(crate) fn judge_journal(
    told: &[Told],
    writes: &[(u64, &[u8])],
    hash: impl Fn(&[u8]) -> u64,
) -> Verdict {
    let mut rest = writes.iter();
    for (number, payload) in told.iter().enumerate() {
        let mut bytes = Vec::new();
        for place in &payload.places {
            let part = rest.by_ref().find_map(|(start, bytes)| part(*start, bytes, *place));
            let missing =
                || format!("payload {number} at {:#x} is not in the journal", place.start);
            bytes.extend(part.ok_or_else(missing)?);
        }
        if hash(&bytes) != payload.hash {
            return Err(format!("payload {number} is not the one in the journal"));
        }
    }
    Ok(())
}

/// The bytes at `place` of a write that holds all of it.
fn part(start: u64, bytes: &[u8], place: Span) -> Option<&[u8]> {
    let from = usize::try_from(place.start.checked_sub(start)?).ok()?;
    bytes.get(from..from.checked_add(usize::try_from(place.len).ok()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_there_up_to_the_tear_and_not_beyond() {
        let (sent, old) = (*b"0123456789abcdef", *b"----------------");
        for written in [0, 1, 8, 16] {
            let mut found = old;
            found[..written].copy_from_slice(&sent[..written]);
            assert_eq!(judge_payload(&sent, &found, written), Ok(()), "{written}");
            for wrong in [0, 1, 8, 16].into_iter().filter(|wrong| *wrong > written) {
                assert!(judge_payload(&sent, &found, wrong).unwrap_err().contains("missing"));
            }
        }
        assert!(judge_payload(&sent, &sent, 8).unwrap_err().contains("whole"));
        assert!(judge_payload(&sent, &sent[1..], 8).is_err());
    }

    #[test]
    fn a_torn_record_that_was_recovered_is_seen() {
        let records = [1, 2, 3].map(|hash| Record { len: 64, hash });
        assert_eq!(judge_torn(&records, 2, &records[..2]), Ok(()));
        let whole = judge_torn(&records, 2, &records);
        assert_eq!(whole.unwrap_err(), "record 2 never arrived whole, but was recovered");
        assert!(judge_torn(&records, 2, &records[..1]).unwrap_err().contains("acknowledged"));
        let torn = [records[0], records[1], Record { len: 64, hash: 9 }];
        assert!(judge_torn(&records, 2, &torn).unwrap_err().contains("damaged"));
    }

    #[test]
    fn payloads_that_a_journal_lacks_are_seen() {
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum();
        let span = |start, len| Span { start, len };
        let told = [
            Told { places: vec![span(101, 2)], hash: 5 },
            Told { places: vec![span(200, 1), span(300, 2)], hash: 6 },
        ];
        let writes: [(u64, &[u8]); 4] =
            [(100, &[9, 2, 3, 9]), (50, &[7]), (200, &[1, 9]), (300, &[2, 3])];
        assert_eq!(judge_journal(&told, &writes, sum), Ok(()));
        for without in [0, 2, 3] {
            let mut writes = writes.to_vec();
            writes.remove(without);
            assert!(judge_journal(&told, &writes, sum).unwrap_err().contains("not in"));
        }
        let swapped = [writes[2], writes[3], writes[0]];
        assert!(judge_journal(&told, &swapped, sum).is_err(), "another order");
        let mut other = writes;
        other[3] = (300, &[2, 4]);
        assert!(judge_journal(&told, &other, sum).unwrap_err().contains("not the one"));
        let mut short = writes;
        short[0] = (100, &[9, 2]);
        assert!(judge_journal(&told, &short, sum).is_err(), "a write that is cut short");
    }
}
