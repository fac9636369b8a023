//! Text: a result on a terminal; each failure ends with the command that replays it.

use std::fmt::Write;

use vm::crash::report::{Redundant, Site};

use super::result::CrashResult;

/// The most instructions that work for nothing, and failures without explanation, that are shown.
const SHOWN: usize = 5;

/// The whole report.
pub(crate) fn text(result: &CrashResult) -> String {
    let mut text = String::new();
    for (mistake, number) in result.mistakes.iter().zip(1..) {
        let count = result.mistakes.len();
        let _ = write!(text, "--- {} ({number} of {count})\n{}", mistake.id, mistake.report);
        let _ = writeln!(text, "  again: {}\n---", result.replay(mistake));
    }
    if result.device > 0 && !(result.mistakes.is_empty() && result.assertions.broken.is_empty()) {
        let device = result.device;
        let _ = writeln!(text, "lines are those of the NVDIMM; the device is at {device:#x}");
    }
    unexplained(result, &mut text);
    for broken in &result.assertions.broken {
        let _ =
            writeln!(text, "asserted to be durable, and is not: id {}, {}", broken.id, broken.at);
        for line in &broken.lines {
            let _ = writeln!(text, "  {line}");
        }
    }
    redundant(&result.redundant, &mut text);
    text + &sum(result) + "\n"
}

fn unexplained(result: &CrashResult, text: &mut String) {
    let explored = result.explored();
    if result.mistakes.is_empty() {
        for failure in explored.failures.iter().take(SHOWN) {
            let again = result.again(failure);
            let _ = writeln!(text, "--- {}\n{}\n  again: {again}\n---", failure.id(), failure.why);
        }
    }
    if let Some(why) = &result.unexplained {
        let _ = writeln!(text, "not every failure is explained: {why}");
    }
    if let Some(why) = result.no_verdict() {
        let _ = writeln!(text, "no verdict: {why}");
    }
    if let Some(fault) = &explored.fault {
        let _ = writeln!(text, "  the state: {}", result.keep_state(fault));
    }
}

fn redundant(redundant: &Redundant, text: &mut String) {
    let Redundant { flushes, fences, redundant_flushes, idle_fences } = redundant;
    let mut show = |what: &str, sites: &[(Site, u64)], total: u64| {
        let count: u64 = sites.iter().map(|(_, count)| count).sum();
        if count > 0 {
            let _ = writeln!(text, "{what}: {count} of {total}");
        }
        for (site, count) in sites.iter().take(SHOWN) {
            let _ = writeln!(text, "  {count:>6} {}", place(site));
        }
    };
    show("flushes of lines without anything new", redundant_flushes, *flushes);
    show("fences that completed nothing", idle_fences, *fences);
}

/// An instruction, without a moment.
pub(crate) fn place(site: &Site) -> String {
    let address = || site.pc.map_or_else(|| "a device".to_owned(), |pc| format!("{:#x}", pc.0));
    site.source.clone().unwrap_or_else(address)
}

/// The line that counts.
pub(crate) fn sum(result: &CrashResult) -> String {
    let explored = result.explored();
    let mut text = format!(
        "{} states at {} points of {} events, {} failing",
        explored.states, explored.points, result.events, explored.failing
    );
    if explored.sampled_points + explored.bounded_lines > 0 {
        let (points, lines) = (explored.sampled_points, explored.bounded_lines);
        let _ = write!(text, " (bounded: {points} points sampled, {lines} lines)");
    }
    let broken = result.assertions.broken.len();
    if result.assertions.count > 0 {
        let _ = write!(text, "; {broken} of {} assertions broken", result.assertions.count);
    }
    text
}
