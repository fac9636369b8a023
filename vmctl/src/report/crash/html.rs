//! HTML: a result as one page that needs nothing else, with the lines of each mistake over time.

use std::fmt::Write;

use vm::crash::image::copy;
use vm::crash::picture::picture;
use vm::crash::report::{Lost, Redundant, Site};
use vm::crash::symbols::GuestSymbols;
use vm::recording::Recording;

use super::result::{CrashResult, Mistake};
use super::text::{place, sum};
use crate::report::html::{STYLE, escaped};

/// What pictures are drawn from.
pub(crate) struct Pictures<'a> {
    pub(crate) recording: &'a Recording,
    pub(crate) symbols: &'a GuestSymbols,
}

/// The whole page.
pub(crate) fn text(result: &CrashResult, pictures: Option<&Pictures<'_>>) -> String {
    let is_good = result.explored().is_good() && result.assertions.broken.is_empty();
    let verdict = match (is_good, result.no_verdict()) {
        (true, None) => "pass",
        (true, Some(_)) => "skip",
        _ => "fail",
    };
    let sum = escaped(&sum(result));
    let rules = result.part.plan.rules;
    let mut page = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n");
    let _ = write!(
        page,
        "<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>vmctl crash: {sum}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>vmctl crash</h1>\n<p class=\"sum {verdict}\">{sum}</p>\n\
         <p class=\"head\">{} &middot; <code>{}</code> &middot; seed {} &middot; domain {}, fences \
         {}, dma {}</p>\n",
        escaped(&result.recording.display().to_string()),
        escaped(&result.judge.checker),
        result.part.plan.seed,
        rules.domain.name(),
        rules.fences.name(),
        rules.dma.name(),
    );
    for why in result.no_verdict().iter().chain(&result.unexplained) {
        let _ = writeln!(page, "<p class=\"why\">{}</p>", escaped(why));
    }
    for mistake in &result.mistakes {
        page += &section(result, mistake, pictures);
    }
    page += &broken(result);
    page += &redundant(&result.redundant);
    page + "</body>\n</html>\n"
}

fn section(result: &CrashResult, mistake: &Mistake, pictures: Option<&Pictures<'_>>) -> String {
    let report = &mistake.report;
    let mut text = format!(
        "<section class=\"failure\">\n<h2>{} <small>{}</small></h2>\n<p class=\"why\">{}</p>\n\
         <p class=\"head\">power lost after {}</p>\n",
        escaped(&report.class.to_string()),
        escaped(&mistake.id),
        escaped(&report.why),
        escaped(&report.after.to_string()),
    );
    if let Some(marker) = &report.marker {
        let marker = format!("last marker: {:?} {:?}", marker.op, marker.args);
        let _ = writeln!(text, "<p class=\"head\">{}</p>", escaped(&marker));
    }
    text += &table(&report.lost, result.device);
    if let Some(Pictures { recording, symbols }) = pictures {
        let (image, rules) = (copy(&recording.image), result.part.plan.rules);
        let svg = picture(image, &recording.events, rules, report, *symbols);
        let _ = writeln!(text, "<div class=\"wide\">{svg}</div>");
    }
    let again = escaped(&result.replay(mistake));
    text + &format!(
        "<p class=\"head\">again:</p>\n<pre class=\"again\">{again}</pre>\n</section>\n"
    )
}

/// The lost lines; the program's device begins so many bytes into the NVDIMM.
fn table(lost: &[Lost], device: u64) -> String {
    if lost.is_empty() {
        return String::from("<p>Nothing needs to be lost.</p>\n");
    }
    let mut text = String::from(
        "<div class=\"wide\"><table class=\"stack\">\n<thead><tr><th>lost line<th>in the device\
         <th>class<th>last written by<th>last flushed by</tr></thead>\n<tbody>\n",
    );
    let site = |site: &Option<Site>| {
        escaped(&site.as_ref().map_or_else(|| "nobody".to_owned(), ToString::to_string))
    };
    for line in lost {
        let (writer, flush) = (site(&line.writer), site(&line.flush));
        let (offset, class) = (line.offset.0, escaped(&line.class.to_string()));
        let own = offset.checked_sub(device);
        let own = own.map_or_else(|| "before it".to_owned(), |own| format!("at {own:#x}"));
        let _ = writeln!(
            text,
            "<tr><td>{offset:#x}<td data-is=\"in the device\">{own}<td data-is=\"class\">{class}\
             <td data-is=\"last written by\">{writer}<td data-is=\"last flushed by\">{flush}</tr>"
        );
    }
    text + "</tbody>\n</table></div>\n"
}

fn broken(result: &CrashResult) -> String {
    let mut text = String::new();
    for broken in &result.assertions.broken {
        let _ = write!(
            text,
            "<section class=\"failure\">\n<h2>asserted to be durable, and is not <small>id \
             {}</small></h2>\n<p class=\"head\">{}</p>\n{}</section>\n",
            broken.id,
            escaped(&broken.at.to_string()),
            table(&broken.lines, result.device),
        );
    }
    text
}

/// Instructions that work for nothing.
fn redundant(redundant: &Redundant) -> String {
    let Redundant { flushes, fences, redundant_flushes, idle_fences } = redundant;
    let mut text = String::new();
    let kinds = [
        ("Flushes of lines without anything new", redundant_flushes, flushes),
        ("Fences that completed nothing", idle_fences, fences),
    ];
    for (title, sites, total) in kinds.into_iter().filter(|(_, sites, _)| !sites.is_empty()) {
        let count: u64 = sites.iter().map(|(_, count)| count).sum();
        let _ = write!(
            text,
            "<h2>{title} <small>{count} of {total}</small></h2>\n<div class=\"wide\"><table>\n\
             <thead><tr><th>instruction<th class=\"n\">times</tr></thead>\n<tbody>\n"
        );
        for (site, times) in sites {
            let _ = writeln!(text, "<tr><td>{}<td class=\"n\">{times}</tr>", escaped(&place(site)));
        }
        text += "</tbody>\n</table></div>\n";
    }
    text
}
