//! Marker: where a program says how far it is, for whoever watches it from outside.
//!
//! A marker is a NOP with its meaning in the unused bytes and its arguments in registers
//! (docs/crash-model.md): it costs a few instructions, needs no privilege and does nothing, unless
//! an emulator looks for it. On other CPUs than x86-64 there are none.
//!
//! The library itself says [`assert_persisted`] wherever it returns with a [`Promise`], if the
//! pool's stores are made durable by cache-line flushes.

pub use crate::pmem::promise::Promise;

use crate::pmem::cpu;

/// Begins the watch: whatever was stored before counts as durable.
#[inline]
pub fn arm() {
    cpu::mark::<1>([0; 3]);
}

/// Asks to keep what a power loss at this moment could leave, at the `time`-th call with this
/// `id`; 0: each time.
#[inline]
pub fn snap(id: u64, time: u64) {
    cpu::mark::<2>([id, time, 0]);
}

/// Asks for a power loss here, at the `time`-th call with this `id`; 0: at the first.
#[inline]
pub fn cut(id: u64, time: u64) {
    cpu::mark::<3>([id, time, 0]);
}

/// Says that `bytes` are durable now, which whoever watches may check.
#[inline]
pub fn assert_persisted(bytes: &[u8], id: u64) {
    cpu::mark::<4>([bytes.as_ptr().addr() as u64, bytes.len() as u64, id]);
}

/// Says that from here on something may be claimed to be durable: what `id` stands for is for the
/// program and its judge to agree on.
#[inline]
pub fn checkpoint(id: u64) {
    cpu::mark::<5>([id, 0, 0]);
}

/// Ends the watch.
#[inline]
pub fn disarm() {
    cpu::mark::<6>([0; 3]);
}

/// Asks for the counters (such as executed instructions) at this moment, under a number.
#[inline]
pub fn stats(number: u64) {
    cpu::mark::<7>([number, 0, 0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_change_nothing() {
        let bytes = [7; 64];
        arm();
        snap(1, 0);
        cut(1, 1);
        assert_persisted(&bytes, Promise::Appended as u64);
        checkpoint(u64::MAX);
        disarm();
        stats(1);
        assert_eq!(bytes, [7; 64]);
    }
}
