//! Window: the part of an NVDIMM that a program sees as its device.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crash::LINE;

/// A range of whole lines, in bytes from the start of the NVDIMM: what `/dev/dax0.0` or
/// `/dev/pmem0` begins with and how long it is, or all of the NVDIMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Bounds", into = "Bounds")]
pub struct Window {
    offset: u64,
    len: u64,
}

/// As it stands in a file, checked on the way in.
#[derive(Serialize, Deserialize)]
struct Bounds {
    offset: u64,
    len: u64,
}

impl Window {
    /// Some lines of an NVDIMM.
    ///
    /// # Errors
    /// [`Error::Invalid`] if these are no whole lines, or none.
    pub fn new(offset: u64, len: u64) -> Result<Self> {
        let line = LINE as u64;
        let is_lines = offset.is_multiple_of(line) && len.is_multiple_of(line) && len > 0;
        if !is_lines || offset.checked_add(len).is_none() {
            let what = format!("a window of {len} bytes at {offset}");
            return Err(Error::invalid(what, "it must be whole lines of 64 bytes"));
        }
        Ok(Self { offset, len })
    }

    /// All of an NVDIMM of so many bytes, a multiple of 64.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no whole lines.
    pub fn whole(bytes: u64) -> Result<Self> {
        Self::new(0, bytes)
    }

    /// Where it begins.
    pub fn offset(self) -> u64 {
        self.offset
    }

    /// Its length.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(self) -> u64 {
        self.len
    }

    /// Its bytes in an image; nothing if the image is too short.
    pub fn of(self, image: &[u8]) -> Option<&[u8]> {
        let start = usize::try_from(self.offset).ok()?;
        let len = usize::try_from(self.len).ok()?;
        image.get(start..start.checked_add(len)?)
    }
}

impl TryFrom<Bounds> for Window {
    type Error = Error;

    fn try_from(Bounds { offset, len }: Bounds) -> Result<Self> {
        Self::new(offset, len)
    }
}

impl From<Window> for Bounds {
    fn from(Window { offset, len }: Window) -> Self {
        Self { offset, len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_whole_lines_inside_an_image() {
        let window = Window::new(64, 128).unwrap();
        let image: Vec<u8> = (0..=255).collect();
        assert_eq!(window.of(&image), Some(&image[64..192]));
        assert_eq!(window.of(&image[..191]), None);
        assert_eq!(Window::new(u64::MAX - 63, 64).ok(), None);
        for (offset, len) in [(0, 0), (1, 64), (0, 63), (64, u64::MAX)] {
            assert!(Window::new(offset, len).is_err(), "{offset} {len}");
        }
    }

    #[test]
    fn a_window_from_a_file_is_checked() {
        let text = serde_json::to_string(&Window::new(64, 128).unwrap()).unwrap();
        assert_eq!(text, r#"{"offset":64,"len":128}"#);
        assert!(serde_json::from_str::<Window>(r#"{"offset":64,"len":1}"#).is_err());
    }
}
