//! Pages: which parts of a state hold anything, so that its file is written sparsely.

use std::fs::File;
use std::io;
use std::ops::Range;

use crash::Line;
use crash::image::{self, PAGE};

/// The pages of a state, whether they hold anything but zeros.
#[derive(Debug, Default)]
pub(super) struct Pages {
    used: Vec<bool>,
}

impl Pages {
    /// A state is in sight: `bytes`, which begin `offset` bytes into the NVDIMM. These lines of
    /// the NVDIMM may differ from the state before; any of them if nothing is said.
    pub(super) fn update(&mut self, bytes: &[u8], offset: u64, changed: Option<&[Line]>) {
        let count = bytes.len().div_ceil(PAGE);
        match changed {
            Some(lines) if self.used.len() == count => {
                let mut last = None;
                for line in lines {
                    let start = line.start().0.checked_sub(offset);
                    let page = start.and_then(|start| usize::try_from(start / PAGE as u64).ok());
                    // Neighbours share a page.
                    if let Some(page) = page.filter(|page| *page < count && last != Some(*page)) {
                        let start = page * PAGE;
                        let end = (start + PAGE).min(bytes.len());
                        self.used[page] = image::is_used(&bytes[start..end]);
                        last = Some(page);
                    }
                }
            }
            _ => self.used = bytes.chunks(PAGE).map(image::is_used).collect(),
        }
    }

    /// Writes the state to a file that holds zeros.
    pub(super) fn write(&self, bytes: &[u8], file: &File) -> io::Result<()> {
        self.write_range(bytes, 0..bytes.len(), file)
    }

    /// Writes a part of it, in whole pages, where the file holds zeros.
    pub(super) fn write_range(
        &self,
        bytes: &[u8],
        range: Range<usize>,
        file: &File,
    ) -> io::Result<()> {
        let (first, end) = (range.start / PAGE, range.end.div_ceil(PAGE));
        image::write_pages(file, bytes, first, self.used[first..end].iter().copied())
    }
}
