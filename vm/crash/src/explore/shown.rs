//! Shown: which lines may differ between one image that is shown and the next.

use crate::explore::flight::{Choice, Flight};
use crate::line::Line;

/// What was shown last, and which lines have other values since.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    last: Option<Choice>,
    updated: Vec<Line>,
}

impl Shown {
    /// A line has other values from now on.
    pub(crate) fn update(&mut self, line: Line) {
        self.updated.push(line);
    }

    /// A choice is shown; the lines that may differ from what was shown before, ascending, or
    /// nothing if this is the first.
    pub(crate) fn next(&mut self, flight: &Flight, choice: &Choice) -> Option<Vec<Line>> {
        let mut lines = std::mem::take(&mut self.updated);
        let last = self.last.replace(choice.clone())?;
        lines.extend(last.except.iter().chain(&choice.except).map(|(line, _)| *line));
        if last.all != choice.all {
            lines.extend(flight.lines().map(|in_flight| in_flight.line));
        }
        lines.sort_unstable();
        lines.dedup();
        Some(lines)
    }
}
