//! Traces: what was seen of a run, as a file.
//!
//! ```text
//! "PSTTRACE"  version u32  length u32  header (JSON)  sum u64
//! block: length u32 (not 0)  events  sum u64         ... as many as there are
//! end:   0 u32  number of events u64  sum u64
//! ```
//!
//! Numbers are little-endian, sums are XXH3-64 with the block's number as seed. Each block can be
//! read without the others (`codec` has the form of an event). A trace without its end is
//! truncated: its whole blocks are still good, and the reader hands them out before it says so.

mod codec;
mod reader;
mod writer;

use std::io::Read;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3;

use crate::event::Event;
use crate::line::LINE;
use crate::rules::Rules;

pub use reader::Reader;
pub use writer::Writer;

const MAGIC: [u8; 8] = *b"PSTTRACE";
/// The version of the format that is written and read here.
pub const VERSION: u32 = 1;
/// The longest header or block.
const LONGEST: usize = 16 << 20;
/// The longest device write in one event.
pub const LONGEST_DMA: usize = 1 << 20;
/// When a block is written: at this length, or a little more.
const BLOCK: usize = 64 << 10;

/// What a trace says about the run as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Size of the NVDIMM in bytes.
    pub nvdimm_bytes: u64,
    /// The image of the NVDIMM before the first event: the name of its file.
    pub base: String,
    /// The image's hash ([`hash`]), in hexadecimal.
    pub base_hash: String,
    /// What fixed the run's choices.
    pub seed: u64,
    /// The rules that the machine was set up for.
    pub rules: Rules,
    /// The command line that ran the machine.
    pub command: Vec<String>,
}

/// A trace in memory.
#[derive(Debug)]
pub struct Recorded {
    /// What it says about the run as a whole.
    pub header: Header,
    /// Its events; the first has the number 1.
    pub events: Vec<Event>,
    /// Why there are no more of them, if the trace ends too early or is damaged.
    pub cut: Option<Error>,
}

/// Reads a whole trace, or what is good of it.
///
/// # Errors
/// If this is no trace of this version.
pub fn read(from: impl Read) -> Result<Recorded, Error> {
    let mut reader = Reader::new(from)?;
    let header = reader.header().clone();
    let mut events = Vec::new();
    let mut cut = None;
    for event in &mut reader {
        match event {
            Ok(event) => events.push(event),
            Err(error) => cut = Some(error),
        }
    }
    Ok(Recorded { header, events, cut })
}

/// Why a trace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is something else.
    #[error("this is no trace: it does not begin with \"PSTTRACE\"")]
    Foreign,
    /// It was written by another version.
    #[error("the trace has format {found}; this program reads format {VERSION}")]
    Version {
        /// The format's number in the file.
        found: u32,
    },
    /// It has no end: the run was cut short, or the disk was full.
    #[error("the trace is truncated after {events} events; what is before can be used")]
    Truncated {
        /// How many events could be read.
        events: u64,
    },
    /// A sum is wrong, or an event makes no sense.
    #[error("the trace is damaged in block {block}: {what}")]
    Damaged {
        /// The number of the block; the header is block 0.
        block: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The image is that of another NVDIMM.
    #[error("the trace is of an NVDIMM of {trace} bytes, the image has {image}")]
    Size {
        /// The size in the trace.
        trace: u64,
        /// The image's size.
        image: u64,
    },
    /// The image has the right size and other bytes.
    #[error("the image is not the one from which the trace starts (hash {found}, not {expected})")]
    Base {
        /// The hash in the trace.
        expected: String,
        /// The image's hash.
        found: String,
    },
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Header {
    /// Whether this is the image from which the trace starts.
    ///
    /// # Errors
    /// If it is another one: its size or its hash.
    pub fn fits(&self, image: &[u8]) -> Result<(), Error> {
        let size = image.len() as u64;
        if size != self.nvdimm_bytes {
            return Err(Error::Size { trace: self.nvdimm_bytes, image: size });
        }
        let found = hash(image);
        if found != self.base_hash {
            return Err(Error::Base { expected: self.base_hash.clone(), found });
        }
        Ok(())
    }

    fn is_sane(&self) -> bool {
        self.nvdimm_bytes > 0 && self.nvdimm_bytes.is_multiple_of(LINE as u64)
    }
}

/// The hash of an image, in hexadecimal.
pub fn hash(image: &[u8]) -> String {
    format!("{:032x}", xxh3::xxh3_128(image))
}

fn sum(block: u64, bytes: &[u8]) -> u64 {
    xxh3::xxh3_64_with_seed(bytes, block)
}

#[cfg(test)]
mod tests;
