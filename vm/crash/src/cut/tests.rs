//! Tests: who asks for a loss of power, who observes, and both at once.

use std::array;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant};

use crate::event::{Pc, Vcpu};

use super::*;

fn words() -> [AtomicU64; WORDS] {
    array::from_fn(|_| AtomicU64::new(0))
}

fn page(words: &[AtomicU64; WORDS]) -> Page<'_> {
    Page::map(|n| words.get(n)).unwrap()
}

fn at(text: &str) -> CutAt {
    text.parse().unwrap()
}

fn marker(op: Op, args: [u64; 3]) -> Marker {
    Marker { vcpu: Vcpu(0), pc: Pc(0), op, args, ranges: Vec::new() }
}

fn checkpoint(id: u64) -> Marker {
    marker(Op::Checkpoint, [id, 0, 0])
}

#[test]
fn text_names_a_marker_and_nothing_else() {
    for text in ["arm", "disarm#2", "cut", "cut:0", "checkpoint:3#2", "assert:4", "stats:7#10"] {
        assert_eq!(at(text).to_string(), text);
    }
    let id = u64::MAX;
    let snap = CutAt { op: Op::Snap, id: Some(id), nth: NonZeroU64::MIN };
    assert_eq!(at(&format!("snap:{id}#1")), snap);
    for wrong in [
        "",
        "x",
        "cut:",
        "cut:x",
        "cut:+1",
        "cut#",
        "cut#0",
        "cut#-1",
        "cut#1#2",
        "cut:1:2",
        "CUT:1",
        "arm:1",
        "disarm:1",
        " cut",
        "cut:18446744073709551616",
        "3",
        "#1",
        ":1",
    ] {
        assert_eq!(wrong.parse::<CutAt>(), Err(NoMarker), "{wrong:?}");
    }
}

#[test]
fn power_goes_at_the_time_that_was_asked_for() {
    let words = words();
    let (page, mut count) = (page(&words), Count::default());
    assert_eq!(count.take(&page, &checkpoint(3)), None, "nobody asked");
    page.ask(&at("checkpoint:3#2")).unwrap();
    assert_eq!(page.ask(&at("cut")), None, "one at a time");
    assert_eq!(count.take(&page, &checkpoint(3)), None);
    assert_eq!(count.take(&page, &checkpoint(2)), None, "another id");
    assert_eq!(count.take(&page, &marker(Op::Snap, [3, 0, 0])), None, "another operation");
    assert_eq!(count.take(&page, &checkpoint(3)), Some(2));
    assert_eq!(count.take(&page, &checkpoint(3)), None, "once");
    assert_eq!(page.ask(&at("cut")), None, "the power is gone");
}

#[test]
fn an_assertions_id_is_its_third_argument_and_none_means_any() {
    for (text, args, hits) in
        [("assert:4", [1, 2, 4], true), ("assert:1", [1, 2, 4], false), ("assert", [1, 2, 4], true)]
    {
        let words = words();
        page(&words).ask(&at(text)).unwrap();
        let taken = Count::default().take(&page(&words), &marker(Op::AssertPersisted, args));
        assert_eq!(taken.is_some(), hits, "{text}");
    }
}

#[test]
fn what_was_withdrawn_does_not_happen_and_counting_begins_anew() {
    let words = words();
    let (page, mut count) = (page(&words), Count::default());
    let asked = page.ask(&at("cut#2")).unwrap();
    assert_eq!(count.take(&page, &marker(Op::Cut, [0; 3])), None);
    assert!(page.withdraw(asked) && !page.withdraw(asked));
    assert_eq!(count.take(&page, &marker(Op::Cut, [0; 3])), None);
    let again = page.ask(&at("cut#2")).unwrap();
    assert_ne!(asked, again);
    assert!(!page.withdraw(asked), "not what is asked now");
    assert_eq!(count.take(&page, &marker(Op::Cut, [0; 3])), None);
    assert_eq!(count.take(&page, &marker(Op::Cut, [0; 3])), Some(2));
    assert!(!page.withdraw(again), "too late");
}

#[test]
fn what_was_withdrawn_since_it_was_seen_cannot_be_taken() {
    let words = words();
    let page = page(&words);
    page.ask(&at("cut:1")).unwrap();
    let (seen, wanted) = page.read().unwrap();
    assert_eq!(wanted, at("cut:1"));
    assert!(page.withdraw(seen));
    assert!(!page.step(seen, TAKEN) && page.read().is_none());
    page.ask(&at("cut:2")).unwrap();
    assert!(!page.step(seen, TAKEN), "another one is asked for");
    assert_eq!(page.read().unwrap().1, at("cut:2"));
}

/// Two who ask and withdraw, one who observes, as fast as they can: what is taken was asked whole,
/// and of taken and withdrawn it is always one.
#[test]
fn nobody_sees_half_of_what_is_asked() {
    const ENOUGH: usize = 500;
    let deadline = Instant::now() + Duration::from_mins(1);
    let (words, over) = (words(), AtomicUsize::new(0));
    let (taken, kept, withdrawn) = [(); 3].map(|()| AtomicUsize::new(0)).into();
    std::thread::scope(|scope| {
        for op in [Op::Cut, Op::Checkpoint] {
            let (page, over, kept, withdrawn) = (page(&words), &over, &kept, &withdrawn);
            let state = &words[0];
            scope.spawn(move || {
                let is_enough = |count: &AtomicUsize| count.load(Ordering::Relaxed) >= ENOUGH;
                // The one operation has even ids, the other odd ones: a mixture has neither.
                let mut id = u64::from(op == Op::Cut);
                while !is_enough(kept) || !is_enough(withdrawn) {
                    id += 2;
                    let wish = CutAt { op, id: Some(id), nth: NonZeroU64::MIN };
                    let Some(asked) = page.ask(&wish) else {
                        assert!(Instant::now() < deadline, "nobody can ask any more");
                        std::thread::yield_now();
                        continue;
                    };
                    if id % 3 == 0 {
                        std::thread::yield_now();
                    }
                    if page.withdraw(asked) {
                        withdrawn.fetch_add(1, Ordering::Relaxed);
                    } else {
                        kept.fetch_add(1, Ordering::Relaxed);
                        // The test's guest gets its power back.
                        state.store(asked.0, Ordering::Release);
                    }
                }
                over.fetch_add(1, Ordering::Relaxed);
            });
        }
        let (page, mut count) = (page(&words), Count::default());
        while over.load(Ordering::Relaxed) < 2 && Instant::now() < deadline {
            let Some((_, at)) = page.read() else { continue };
            let id = at.id.unwrap_or_default();
            if count.take(&page, &marker(at.op, [id, 0, 0])).is_some() {
                taken.fetch_add(1, Ordering::Relaxed);
                assert_eq!(id % 2 == 1, at.op == Op::Cut, "{at:?}");
            }
        }
    });
    assert_eq!(taken.into_inner(), kept.into_inner());
}
