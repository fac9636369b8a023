//! Flights: the images of one moment, made by changing lines back and forth, never by copying.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3;

use crate::image;
use crate::line::{Line, LineBytes};
use crate::state::InFlight;

/// What survives of what is in flight: everything or nothing, but for some lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Whether lines that are not named survive.
    pub all: bool,
    /// The lines that are otherwise, each with the number of its value; ascending.
    pub except: Vec<(Line, usize)>,
}

/// A choice that is spelled wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a choice is all or none, then LINE=VALUE for each line that is otherwise, ascending: all,12=0"
)]
pub struct NoChoice;

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.all { "all" } else { "none" })?;
        self.except.iter().try_for_each(|(line, value)| write!(f, ",{}={value}", line.0))
    }
}

impl std::str::FromStr for Choice {
    type Err = NoChoice;

    fn from_str(text: &str) -> Result<Self, NoChoice> {
        let mut words = text.split(',');
        let all = match words.next() {
            Some("all") => true,
            Some("none") => false,
            _ => return Err(NoChoice),
        };
        let except = words.map(|word| {
            let (line, value) = word.split_once('=').ok_or(NoChoice)?;
            let line = Line(line.parse().map_err(|_| NoChoice)?);
            Ok((line, value.parse().map_err(|_| NoChoice)?))
        });
        let except = except.collect::<Result<Vec<(Line, usize)>, NoChoice>>()?;
        let is_ascending = except.is_sorted_by(|one, next| one.0 < next.0);
        is_ascending.then_some(Self { all, except }).ok_or(NoChoice)
    }
}

#[derive(Debug)]
struct Entry {
    in_flight: InFlight,
    /// For each value what it adds to the sum of an image in which the line has its first value.
    sums: Vec<u128>,
}

/// The lines in flight over an image, and the images where none and all of them survive.
#[derive(Debug)]
pub(crate) struct Flight {
    none: Vec<u8>,
    all: Vec<u8>,
    lines: BTreeMap<Line, Entry>,
    none_sum: u128,
    all_sum: u128,
}

/// A sum over the lines of an image tells it from others, whatever the way to it was (M21).
fn sum(line: Line, bytes: &LineBytes) -> u128 {
    xxh3::xxh3_128_with_seed(bytes, line.0)
}

impl Flight {
    /// An image with nothing in flight.
    pub(crate) fn new(image: Vec<u8>) -> Self {
        let (none_sum, all_sum) = (0, 0);
        Self { all: image::copy(&image), none: image, lines: BTreeMap::new(), none_sum, all_sum }
    }

    /// A line has these values from now on; whether its durable bytes changed.
    pub(crate) fn set(&mut self, in_flight: InFlight) -> bool {
        let line = in_flight.line;
        let first = in_flight.values[0];
        let is_new = self.settle(line, &first);
        if in_flight.values.len() > 1 {
            let base = sum(line, &first);
            let add = |value: &LineBytes| sum(line, value).wrapping_sub(base);
            let sums: Vec<_> = in_flight.values.iter().map(add).collect();
            let all = in_flight.all;
            self.all[line.span()].copy_from_slice(&in_flight.values[all]);
            self.all_sum = self.all_sum.wrapping_add(sums[all]);
            self.lines.insert(line, Entry { in_flight, sums });
        }
        is_new
    }

    /// A line is durable with these bytes; whether these are new.
    pub(crate) fn settle(&mut self, line: Line, bytes: &LineBytes) -> bool {
        if let Some(old) = self.lines.remove(&line) {
            let sum = old.sums[old.in_flight.all];
            self.all_sum = self.all_sum.wrapping_sub(sum);
        }
        let before = line.of(&self.none);
        self.all[line.span()].copy_from_slice(bytes);
        if before == *bytes {
            return false;
        }
        self.none[line.span()].copy_from_slice(bytes);
        let change = sum(line, bytes).wrapping_sub(sum(line, &before));
        self.none_sum = self.none_sum.wrapping_add(change);
        self.all_sum = self.all_sum.wrapping_add(change);
        true
    }

    /// The lines in flight, ascending.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &InFlight> {
        self.lines.values().map(|entry| &entry.in_flight)
    }

    /// The number of lines in flight.
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The sum of the image of a choice.
    pub(crate) fn sum(&self, choice: &Choice) -> u128 {
        let start = if choice.all { self.all_sum } else { self.none_sum };
        choice.except.iter().fold(start, |sum, (line, value)| {
            self.lines.get(line).map_or(sum, |entry| {
                let now = if choice.all { entry.sums[entry.in_flight.all] } else { 0 };
                let then = entry.sums.get(*value).copied().unwrap_or(now);
                sum.wrapping_sub(now).wrapping_add(then)
            })
        })
    }

    /// Shows the image of a choice; what it says of lines or values that are not there is nothing.
    pub(crate) fn show<T>(&mut self, choice: &Choice, show: impl FnOnce(&[u8]) -> T) -> T {
        let image = if choice.all { &mut self.all } else { &mut self.none };
        for (line, value) in &choice.except {
            let entry = self.lines.get(line);
            if let Some(bytes) = entry.and_then(|entry| entry.in_flight.values.get(*value)) {
                image[line.span()].copy_from_slice(bytes);
            }
        }
        let shown = show(image);
        for (line, _) in &choice.except {
            if let Some(Entry { in_flight, .. }) = self.lines.get(line) {
                let value = if choice.all { in_flight.all } else { 0 };
                image[line.span()].copy_from_slice(&in_flight.values[value]);
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_written_as_a_few_words_and_read_back() {
        let choice = Choice { all: true, except: vec![(Line(3), 0), (Line(12), 2)] };
        assert_eq!(choice.to_string(), "all,3=0,12=2");
        for text in ["all", "none", "none,7=1", "all,3=0,12=2"] {
            assert_eq!(text.parse::<Choice>().unwrap().to_string(), text);
        }
        for bad in ["", "some", "all,", "all,3", "all,3=", "all,=1", "all,3=-1", "all,4=0,3=0"] {
            assert_eq!(bad.parse::<Choice>(), Err(NoChoice), "{bad}");
        }
        assert_eq!("all,3=0,3=1".parse::<Choice>(), Err(NoChoice));
    }
}
