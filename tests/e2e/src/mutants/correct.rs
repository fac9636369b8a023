//! Correct: programs that differ from the library, and are as right. None may raise an alarm.

use super::Life::{After, Own, Whole, Wired};
use super::{CPU, Correct, Edit, LOG, POOL, REGION, Variant, Victim, edit};

const WRITE_BACK: &str = "Some(WriteBack::Clwb)";

const fn correct(
    name: &'static str,
    lives: &'static [super::Life],
    edits: &'static [Edit],
) -> Correct {
    Correct { variant: Variant { name, edits }, lives }
}

/// What is published goes past the caches, and waits for its fence.
pub(super) const PAST_THE_CACHES: Edit =
    edit(REGION, super::pmem::PUBLISH, "drop(batch); self.past_the_caches(at, bytes).drain()");

/// Other protocols first; then fences that x86 does not need, because another instruction comes
/// in time. These could be called mutants that nobody can kill.
pub(crate) const CORRECT: &[Correct] = &[
    correct("clflushopt", &[Whole, Wired], &[edit(CPU, WRITE_BACK, "Some(WriteBack::Clflushopt)")]),
    correct("clflush", &[Whole, Wired], &[edit(CPU, WRITE_BACK, "Some(WriteBack::Clflush)")]),
    // What is published has a sum, or is one word: its words may survive in any order.
    correct("past the caches", &[Whole, Wired, Own], &[PAST_THE_CACHES]),
    // A locked instruction (a buffer is given back, a port opened) comes before anybody relies on
    // the header, and completes the flush (M9).
    correct(
        "header not fenced",
        &[Whole],
        &[edit(LOG, super::log::DRAIN_HEADER, "Ok::<_, Error>(batch.flush().undrained())")],
    ),
    // So does the one that takes the pool's log.
    correct(
        "found superblock not fenced",
        &[After(Victim::Superblock)],
        &[edit(POOL, "found.flush().drain()?", "found.flush().undrained()")],
    ),
];
