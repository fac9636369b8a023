//! Litmus tests: the table against the specification and both models.

mod common;

use std::collections::BTreeSet;

use common::spec::possible;
use crash::litmus::{BYTES, Row, TABLE, modelled, watched, wrong};
use crash::{Event, Line, LineBytes, Rules};

fn specified(events: &[Event], rules: Rules, line: Line) -> BTreeSet<LineBytes> {
    possible(&[0; BYTES], events, rules, line)
}

#[test]
fn the_specification_agrees_with_the_table() {
    assert_eq!(wrong(specified, |_| true), Vec::<String>::new());
}

#[test]
fn the_trace_model_agrees_with_the_table() {
    assert_eq!(wrong(modelled, |_| true), Vec::<String>::new());
}

#[test]
fn the_diff_model_agrees_with_what_of_the_table_it_sees() {
    assert_eq!(wrong(watched, Row::is_shown_by_flushes), Vec::<String>::new());
}

#[test]
fn the_table_has_two_cpus_and_both_kinds_of_outcome() {
    assert!(TABLE.len() >= 25);
    assert!(TABLE.iter().filter(|row| row.program.contains("1:")).count() >= 5);
    assert!(TABLE.iter().filter(|row| !row.forbidden.is_empty()).count() >= 25);
    assert!(TABLE.iter().all(|row| !row.allowed.is_empty() || !row.forbidden.is_empty()));
    let different: BTreeSet<_> = TABLE.iter().map(|row| (row.rules, row.program)).collect();
    assert_eq!(different.len(), TABLE.len());
}
