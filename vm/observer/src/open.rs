//! Open: who has something flushed, or stored past the caches, that a fence could complete.

use std::collections::HashMap;

use crash::{Context, Event, Fence, FenceKind, Fences, FlushKind, Vcpu};

/// The contexts of each CPU.
#[derive(Debug, Default)]
pub(crate) struct Open(HashMap<Vcpu, Vec<Context>>);

impl Open {
    /// Whether a fence of this CPU could complete something.
    pub(crate) fn waits(&self, vcpu: Vcpu) -> bool {
        self.0.get(&vcpu).is_some_and(|contexts| !contexts.is_empty())
    }

    /// Whether a fence of this CPU, executed in this context, could complete something.
    pub(crate) fn waits_in(&self, vcpu: Vcpu, context: Context, fences: Fences) -> bool {
        let contexts = self.0.get(&vcpu).map_or(&[][..], Vec::as_slice);
        contexts.contains(&context) || fences == Fences::Hw && !contexts.is_empty()
    }

    /// Takes an event in; whether it belongs into a trace. All do, but for locked operations that
    /// complete nothing, of which a kernel executes millions.
    pub(crate) fn note(&mut self, event: &Event) -> bool {
        let (vcpu, context) = match event {
            Event::Store(store) if store.nontemporal => (store.vcpu, store.context),
            // Complete at once (M11).
            Event::Flush(flush) if flush.kind == FlushKind::Clflush => return true,
            Event::Flush(flush) => (flush.vcpu, flush.context),
            Event::Fence(fence) => return self.close(fence),
            Event::Store(_) | Event::Dma(_) | Event::Marker(_) => return true,
        };
        let contexts = self.0.entry(vcpu).or_default();
        if !contexts.contains(&context) {
            contexts.push(context);
        }
        true
    }

    fn close(&mut self, fence: &Fence) -> bool {
        let contexts = self.0.entry(fence.vcpu).or_default();
        let matters = fence.kind != FenceKind::Locked || !contexts.is_empty();
        contexts.retain(|context| *context != fence.context);
        matters
    }
}

#[cfg(test)]
mod tests {
    use crash::recording::{KERNEL, PROGRAM};
    use crash::{Flush, LINE, Line, Pc};

    use super::*;

    fn fence(context: Context, kind: FenceKind) -> Event {
        Event::Fence(Fence { vcpu: Vcpu(0), pc: Pc(1), context, kind })
    }

    #[test]
    fn a_lock_counts_while_something_waits() {
        let mut open = Open::default();
        let (pc, context, kind) = (Pc(0), PROGRAM, FlushKind::Clwb);
        let flush = Flush { vcpu: Vcpu(0), pc, context, line: Line(1), kind, live: [0; LINE] };
        assert!(!open.note(&fence(PROGRAM, FenceKind::Locked)));
        assert!(open.note(&fence(PROGRAM, FenceKind::Sfence)));
        assert!(!open.waits(Vcpu(0)));
        assert!(open.note(&Event::Flush(flush)));
        assert!(open.waits(Vcpu(0)) && !open.waits(Vcpu(1)));
        assert!(open.waits_in(Vcpu(0), PROGRAM, Fences::Strict));
        assert!(!open.waits_in(Vcpu(0), KERNEL, Fences::Strict));
        assert!(open.waits_in(Vcpu(0), KERNEL, Fences::Hw));
        assert!(!open.waits_in(Vcpu(1), PROGRAM, Fences::Hw));
        // Under fences=hw the kernel's lock completes it, under fences=strict it does not.
        assert!(open.note(&fence(KERNEL, FenceKind::Locked)));
        assert!(open.waits(Vcpu(0)));
        assert!(open.note(&fence(PROGRAM, FenceKind::Locked)));
        assert!(!open.note(&fence(PROGRAM, FenceKind::Locked)));
    }
}
