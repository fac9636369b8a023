//! Reader: a trace, event by event; it trusts nothing that it reads.

use std::io::{ErrorKind, Read};

use super::codec::{Last, Rest};
use super::{Error, Header, LONGEST, MAGIC, VERSION, sum};
use crate::event::Event;

/// Reads a trace: an iterator over its events that ends after the end, or after one error.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    header: Header,
    block: Vec<u8>,
    at: usize,
    last: Last,
    blocks: u64,
    events: u64,
    is_over: bool,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// If this is no trace of this version.
    pub fn new(mut from: R) -> Result<Self, Error> {
        let mut magic = [0; MAGIC.len()];
        match from.read_exact(&mut magic) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(Error::Foreign),
            read => read?,
        }
        if magic != MAGIC {
            return Err(Error::Foreign);
        }
        let found = u32::from_le_bytes(read(&mut from, 0)?);
        if found != VERSION {
            return Err(Error::Version { found });
        }
        let len = u32::from_le_bytes(read(&mut from, 0)?);
        let text = read_summed(&mut from, len, 0, 0)?;
        let damaged = |what| Error::Damaged { block: 0, what };
        let header: Header =
            serde_json::from_slice(&text).map_err(|_| damaged("the header makes no sense"))?;
        if !header.is_sane() {
            return Err(damaged("the size of the NVDIMM makes no sense"));
        }
        let (block, last) = (Vec::new(), Last::default());
        Ok(Self { from, header, block, at: 0, last, blocks: 1, events: 0, is_over: false })
    }

    /// What the trace says about the run as a whole.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn read_event(&mut self) -> Result<Option<Event>, Error> {
        if self.at == self.block.len() && !self.read_block()? {
            return Ok(None);
        }
        let mut rest = Rest(&self.block[self.at..]);
        let event = self.last.decode(&mut rest, self.header.nvdimm_bytes);
        let event = event.map_err(|what| Error::Damaged { block: self.blocks - 1, what })?;
        self.at = self.block.len() - rest.0.len();
        self.events += 1;
        Ok(Some(event))
    }

    /// Reads the next block; false at the end.
    fn read_block(&mut self) -> Result<bool, Error> {
        let len = u32::from_le_bytes(read(&mut self.from, self.events)?);
        if len == 0 {
            let events = read_summed(&mut self.from, 8, self.blocks, self.events)?;
            if events != self.events.to_le_bytes() {
                let what = "the end tells another number of events";
                return Err(Error::Damaged { block: self.blocks, what });
            }
            return Ok(false);
        }
        self.block = read_summed(&mut self.from, len, self.blocks, self.events)?;
        self.at = 0;
        self.last = Last::default();
        self.blocks += 1;
        Ok(true)
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let event = self.read_event().transpose();
        self.is_over = !matches!(event, Some(Ok(_)));
        event
    }
}

fn read<const N: usize>(from: &mut impl Read, events: u64) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    match from.read_exact(&mut bytes) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(Error::Truncated { events }),
        Err(error) => Err(error.into()),
        Ok(()) => Ok(bytes),
    }
}

/// Reads bytes and the sum behind them.
fn read_summed(from: &mut impl Read, len: u32, block: u64, events: u64) -> Result<Vec<u8>, Error> {
    let damaged = |what| Error::Damaged { block, what };
    if usize::try_from(len).is_ok_and(|len| len > LONGEST) {
        return Err(damaged("its length makes no sense"));
    }
    // Grows with what is there: a wrong length cannot take more memory than the file has bytes.
    let mut bytes = Vec::new();
    from.by_ref().take(len.into()).read_to_end(&mut bytes)?;
    if bytes.len() as u64 != u64::from(len) {
        return Err(Error::Truncated { events });
    }
    if u64::from_le_bytes(read(from, events)?) != sum(block, &bytes) {
        return Err(damaged("its sum is wrong"));
    }
    Ok(bytes)
}
