//! Crash tests: power losses at every point of a workload, judged by what was acknowledged.
//!
//! A workload runs on a recorded pool for several lives. Within a life the power is cut at every
//! event of the recording, each time with many choices of the lines that survive; one image of
//! the last points starts the next life. The oracle: recovery succeeds, and what it finds is a
//! prefix of what was appended in this line of lives that has every acknowledged record intact.

use std::ops::Range;

use super::{
    Batch, Log,
    tests::{packet, spec},
};
use crate::{
    map::Mapping,
    pmem::{
        line::LINE,
        promise::Promise,
        recorded::{CrashPoint, Event, Recorder},
        region::{Granularity, Persist},
    },
    pool::Pool,
    random::Random,
};

/// What a program could do wrong, as a wrapper of the recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Flushes every line of a range but the last, as stepping from an unaligned start does.
    LastLine,
    /// Waits only after every second flush, so data and entries become durable in any order.
    DataFence,
    /// Flushes nothing.
    Flush,
    /// Acknowledges before the append.
    AckEarly,
}

#[derive(Debug)]
struct Faulty {
    recorder: Recorder,
    fault: Fault,
    drains: std::sync::atomic::AtomicU32,
}

impl Persist for Faulty {
    fn granularity(&self) -> Granularity {
        self.recorder.granularity()
    }

    fn stored(&self, mapping: &Mapping, offset: usize) {
        self.recorder.stored(mapping, offset);
    }

    fn flush(&self, mapping: &Mapping, lines: Range<usize>) {
        let lines = match self.fault {
            Fault::LastLine if lines.len() > 1 => lines.start..lines.end - 1,
            Fault::Flush => lines.start..lines.start,
            _ => lines,
        };
        self.recorder.flush(mapping, lines);
    }

    fn drain(&self, mapping: &Mapping) -> std::io::Result<()> {
        let number = self.drains.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // The first three are those of opening; then data and entries alternate.
        if self.fault == Fault::DataFence && number % 2 == 1 {
            return Ok(());
        }
        self.recorder.drain(mapping)
    }

    fn promised(&self, mapping: &Mapping, promise: Promise, range: Range<usize>) {
        self.recorder.promised(mapping, promise, range);
    }
}

/// One life of a pool: an image, what was appended to it, and the recording of this life.
#[derive(Debug, Clone)]
struct Life {
    image: Vec<u8>,
    /// What programs that were killed had done since: their stores lie in the caches.
    before: Vec<Event>,
    /// How many records they had acknowledged.
    acked: usize,
    /// All records from the first life on, of which the image holds the first ones.
    appended: Vec<Vec<u8>>,
    events: Vec<Event>,
}

fn payload(number: usize, random: &mut Random) -> Vec<u8> {
    let len = 1 + random.below(700);
    let text = format!("record {number} ");
    text.bytes().cycle().take(len).collect()
}

/// Recovers `image` and appends batches of records, each acknowledged by a mark.
fn live(image: Vec<u8>, known: Vec<Vec<u8>>, fault: Fault, random: &mut Random) -> Life {
    let recorder = Recorder::new(&image);
    let persist = Faulty { recorder: recorder.clone(), fault, drains: 0.into() };
    let pool = Pool::open_image_on(&image, Box::new(persist)).unwrap();
    let mut log = Log::open(&pool).unwrap();
    let recovered = log.len();
    let mut appended = known;
    appended.truncate(recovered);
    // Whoever sees a record may tell others of it.
    recorder.mark(recovered as u64);
    for _ in 0..3 {
        let mut batch = Batch::new();
        for _ in 0..=random.below(3) {
            let bytes = payload(appended.len(), random);
            let cut = random.below(bytes.len());
            let parts: Vec<&[u8]> = match random.below(3) {
                0 => vec![&bytes[..cut], &bytes[cut..]],
                _ => vec![&bytes],
            };
            let packets = parts.iter().map(|part| received(&log, part, random));
            let packets: Option<Vec<_>> = packets.collect();
            let Some(packets) = packets else { break };
            batch.record(packets);
            appended.push(bytes);
        }
        if fault == Fault::AckEarly {
            recorder.mark(appended.len() as u64);
        }
        log.append(batch).unwrap();
        recorder.mark(appended.len() as u64);
    }
    Life { image, before: Vec::new(), acked: 0, appended, events: recorder.events() }
}

/// A packet in some free buffer, at some offset.
fn received(log: &Log, payload: &[u8], random: &mut Random) -> Option<crate::Packet> {
    let held = log.buffers().held();
    let free = (2..log.buffers().count()).filter(|index| !held.contains(crate::BufIndex(*index)));
    let free: Vec<u32> = free.collect();
    let index = free.get(random.below(free.len().max(1)))?;
    Some(packet(log, *index, random.below(300), payload))
}

/// The verdict on one image: how many records were recovered, or what was lost.
fn judge(life: &Life, acked: usize, image: &[u8]) -> Result<usize, String> {
    let pool = Pool::open_image(image).map_err(|error| error.to_string())?;
    let log = Log::open(&pool).map_err(|error| error.to_string())?;
    let records: Vec<_> = log.records().map(|record| record.to_vec()).collect();
    if records.len() < acked {
        return Err(format!("{acked} records acknowledged, {} recovered", records.len()));
    }
    if records.len() > life.appended.len() || records != life.appended[..records.len()] {
        return Err(format!("{} records that are not those appended", records.len()));
    }
    Ok(records.len())
}

