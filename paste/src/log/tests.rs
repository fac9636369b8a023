//! Log tests: appending, recovering, resetting, and what is refused.

use super::{entry::ENTRY, *};
use crate::{PoolSpec, pmem::line::LINE, pool::superblock::PoolId, random::Random};

pub(super) fn spec() -> PoolSpec {
    PoolSpec::new("test").size(3 * 4096 + 32 * 2048).log_entries(128).id(PoolId(77))
}

fn pool() -> Pool {
    Pool::volatile(&spec()).unwrap()
}

/// A packet in buffer `index`, as if a port had received it.
pub(super) fn packet(log: &Log, index: u32, start: usize, payload: &[u8]) -> crate::Packet {
    let mut lease = log.buffers().area().lease(index).expect("a free buffer");
    lease.fill(start, payload);
    log.buffers().adopt(lease).packet(start..start + payload.len()).unwrap()
}

fn append(log: &mut Log, index: u32, payloads: &[&[u8]]) -> Appended {
    let mut batch = Batch::new();
    batch.record((index..).zip(payloads).map(|(index, payload)| packet(log, index, 66, payload)));
    log.append(batch).unwrap()
}

fn texts(log: &Log) -> Vec<String> {
    log.records().map(|record| String::from_utf8(record.to_vec()).unwrap()).collect()
}

fn reopen(pool: &Pool) -> Result<Log> {
    recovered(&pool.image())
}

/// The log in an image, which reads the same where it lies.
fn recovered(image: &[u8]) -> Result<Log> {
    let log = Log::open(&Pool::open_image(image).unwrap());
    match (&log, Remains::read(image)) {
        (Ok(log), Ok(remains)) => {
            let in_place: Vec<Vec<u8>> =
                remains.records().map(|record| record.flatten().copied().collect()).collect();
            let records: Vec<_> = log.records().map(|record| record.to_vec()).collect();
            assert_eq!(in_place, records);
        }
        (Err(why), Err(other)) => assert_eq!(why.to_string(), other.to_string()),
        (log, remains) => panic!("{log:?}, but in place {remains:?}"),
    }
    log
}

/// The pool's image with `change` applied to the bytes of the log area.
fn reopen_changed(pool: &Pool, change: impl FnOnce(&mut [u8])) -> Result<Log> {
    let mut image = pool.image();
    let geometry = pool.geometry();
    change(&mut image[geometry.header_offset()..]);
    recovered(&image)
}

/// Bytes of entry `position` in the log area.
fn entry_at(position: usize) -> std::ops::Range<usize> {
    let start = crate::map::PAGE + position * ENTRY;
    start..start + ENTRY
}

#[test]
fn records_are_recovered_in_order_with_their_buffers() {
    let pool = pool();
    let mut log = Log::open(&pool).unwrap();
    assert!(log.is_empty());
    assert_eq!(append(&mut log, 2, &[b"one"]).first, Sequence(0));
    assert_eq!(append(&mut log, 3, &[b"tw", b"o"]).first, Sequence(1));
    let before: Vec<_> = log.records().flat_map(|record| record.locations()).collect();

    let log = reopen(&pool).unwrap();
    assert_eq!(texts(&log), ["one", "two"]);
    assert_eq!(log.len(), 2);
    assert_eq!(log.next_sequence(), Sequence(3));
    let owned: Vec<_> = (0..32).filter(|i| log.buffers().held().contains(BufIndex(*i))).collect();
    assert_eq!(owned, [2, 3, 4]);
    let after: Vec<_> = log.records().flat_map(|record| record.locations()).collect();
    assert_eq!(before, after, "a record is where it was received");
}

