//! Checkers: who says whether an image is one that the program may leave behind.

use crate::explore::point::Point;
use crate::marker::Marker;

/// What a checker is shown: a pristine image, and how far the program was.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What the NVDIMM holds after the power loss.
    pub image: &'a [u8],
    /// Where power was lost.
    pub point: Point,
    /// The markers before it, oldest first (those of STATS left out).
    pub markers: &'a [Marker],
}

/// What a checker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The program may leave this behind.
    Good,
    /// It may not, because.
    Bad(String),
}

/// Something is wrong with the checker, or with what it needs; never a pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// Judges images. Deterministic: equal views, equal verdicts.
pub trait Checker {
    /// Judges one.
    ///
    /// # Errors
    /// If there is no verdict.
    fn check(&mut self, view: &View<'_>) -> Result<Verdict, Fault>;
}

impl<F: FnMut(&View<'_>) -> Result<Verdict, Fault>> Checker for F {
    fn check(&mut self, view: &View<'_>) -> Result<Verdict, Fault> {
        self(view)
    }
}
