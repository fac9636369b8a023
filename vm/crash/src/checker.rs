//! Checkers: who says whether an image is one that the program may leave behind.

use std::collections::VecDeque;

use crate::explore::point::Point;
use crate::line::Line;
use crate::marker::Marker;

/// What a checker is shown: a pristine image, and how far the program was.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What the NVDIMM holds after the power loss.
    pub image: &'a [u8],
    /// The lines that may differ from the view that this checker was shown before, ascending;
    /// nothing if any may.
    pub changed: Option<&'a [Line]>,
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

/// Judges several images at a time.
pub trait Judges {
    /// Takes an image in; waits while there is no room.
    fn hand_in(&mut self, view: &View<'_>);

    /// The next verdict, in the order in which images were handed in; nothing if it is not there
    /// yet and `wait` does not hold, or if there is no image left.
    fn next(&mut self, wait: bool) -> Option<Result<Verdict, Fault>>;
}

/// A checker as one that judges several images at a time: each when it is handed in.
#[expect(missing_debug_implementations, reason = "a checker need not show itself")]
pub struct InTurn<'a> {
    checker: &'a mut dyn Checker,
    verdicts: VecDeque<Result<Verdict, Fault>>,
}

impl<'a> InTurn<'a> {
    /// Asks this checker.
    pub fn new(checker: &'a mut dyn Checker) -> Self {
        Self { checker, verdicts: VecDeque::new() }
    }
}

impl Judges for InTurn<'_> {
    fn hand_in(&mut self, view: &View<'_>) {
        self.verdicts.push_back(self.checker.check(view));
    }

    fn next(&mut self, _: bool) -> Option<Result<Verdict, Fault>> {
        self.verdicts.pop_front()
    }
}
