//! Recover: from whatever power loss left, the entries that count.
//!
//! Two steps, both pure functions of the media. *Which* entries count is a question of structure
//! (`accepted`): a torn batch ends the log. *What* they say is then checked (`check`): data were
//! durable before their entry was stored, so an entry that counts and does not fit its data is
//! corruption, and so is an end before something that had been durable.

use std::ops::Range;

use super::{
    MOST_IN_BATCH,
    entry::{ENTRY, Entry, Epoch, payload_sum},
    header::{COPY, Header},
};
use crate::{
    buf::BufIndex,
    error::{Error, Result},
    map::Lease,
    pmem::line::LINE,
    pool::{Pool, superblock::Geometry},
};

/// A pool's bytes, wherever they are, and the right to its buffers.
pub(super) trait Media {
    /// The right to one buffer.
    type Claim;

    fn geometry(&self) -> Geometry;

    /// `N` bytes of the log area.
    fn load<const N: usize>(&self, at: usize) -> [u8; N];

    /// The right to a buffer that exists; `None` if somebody has it.
    fn claim(&mut self, buffer: u32) -> Option<Self::Claim>;

    /// Bytes of a buffer.
    fn payload<'a>(&'a self, claim: &'a Self::Claim, range: Range<usize>) -> &'a [u8];
}

impl Media for &Pool {
    type Claim = Lease;

    fn geometry(&self) -> Geometry {
        Pool::geometry(self)
    }

    fn load<const N: usize>(&self, at: usize) -> [u8; N] {
        self.region().load(at)
    }

    fn claim(&mut self, buffer: u32) -> Option<Lease> {
        self.buffers().area().lease(buffer)
    }

    fn payload<'a>(&'a self, claim: &'a Lease, range: Range<usize>) -> &'a [u8] {
        &claim.bytes()[range]
    }
}

/// The entries that count, oldest first, each with the right to its buffer.
type Owned<Claim> = Vec<(Claim, Entry)>;

/// The header and the entries that count.
pub(super) fn recover<M: Media>(mut media: M) -> Result<(Header, Owned<M::Claim>)> {
    let geometry = media.geometry();
    let at = geometry.header_offset();
    let copies = [media.load::<COPY>(at), media.load::<COPY>(at + LINE)];
    let header = Header::choose(copies, geometry.id)
        .ok_or_else(|| corrupt(0, "neither copy of the log's header is valid"))?;
    let decode = |position| {
        let bytes = media.load::<ENTRY>(geometry.entry_offset(position));
        Entry::decode(&bytes, geometry.id)
    };
    let entries = accepted(&header, geometry.log_entries as usize, decode)?;
    Ok((header, check(&mut media, entries)?))
}

/// The longest run of whole batches and whole records from position 0.
fn accepted(
    header: &Header,
    room: usize,
    decode: impl Fn(usize) -> Option<Entry>,
) -> Result<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut whole = 0;
    let counts = |position| decode(position).filter(|entry: &Entry| entry.epoch >= header.start);
    for position in 0..room {
        let Some(entry) = counts(position) else { break };
        if !follows(entries.last(), &entry) {
            break;
        }
        placed(header, position, &entry)?;
        entries.push(entry);
        if !entry.more {
            whole = entries.len();
        }
    }
    let last = entries.last().map_or(header.start, |entry| entry.epoch);
    let ahead = entries.len() + 1..room.min(entries.len() + 1 + MOST_IN_BATCH);
    nothing_durable_follows(entries.len(), last, ahead, counts)?;
    // The rest is the beginning of a record whose batch was torn: nobody was told of it.
    entries.truncate(whole);
    Ok(entries)
}

/// Whether `entry` goes on where `before` ended: the same batch, or the first of a later one.
/// What an earlier epoch left behind a torn batch does not.
fn follows(before: Option<&Entry>, entry: &Entry) -> bool {
    match (before, entry.distance) {
        (None, distance) => distance == 0,
        (Some(before), 0) => !before.more && before.epoch <= entry.epoch,
        (Some(before), distance) => {
            before.epoch == entry.epoch && before.distance.checked_add(1) == Some(distance)
        }
    }
}

