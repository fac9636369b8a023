//! Pages: which parts of a state hold anything, so that its file is written sparsely.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crash::Line;

use crate::error::{Error, Result};

/// Bytes of a page.
const PAGE: usize = 4096;

const ZEROS: [u8; PAGE] = [0; PAGE];

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
                        self.used[page] = is_used(bytes, page);
                        last = Some(page);
                    }
                }
            }
            _ => self.used = (0..count).map(|page| is_used(bytes, page)).collect(),
        }
    }

    /// Writes the state as a new file.
    pub(super) fn write(&self, bytes: &[u8], path: &Path) -> Result<()> {
        let io = |error| Error::io("write", path, error);
        let file = File::create_new(path).map_err(io)?;
        file.set_len(bytes.len() as u64).map_err(io)?;
        let mut page = 0;
        while page < self.used.len() {
            let run = self.used[page..].iter().take_while(|used| **used).count();
            let start = page * PAGE;
            let end = (start + run * PAGE).min(bytes.len());
            file.write_all_at(&bytes[start..end], start as u64).map_err(io)?;
            page += run.max(1);
        }
        Ok(())
    }
}

fn is_used(bytes: &[u8], page: usize) -> bool {
    let start = page * PAGE;
    let end = (start + PAGE).min(bytes.len());
    // Compared at memory speed, which a loop over bytes is not.
    bytes[start..end] != ZEROS[..end - start]
}
