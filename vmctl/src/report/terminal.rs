//! Terminal report: live progress, then a table, then the line that counts.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;

use e2e::runner::{CutShort, Message, Summary};
use e2e::{CaseResult, Outcome};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::Counts;

/// Live progress on standard output: a moving line for each running case on a terminal, plain
/// lines elsewhere.
#[derive(Debug)]
pub(crate) struct Terminal {
    screen: Option<MultiProgress>,
    total: usize,
    begun: usize,
    /// By the names of their cases.
    running: BTreeMap<String, Running>,
    rerun_options: String,
}

/// A case that goes on.
#[derive(Debug)]
struct Running {
    /// Its place in the row of those that began, and its name.
    head: String,
    bar: ProgressBar,
}

impl Terminal {
    /// Progress of a run of `total` cases; `rerun_options` repeat what this run was given.
    pub(crate) fn new(total: usize, rerun_options: String) -> Self {
        let screen = std::io::stdout().is_terminal().then(MultiProgress::new);
        Self { screen, total, begun: 0, running: BTreeMap::new(), rerun_options }
    }

    /// Shows what happened.
    pub(crate) fn hear(&mut self, message: &Message) {
        match message {
            Message::Started(case) => {
                self.begun += 1;
                let head = format!("[{:>2}/{}] {}", self.begun, self.total, case.name);
                let bar = self.begin(&head);
                self.running.insert(case.name.to_owned(), Running { head, bar });
            }
            Message::Step(case, what) => {
                if let Some(Running { head, bar }) = self.running.get(*case) {
                    bar.set_message(format!("{head}: {what}"));
                }
            }
            Message::Finished(result) => {
                if let Some(Running { head, bar }) = self.running.remove(&result.name) {
                    bar.finish_and_clear();
                    self.print(&finish_line(&head, result));
                }
                if result.outcome.is_failure() {
                    self.print(&failure(result, &self.rerun_options));
                }
            }
            Message::Interrupt => {}
        }
    }

    /// Prints the table and the line that counts.
    pub(crate) fn close(self, summary: &Summary) {
        self.running.values().for_each(|running| running.bar.finish_and_clear());
        print!("{}", table(&summary.results));
        match summary.cut_short {
            Some(CutShort::Interrupted) => println!("the run was interrupted"),
            Some(CutShort::TimedOut) => println!("the run was ended by a deadline"),
            None => {}
        }
        println!("{}", Counts::of(&summary.results));
    }

    /// Begins a line; nobody sees it move where there is no terminal.
    fn begin(&self, head: &str) -> ProgressBar {
        let Some(screen) = &self.screen else {
            println!("{head} ...");
            return ProgressBar::hidden();
        };
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = screen.add(ProgressBar::new_spinner().with_style(style));
        bar.set_message(head.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }

    fn print(&self, text: &str) {
        match &self.screen {
            // A terminal that is gone has no reader.
            Some(screen) => drop(screen.println(text)),
            None => println!("{text}"),
        }
    }
}

fn finish_line(running: &str, result: &CaseResult) -> String {
    let wall = result.wall.as_secs_f64();
    format!("{running} {} in {wall:.1} s", result.outcome.name())
}

/// What someone needs who has to find out why a case failed.
fn failure(result: &CaseResult, rerun_options: &str) -> String {
    let mut text = format!("--- {} on {}\n", result.name, result.guest);
    let mut line = |head: &str, rest: &str| {
        let rest = rest.replace('\n', "\n            ");
        let _ = writeln!(text, "  {head:<9} {rest}");
    };
    line(result.outcome.name(), result.outcome.reason());
    for said in &result.console {
        line("console", said);
    }
    line("files", &result.artefacts.display().to_string());
    line("again", &format!("cargo vmctl test {} {rerun_options}", result.name));
    text + "---"
}

/// One row per case, and below it what the verdict does not cover.
fn table(results: &[CaseResult]) -> String {
    let width = results.iter().map(|result| result.name.len()).max().unwrap_or(4).max(4);
    let mut text = String::from("\n");
    let _ = writeln!(
        text,
        "{:<width$}  {:<10} {:<8} {:>8} {:>8}  figures",
        "case", "guest", "outcome", "wall s", "CPU s"
    );
    for result in results {
        let CaseResult { name, guest, outcome, wall, cpu, .. } = result;
        let (wall, cpu) = (wall.as_secs_f64(), cpu.as_secs_f64());
        let name_of = outcome.name();
        let row = format!("{name:<width$}  {guest:<10} {name_of:<8} {wall:>8.1} {cpu:>8.1}");
        let _ = writeln!(text, "{row}{}", figures(result));
        if matches!(outcome, Outcome::Skip(_)) {
            let _ = writeln!(text, "{:width$}  skipped: {}", "", outcome.reason());
        } else if !result.remark.is_empty() {
            let _ = writeln!(text, "{:width$}  note: {}", "", result.remark);
        }
    }
    text + "\n"
}

fn figures(result: &CaseResult) -> String {
    let figure = |(name, value): (&&str, &f64)| format!("  {name}={value}");
    result.figures.iter().map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::results;
    use super::*;

    #[test]
    fn a_failure_shows_all_that_is_needed_to_find_its_cause() {
        let text = failure(&results()[1], "--seed 7");
        for part in [
            "zero_copy::receive on debian-12",
            "slot 3 <differs>",
            "last words",
            "target/vmctl/run/case",
            "cargo vmctl test zero_copy::receive --seed 7",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_case_and_says_why_one_was_skipped() {
        let text = table(&results());
        assert!(
            text.contains("persistence::log    debian-12  lost_vm       1.2      0.9"),
            "{text}"
        );
        assert!(text.contains("skipped: no compiler"), "{text}");
        assert!(text.contains("payload_bytes=4096"), "{text}");
    }
}
