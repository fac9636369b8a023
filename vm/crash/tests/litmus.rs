//! Litmus tests: the table against the specification and both models.

mod common;

use std::collections::BTreeSet;

use common::spec::possible;
use crash::litmus::{BYTES, TABLE, modelled, wrong};
use crash::{DiffModel, Domain, Event, Line, LineBytes, Recording, Rules};

fn specified(events: &[Event], rules: Rules, line: Line) -> BTreeSet<LineBytes> {
    possible(&[0; BYTES], events, rules, line)
}

/// What the diff model says; it is told the live bytes, and not the stores.
fn watched(events: &[Event], rules: Rules, line: Line) -> BTreeSet<LineBytes> {
    let mut model = DiffModel::new(vec![0; BYTES], rules);
    let mut all = Recording::new(BYTES);
    for event in events {
        all.replay(event);
        model.apply(event, all.live.as_slice());
    }
    let in_flight = model.in_flight(all.live.as_slice());
    let values = in_flight.into_iter().find(|found| found.line == line);
    values.map_or_else(|| vec![line.of(&all.live)], |found| found.values).into_iter().collect()
}

#[test]
fn the_specification_agrees_with_the_table() {
    let wrong = wrong(specified);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_trace_model_agrees_with_the_table() {
    let wrong = wrong(modelled);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_diff_model_reaches_nothing_that_is_forbidden() {
    // It does not see the order of stores to a line, and takes everything as durable under eADR.
    let reached: Vec<_> = wrong(|events, rules, line| match rules.domain {
        Domain::Adr => watched(events, rules, line),
        Domain::Eadr => modelled(events, rules, line),
    })
    .into_iter()
    .filter(|wrong| wrong.starts_with("reached"))
    .collect();
    assert!(reached.is_empty(), "{reached:#?}");
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
