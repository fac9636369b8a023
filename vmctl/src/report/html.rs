//! HTML report: one page that needs nothing else: cases, timings, failures, figures.

mod ways;

use std::fmt::Write;

use e2e::{CaseResult, Outcome};

use super::{Counts, Head};

pub(crate) const STYLE: &str = include_str!("html.css");

/// Width of the drawing of times, and height of a row in it.
const WIDTH: f64 = 900.0;
const ROW: f64 = 22.0;
/// Where the bars begin, and what is left for them beside their labels.
const BARS: f64 = 240.0;
const ROOM: f64 = WIDTH - BARS - 70.0;

/// The whole page.
pub(crate) fn text(head: &Head, results: &[CaseResult]) -> String {
    let counts = Counts::of(results);
    let verdict = if counts.failed + counts.skipped == 0 { "pass" } else { "fail" };
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n");
    let _ = write!(
        page,
        "<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>vmctl: {counts}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>vmctl test</h1>\n<p class=\"sum {verdict}\">{counts}</p>\n\
         <p class=\"head\">seed {} &middot; {} &middot; QEMU {}</p>\n",
        head.seed,
        escaped(&head.accel.to_uppercase()),
        escaped(&head.qemu),
    );
    page += &failures(head, results);
    page += &table(results);
    page += &ways::section(results);
    page += &times(results);
    page + "</body>\n</html>\n"
}

fn failures(head: &Head, results: &[CaseResult]) -> String {
    let mut text = String::new();
    for result in results.iter().filter(|result| result.outcome.is_failure()) {
        let _ = write!(
            text,
            "<section class=\"failure\">\n<h2>{} <small>on {}</small></h2>\n\
             <p class=\"why\"><b class=\"{outcome}\">{outcome}</b> {}</p>\n",
            escaped(&result.name),
            escaped(&result.guest),
            escaped(result.outcome.reason()),
            outcome = result.outcome.name(),
        );
        if !result.console.is_empty() {
            let console = escaped(&result.console.join("\n"));
            let _ = writeln!(text, "<h3>Last lines of the console</h3>\n<pre>{console}</pre>");
        }
        let files = escaped(&result.artefacts.display().to_string());
        let again = format!("cargo vmctl test {} --seed {}", result.name, head.seed);
        let _ = write!(
            text,
            "<p class=\"head\">files: <code>{files}</code><br>again: <code>{}</code></p>\n\
             </section>\n",
            escaped(&again)
        );
    }
    text
}

fn table(results: &[CaseResult]) -> String {
    let mut text = String::from(
        "<h2>Cases</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>case<th>guest<th>outcome\
         <th class=\"n\">wall s<th class=\"n\">CPU s<th>figures</tr></thead>\n<tbody>\n",
    );
    for result in results {
        let CaseResult { name, guest, outcome, wall, cpu, figures, remark, .. } = result;
        let _ = write!(
            text,
            "<tr><td>{}<td>{}<td><b class=\"{outcome}\">{outcome}</b><td class=\"n\">{:.1}\
             <td class=\"n\">{:.1}<td>",
            escaped(name),
            escaped(guest),
            wall.as_secs_f64(),
            cpu.as_secs_f64(),
            outcome = outcome.name(),
        );
        for (figure, value) in figures {
            let _ =
                write!(text, "<span class=\"figure\">{} <b>{value}</b></span> ", escaped(figure));
        }
        let note = match outcome {
            Outcome::Skip(why) => why,
            _ => remark,
        };
        if !note.is_empty() {
            let _ = write!(text, "<span class=\"note\">{}</span>", escaped(note));
        }
        text += "</tr>\n";
    }
    text + "</tbody>\n</table></div>\n"
}

/// The cases as bars, one below the other, each from its begin to its end on one axis of time.
fn times(results: &[CaseResult]) -> String {
    let total: f64 = results.iter().map(|result| result.wall.as_secs_f64()).sum();
    if total <= 0.0 {
        return String::new();
    }
    let rows = u32::try_from(results.len()).map_or(0.0, f64::from);
    let mut text = format!(
        "<h2>Times</h2>\n<div class=\"wide\"><svg role=\"img\" aria-label=\"times of the cases\" \
         viewBox=\"0 0 {WIDTH} {}\">\n",
        rows * ROW
    );
    let (mut begin, mut y) = (0.0, 0.0);
    for result in results {
        let wall = result.wall.as_secs_f64();
        let (x, width) = (BARS + ROOM * begin / total, (ROOM * wall / total).max(1.5));
        let _ = writeln!(
            text,
            "<text x=\"{}\" y=\"{base}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"14\"/>\
             <text x=\"{:.1}\" y=\"{base}\">{wall:.1} s</text>",
            BARS - 10.0,
            escaped(&result.name),
            result.outcome.name(),
            y + 4.0,
            x + width + 6.0,
            base = y + 15.0,
        );
        begin += wall;
        y += ROW;
    }
    let _ = writeln!(text, "</svg></div>\n<p class=\"head\">{total:.1} s in all</p>");
    text
}

/// Text as it may stand in a page; a control character would be seen by nobody.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod browser_tests;
#[cfg(test)]
mod tests {
    use super::super::tests::{head, results};
    use super::*;

    #[test]
    fn the_page_holds_every_case_and_all_that_a_failure_needs() {
        let page = text(&head(), &results());
        for part in [
            "1 passed, 2 failed, 1 skipped",
            "slot 3 &lt;differs&gt;",
            "[1.0] last words",
            "no compiler",
            "payload_bytes <b>4096</b>",
            "cargo vmctl test zero_copy::receive --seed 7",
            "target/vmctl/run/case",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert_eq!(page.matches("<section").count(), 2);
        assert_eq!(page.matches("<rect class=\"bar\"").count(), 4, "a way for each case");
    }

    #[test]
    fn the_page_needs_nothing_else_and_runs_nothing() {
        let mut results = results();
        results[1].console = vec!["<script>alert(1)</script>\u{1b}[31m".into()];
        let page = text(&head(), &results);
        for word in ["<script", "src=", "href=", "url(", "@import", "\u{1b}"] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn nothing_run_is_nothing_drawn() {
        assert!(!text(&head(), &[]).contains("<svg"));
    }
}
