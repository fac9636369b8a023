//! Writer: a trace while it grows.

use std::io::{Error, ErrorKind, Result, Write};

use super::codec::Last;
use super::{BLOCK, Header, LONGEST_DMA, MAGIC, VERSION, sum};
use crate::event::Event;

/// Writes a trace, a block at a time.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    block: Vec<u8>,
    last: Last,
    blocks: u64,
    events: u64,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// Of `out`; if the size of the NVDIMM is no whole number of lines.
    pub fn new(mut out: W, header: &Header) -> Result<Self> {
        if !header.is_sane() {
            return Err(Error::new(ErrorKind::InvalidInput, "an NVDIMM is whole lines"));
        }
        let text = serde_json::to_vec(header)?;
        let len = u32::try_from(text.len()).map_err(Error::other)?;
        out.write_all(&MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&len.to_le_bytes())?;
        out.write_all(&text)?;
        out.write_all(&sum(0, &text).to_le_bytes())?;
        Ok(Self { out, block: Vec::new(), last: Last::default(), blocks: 1, events: 0 })
    }

    /// Adds an event.
    ///
    /// # Errors
    /// Of `out`; if a device write is too long for one event.
    pub fn write(&mut self, event: &Event) -> Result<()> {
        if matches!(event, Event::Dma(dma) if dma.bytes.len() > LONGEST_DMA) {
            return Err(Error::new(ErrorKind::InvalidInput, "split this device write"));
        }
        self.last.encode(event, &mut self.block);
        self.events += 1;
        if self.block.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    /// How many events were added.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Hands the events so far to `out`; a reader then finds them even if the end is missing.
    ///
    /// # Errors
    /// Of `out`.
    pub fn flush(&mut self) -> Result<()> {
        if !self.block.is_empty() {
            // A block is little longer than BLOCK and one event.
            let len = u32::try_from(self.block.len()).map_err(Error::other)?;
            self.out.write_all(&len.to_le_bytes())?;
            self.out.write_all(&self.block)?;
            self.out.write_all(&sum(self.blocks, &self.block).to_le_bytes())?;
            self.block.clear();
            self.last = Last::default();
            self.blocks += 1;
        }
        self.out.flush()
    }

    /// Writes the end.
    ///
    /// # Errors
    /// Of `out`.
    pub fn finish(mut self) -> Result<W> {
        self.flush()?;
        let events = self.events.to_le_bytes();
        self.out.write_all(&0_u32.to_le_bytes())?;
        self.out.write_all(&events)?;
        self.out.write_all(&sum(self.blocks, &events).to_le_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }
}
