//! Log: the packets that a program keeps, in the order in which it kept them.
//!
//! A record is one packet or several; its bytes stay where the NIC put them. The log adds one
//! 32-byte entry per packet. docs/log-format.md is the format and the proof that recovery finds
//! every acknowledged record and no torn or stale one.

mod append;
pub(crate) mod entry;
pub(crate) mod header;
mod recover;
mod remains;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

pub use append::{Appended, Batch, Rejected};
pub use entry::{Epoch, Sequence};
pub use remains::Remains;

use std::ops::Range;

use crate::{
    buf::{BufIndex, Buffers, RegionOffset},
    error::{Error, Result},
    log::{
        entry::Entry,
        header::{COPY, Header},
    },
    map::Lease,
    pmem::{line::LINE, promise::Promise},
    pool::Pool,
};

/// Entries that one append may write: how far recovery must look past the end.
pub const MOST_IN_BATCH: usize = 4096;

/// An entry and the buffer that it owns.
#[derive(Debug)]
struct Part {
    lease: Lease,
    entry: Entry,
}

/// A pool's packet log, recovered and ready to go on.
///
/// Opening it is how a program gets at the pool's buffers, so that no port can lend what a
/// record owns.
#[derive(Debug)]
pub struct Log {
    pool: Pool,
    header: Header,
    parts: Vec<Part>,
    records: usize,
    /// An append failed half-way: what is on the media is not what is here.
    poisoned: bool,
}

impl Log {
    /// Recovers the log: finds all records, takes their buffers, and begins a new epoch, so that
    /// nothing written before can ever be taken for part of what is written from now on.
    ///
    /// # Errors
    /// `LogCorrupt` if something durable was lost or changed, `Busy` if the log of this opened
    /// pool was recovered before, `Io`.
    pub fn open(pool: &Pool) -> Result<Self> {
        pool.take_log()?;
        let (header, parts) = recover::recover(pool)?;
        let parts: Vec<_> = parts.into_iter().map(|(lease, entry)| Part { lease, entry }).collect();
        let records = parts.iter().filter(|part| !part.entry.more).count();
        let mut log = Self { pool: pool.clone(), header, parts, records, poisoned: false };
        log.settle()?;
        log.write_header(log.header.next_epoch(), Promise::LogOpened)?;
        Ok(log)
    }

    /// Makes durable what was found: a program that was killed may have left it in the caches
    /// only, and from now on others rely on it. (Payload is durable before an entry names it.)
    fn settle(&self) -> Result<()> {
        let geometry = self.pool.geometry();
        let headers = geometry.header_offset()..geometry.header_offset() + 2 * LINE;
        let entries = geometry.entry_offset(0)..geometry.entry_offset(self.parts.len());
        let mut found = self.pool.region().batch();
        found.cover(headers);
        found.cover(entries.clone());
        let settled = found.flush().drain()?;
        settled.promise(Promise::LogOpened, entries);
        for Part { lease, entry } in &self.parts {
            settled.promise(Promise::LogOpened, self.pool.bytes_of(lease.index(), entry.range()));
        }
        Ok(())
    }

    /// The pool's buffers, for a port.
    pub fn buffers(&self) -> &Buffers {
        self.pool.buffers()
    }

