//! Reports: what a person needs to know about a failure.

mod all;
mod text;

use serde::{Deserialize, Serialize};

use crate::checker::{Checker, Fault};
use crate::event::{Event, Pc, Vcpu};
use crate::explore::Failure;
use crate::explore::flight::Choice;
use crate::explore::point::Point;
use crate::line::{Line, LineBytes, Offset, Range};
use crate::marker::Marker;
use crate::minimise::{Smallest, minimise};
use crate::model::history::{Write, WriteKind};
use crate::model::stores::{TraceModel, Work};
use crate::moment::Moment;
use crate::rules::Rules;

pub use all::explain_all;

/// What kind of mistake it is, in the order in which they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A line survived in part.
    Torn,
    /// A non-temporal store waits for its fence.
    NontemporalNotFenced,
    /// A flush waits for its fence.
    FlushedNotFenced,
    /// Nobody flushes what a device wrote.
    DeviceWriteNeverFlushed,
    /// The flush comes after what makes the data reachable.
    PublishedBeforeDurable,
    /// Nobody flushes the store.
    NeverFlushed,
    /// Nothing was lost.
    NotAMatterOfFlushes,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Torn => "torn",
            Self::NontemporalNotFenced => "non-temporal, not fenced",
            Self::FlushedNotFenced => "flushed, not fenced",
            Self::DeviceWriteNeverFlushed => "device write never flushed",
            Self::PublishedBeforeDurable => "published before durable",
            Self::NeverFlushed => "never flushed",
            Self::NotAMatterOfFlushes => "not a matter of flushes",
        })
    }
}

/// Where in the run and in the program something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Site {
    /// The number of the event.
    pub event: u64,
    /// Which CPU; nothing for a device.
    pub vcpu: Option<Vcpu>,
    /// Its instruction; nothing for a device.
    pub pc: Option<Pc>,
    /// The instruction as function, file and line, where that is known.
    pub source: Option<String>,
}

/// A line that must not be lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Which line.
    pub line: Line,
    /// Where it starts.
    pub offset: Offset,
    /// The number of its value in the failing state; 0 if nothing in flight survived.
    pub value: usize,
    /// How many values it may have.
    pub values: usize,
    /// The class that this line alone stands for.
    pub class: Class,
    /// The last lost write.
    pub writer: Option<Site>,
    /// The last flush of the line before the crash point.
    pub flush: Option<Site>,
}

/// A failure, explained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What kind of mistake it is.
    pub class: Class,
    /// Where power was lost.
    pub point: Point,
    /// The event after which it was lost.
    pub after: Site,
    /// The marker that it followed.
    pub marker: Option<Marker>,
    /// What the checker said about the smallest failing state.
    pub why: String,
    /// The lines that are lost in it.
    pub lost: Vec<Lost>,
    /// The smallest failing state.
    pub choice: Choice,
    /// How many states were judged to find it.
    pub checks: u64,
}

/// Instructions that work for nothing (M17).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redundant {
    /// All flushes of the run.
    pub flushes: u64,
    /// All fences of the run.
    pub fences: u64,
    /// Flushes of lines without anything new, by instruction, the most frequent first.
    pub redundant_flushes: Vec<(Site, u64)>,
    /// Fences that completed nothing, likewise.
    pub idle_fences: Vec<(Site, u64)>,
}

/// Knows instructions by their addresses.
pub trait Symbols {
    /// An instruction as function, file and line.
    fn name(&self, pc: Pc) -> Option<String>;
}

/// Knows none.
#[derive(Clone, Copy, Debug)]
pub struct NoSymbols;

impl Symbols for NoSymbols {
    fn name(&self, _: Pc) -> Option<String> {
        None
    }
}

/// Explains a failure of a trace; nothing if the checker does not call it bad any more.
///
/// # Errors
/// If the checker gives no verdict.
pub fn explain(
    image: Vec<u8>,
    events: &[Event],
    rules: Rules,
    failure: &Failure,
    checker: &mut dyn Checker,
    symbols: &dyn Symbols,
) -> Result<Option<Report>, Fault> {
    let mut moment = Moment::at(image, events, rules, failure.point);
    let Some(smallest) = minimise(&mut moment, &failure.choice, checker)? else {
        return Ok(None);
    };
    let (model, event) = (moment.model(), failure.point.event);
    let explainer = Explainer { events, model, event, symbols };
    Ok(Some(explainer.report(&moment, smallest)))
}

/// What the whole run flushed and fenced for nothing.
pub fn redundant(
    image: Vec<u8>,
    events: &[Event],
    rules: Rules,
    symbols: &dyn Symbols,
) -> Redundant {
    let mut model = TraceModel::new(image, rules);
    for (event, number) in events.iter().zip(1..) {
        model.play(number, event);
    }
    let Work { flushes, fences, redundant_flushes, idle_fences } = model.work().clone();
    let sorted = |sites: std::collections::BTreeMap<Pc, u64>| {
        let site = |pc| Site { event: 0, vcpu: None, pc: Some(pc), source: symbols.name(pc) };
        let mut sites: Vec<_> = sites.into_iter().map(|(pc, count)| (site(pc), count)).collect();
        sites.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        sites
    };
    let redundant_flushes = sorted(redundant_flushes);
    Redundant { flushes, fences, redundant_flushes, idle_fences: sorted(idle_fences) }
}

