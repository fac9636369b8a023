//! All failures of an exploration, each mistake once.

use std::collections::BTreeSet;

use super::{Report, Symbols, explain};
use crate::checker::{Checker, Fault};
use crate::event::{Event, Pc};
use crate::explore::Failure;
use crate::image;
use crate::rules::Rules;

/// Explains failures one after the other; of those with the same class and the same last writers
/// the first. At most `most` reports.
///
/// # Errors
/// If the checker gives no verdict.
pub fn explain_all(
    image: &[u8],
    events: &[Event],
    rules: Rules,
    failures: &[Failure],
    checker: &mut dyn Checker,
    symbols: &dyn Symbols,
    most: usize,
) -> Result<Vec<Report>, Fault> {
    let mut reports = Vec::new();
    let mut seen = BTreeSet::new();
    for failure in failures {
        if reports.len() == most {
            break;
        }
        let report = explain(image::copy(image), events, rules, failure, checker, symbols)?;
        if let Some(report) = report.filter(|report| seen.insert((report.class, writers(report)))) {
            reports.push(report);
        }
    }
    Ok(reports)
}

fn writers(report: &Report) -> BTreeSet<Option<Pc>> {
    report.lost.iter().map(|lost| lost.writer.as_ref().and_then(|site| site.pc)).collect()
}
