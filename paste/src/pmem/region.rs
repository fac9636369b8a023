//! Region: a mapped range and what makes its stores durable.

use std::{fmt::Debug, io, ops::Range, sync::atomic::Ordering};

use super::{
    cpu::{self, WriteBack},
    line::cover,
    promise::Promise,
};
use crate::{
    error::{Error, Result},
    map::{Mapping, Words},
};

/// The unit in which stores become durable, finest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Granularity {
    /// Nothing to do: memory that power loss takes anyway (images, tests).
    Byte,
    /// Cache lines, written back by the CPU (DAX).
    CacheLine,
    /// Pages, written back by the kernel (ordinary files).
    Page,
}

/// What makes stores durable: CPU instructions, the page cache, or a recorder that only notes.
pub(crate) trait Persist: Debug + Send + Sync {
    /// The unit that `flush` works in.
    fn granularity(&self) -> Granularity;

    /// Eight bytes were stored at `offset`. Only recorders care.
    fn stored(&self, _mapping: &Mapping, _offset: usize) {}

    /// Starts to write the lines with these numbers back.
    fn flush(&self, mapping: &Mapping, lines: Range<usize>);

    /// Waits until everything flushed before is durable.
    fn drain(&self, mapping: &Mapping) -> io::Result<()>;

    /// These bytes are durable, and somebody is about to be told so. Only those care who watch.
    fn promised(&self, _mapping: &Mapping, _promise: Promise, _range: Range<usize>) {}
}

impl Persist for WriteBack {
    fn granularity(&self) -> Granularity {
        Granularity::CacheLine
    }

    fn flush(&self, mapping: &Mapping, lines: Range<usize>) {
        lines.for_each(|line| WriteBack::flush(*self, mapping, line));
    }

    fn drain(&self, _: &Mapping) -> io::Result<()> {
        cpu::fence();
        Ok(())
    }

    fn promised(&self, mapping: &Mapping, promise: Promise, range: Range<usize>) {
        cpu::assert_persisted(mapping, range, promise as u64);
    }
}

/// Memory without durability: images and tests.
#[derive(Debug)]
pub(crate) struct Volatile;

impl Persist for Volatile {
    fn granularity(&self) -> Granularity {
        Granularity::Byte
    }

    fn flush(&self, _: &Mapping, _: Range<usize>) {}

    fn drain(&self, _: &Mapping) -> io::Result<()> {
        Ok(())
    }
}

/// The words of a pool with their durability; buffers are covered by offset.
#[derive(Debug)]
pub(crate) struct Region {
    words: Words,
    persist: Box<dyn Persist>,
}

impl Region {
    pub(crate) fn new(words: Words, persist: Box<dyn Persist>) -> Self {
        Self { words, persist }
    }

    pub(crate) fn granularity(&self) -> Granularity {
        self.persist.granularity()
    }

    /// A copy of all bytes.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        self.words.mapping().snapshot()
    }

    /// `N` bytes at `offset`.
    ///
    /// # Panics
    /// If they are not words of the region; the pool's geometry rules that out.
    pub(crate) fn load<const N: usize>(&self, offset: usize) -> [u8; N] {
        self.words.load(offset).expect("the geometry was checked")
    }

    /// Begins stores that shall become durable together.
    pub(crate) fn batch(&self) -> Unflushed<'_> {
        Unflushed { region: self, lines: Vec::new() }
    }

    /// Stores `bytes` at `at`, which may make reachable what `after` covers, and makes them
    /// durable. Words are stored in rising order, so a line never shows a later one alone.
    pub(crate) fn publish(
        &self,
        at: usize,
        bytes: &[u8],
        after: &Durable<'_>,
    ) -> Result<Durable<'_>> {
        assert!(std::ptr::eq(self, after.region), "data and what names them share a region");
        let mut batch = self.batch();
        batch.store(at, bytes);
        batch.flush().drain()
    }
}

/// Stores on their way; nothing is promised about them.
#[derive(Debug)]
#[must_use = "stores that are not flushed may never become durable"]
pub(crate) struct Unflushed<'a> {
    region: &'a Region,
    lines: Vec<Range<usize>>,
}

impl<'a> Unflushed<'a> {
    /// Stores whole words.
    pub(crate) fn store(&mut self, at: usize, bytes: &[u8]) {
        assert!(bytes.len().is_multiple_of(8), "whole words");
        let region = self.region;
        for (word, chunk) in bytes.chunks_exact(8).enumerate() {
            let offset = at + word * 8;
            let value = u64::from_ne_bytes(chunk.try_into().expect("eight bytes"));
            let word = region.words.word64(offset).expect("the geometry was checked");
            word.store(value, Ordering::Release);
            region.persist.stored(region.words.mapping(), offset);
        }
        self.cover(at..at + bytes.len());
    }

    /// Adds bytes that somebody else stored, e.g. a NIC.
    pub(crate) fn cover(&mut self, range: Range<usize>) {
        assert!(range.end <= self.region.words.mapping().len(), "a range of the region");
        self.lines.push(cover(&range));
    }

    /// Starts the write-back of every line with a byte of the batch.
    pub(crate) fn flush(self) -> Flushed<'a> {
        let Self { region, lines } = self;
        let lines = lines.into_iter().filter(|lines| !lines.is_empty());
        lines.for_each(|lines| region.persist.flush(region.words.mapping(), lines));
        Flushed { region }
    }
}

/// Stores whose write-back has begun; still nothing is promised.
#[derive(Debug)]
#[must_use = "flushed stores are not durable before the drain"]
pub(crate) struct Flushed<'a> {
    region: &'a Region,
}

impl<'a> Flushed<'a> {
    /// Waits until they are durable: one fence for the batch.
    pub(crate) fn drain(self) -> Result<Durable<'a>> {
        let Self { region } = self;
        let drained = region.persist.drain(region.words.mapping());
        drained.map_err(Error::io("write back", "the pool"))?;
        Ok(Durable { region })
    }
}

/// Proof that a batch survives power loss from now on.
#[derive(Debug)]
pub(crate) struct Durable<'a> {
    region: &'a Region,
}

impl Durable<'_> {
    /// Tells whoever watches that these bytes, which the proof is about, are promised now.
    pub(crate) fn promise(&self, promise: Promise, range: Range<usize>) {
        if !range.is_empty() {
            self.region.persist.promised(self.region.words.mapping(), promise, range);
        }
    }
}
