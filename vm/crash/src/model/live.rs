//! Live: what an NVDIMM holds while the guest and its devices write to it.

use crate::line::{LINE, Line, LineBytes};

/// The live bytes of an NVDIMM.
pub trait Live {
    /// What a line holds now.
    fn line(&self, line: Line) -> LineBytes;

    /// The first line from `from` on that differs from the durable image, which ends where the
    /// NVDIMM does.
    fn next_difference(&self, persisted: &[u8], from: Line) -> Option<Line> {
        let lines = (persisted.len() / LINE) as u64;
        (from.0..lines).map(Line).find(|line| self.line(*line) != persisted[line.span()])
    }
}

impl Live for [u8] {
    fn line(&self, line: Line) -> LineBytes {
        line.of(self)
    }

    fn next_difference(&self, persisted: &[u8], from: Line) -> Option<Line> {
        const STEP: usize = 64 * LINE;
        let mut at = from.span().start;
        while at < persisted.len() {
            let end = (at + STEP).min(persisted.len());
            if self[at..end] != persisted[at..end] {
                let lines = (at / LINE..end / LINE).map(|line| Line(line as u64));
                return lines.into_iter().find(|line| self[line.span()] != persisted[line.span()]);
            }
            at = end;
        }
        None
    }
}
