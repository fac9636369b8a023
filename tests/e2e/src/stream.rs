//! Streams: what the host sends on a connection, made so that any part of it can be recognised.
//!
//! A stream is a row of 32-byte needles. All needles of a run begin with the same 8-byte tag, so
//! that one search of guest memory finds them all; the rest is unique. Any 63 bytes of a stream
//! hold a whole needle, however TCP cuts it into segments.

use crate::seed::Seed;

/// Length of a needle in bytes.
pub(crate) const NEEDLE: usize = 32;

/// Length of the tag that all needles of a run begin with.
pub(crate) const TAG: usize = 8;

/// The bytes that one connection carries.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    bytes: Vec<u8>,
}

impl Stream {
    /// A stream of `len` bytes (a multiple of [`NEEDLE`]); `number` tells the streams of a run
    /// apart.
    pub(crate) fn new(seed: Seed, number: u64, len: usize) -> Self {
        let tag = tag(seed);
        let own = seed.part(1 + number);
        let needle = |index: usize| {
            let rest = own.part(index as u64).bytes(NEEDLE - TAG);
            tag.into_iter().chain(rest)
        };
        Self { bytes: (0..len / NEEDLE).flat_map(needle).collect() }
    }

    /// All bytes in order.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The needle at a position that is a multiple of [`NEEDLE`].
    pub(crate) fn needle(&self, position: usize) -> Option<&[u8]> {
        self.bytes.get(position..position + NEEDLE)
    }
}

/// What all needles of a run begin with.
pub(crate) fn tag(seed: Seed) -> [u8; TAG] {
    let bytes = seed.part(0).bytes(TAG);
    bytes.try_into().expect("as many bytes as asked for")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn needles_share_their_tag_and_differ_in_the_rest() {
        let streams = [Stream::new(Seed(7), 0, 4096), Stream::new(Seed(7), 1, 4096)];
        let needles: Vec<_> = streams.iter().flat_map(|s| s.bytes().chunks(NEEDLE)).collect();
        assert!(needles.iter().all(|needle| needle.starts_with(&tag(Seed(7)))));
        assert_eq!(needles.iter().collect::<BTreeSet<_>>().len(), 256);
        assert_ne!(tag(Seed(7)), tag(Seed(8)));
        assert_eq!(streams[1].needle(64), Some(needles[130]));
        assert_eq!(streams[1].needle(4096), None);
    }
}