/// Explains lines at one point of a run.
pub(crate) struct Explainer<'a> {
    pub(crate) events: &'a [Event],
    pub(crate) model: &'a TraceModel,
    /// The number of the event after which the model stands.
    pub(crate) event: u64,
    pub(crate) symbols: &'a dyn Symbols,
}

impl Explainer<'_> {
    fn report(&self, moment: &Moment, smallest: Smallest) -> Report {
        let choice = smallest.choice();
        let lost: Vec<_> =
            smallest.lost.iter().map(|(line, value)| self.lost(*line, *value)).collect();
        let class = lost.iter().map(|lost| lost.class).min();
        Report {
            class: class.unwrap_or(Class::NotAMatterOfFlushes),
            point: moment.point(),
            after: self.site(self.event),
            marker: moment.markers().last().cloned(),
            why: smallest.why,
            lost,
            choice,
            checks: smallest.checks,
        }
    }

    pub(crate) fn lost(&self, line: Line, value: usize) -> Lost {
        let in_flight = self.model.in_flight(line);
        let values = in_flight.map_or_else(Vec::new, |(found, _)| found.values);
        let write = values.get(value).and_then(|value| self.last_lost(line, value));
        let class = match (value, &write) {
            (1.., _) => Class::Torn,
            (_, None) => Class::NotAMatterOfFlushes,
            (_, Some(write)) => self.class(line, write),
        };
        let writer = write.map(|write| self.site(write.event));
        let (offset, values) = (line.start(), values.len());
        Lost { line, offset, value, values, class, writer, flush: self.last_flush(line) }
    }

    fn class(&self, line: Line, write: &Write) -> Class {
        match write.kind {
            WriteKind::Nontemporal => Class::NontemporalNotFenced,
            _ if write.flushed => Class::FlushedNotFenced,
            _ if self.is_flushed_next(line) => Class::PublishedBeforeDurable,
            WriteKind::Device => Class::DeviceWriteNeverFlushed,
            WriteKind::Cached => Class::NeverFlushed,
        }
    }

    /// The last write in flight that changed something the value does not have.
    fn last_lost(&self, line: Line, value: &LineBytes) -> Option<Write> {
        let history = self.model.history(line)?;
        let is_lost = |write: &&Write| {
            let mut with = *value;
            write.what.apply(&mut with);
            with != *value
        };
        history.writes().iter().rev().find(is_lost).copied()
    }

    /// Whether the next event on the line after the crash point is a flush, and belongs to the
    /// same operation: no marker comes before it.
    fn is_flushed_next(&self, line: Line) -> bool {
        let after = self.events_from(self.event);
        let next = after.iter().find(|event| touches(event, line) || is_promise(event));
        matches!(next, Some(Event::Flush(_)))
    }

    fn last_flush(&self, line: Line) -> Option<Site> {
        let all = self.events.iter().zip(1..);
        let before = all.take_while(|(_, number)| *number <= self.event);
        let is_flush = |event: &Event| matches!(event, Event::Flush(flush) if flush.line == line);
        let last = before.filter(|(event, _)| is_flush(event)).last();
        last.map(|(_, number)| self.site(number))
    }

    /// The events after the one with this number.
    fn events_from(&self, number: u64) -> &[Event] {
        let start = usize::try_from(number).unwrap_or(usize::MAX);
        self.events.get(start..).unwrap_or_default()
    }

    pub(crate) fn site(&self, number: u64) -> Site {
        let before = number.checked_sub(1).map(|before| self.events_from(before));
        let (vcpu, pc) = match before.and_then(<[Event]>::first) {
            Some(Event::Store(store)) => (Some(store.vcpu), Some(store.pc)),
            Some(Event::Flush(flush)) => (Some(flush.vcpu), Some(flush.pc)),
            Some(Event::Fence(fence)) => (Some(fence.vcpu), Some(fence.pc)),
            Some(Event::Marker(marker)) => (Some(marker.vcpu), Some(marker.pc)),
            Some(Event::Dma(_)) | None => (None, None),
        };
        let source = pc.and_then(|pc| self.symbols.name(pc));
        Site { event: number, vcpu, pc, source }
    }
}

fn is_promise(event: &Event) -> bool {
    matches!(event, Event::Marker(marker) if marker.op.promises())
}

fn touches(event: &Event, line: Line) -> bool {
    let range = match event {
        Event::Flush(flush) => return flush.line == line,
        Event::Store(store) => {
            Range { offset: store.offset, len: store.bytes.as_slice().len() as u64 }
        }
        Event::Dma(dma) => Range { offset: dma.offset, len: dma.bytes.len() as u64 },
        Event::Fence(_) | Event::Marker(_) => return false,
    };
    range.parts().any(|(touched, _)| touched == line)
}