/// Cuts the power at every event of `life`; answers how many images were judged and one of them.
fn cut(life: &Life, per_event: usize, random: &mut Random) -> Result<(usize, Vec<u8>), String> {
    let mut point = CrashPoint::new(&life.image);
    life.before.iter().for_each(|event| point.pass(event));
    let mut acked = life.acked;
    let (mut judged, mut last) = (0, life.image.clone());
    // Where this life really ends; any event will do.
    let end = random.below(life.events.len());
    for (number, event) in life.events.iter().enumerate() {
        point.pass(event);
        if let Event::Mark(records) = event {
            acked = usize::try_from(*records).expect("few records");
        }
        let images = usize::try_from(point.images()).unwrap_or(usize::MAX).min(per_event);
        for choice in 0..images {
            let image = match choice {
                0 => point.image(|_| 0),
                1 => point.image(|states| states - 1),
                _ => point.image(|states| random.below(states)),
            };
            let verdict = judge(life, acked, &image);
            verdict.map_err(|why| format!("event {number} ({event:?}), image {choice}: {why}"))?;
            judged += 1;
            if number == end {
                last = image;
            }
        }
    }
    Ok((judged, last))
}

/// Lives of a pool, one after the other, each begun by a power loss in the one before.
fn explore(seed: u64, fault: Fault, lives: usize, per_event: usize) -> Result<usize, String> {
    let mut random = Random(seed);
    let mut image = Pool::volatile(&spec()).unwrap().image();
    let (mut known, mut judged) = (Vec::new(), 0);
    for number in 0..lives {
        let life = live(image, known, fault, &mut random);
        let (images, next) = cut(&life, per_event, &mut random)
            .map_err(|why| format!("seed {seed}, life {number}: {why}"))?;
        judged += images;
        (image, known) = (next, life.appended);
    }
    Ok(judged)
}

#[test]
fn every_acknowledged_record_survives_every_power_loss() {
    let judged: usize = (0..8).map(|seed| explore(seed, Fault::None, 3, 6).unwrap()).sum();
    println!("{judged} images");
    assert!(judged > 12_000, "{judged} images");
}

/// Two programs, of which the first is killed after `events` events: what it stored is there for
/// the second, durable or not.
fn killed(first: &Life, events: usize, random: &mut Random) -> Life {
    let (before, _) = first.events.split_at(events);
    let mut memory = first.image.clone();
    for event in before {
        if let Event::Stored(line, bytes) = event {
            memory[line * LINE..][..LINE].copy_from_slice(bytes);
        }
    }
    let acked = before.iter().rev().find_map(|event| match event {
        Event::Mark(records) => usize::try_from(*records).ok(),
        _ => None,
    });
    let second = live(memory, first.appended.clone(), Fault::None, random);
    let (image, before) = (first.image.clone(), before.to_vec());
    Life { image, before, acked: acked.unwrap_or(0), ..second }
}

#[test]
fn what_a_killed_program_left_in_the_caches_survives_if_it_was_recovered() {
    let mut random = Random(1);
    let image = Pool::volatile(&spec()).unwrap().image();
    let first = live(image, Vec::new(), Fault::None, &mut random);
    // While it opens the log, at every moment; later now and then.
    for events in (0..first.events.len()).filter(|event| *event < 16 || event % 6 == 0) {
        let second = killed(&first, events, &mut random);
        promises(&second).unwrap();
        let judged = cut(&second, 3, &mut random);
        judged.unwrap_or_else(|why| panic!("killed after {events} events: {why}"));
    }
}

/// Run with `cargo test --release -p paste-net -- --ignored`.
#[test]
#[ignore = "minutes; millions of images"]
fn millions_of_power_losses() {
    let judged: usize = (0..2000).map(|seed| explore(seed, Fault::None, 4, 24).unwrap()).sum();
    println!("{judged} images");
    assert!(judged > 1_000_000, "{judged} images");
}

#[test]
fn each_fault_is_found() {
    for fault in [Fault::LastLine, Fault::DataFence, Fault::Flush, Fault::AckEarly] {
        let found = (0..10).find_map(|seed| explore(seed, fault, 1, 6).err());
        println!("{fault:?}: {}", found.unwrap_or_else(|| panic!("{fault:?} was not found")));
    }
}

/// The first promise of a life that is not true, if there is one, and how many were made.
fn promises(life: &Life) -> Result<usize, String> {
    let mut point = CrashPoint::new(&life.image);
    life.before.iter().for_each(|event| point.pass(event));
    let mut made = 0;
    for (number, event) in life.events.iter().enumerate() {
        point.pass(event);
        if let Event::Promised(promise, range) = event {
            made += 1;
            if !point.is_durable(range) {
                return Err(format!("event {number}: {promise:?} {range:?} is not durable"));
            }
        }
    }
    Ok(made)
}

#[test]
fn what_is_promised_is_durable() {
    let alive = |fault| {
        let image = Pool::volatile(&spec()).unwrap().image();
        live(image, Vec::new(), fault, &mut Random(1))
    };
    // The header, and for each of three batches its entries and at least one packet.
    let made = promises(&alive(Fault::None)).unwrap();
    assert!(made > 3 * 2, "{made} promises");
    for fault in [Fault::LastLine, Fault::Flush] {
        println!("{fault:?}: {}", promises(&alive(fault)).unwrap_err());
    }
    // A wrong order breaks no promise; only images show it.
    promises(&alive(Fault::DataFence)).unwrap();
}
