//! Pictures: the states of lines over time, as SVG for a page in HTML.

use std::fmt::Write;

use crate::event::Event;
use crate::line::Line;
use crate::model::history::WriteKind;
use crate::model::stores::{TraceModel, steps};
use crate::report::{Report, Symbols};
use crate::rules::Rules;

/// The most lines that are drawn.
const ROWS: usize = 16;
/// The most events before the crash point, and after it.
const BEFORE: u64 = 100;
const AFTER: u64 = 20;
/// Sizes in pixels.
const LEFT: u64 = 110;
const TOP: u64 = 40;
const CELL: u64 = 10;
const ROW: u64 = 22;

/// How a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Durable,
    Dirty,
    Pending,
    Nontemporal,
}

impl Stand {
    fn of(model: &TraceModel, line: Line) -> Self {
        let Some(history) = model.history(line) else { return Self::Durable };
        let writes = history.writes();
        let past = |kind| kind == WriteKind::Nontemporal;
        if writes.iter().any(|write| !write.flushed && !past(write.kind)) {
            Self::Dirty
        } else if writes.iter().any(|write| past(write.kind)) {
            Self::Nontemporal
        } else {
            Self::Pending
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Durable => "#d5e8d4",
            Self::Dirty => "#e06666",
            Self::Pending => "#f6b26b",
            Self::Nontemporal => "#b4a7d6",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Dirty => "dirty",
            Self::Pending => "flushed, not fenced",
            Self::Nontemporal => "non-temporal, not fenced",
        }
    }
}

/// Draws the lines of a report, and those in flight beside them, around the crash point.
pub fn picture(
    image: Vec<u8>,
    events: &[Event],
    rules: Rules,
    report: &Report,
    symbols: &dyn Symbols,
) -> String {
    let point = report.point.event;
    let first = point.saturating_sub(BEFORE - 1).max(1);
    let last = (point + AFTER).min(events.len() as u64);
    let mut model = TraceModel::new(image, rules);
    let mut lines: Vec<_> = report.lost.iter().map(|lost| lost.line).collect();
    let mut columns = Vec::new();
    for (event, number) in events.iter().zip(1..=last) {
        let mut changed = Vec::new();
        for step in steps(event) {
            changed.extend(model.apply(number, step));
        }
        if number >= first {
            // The lines that matter: those of the report first, then those that change.
            let new = changed.into_iter().filter(|line| !lines.contains(line)).collect::<Vec<_>>();
            lines.extend(new);
            columns.push(model.lines().map(|(line, _)| (line, Stand::of(&model, line))).collect());
        }
    }
    lines.truncate(ROWS);
    lines.sort();
    let events = events.get(usize::try_from(first - 1).unwrap_or(0)..).unwrap_or_default();
    Canvas { lines, columns, events, first, report, symbols }.draw()
}

struct Canvas<'a> {
    lines: Vec<Line>,
    columns: Vec<std::collections::BTreeMap<Line, Stand>>,
    events: &'a [Event],
    first: u64,
    report: &'a Report,
    symbols: &'a dyn Symbols,
}

impl Canvas<'_> {
    fn draw(&self) -> String {
        let width = LEFT + self.columns.len() as u64 * CELL + 20;
        let bottom = TOP + self.lines.len() as u64 * ROW;
        let height = bottom + 60;
        let mut svg = format!(
            "<svg width=\"{width}\" height=\"{height}\" font-family=\"monospace\" \
             font-size=\"11\">\n"
        );
        for (row, line) in self.lines.iter().zip(0..) {
            self.draw_row(*row, TOP + line * ROW, &mut svg);
        }
        self.draw_events(bottom, &mut svg);
        self.draw_cut(bottom, &mut svg);
        draw_legend(bottom + 40, &mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_row(&self, line: Line, y: u64, svg: &mut String) {
        let lost = self.report.lost.iter().any(|lost| lost.line == line);
        let weight = if lost { " font-weight=\"bold\"" } else { "" };
        let name = format!("{:#x}{}", line.start().0, if lost { " lost" } else { "" });
        let text = y + 14;
        put(svg, format_args!("<text x=\"4\" y=\"{text}\"{weight}>{name}</text>\n"));
        let stand =
            |column: usize| self.columns[column].get(&line).copied().unwrap_or(Stand::Durable);
        let mut start = 0;
        for column in 1..=self.columns.len() {
            if column < self.columns.len() && stand(column) == stand(start) {
                continue;
            }
            let (x, width) = (LEFT + start as u64 * CELL, (column - start) as u64 * CELL);
            let (colour, name) = (stand(start).colour(), stand(start).name());
            let height = ROW - 4;
            put(
                svg,
                format_args!(
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
                     fill=\"{colour}\"><title>{name}</title></rect>\n"
                ),
            );
            start = column;
        }
    }

    /// A letter for each event, with its place in the program as tooltip.
    fn draw_events(&self, bottom: u64, svg: &mut String) {
        for ((event, _), column) in self.events.iter().zip(&self.columns).zip(0..) {
            let (letter, pc) = match event {
                Event::Store(store) if store.nontemporal => ("N", Some(store.pc)),
                Event::Store(store) => ("S", Some(store.pc)),
                Event::Flush(flush) => ("F", Some(flush.pc)),
                Event::Fence(fence) => ("|", Some(fence.pc)),
                Event::Dma(_) => ("D", None),
                Event::Marker(marker) => ("M", Some(marker.pc)),
            };
            let place =
                pc.map(|pc| self.symbols.name(pc).unwrap_or_else(|| format!("{:#x}", pc.0)));
            let place = escape(&place.unwrap_or_else(|| "a device".to_owned()));
            let (x, y, number) = (LEFT + column * CELL + 2, bottom + 12, self.first + column);
            put(
                svg,
                format_args!(
                    "<text x=\"{x}\" y=\"{y}\">{letter}<title>{number}: {place}</title></text>\n"
                ),
            );
        }
    }

    /// Where power is lost: after the event of the point.
    fn draw_cut(&self, bottom: u64, svg: &mut String) {
        let x = LEFT + (self.report.point.event + 1).saturating_sub(self.first) * CELL;
        let (top, class) = (TOP - 8, self.report.class);
        put(
            svg,
            format_args!(
                "<line x1=\"{x}\" y1=\"{top}\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"black\" \
                 stroke-width=\"2\"/>\n<text x=\"4\" y=\"14\">power lost after event {}: \
                 {class}</text>\n",
                self.report.point.event
            ),
        );
    }
}

fn draw_legend(y: u64, svg: &mut String) {
    let all = [Stand::Durable, Stand::Dirty, Stand::Pending, Stand::Nontemporal];
    let mut x = 4;
    for stand in all {
        let (colour, name, top, text) = (stand.colour(), stand.name(), y - 10, x + 16);
        put(
            svg,
            format_args!(
                "<rect x=\"{x}\" y=\"{top}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\
                 <text x=\"{text}\" y=\"{y}\">{name}</text>\n"
            ),
        );
        x += 30 + name.len() as u64 * 7;
    }
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = svg.write_fmt(what);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
