//! Pmem: mistakes in flushes and fences, and in what is flushed.

use vm::crash::Class::{FlushedNotFenced, NeverFlushed, PublishedBeforeDurable};

use super::Life::Whole;
use super::{CPU, LINE, Mutant, REGION, edit, mutant};

const COVER: &str = "range.start / LINE..range.end.div_ceil(LINE)";
const FLUSH_LINES: &str = "lines.for_each(|line| WriteBack::flush(*self, mapping, line));";
pub(super) const PUBLISH: &str = "batch.store(at, bytes);\n        batch.flush().drain()";

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "no flush",
        &[(Whole, NeverFlushed)],
        &[edit(REGION, FLUSH_LINES, "let _ = (mapping, lines);")],
    ),
    mutant("no fence", &[(Whole, FlushedNotFenced)], &[edit(REGION, "cpu::fence();", "")]),
    mutant(
        "every second line flushed",
        &[(Whole, NeverFlushed)],
        &[edit(
            REGION,
            FLUSH_LINES,
            "lines.step_by(2).for_each(|line| WriteBack::flush(*self, mapping, line));",
        )],
    ),
    mutant(
        "the line before flushed",
        &[(Whole, NeverFlushed)],
        &[edit(
            CPU,
            "mapping.address(line * LINE)",
            "mapping.address(line.saturating_sub(1) * LINE)",
        )],
    ),
    // What is lost first is a magic: its range ends in its only line. The next opening flushes it.
    mutant(
        "last line of a range not flushed",
        &[(Whole, PublishedBeforeDurable)],
        &[edit(LINE, COVER, "range.start / LINE..range.end / LINE")],
    ),
    mutant(
        "first line of a range not flushed",
        &[(Whole, NeverFlushed)],
        &[edit(LINE, COVER, "range.start.div_ceil(LINE)..range.end.div_ceil(LINE)")],
    ),
    mutant(
        "lines counted from an unaligned start",
        &[(Whole, NeverFlushed)],
        &[edit(LINE, COVER, "range.start / LINE..range.start / LINE + range.len().div_ceil(LINE)")],
    ),
    mutant(
        "a store is not part of its batch",
        &[(Whole, NeverFlushed)],
        &[edit(REGION, "self.cover(at..at + bytes.len());", "")],
    ),
    mutant(
        "only the last range of a batch flushed",
        &[(Whole, NeverFlushed)],
        &[edit(
            REGION,
            "lines.for_each(|lines| region.persist.flush(region.words.mapping(), lines));",
            "if let Some(lines) = lines.last() {
                region.persist.flush(region.words.mapping(), lines);
            }",
        )],
    ),
    mutant(
        "drain waits for nothing",
        &[(Whole, FlushedNotFenced)],
        &[edit(REGION, "region.persist.drain(region.words.mapping())", "io::Result::Ok(())")],
    ),
    mutant(
        "flushed before the store",
        &[(Whole, NeverFlushed)],
        &[edit(
            REGION,
            PUBLISH,
            "batch.cover(at..at + bytes.len());
            let durable = batch.flush().drain()?;
            let mut late = self.batch();
            late.store(at, bytes);
            Ok(durable)",
        )],
    ),
];
