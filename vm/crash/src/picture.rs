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
/// Sizes in pixels; a character is that of a monospaced font of 12 pixels, and room to spare.
const CHARACTER: u64 = 8;
const TOP: u64 = 40;
const CELL: u64 = 10;
const ROW: u64 = 22;

/// What the letters below the lines mean.
const LETTERS: &str = "M marker, S store, N non-temporal store, F flush, | fence, D device write";

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

/// The room for so many characters.
fn room(characters: usize) -> u64 {
    characters as u64 * CHARACTER
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
        let bottom = TOP + self.lines.len() as u64 * ROW;
        let mut legend = String::new();
        let least = draw_legend(bottom + 55, &mut legend).max(room(self.title().len()));
        let width = (self.left() + self.columns.len() as u64 * CELL + 20).max(least);
        let (height, title) = (bottom + 90, escape(&self.title()));
        let mut svg = format!(
            "<svg role=\"img\" aria-label=\"{title}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"monospace\" font-size=\"12\">\n"
        );
        for (row, line) in self.lines.iter().zip(0..) {
            self.draw_row(*row, TOP + line * ROW, &mut svg);
        }
        self.draw_events(bottom, &mut svg);
        self.draw_cut(bottom, &mut svg);
        svg.push_str(&legend);
        let y = bottom + 78;
        put(&mut svg, format_args!("<text x=\"4\" y=\"{y}\">{LETTERS}</text>\n</svg>\n"));
        svg
    }

    fn title(&self) -> String {
        format!("power lost after event {}: {}", self.report.point.event, self.report.class)
    }

    fn is_lost(&self, line: Line) -> bool {
        self.report.lost.iter().any(|lost| lost.line == line)
    }

    fn name(&self, line: Line) -> String {
        format!("{:#x}{}", line.start().0, if self.is_lost(line) { " lost" } else { "" })
    }

    /// Where the first event is.
    fn left(&self) -> u64 {
        let longest = self.lines.iter().map(|line| self.name(*line).len()).max();
        room(longest.unwrap_or_default()) + 14
    }

    fn draw_row(&self, line: Line, y: u64, svg: &mut String) {
        // As a style, which a page's own style for text does not hide.
        let weight = if self.is_lost(line) { " style=\"font-weight:bold\"" } else { "" };
        let (name, text) = (self.name(line), y + 14);
        put(svg, format_args!("<text x=\"4\" y=\"{text}\"{weight}>{name}</text>\n"));
        let stand =
            |column: usize| self.columns[column].get(&line).copied().unwrap_or(Stand::Durable);
        let mut start = 0;
        for column in 1..=self.columns.len() {
            if column < self.columns.len() && stand(column) == stand(start) {
                continue;
            }
            let x = self.left() + start as u64 * CELL;
            let width = (column - start) as u64 * CELL;
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
            let (x, y, number) =
                (self.left() + column * CELL + 2, bottom + 12, self.first + column);
            if number.is_multiple_of(10) {
                let y = y + 14;
                put(svg, format_args!("<text x=\"{x}\" y=\"{y}\">{number}</text>\n"));
            }
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
        let x = self.left() + (self.report.point.event + 1).saturating_sub(self.first) * CELL;
        let (top, title) = (TOP - 8, self.title());
        put(
            svg,
            format_args!(
                "<line x1=\"{x}\" y1=\"{top}\" x2=\"{x}\" y2=\"{bottom}\" style=\"stroke:#2563eb\" \
                 stroke-width=\"2\"/>\n<text x=\"4\" y=\"14\">{title}</text>\n"
            ),
        );
    }
}

/// Draws what the colours mean; how wide that is.
fn draw_legend(y: u64, svg: &mut String) -> u64 {
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
        x += 30 + room(name.len());
    }
    x.max(room(LETTERS.len()))
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = svg.write_fmt(what);
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
