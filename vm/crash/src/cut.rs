//! Cut: at which marker a guest is to lose its power, asked of an observer that runs.
//!
//! Who asks and who observes share a [`Page`] of a few words. Its first word says whether it is
//! anybody's turn; it changes by atomic steps only, so that nobody sees half of what was asked,
//! and of "the marker has come" and "never mind" exactly one happens:
//!
//! ```text
//!            ask                  ask                        marker
//! (n, idle) ----> (n+1, writing) ----> (n+1, asked) -------------> (n+1, taken): power is lost
//!                                           |  withdraw
//!                                           +---------> (n+1, idle)
//! ```

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::marker::{Marker, Op};

/// The marker at which a guest is to lose its power: `OP[:ID][#N]` as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CutAt {
    /// Which operation.
    pub op: Op,
    /// With this id; without, whatever its id is.
    pub id: Option<u64>,
    /// At the n-th time from now on.
    pub nth: NonZeroU64,
}

/// Why a text names no marker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no marker; write arm, snap:ID, cut:ID, assert:ID, checkpoint:ID, disarm or stats:ID, each \
     with or without its :ID, and #N behind it for the N-th time from now on"
)]
pub struct NoMarker;

impl CutAt {
    fn is_at(&self, marker: &Marker) -> bool {
        self.op == marker.op && self.id.is_none_or(|id| marker.id() == Some(id))
    }
}

impl FromStr for CutAt {
    type Err = NoMarker;

    fn from_str(text: &str) -> Result<Self, NoMarker> {
        let (marker, nth) = text.split_once('#').unwrap_or((text, "1"));
        let nth = number(nth).and_then(NonZeroU64::new).ok_or(NoMarker)?;
        let (name, id) = match marker.split_once(':') {
            Some((name, id)) => (name, Some(number(id).ok_or(NoMarker)?)),
            None => (marker, None),
        };
        let op = Op::from_name(name).filter(|op| op.has_id() || id.is_none()).ok_or(NoMarker)?;
        Ok(Self { op, id, nth })
    }
}

/// Digits alone: `u64` would take a sign, too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for CutAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.op.name())?;
        self.id.map_or(Ok(()), |id| write!(f, ":{id}"))?;
        if self.nth.get() == 1 { Ok(()) } else { write!(f, "#{}", self.nth) }
    }
}

/// Words of a page, and its length in bytes.
pub const WORDS: usize = 5;
/// Length of a page's file in bytes.
pub const BYTES: usize = WORDS * size_of::<u64>();

/// The words: number and stage; operation; whether there is an id; the id; which time.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a>([&'a AtomicU64; WORDS]);

/// The stage, in the low bits of the first word; the number of what was asked is above.
const STAGE: u64 = 3;
const IDLE: u64 = 0;
const WRITING: u64 = 1;
const ASKED: u64 = 2;
const TAKEN: u64 = 3;

/// What was asked; another one each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked(u64);

impl<'a> Page<'a> {
    /// The page of words that begin as zeros, by their numbers; none if one is missing.
    pub fn map(word: impl Fn(usize) -> Option<&'a AtomicU64>) -> Option<Self> {
        Some(Self([word(0)?, word(1)?, word(2)?, word(3)?, word(4)?]))
    }

    /// Asks for a loss of power; none if one is asked for already, or under way.
    pub fn ask(&self, at: &CutAt) -> Option<Asked> {
        let [state, op, has_id, id, nth] = self.0;
        let before = state.load(Ordering::Relaxed);
        if before & STAGE != IDLE {
            return None;
        }
        let number = before + STAGE + 1;
        let begin = state.compare_exchange(
            before,
            number | WRITING,
            // What is written below stays below.
            Ordering::AcqRel,
            Ordering::Relaxed,
        );
        begin.ok()?;
        op.store(at.op as u64, Ordering::Relaxed);
        has_id.store(at.id.is_some().into(), Ordering::Relaxed);
        id.store(at.id.unwrap_or_default(), Ordering::Relaxed);
        nth.store(at.nth.get(), Ordering::Relaxed);
        state.store(number | ASKED, Ordering::Release);
        Some(Asked(number))
    }

    /// Takes back what was asked; false if it is too late: the guest loses its power.
    pub fn withdraw(&self, asked: Asked) -> bool {
        self.step(asked, IDLE)
    }

    /// From asked to another stage, if that is still what is asked.
    fn step(&self, Asked(number): Asked, to: u64) -> bool {
        let (before, after) = (number | ASKED, number | to);
        let done = self.0[0].compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed);
        done.is_ok()
    }

    /// What is asked for now. Of something that is withdrawn meanwhile it may be a mixture; then
    /// it cannot be taken any more.
    fn read(&self) -> Option<(Asked, CutAt)> {
        let [state, op, has_id, id, nth] = self.0;
        let now = state.load(Ordering::Acquire);
        if now & STAGE != ASKED {
            return None;
        }
        let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let op = u8::try_from(load(op)).ok().and_then(Op::from_number)?;
        let id = (load(has_id) != 0).then(|| load(id));
        let at = CutAt { op, id, nth: NonZeroU64::new(load(nth))? };
        Some((Asked(now & !STAGE), at))
    }
}

/// Who observes counts how often the marker came since it was asked for.
#[derive(Debug, Default)]
pub struct Count {
    asked: u64,
    times: u64,
}

impl Count {
    /// Takes in a marker that the guest executes; how often it came, if it is to lose its power
    /// here. Then it has to.
    pub fn take(&mut self, page: &Page<'_>, marker: &Marker) -> Option<u64> {
        let (asked, at) = page.read()?;
        if self.asked != asked.0 {
            *self = Self { asked: asked.0, times: 0 };
        }
        self.times += u64::from(at.is_at(marker));
        let is_here = at.is_at(marker) && self.times == at.nth.get();
        (is_here && page.step(asked, TAKEN)).then_some(self.times)
    }
}

#[cfg(test)]
mod tests;