    /// All records, oldest first.
    pub fn records(&self) -> Records<'_> {
        Records { log: self, next: 0 }
    }

    /// The record that begins with entry `sequence`, if there is one.
    pub fn record(&self, sequence: Sequence) -> Option<Record<'_>> {
        let at = usize::try_from(sequence.0.checked_sub(self.header.base.0)?).ok()?;
        let begins = at == 0 || !self.parts.get(at - 1)?.entry.more;
        begins.then(|| Records { log: self, next: at }.next()).flatten()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Entries that can still be appended.
    pub fn free_entries(&self) -> usize {
        self.pool.geometry().log_entries as usize - self.parts.len()
    }

    /// The sequence number of the next entry.
    pub fn next_sequence(&self) -> Sequence {
        Sequence(self.header.base.0 + self.parts.len() as u64)
    }

    /// The present epoch: one more with every opening.
    pub fn epoch(&self) -> Epoch {
        self.header.epoch
    }

    /// Forgets every record; their buffers become spares. Sequence numbers go on.
    ///
    /// # Errors
    /// `LogPoisoned` after a failed append, `Io`; the records are then still there.
    pub fn reset(&mut self) -> Result<()> {
        if self.poisoned {
            return Err(Error::LogPoisoned);
        }
        self.write_header(self.header.emptied(self.next_sequence()), Promise::LogEmptied)?;
        // Only now is no entry left that names the buffers.
        self.records = 0;
        let buffers = self.pool.buffers();
        self.parts.drain(..).for_each(|part| drop(buffers.adopt(part.lease)));
        Ok(())
    }

    /// Writes the older of the header's two copies; the other one holds until this is durable.
    fn write_header(&mut self, header: Header, promise: Promise) -> Result<()> {
        let geometry = self.pool.geometry();
        let at = geometry.header_offset() + header.copy_offset();
        let mut batch = self.pool.region().batch();
        batch.store(at, &header.encode(geometry.id));
        match batch.flush().drain() {
            Ok(durable) => durable.promise(promise, at..at + COPY),
            Err(error) => {
                self.poisoned = true;
                return Err(error);
            }
        }
        self.header = header;
        Ok(())
    }
}

impl Drop for Log {
    /// The records own their buffers as long as the pool is open, log or not.
    fn drop(&mut self) {
        self.parts.drain(..).for_each(|part| part.lease.keep());
    }
}

/// The records of a log, oldest first.
#[derive(Debug)]
pub struct Records<'a> {
    log: &'a Log,
    next: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        let rest = self.log.parts.get(self.next..)?;
        let last = rest.iter().position(|part| !part.entry.more)?;
        self.next += last + 1;
        Some(Record { log: self.log, parts: &rest[..=last] })
    }
}

/// One record: the payload of one packet or more.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    log: &'a Log,
    parts: &'a [Part],
}

impl<'a> Record<'a> {
    /// The sequence number of the record's first entry.
    pub fn sequence(&self) -> Sequence {
        self.parts[0].entry.sequence
    }

    /// The epoch in which it was appended.
    pub fn epoch(&self) -> Epoch {
        self.parts[0].entry.epoch
    }

    /// Its packets' payloads, in place.
    pub fn parts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.parts.iter().map(|part| &part.lease.bytes()[part.entry.range()])
    }

    /// Where its packets' payloads start in the pool's file or device.
    pub fn locations(&self) -> impl Iterator<Item = RegionOffset> + use<'a> {
        let buffers = self.log.buffers();
        self.parts
            .iter()
            .map(|part| buffers.location(BufIndex(part.entry.buffer), part.entry.range().start))
    }

    /// Its packets' payloads, to be sent from where they lie.
    pub fn stored(&self) -> impl Iterator<Item = Stored<'a>> + use<'a> {
        let home = self.log.buffers();
        self.parts.iter().map(move |part| Stored { lease: &part.lease, home, entry: &part.entry })
    }

    /// Bytes of payload.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| usize::from(part.entry.len)).sum()
    }

    /// Whether there is no byte of payload.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of the payload.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        self.parts().for_each(|part| bytes.extend_from_slice(part));
        bytes
    }
}

/// One packet of a record, lent by the log that owns it: what a port can send without moving it.
///
/// The log owns the buffer until [`Log::reset`]. The network stack may send it again later than
/// that; until it has let go, nobody can write into it (see [`Buffers::blank`]).
///
/// ```compile_fail,E0502
/// fn reset_while_lent(log: &mut paste_net::Log) -> usize {
///     let part = log.records().next().unwrap().stored().next().unwrap();
///     log.reset().unwrap();
///     part.bytes().len()
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    lease: &'a Lease,
    home: &'a Buffers,
    entry: &'a Entry,
}

impl<'a> Stored<'a> {
    /// The payload.
    pub fn bytes(&self) -> &'a [u8] {
        &self.lease.bytes()[self.entry.range()]
    }

    /// Where the payload starts in the pool's file or device.
    pub fn location(&self) -> RegionOffset {
        self.home.location(BufIndex(self.lease.index()), self.entry.range().start)
    }

    pub(crate) fn index(&self) -> u32 {
        self.lease.index()
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.entry.range()
    }

    pub(crate) fn home(&self) -> &'a Buffers {
        self.home
    }
}