/// An entry that follows is at its place, in an epoch that has begun.
fn placed(header: &Header, position: usize, entry: &Entry) -> Result<()> {
    if entry.epoch > header.epoch {
        let reason = format!("epoch {}, the header knows {}", entry.epoch.0, header.epoch.0);
        return Err(corrupt(position, &reason));
    }
    let expected = header.base.0 + position as u64;
    if entry.sequence.0 != expected {
        let reason = format!("sequence {}, its place has {expected}", entry.sequence);
        return Err(corrupt(position, &reason));
    }
    Ok(())
}

/// A batch is stored only when the one before is durable. So an entry past the end `end`, of the
/// last epoch or a later one, whose batch began past the end, says that entry `end` was lost.
fn nothing_durable_follows(
    end: usize,
    last: Epoch,
    ahead: Range<usize>,
    decode: impl Fn(usize) -> Option<Entry>,
) -> Result<()> {
    for position in ahead {
        let Some(entry) = decode(position).filter(|entry| entry.epoch >= last) else { continue };
        let began = position.checked_sub(usize::from(entry.distance));
        if began.is_none_or(|began| began > end) {
            let reason = format!("lost, although the batch of entry {position} came after it");
            return Err(corrupt(end, &reason));
        }
    }
    Ok(())
}

/// Every entry names its own buffer and payload that is what it was.
fn check<M: Media>(media: &mut M, entries: Vec<Entry>) -> Result<Owned<M::Claim>> {
    let Geometry { buffers, buf_size, .. } = media.geometry();
    let mut parts = Vec::with_capacity(entries.len());
    for (position, entry) in entries.into_iter().enumerate() {
        if entry.buffer < BufIndex::FIRST
            || entry.buffer >= buffers
            || entry.range().end > buf_size.bytes()
        {
            let reason = format!("bytes {:?} of buffer {}", entry.range(), entry.buffer);
            return Err(corrupt(position, &reason));
        }
        let twice = || corrupt(position, &format!("buffer {} is owned twice", entry.buffer));
        let claim = media.claim(entry.buffer).ok_or_else(twice)?;
        if payload_sum(media.payload(&claim, entry.range())) != entry.payload_sum {
            let reason = format!("the payload in buffer {} has changed", entry.buffer);
            return Err(corrupt(position, &reason));
        }
        parts.push((claim, entry));
    }
    Ok(parts)
}

fn corrupt(position: usize, reason: &str) -> Error {
    Error::LogCorrupt { position: position as u64, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::entry::Sequence;

    fn entry(epoch: u32, distance: u16, more: bool) -> Entry {
        let (epoch, sequence) = (Epoch(epoch), Sequence(0));
        Entry { buffer: 2, start: 0, len: 0, sequence, epoch, more, distance, payload_sum: 0 }
    }

    #[test]
    fn only_the_same_batch_or_a_later_one_follows() {
        let whole = entry(4, 3, false);
        let begun = entry(4, 3, true);
        assert!(follows(None, &entry(1, 0, true)));
        assert!(!follows(None, &entry(1, 1, false)), "the log begins with a batch");
        assert!(follows(Some(&whole), &entry(4, 4, false)), "the same batch");
        assert!(follows(Some(&begun), &entry(4, 4, false)), "the same record");
        assert!(!follows(Some(&whole), &entry(4, 5, false)), "a hole in the batch");
        assert!(!follows(Some(&whole), &entry(5, 4, false)), "another epoch's batch");
        assert!(follows(Some(&whole), &entry(4, 0, false)), "the next batch");
        assert!(follows(Some(&whole), &entry(6, 0, false)), "a batch of a later epoch");
        assert!(!follows(Some(&whole), &entry(3, 0, false)), "a remainder");
        assert!(!follows(Some(&begun), &entry(4, 0, false)), "the record has no end");
    }
}
