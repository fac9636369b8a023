//! Fault: a cable that loses segments and lets some overtake others, by a seed.
//!
//! It touches TCP segments only, and none that opens a connection: a lost first one costs a second.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::counters::{Tally, count};
use crate::packet::Packet;

/// How bad the cable is, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Fixes which segments are hit.
    pub seed: u64,
    /// Segments of a thousand that are lost.
    pub lost: u16,
    /// Segments of a thousand that arrive after the next one.
    pub late: u16,
}

/// One direction of a cable.
#[derive(Debug, Default)]
pub(crate) struct Way {
    fault: Option<Fault>,
    /// Random numbers drawn so far.
    drawn: u64,
    held: Option<Vec<u8>>,
    tally: Arc<Tally>,
}

impl Way {
    /// A direction with its own sequence of choices.
    pub(crate) fn new(fault: Option<Fault>, direction: u64, tally: Arc<Tally>) -> Self {
        let own = |fault: Fault| Fault { seed: random(direction, fault.seed), ..fault };
        Self { fault: fault.map(own), drawn: 0, held: None, tally }
    }

    /// What arrives when `frame` is sent, in this order.
    pub(crate) fn pass(&mut self, frame: Vec<u8>) -> impl Iterator<Item = Vec<u8>> + use<> {
        let arrived = match self.fault {
            Some(fault) if Packet::parse(&frame).tcp.is_some_and(|tcp| !tcp.syn) => {
                self.hit(fault, frame)
            }
            _ => [Some(frame), self.held.take()],
        };
        arrived.into_iter().flatten()
    }

    fn hit(&mut self, fault: Fault, frame: Vec<u8>) -> [Option<Vec<u8>>; 2] {
        self.drawn += 1;
        let draw = random(self.drawn, fault.seed) % 1000;
        if draw < u64::from(fault.lost) {
            count(&self.tally.lost);
            return [self.held.take(), None];
        }
        if draw < u64::from(fault.lost) + u64::from(fault.late) && self.held.is_none() {
            count(&self.tally.late);
            self.held = Some(frame);
            return [None, None];
        }
        [Some(frame), self.held.take()]
    }
}

/// The random number at this place of a seed's sequence.
fn random(place: u64, seed: u64) -> u64 {
    xxh3_64_with_seed(&place.to_le_bytes(), seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An Ethernet frame with an IPv4 TCP segment without payload.
    fn segment(number: u8, flags: u8) -> Vec<u8> {
        let mut frame = vec![0; 54];
        frame[12..14].copy_from_slice(&[8, 0]);
        frame[14..18].copy_from_slice(&[0x45, 0, 0, 40]);
        frame[22..24].copy_from_slice(&[64, 6]);
        frame[37] = number;
        frame[46..48].copy_from_slice(&[0x50, flags]);
        frame
    }

    fn way(lost: u16, late: u16) -> Way {
        Way::new(Some(Fault { seed: 7, lost, late }), 0, Arc::default())
    }

    fn arrive(way: &mut Way, flags: u8) -> Vec<u8> {
        (0..=255)
            .flat_map(|n| way.pass(segment(n, flags)).map(|f| f[37]).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn a_sound_cable_changes_nothing() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(arrive(&mut Way::default(), 0x10), all);
        assert_eq!(arrive(&mut way(0, 0), 0x10), all);
        assert_eq!(arrive(&mut way(1000, 0), 0x02), all, "connections open");
    }

    #[test]
    fn some_are_lost_and_the_same_for_the_same_seed() {
        let mut lossy = way(100, 0);
        let arrived = arrive(&mut lossy, 0x10);
        assert!((200..250).contains(&arrived.len()), "{}", arrived.len());
        assert_eq!(lossy.tally.read().lost, 256 - arrived.len() as u64);
        assert_eq!(arrive(&mut way(100, 0), 0x10), arrived);
        assert!(arrived.is_sorted());
    }

    #[test]
    fn some_come_late_by_one() {
        let mut slow = way(0, 100);
        let arrived = arrive(&mut slow, 0x10);
        assert!(arrived.len() >= 255 && !arrived.is_sorted());
        assert!(slow.tally.read().late > 10);
        let place = |n: u8| arrived.iter().position(|m| *m == n);
        assert!((0..=254).all(|n| place(n).is_some_and(|at| at.abs_diff(n.into()) <= 1)));
    }
}
