//! Codec: fields to bytes and back, and the decoder that cuts a byte stream into frames.

use crate::{Frame, MAX_FRAME, ProtoError};

/// Collects the fields of one frame.
#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(kind: u8) -> Self {
        Self(vec![0, 0, 0, 0, kind])
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        let mut writer = self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        writer.0.extend(bytes);
        writer
    }

    /// Fills in the length. A frame over 4 GiB gets a wrong one; `encode` refuses it anyway.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        let len = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&len.to_le_bytes());
        self.0
    }
}

/// Reads the fields of one frame; every read checks the rest.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(kind: u8, rest: &'a [u8]) -> Self {
        Self { kind, rest }
    }

    pub(crate) fn u32(&mut self) -> Result<u32, ProtoError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, ProtoError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, ProtoError> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(self.truncated())?;
        self.rest = rest;
        Ok(bytes.to_vec())
    }

    pub(crate) fn end(self) -> Result<(), ProtoError> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(ProtoError::Trailing(self.kind, more)),
        }
    }

    pub(crate) fn bad(&self) -> ProtoError {
        ProtoError::BadField(self.kind)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtoError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(self.truncated())?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn truncated(&self) -> ProtoError {
        ProtoError::Truncated(self.kind)
    }
}

/// Cuts a byte stream into frames. After an error the stream has lost its frame borders: give up.
#[derive(Debug, Default)]
pub struct Decoder {
    buffered: Vec<u8>,
    /// How much of `buffered` was handed out already.
    used: usize,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffered.drain(..self.used);
        self.used = 0;
        self.buffered.extend_from_slice(bytes);
    }

    /// The next complete frame; `None` until more bytes arrive.
    ///
    /// # Errors
    /// Any [`ProtoError`] that incoming bytes can cause.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, ProtoError> {
        let Some((len, rest)) = self.buffered[self.used..].split_first_chunk::<4>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*len) as usize;
        // Before waiting for it: a wrong length must not make us buffer gigabytes.
        if len > MAX_FRAME {
            return Err(ProtoError::TooLong(len));
        }
        let Some(frame) = rest.get(..len) else {
            return Ok(None);
        };
        let (kind, body) = frame.split_first().ok_or(ProtoError::Truncated(0))?;
        let frame = Frame::parse(*kind, body)?;
        self.used += 4 + len;
        Ok(Some(frame))
    }
}
