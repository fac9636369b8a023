//! Partial: a frame of which a part is in guest memory, and the rest is not.

use crate::memory::{MemTable, Piece};

/// A frame that a device has begun to write.
#[derive(Debug)]
pub(crate) struct Partial {
    /// Its number in the log of frames.
    pub(crate) seq: u64,
    frame: Vec<u8>,
    /// How many bytes of it are in guest memory.
    written: usize,
    /// Where it goes: guest memory may change its shape while the device stands still.
    mem: MemTable,
    pieces: Vec<Piece>,
}

impl Partial {
    /// A frame that begins at the start of `pieces`; none of it is written yet.
    pub(crate) fn new(seq: u64, frame: &[u8], mem: &MemTable, pieces: Vec<Piece>) -> Self {
        Self { seq, frame: frame.to_vec(), written: 0, mem: mem.clone(), pieces }
    }

    /// Writes on, until the frame's first `bytes` bytes are in guest memory, or all of it. What is
    /// there already is not written again.
    pub(crate) fn write_on(&mut self, bytes: usize) {
        let end = bytes.min(self.frame.len());
        if end > self.written {
            let rest = behind(&self.pieces, self.written);
            self.mem.scatter(&rest, &[], &self.frame[self.written..end]);
            self.written = end;
        }
    }
}

/// What is left of `pieces` behind their first `bytes` bytes.
pub(crate) fn behind(pieces: &[Piece], mut bytes: usize) -> Vec<Piece> {
    let rest = |piece: &Piece| {
        let skipped = bytes.min(piece.len);
        bytes -= skipped;
        piece.behind(skipped)
    };
    pieces.iter().map(rest).filter(|piece| piece.len > 0).collect()
}