#[test]
fn every_opening_begins_an_epoch_and_the_log_goes_on() {
    let mut pool = pool();
    for round in 0..5 {
        let mut log = Log::open(&pool).unwrap();
        assert_eq!(log.epoch(), Epoch(round + 2));
        append(&mut log, round + 2, &[round.to_string().as_bytes()]);
        pool = Pool::open_image(&pool.image()).unwrap();
    }
    let log = Log::open(&pool).unwrap();
    assert_eq!(texts(&log), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_full_log_gives_the_batch_back() {
    let pool = Pool::volatile(&spec().log_entries(2)).unwrap();
    let mut log = Log::open(&pool).unwrap();
    append(&mut log, 2, &[b"one"]);
    let mut batch = Batch::new();
    batch.record([packet(&log, 3, 0, b"a"), packet(&log, 4, 0, b"b")]);
    let Rejected { error, batch } = log.append(batch).unwrap_err();
    assert!(matches!(error, Error::LogFull { wanted: 2, free: 1 }), "{error}");
    let packets: Vec<_> = batch.into_packets().collect();
    assert_eq!(packets[0].bytes(), b"a");
    drop(packets);
    assert_eq!(log.buffers().spares(), 2);
    append(&mut log, 5, &[b"two"]);
    assert_eq!(texts(&reopen(&pool).unwrap()), ["one", "two"]);
}

#[test]
fn a_reset_log_is_empty_and_its_buffers_are_spares() {
    let pool = pool();
    let mut log = Log::open(&pool).unwrap();
    append(&mut log, 2, &[b"one", b"two", b"three"]);
    log.reset().unwrap();
    assert!(log.is_empty());
    assert_eq!(log.buffers().spares(), 3);
    let mut again = reopen(&pool).unwrap();
    assert!(again.is_empty());
    assert_eq!(again.next_sequence(), Sequence(3), "numbers are not used twice");
    append(&mut again, 2, &[b"four"]);
    append(&mut log, 5, &[b"five"]);
    assert_eq!(texts(&reopen(&pool).unwrap()), ["five"], "nothing old follows the new entry");
}

#[test]
fn the_log_of_an_open_pool_has_one_owner() {
    let pool = pool();
    let mut log = Log::open(&pool).unwrap();
    append(&mut log, 2, &[b"one"]);
    assert!(matches!(Log::open(&pool), Err(Error::Busy { .. })));
    let buffers = log.buffers().clone();
    drop(log);
    assert!(buffers.held().contains(BufIndex(2)), "the record still owns it");
    assert!(matches!(Log::open(&pool), Err(Error::Busy { .. })));
}

#[test]
fn packets_of_another_pool_are_refused() {
    let (mut log, other) = (Log::open(&pool()).unwrap(), Log::open(&pool()).unwrap());
    let mut batch = Batch::new();
    batch.record([packet(&other, 2, 0, b"x")]);
    assert!(matches!(log.append(batch).unwrap_err().error, Error::OtherPool));
}

#[test]
fn empty_batches_and_empty_packets_are_harmless() {
    let pool = pool();
    let mut log = Log::open(&pool).unwrap();
    let mut batch = Batch::new();
    batch.record([]);
    assert!(batch.is_empty());
    assert_eq!(log.append(batch).unwrap().records, 0);
    append(&mut log, 2, &[b""]);
    assert_eq!(texts(&reopen(&pool).unwrap()), [""]);
}

#[test]
fn a_record_whose_end_is_missing_is_dropped() {
    let pool = pool();
    let mut log = Log::open(&pool).unwrap();
    append(&mut log, 2, &[b"one"]);
    append(&mut log, 3, &[b"a", b"b", b"c"]);
    let torn = reopen_changed(&pool, |log| log[entry_at(3)].fill(0)).unwrap();
    assert_eq!(texts(&torn), ["one"]);
    assert_eq!(torn.next_sequence(), Sequence(1));
    assert_eq!(torn.buffers().held().len(), 1);
}

#[test]
fn what_a_torn_batch_left_never_joins_a_later_record() {
    let pool = pool();
    let mut log = Log::open(&pool).unwrap();
    append(&mut log, 2, &[b"one"]);
    append(&mut log, 3, &[b"a", b"b", b"c"]);
    // Power loss 1: the middle of the batch is lost.
    let mut image = pool.image();
    let at = pool.geometry().header_offset();
    image[at..][entry_at(2)].fill(0);
    let before = image[at..][entry_at(1)].to_vec();
    let second = Pool::open_image(&image).unwrap();
    let mut log = Log::open(&second).unwrap();
    append(&mut log, 6, &[b"x", b"y", b"z"]);
    // Power loss 2: the first entry of the new batch is lost, so the old one shows again.
    let survived = reopen_changed(&second, |log| log[entry_at(1)].copy_from_slice(&before));
    assert_eq!(texts(&survived.unwrap()), ["one"]);
    // And without that loss the new record is whole.
    assert_eq!(texts(&reopen(&second).unwrap()), ["one", "xyz"]);
}

#[test]
fn a_lost_entry_before_a_later_batch_is_corruption() {
    let pool = pool();
    let mut log = Log::open(&pool).unwrap();
    append(&mut log, 2, &[b"one"]);
    append(&mut log, 3, &[b"two"]);
    append(&mut log, 4, &[b"three"]);
    let error = reopen_changed(&pool, |log| log[entry_at(1)].fill(0)).unwrap_err();
    assert!(matches!(error, Error::LogCorrupt { position: 1, .. }), "{error}");
    // The last one could have been torn; nothing tells the difference.
    let cut = reopen_changed(&pool, |log| log[entry_at(2)].fill(0)).unwrap();
    assert_eq!(texts(&cut), ["one", "two"]);
}

#[test]
fn changed_payload_is_corruption() {
    let pool = pool();
    let mut log = Log::open(&pool).unwrap();
    append(&mut log, 2, &[b"payload"]);
    let at = usize::try_from(log.records().next().unwrap().locations().next().unwrap().0).unwrap();
    let mut image = pool.image();
    image[at + 6] ^= 1;
    let error = recovered(&image).unwrap_err();
    assert!(error.to_string().contains("payload in buffer 2 has changed"), "{error}");
}

#[test]
fn entries_that_name_what_cannot_be_are_corruption() {
    let pool = pool();
    let mut log = Log::open(&pool).unwrap();
    append(&mut log, 2, &[b"one"]);
    append(&mut log, 3, &[b"two"]);
    let good = log.parts[1].entry;
    let sum = entry::payload_sum(b"one");
    for (entry, why) in [
        (Entry { buffer: 1, ..good }, "never lent"),
        (Entry { buffer: 32, ..good }, "past the end"),
        (Entry { start: 2047, ..good }, "over the edge"),
        (Entry { buffer: 2, payload_sum: sum, ..good }, "owned twice"),
        (Entry { sequence: Sequence(7), ..good }, "out of sequence"),
        (Entry { epoch: Epoch(9), ..good }, "of an epoch to come"),
    ] {
        let bytes = entry.encode(pool.geometry().id);
        let error = reopen_changed(&pool, |log| log[entry_at(1)].copy_from_slice(&bytes));
        assert!(matches!(error, Err(Error::LogCorrupt { position: 1, .. })), "{why}: {error:?}");
    }
}

#[test]
fn random_bytes_in_the_log_area_never_panic() {
    let pool = pool();
    let mut log = Log::open(&pool).unwrap();
    append(&mut log, 2, &[b"one", b"two"]);
    let mut random = Random(1);
    for _ in 0..500 {
        let recovered = reopen_changed(&pool, |log| {
            for _ in 0..random.below(40) {
                let headers = random.below(4) == 0;
                let end = if headers { 2 * LINE } else { crate::map::PAGE + 8 * ENTRY };
                log[random.below(end)] = random.byte();
            }
        });
        if let Ok(log) = recovered {
            let texts = texts(&log);
            assert!(texts.is_empty() || texts == ["onetwo"], "{texts:?}");
        }
    }
    let wild = reopen_changed(&pool, |log| log.iter_mut().for_each(|byte| *byte = random.byte()));
    assert!(matches!(wild, Err(Error::LogCorrupt { position: 0, .. })));
}
