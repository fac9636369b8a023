//! Blank: a buffer that a program fills, to send or to store it.

use std::io;

use crate::buf::{Buf, Packet};

/// A spare that nobody else reads. Dropped: a spare again.
///
/// A buffer that the network stack may still send cannot be had as a blank one, and a packet
/// is never written into:
///
/// ```compile_fail,E0382
/// use std::io::Write;
/// fn late(mut blank: paste_net::Blank) {
///     let _packet = blank.packet();
///     blank.write_all(b"x").unwrap();
/// }
/// ```
#[derive(Debug)]
pub struct Blank {
    buf: Buf,
    start: usize,
    len: usize,
}

impl Blank {
    pub(crate) fn new(buf: Buf) -> Self {
        Self { buf, start: 0, len: 0 }
    }

    /// Lets the payload start `bytes` later; what was written is forgotten.
    #[must_use]
    pub fn start_at(self, bytes: usize) -> Self {
        let start = bytes.min(self.buf.bytes().len());
        Self { start, len: 0, ..self }
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.buf.bytes().len() - self.start - self.len
    }

    /// What was written, as a packet.
    pub fn packet(self) -> Packet {
        Packet::new(self.buf, self.start..self.start + self.len)
    }
}

/// Appends what fits; never an error.
impl io::Write for Blank {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let fits = bytes.len().min(self.room());
        self.buf.fill(self.start + self.len, &bytes[..fits]);
        self.len += fits;
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::{
        buf::Buffers,
        map::{Mapping, PAGE, Words},
    };

    #[test]
    fn a_blank_takes_what_fits() {
        let words = Words::new(Mapping::heap(4 * PAGE).unwrap());
        let buffers = Buffers::new(words.divide(PAGE, PAGE, 3).unwrap().1);
        drop(buffers.adopt(buffers.area().lease(2).unwrap()));
        let mut blank = buffers.blank().unwrap().start_at(PAGE - 6);
        write!(blank, "{}", 1234).unwrap();
        assert_eq!((blank.len(), blank.room()), (4, 2));
        assert_eq!(blank.write(b"5678").unwrap(), 2);
        assert!(blank.write_all(b"9").is_err(), "full");
        assert_eq!(blank.packet().bytes(), b"123456");
        let blank = buffers.blank().unwrap().start_at(usize::MAX);
        assert!(blank.is_empty() && blank.room() == 0);
    }
}
