//! Records: what of a log is left, and whether that is what it acknowledged, and was sent.

use paste_net::{Error, Remains};
use xxhash_rust::xxh3::xxh3_64;

use super::{Span, Verdict};

/// A record as it was sent or recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// Length in bytes.
    pub(crate) len: usize,
    /// `xxh3_64` of the bytes.
    pub(crate) hash: u64,
}

impl Record {
    /// The record of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { len: bytes.len(), hash: xxh3_64(bytes) }
    }
}

/// What a log holds; `None`: there is no pool.
pub(crate) type Held = Option<Vec<Record>>;

/// What the library recovers from the bytes of a pool.
///
/// # Errors
/// The library's: no loss of power leaves such bytes behind.
pub(crate) fn recover(pool: &[u8]) -> Result<Held, String> {
    let remains = match Remains::read(pool) {
        Ok(remains) => remains,
        Err(Error::NoPool { .. }) => return Ok(None),
        Err(why) => return Err(why.to_string()),
    };
    let mut whole = Vec::new();
    let records = remains.records().map(|packets| {
        whole.clear();
        packets.for_each(|packet| whole.extend_from_slice(packet));
        Record::of(&whole)
    });
    Ok(Some(records.collect()))
}

/// Whether the recovered records are the first ones that were sent, whole and in order, and
/// at least as many as the client was told of.
///
/// A record that was sent but not acknowledged may be there or not.
pub(crate) fn judge_recovery(sent: &[Record], acked: usize, recovered: &[Record]) -> Verdict {
    for (number, record) in recovered.iter().enumerate() {
        match sent.get(number) {
            None => return Err(format!("record {number} was recovered but never sent")),
            Some(sent) if sent != record => {
                let told = if number < acked { "acknowledged" } else { "unacknowledged" };
                return Err(format!("{told} record {number} was recovered damaged"));
            }
            Some(_) => {}
        }
    }
    if recovered.len() < acked {
        let kept = recovered.len();
        return Err(format!("{acked} records were acknowledged, {kept} were recovered"));
    }
    Ok(())
}

/// Whether the recovered records are those of writers who append to one log at the same time: each
/// writer's first ones in its order, and the first ones of all by the writers in `acked`.
pub(crate) fn judge_writers(
    planned: &[Vec<Record>],
    acked: &[usize],
    recovered: &[Record],
) -> Verdict {
    let mut next = vec![0; planned.len()];
    let mut sent = Vec::new();
    for (number, record) in recovered.iter().enumerate() {
        let is_next = |writer: &usize| planned[*writer].get(next[*writer]) == Some(record);
        let writer = acked.get(number).copied().or_else(|| (0..planned.len()).find(is_next));
        let record = writer.and_then(|writer| planned[writer].get(next[writer]));
        sent.extend(record);
        if let Some(writer) = writer {
            next[writer] += 1;
        }
    }
    judge_recovery(&sent, acked.len(), recovered)
}

/// How many acknowledged records are missing or damaged.
pub(crate) fn lost(sent: &[Record], acked: usize, recovered: &[Record]) -> usize {
    let kept = |number: &usize| recovered.get(*number) == sent.get(*number);
    (0..acked).filter(|number| !kept(number)).count()
}

/// Whether no frame was written into a buffer that the log owns; both in bytes of one file.
pub(crate) fn judge_ownership(owned: &[Span], written: &[Span]) -> Verdict {
    let mut owned = owned.to_vec();
    owned.sort_unstable();
    for frame in written {
        let before = owned.partition_point(|span| span.start < frame.end());
        // Owned spans do not overlap, so only the last that begins before the frame's end counts.
        if let Some(span) = owned[..before].last().filter(|span| span.meets(*frame)) {
            let (start, record) = (frame.start, span.start);
            return Err(format!("a frame was written at {start:#x} into a record at {record:#x}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(hashes: &[u64]) -> Vec<Record> {
        hashes.iter().map(|&hash| Record { len: 64, hash }).collect()
    }

    #[test]
    fn all_acknowledged_records_and_any_unacknowledged_ones_pass() {
        let sent = records(&[1, 2, 3, 4]);
        for kept in 2..=4 {
            assert_eq!(judge_recovery(&sent, 2, &sent[..kept]), Ok(()));
            assert_eq!(lost(&sent, 2, &sent[..kept]), 0);
        }
        assert_eq!(judge_recovery(&[], 0, &[]), Ok(()));
    }

    #[test]
    fn records_of_two_writers_may_be_mixed_but_not_change_places() {
        let planned = [records(&[1, 2, 3]), records(&[11, 12, 13])];
        let judge = |acked: &[usize], hashes| judge_writers(&planned, acked, &records(hashes));
        assert_eq!(judge(&[0, 1, 1], &[1, 11, 12]), Ok(()));
        assert_eq!(judge(&[0, 1, 1], &[1, 11, 12, 13, 2]), Ok(()));
        assert!(judge(&[0, 1, 1], &[1, 11]).unwrap_err().contains("2 were recovered"));
        assert!(judge(&[0, 1, 1], &[1, 12, 11]).unwrap_err().contains("record 1"));
        assert!(judge(&[0], &[1, 12]).unwrap_err().contains("never sent"));
        assert!(judge(&[], &[7]).unwrap_err().contains("never sent"));
    }

    #[test]
    fn a_lost_acknowledged_record_is_seen() {
        let sent = records(&[1, 2, 3]);
        let verdict = judge_recovery(&sent, 3, &sent[..2]);
        assert_eq!(verdict.unwrap_err(), "3 records were acknowledged, 2 were recovered");
        assert_eq!(lost(&sent, 3, &sent[..2]), 1);
    }

    #[test]
    fn damaged_swapped_and_invented_records_are_seen() {
        let sent = records(&[1, 2, 3]);
        let damaged = judge_recovery(&sent, 2, &records(&[1, 9]));
        assert_eq!(damaged.unwrap_err(), "acknowledged record 1 was recovered damaged");
        let torn = judge_recovery(&sent, 1, &records(&[1, 9]));
        assert_eq!(torn.unwrap_err(), "unacknowledged record 1 was recovered damaged");
        assert!(judge_recovery(&sent, 2, &records(&[2, 1])).is_err());
        let invented = judge_recovery(&sent, 3, &records(&[1, 2, 3, 4]));
        assert_eq!(invented.unwrap_err(), "record 3 was recovered but never sent");
    }

    #[test]
    fn a_frame_in_a_buffer_of_the_log_is_seen() {
        let span = |start, len| Span { start, len };
        let owned = [span(4096, 1024), span(100, 64)];
        assert_eq!(judge_ownership(&owned, &[span(0, 100), span(164, 3932)]), Ok(()));
        let hit = judge_ownership(&owned, &[span(6000, 10), span(5119, 1)]);
        assert_eq!(hit.unwrap_err(), "a frame was written at 0x13ff into a record at 0x1000");
        assert!(judge_ownership(&owned, &[span(90, 11)]).is_err());
    }
}
