//! Page: durability through the page cache, for pools in ordinary files.

use std::{
    io, mem,
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{line::LINE, region::Granularity, region::Persist};
use crate::map::{Mapping, PAGE};

/// Flush notes the pages, drain writes them back (`msync`).
#[derive(Debug, Default)]
pub(crate) struct PageCache {
    noted: Mutex<Vec<Range<usize>>>,
}

impl PageCache {
    fn noted(&self) -> MutexGuard<'_, Vec<Range<usize>>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Persist for PageCache {
    fn granularity(&self) -> Granularity {
        Granularity::Page
    }

    fn flush(&self, _: &Mapping, lines: Range<usize>) {
        let pages = lines.start * LINE / PAGE..(lines.end * LINE).div_ceil(PAGE);
        self.noted().push(pages);
    }

    fn drain(&self, mapping: &Mapping) -> io::Result<()> {
        let pages = merge(mem::take(&mut *self.noted()));
        pages
            .into_iter()
            .try_for_each(|pages| mapping.write_back(pages.start * PAGE..pages.end * PAGE))
    }
}

/// Sorted ranges that neither overlap nor touch, so that every page is written once.
fn merge(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_written_once() {
        assert_eq!(merge(vec![5..6, 0..2, 1..3, 3..4, 5..6]), [0..4, 5..6]);
        assert!(merge(Vec::new()).is_empty());
    }
}
