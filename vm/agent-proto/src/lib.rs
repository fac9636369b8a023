//! Frames: what host and guest agent say to each other over one byte stream.
//!
//! A frame on the wire is `u32 length | u8 kind | fields`; the length counts everything after
//! itself. Numbers are little-endian; a byte string is `u32 length | bytes`. The first frame is the
//! agent's [`Frame::Hello`]. Requests carry an id chosen by the host; answers repeat it, so any
//! number of requests may be under way. Encoding and decoding are pure: no sockets, no files.

#![forbid(unsafe_code)]

pub mod closed;
mod codec;
mod frame;

pub use codec::Decoder;
pub use frame::{End, Frame, Run};
use xxhash_rust::xxh3::Xxh3;

/// The version of this protocol, told by [`Frame::Hello`].
pub const VERSION: u32 = 2;

/// The name of the virtio-serial port that carries the frames.
pub const PORT: &str = "org.paste.agent";

/// The largest accepted length of a frame in bytes (its length field not counted).
pub const MAX_FRAME: usize = 1 << 20;

/// How many bytes of a stream or file one frame carries at most.
pub const CHUNK: usize = 32 << 10;

/// How many bytes of a program's stream may be on their way, in each direction: so much memory a
/// reader that does not read costs. The other side makes room with [`Frame::Taken`].
pub const WINDOW: u64 = 4 << 20;

/// What can be wrong with bytes that claim to be frames, or with a frame that is to become bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProtoError {
    /// The length field says more than [`MAX_FRAME`], or an outgoing frame would be longer.
    #[error("frame of {0} bytes is longer than {MAX_FRAME}")]
    TooLong(usize),
    /// No frame has this kind byte.
    #[error("unknown frame kind {0}")]
    UnknownKind(u8),
    /// The frame ends inside a field.
    #[error("frame of kind {0} ends inside a field")]
    Truncated(u8),
    /// Bytes follow the last field.
    #[error("frame of kind {0} has {1} bytes too many")]
    Trailing(u8, usize),
    /// A field has a value that means nothing.
    #[error("frame of kind {0} has a field without meaning")]
    BadField(u8),
}

/// Checksum of a file's content (xxh3, 64 bits): guards against a broken channel, not an enemy.
#[derive(Default)]
pub struct Checksum(Xxh3);

impl std::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Checksum({:#x})", self.value())
    }
}

impl Checksum {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of all bytes so far.
    pub fn value(&self) -> u64 {
        self.0.digest()
    }

    /// The checksum of these bytes.
    pub fn of(bytes: &[u8]) -> u64 {
        xxhash_rust::xxh3::xxh3_64(bytes)
    }
}

#[cfg(test)]
mod tests;
