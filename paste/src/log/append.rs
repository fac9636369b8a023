//! Append: a batch of records becomes durable, data first, then the entries that name them.

use std::fmt;

use super::{
    Log, MOST_IN_BATCH, Part,
    entry::{ENTRY, Entry, Sequence, payload_sum},
};
use crate::{
    buf::Packet,
    error::{Error, Result},
    pmem::promise::Promise,
};

/// Records that become durable together, with one drain for their data and one for the entries.
///
/// A packet is in one record, and a batch in one log:
///
/// ```compile_fail,E0382
/// fn twice(log: &mut paste_net::Log, packet: paste_net::Packet) {
///     let mut batch = paste_net::Batch::new();
///     batch.record([packet]);
///     batch.record([packet]);
/// }
/// ```
#[derive(Debug, Default)]
pub struct Batch {
    /// Each packet, and whether its record goes on.
    packets: Vec<(Packet, bool)>,
    records: usize,
}

impl Batch {
    /// No record yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one record of the packets `parts`. Recovery finds all of them or none. Without any
    /// packet there is no record.
    pub fn record(&mut self, parts: impl IntoIterator<Item = Packet>) {
        let before = self.packets.len();
        self.packets.extend(parts.into_iter().map(|packet| (packet, true)));
        if let Some((_, more)) = self.packets[before..].last_mut() {
            *more = false;
            self.records += 1;
        }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Entries that the log needs for it: one per packet.
    pub fn entries(&self) -> usize {
        self.packets.len()
    }

    /// The packets, records forgotten.
    pub fn into_packets(self) -> impl Iterator<Item = Packet> {
        self.packets.into_iter().map(|(packet, _)| packet)
    }
}

/// Where an appended batch is. All of it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The sequence number of its first entry.
    pub first: Sequence,
    /// Number of records.
    pub records: usize,
}

/// A batch that was not appended.
#[derive(Debug)]
pub struct Rejected {
    /// Why.
    pub error: Error,
    /// The batch, untouched; empty if entries may already be on the media (the log is then
    /// poisoned, and what holds is for the next recovery to say).
    pub batch: Batch,
}

impl fmt::Display for Rejected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "append {} records", self.batch.len())
    }
}

impl std::error::Error for Rejected {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Log {
    /// Appends all records of `batch`. When this returns, they are durable, and only then may
    /// anybody be told so.
    ///
    /// # Errors
    /// The batch comes back with `LogFull`, `BatchTooLarge`, `OtherPool`, `LogPoisoned`, or `Io`
    /// if the media failed.
    pub fn append(&mut self, batch: Batch) -> std::result::Result<Appended, Rejected> {
        let appended = Appended { first: self.next_sequence(), records: batch.len() };
        if let Err(error) = self.accepts(&batch) {
            return Err(Rejected { error, batch });
        }
        let entries = self.entries_of(&batch);
        let published = self.store(&batch, &entries);
        if let Err(Failed { error, published }) = published {
            self.poisoned = true;
            let batch = if published { abandon(batch) } else { batch };
            return Err(Rejected { error, batch });
        }
        let leases = batch.packets.into_iter().map(|(packet, _)| packet.into_buf().into_lease());
        self.parts.extend(leases.zip(entries).map(|(lease, entry)| Part { lease, entry }));
        self.records += appended.records;
        Ok(appended)
    }

    fn accepts(&self, batch: &Batch) -> Result<()> {
        let (wanted, free) = (batch.entries(), self.free_entries());
        if self.poisoned {
            return Err(Error::LogPoisoned);
        }
        if wanted > MOST_IN_BATCH {
            return Err(Error::BatchTooLarge { wanted, most: MOST_IN_BATCH });
        }
        if wanted > free {
            return Err(Error::LogFull { wanted, free });
        }
        let ours = |packet: &Packet| self.pool.buffers().are_home_of(packet.area());
        if batch.packets.iter().all(|(packet, _)| ours(packet)) {
            return Ok(());
        }
        Err(Error::OtherPool)
    }

    fn entries_of(&self, batch: &Batch) -> Vec<Entry> {
        let first = self.next_sequence();
        let entry = |(distance, (packet, more)): (u16, &(Packet, bool))| {
            let range = packet.range();
            let short = |at: usize| u16::try_from(at).expect("a buffer has at most 4096 bytes");
            Entry {
                buffer: packet.index().get(),
                start: short(range.start),
                len: short(range.len()),
                sequence: Sequence(first.0 + u64::from(distance)),
                epoch: self.header.epoch,
                more: *more,
                distance,
                payload_sum: payload_sum(packet.bytes()),
            }
        };
        (0..).zip(&batch.packets).map(entry).collect()
    }

    /// Makes the payloads durable, then the entries.
    fn store(&self, batch: &Batch, entries: &[Entry]) -> std::result::Result<(), Failed> {
        let (geometry, region) = (self.pool.geometry(), self.pool.region());
        let mut data = region.batch();
        for (packet, _) in &batch.packets {
            data.cover(self.pool.bytes_of(packet.index().get(), packet.range()));
        }
        let durable = data.flush().drain().map_err(|error| Failed { error, published: false })?;
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.encode(geometry.id)).collect();
        let at = geometry.entry_offset(self.parts.len());
        let published = region.publish(at, &bytes, &durable);
        let stored = published.map_err(|error| Failed { error, published: true })?;
        for (packet, _) in &batch.packets {
            let payload = self.pool.bytes_of(packet.index().get(), packet.range());
            stored.promise(Promise::Appended, payload);
        }
        stored.promise(Promise::Appended, at..at + bytes.len());
        Ok(())
    }
}

/// The media may or may not name these buffers: nobody gets them until recovery knows.
fn abandon(batch: Batch) -> Batch {
    batch.into_packets().for_each(|packet| packet.into_buf().into_lease().keep());
    Batch::new()
}

/// What the media refused.
#[derive(Debug)]
struct Failed {
    error: Error,
    /// Entries may have reached the media.
    published: bool,
}

const _: () = assert!(MOST_IN_BATCH <= u16::MAX as usize && ENTRY.is_multiple_of(8));
