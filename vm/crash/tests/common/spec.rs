//! Specification, executable and naive: every subset of a line's writes, tried against the rules.
//!
//! It follows docs/crash-model.md to the letter, looks at the whole program for each question, and
//! takes time exponential in the number of writes.

use std::collections::BTreeSet;

use crash::line::{WordWrite, split};
use crash::{
    Context, DeviceWrites, Domain, Event, FenceKind, Fences, FlushKind, Line, LineBytes, Offset,
    Op, Rules, Vcpu,
};

#[derive(Clone, Copy, PartialEq)]
enum By {
    Cpu,
    Nontemporal(Vcpu, Context),
    Device,
}

struct Write {
    at: usize,
    what: WordWrite,
    by: By,
}

/// Everything that a line may hold after a power loss at the end of the events.
pub fn possible(base: &[u8], events: &[Event], rules: Rules, line: Line) -> BTreeSet<LineBytes> {
    let writes = writes(base, events, line);
    assert!(writes.len() < 20, "too many writes to try all");
    let mut devices = arrivals(events, line);
    devices.extend(writes.iter().filter(|write| write.by == By::Device).map(|write| write.at));
    let must = |write: &Write| {
        let arrives = devices.iter().any(|at| *at >= write.at);
        (rules.dma == DeviceWrites::Persist && arrives) || is_durable(write, events, rules, line)
    };
    let must: Vec<_> = writes.iter().map(must).collect();
    let mut found = BTreeSet::new();
    for subset in 0_u32..1 << writes.len() {
        let is_in = |at: usize| subset >> at & 1 == 1;
        let is_legal = (0..writes.len()).all(|at| {
            let tied = |other: usize| is_in(other) && is_tied(&writes[at], &writes[other]);
            is_in(at) || !(must[at] || (at + 1..writes.len()).any(tied))
        });
        if is_legal {
            let mut value = line.of(base);
            for (_, write) in writes.iter().enumerate().filter(|(at, _)| is_in(*at)) {
                write.what.apply(&mut value);
            }
            found.insert(value);
        }
    }
    found
}

/// M6: where device writes arrive at the line, whether they change it or not.
fn arrivals(events: &[Event], line: Line) -> Vec<usize> {
    let arrives = |event: &Event| {
        matches!(event, Event::Dma(dma)
            if split(dma.offset, &dma.bytes).any(|(of, _)| of == line))
    };
    events.iter().zip(1..).filter(|(event, _)| arrives(event)).map(|(_, at)| at).collect()
}

/// M3 and M4: whether the earlier write survives if the later one does.
fn is_tied(earlier: &Write, later: &Write) -> bool {
    let cached = |write: &Write| !matches!(write.by, By::Nontemporal(..));
    earlier.what.word == later.what.word || (cached(earlier) && cached(later))
}

/// M2, M6, M16, M17: all writes to a line.
fn writes(base: &[u8], events: &[Event], line: Line) -> Vec<Write> {
    let mut writes: Vec<Write> = Vec::new();
    for (event, at) in events.iter().zip(1..) {
        let (offset, bytes, by) = match event {
            Event::Store(store) => {
                let past = By::Nontemporal(store.vcpu, store.context);
                let by = if store.nontemporal { past } else { By::Cpu };
                (store.offset, store.bytes.as_slice(), by)
            }
            Event::Dma(dma) => {
                writes.extend(device_writes(base, &writes, (dma.offset, &dma.bytes), (line, at)));
                continue;
            }
            Event::Flush(flush) if flush.line == line => {
                let seen = (line.start(), &flush.live[..]);
                writes.extend(device_writes(base, &writes, seen, (line, at - 1)));
                continue;
            }
            _ => continue,
        };
        let here = split(offset, bytes).filter(|(of, _)| *of == line);
        writes.extend(here.map(|(_, what)| Write { at, what, by }));
    }
    writes
}

/// M17: what of these bytes a device has written to the line, for they were other ones before.
fn device_writes(
    base: &[u8],
    before: &[Write],
    (offset, bytes): (Offset, &[u8]),
    (line, at): (Line, usize),
) -> Vec<Write> {
    let mut known = line.of(base);
    for write in before {
        write.what.apply(&mut known);
    }
    let changes = |what: &WordWrite| {
        let mut next = known;
        what.apply(&mut next);
        next != known
    };
    let here = split(offset, bytes).filter(|(of, what)| *of == line && changes(what));
    here.map(|(_, what)| Write { at, what, by: By::Device }).collect()
}

/// M8 to M13, and ARM: whether the write is durable by itself.
fn is_durable(write: &Write, events: &[Event], rules: Rules, line: Line) -> bool {
    let strict = rules.fences == Fences::Strict;
    let counts = |of: Context, fence: Context| !strict || of == fence;
    let taken = |vcpu: Vcpu| !matches!(write.by, By::Nontemporal(by, _) if by != vcpu);
    if rules.domain == Domain::Eadr && !matches!(write.by, By::Nontemporal(..)) {
        return true;
    }
    // Events count from 1.
    let later = |at: usize| events.iter().skip(at);
    let fenced = |at: usize, vcpu: Vcpu, context: Context| {
        later(at).any(|event| {
            matches!(event, Event::Fence(fence)
                if fence.vcpu == vcpu && counts(context, fence.context))
        })
    };
    let by_flush = events.iter().zip(1..).skip(write.at).any(|(event, at)| match event {
        Event::Flush(flush) if flush.line == line && taken(flush.vcpu) => {
            flush.kind == FlushKind::Clflush || fenced(at, flush.vcpu, flush.context)
        }
        _ => false,
    });
    let by_wbinvd = later(write.at).any(|event| {
        matches!(event, Event::Fence(fence)
            if fence.kind == FenceKind::Wbinvd && taken(fence.vcpu))
    });
    let by_fence =
        matches!(write.by, By::Nontemporal(vcpu, context) if fenced(write.at, vcpu, context));
    let by_arm =
        later(write.at).any(|event| matches!(event, Event::Marker(marker) if marker.op == Op::Arm));
    by_arm || by_flush || by_wbinvd || by_fence
}
