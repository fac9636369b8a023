//! Log: mistakes in the order of payload, entries, header and acknowledgement.

use vm::crash::Class::{
    DeviceWriteNeverFlushed, FlushedNotFenced, NeverFlushed, NontemporalNotFenced,
    NotAMatterOfFlushes, PublishedBeforeDurable, Torn as TornLine,
};

use super::Life::{After, Own, Torn, Whole, Wired};
use super::correct::PAST_THE_CACHES;
use super::{APPEND, ENTRY, HEADER, LOG, Mutant, Victim, edit, mutant};

const DRAIN_PAYLOAD: &str = "data.flush().drain()";
pub(super) const PUBLISH_ENTRIES: &str = "region.publish(at, &bytes, &durable)";
const ENTRIES_DRAINED: &str = "published.map_err(|error| Failed { error, published: true })";
pub(super) const DRAIN_HEADER: &str = "batch.flush().drain()";

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "payload never flushed",
        &[(Whole, NeverFlushed), (Wired, DeviceWriteNeverFlushed)],
        &[edit(
            APPEND,
            "data.cover(self.pool.bytes_of(packet.index().get(), packet.range()));",
            "data.cover(self.pool.bytes_of(packet.index().get(), 0..0));",
        )],
    ),
    mutant(
        "payload not fenced before its entry",
        &[(Whole, FlushedNotFenced), (Wired, FlushedNotFenced)],
        &[edit(APPEND, DRAIN_PAYLOAD, "Ok(data.flush().undrained())")],
    ),
    mutant(
        "payload flushed after its entry",
        &[(Whole, PublishedBeforeDurable), (Wired, PublishedBeforeDurable)],
        &[
            edit(APPEND, DRAIN_PAYLOAD, "region.batch().flush().drain()"),
            edit(
                APPEND,
                ENTRIES_DRAINED,
                "let published = published.and_then(|_| {
                    let mut late = region.batch();
                    for (packet, _) in &batch.packets {
                        late.cover(self.pool.bytes_of(packet.index().get(), packet.range()));
                    }
                    late.flush().drain()
                });
                published.map_err(|error| Failed { error, published: true })",
            ),
        ],
    ),
    mutant(
        "kept without an entry",
        &[(Whole, NotAMatterOfFlushes)],
        &[edit(APPEND, "self.store(&batch, &entries)", "Ok::<_, Failed>(())")],
    ),
    mutant(
        "entries never flushed",
        &[(Whole, NeverFlushed)],
        &[edit(
            APPEND,
            PUBLISH_ENTRIES,
            "let mut entries = region.batch();
            entries.store(at, &bytes);
            drop(entries);
            Ok::<_, Error>(durable)",
        )],
    ),
    mutant(
        "entries not fenced before the acknowledgement",
        &[(Whole, FlushedNotFenced)],
        &[edit(
            APPEND,
            PUBLISH_ENTRIES,
            "let mut entries = region.batch();
            entries.store(at, &bytes);
            Ok::<_, Error>(entries.flush().undrained())",
        )],
    ),
    mutant(
        "entries past the caches without a fence",
        &[(Whole, NontemporalNotFenced)],
        &[edit(
            APPEND,
            PUBLISH_ENTRIES,
            "{ let _ = &durable; Ok::<_, Error>(region.past_the_caches(at, &bytes).undrained()) }",
        )],
    ),
    // The words of an entry may survive in any order if they go past the caches.
    mutant(
        "checksum over the head of an entry only",
        &[(Own, TornLine)],
        &[PAST_THE_CACHES, edit(ENTRY, "&bytes[..ENTRY - 4]", "&bytes[..8]")],
    ),
    mutant(
        "acknowledged before the append",
        &[(Whole, NotAMatterOfFlushes)],
        &[edit(
            "tests/e2e/guest/src/power_loss.rs",
            "program.play(step).with_context(|| format!(\"step {number}\"))?;
        marker::checkpoint(number);",
            "marker::checkpoint(number);
            program.play(step).with_context(|| format!(\"step {number}\"))?;",
        )],
    ),
    mutant(
        "header never flushed",
        &[(Whole, NeverFlushed)],
        &[edit(LOG, DRAIN_HEADER, "drop(batch); self.pool.region().batch().flush().drain()")],
    ),
    mutant(
        "header written in place",
        &[(Whole, NotAMatterOfFlushes)],
        &[edit(
            HEADER,
            "Self { generation: self.generation + 1, epoch, ..self }",
            "Self { generation: self.generation + 2, epoch, ..self }",
        )],
    ),
    mutant(
        "reset without a new start",
        &[(Whole, NotAMatterOfFlushes)],
        &[edit(
            HEADER,
            "Self { base: next, start: header.epoch, ..header }",
            "Self { base: next, ..header }",
        )],
    ),
    // The port without a kernel asks this process who holds a buffer; a kernel cannot.
    mutant(
        "the log's buffers not reserved",
        &[(Whole, NotAMatterOfFlushes)],
        &[
            edit(
                "paste/src/port.rs",
                "spec.reserve.clone().unwrap_or_else(|| buffers.held())",
                "spec.reserve.clone().unwrap_or_else(BufSet::empty)",
            ),
            edit(
                "paste/src/map/area.rs",
                "!self.leased.set(index)",
                "!self.leased.set(index) && index >= self.count",
            ),
        ],
    ),
    mutant(
        "no new epoch",
        &[(Torn, NotAMatterOfFlushes)],
        &[edit(
            LOG,
            "log.header.next_epoch()",
            "Header { generation: log.header.generation + 1, ..log.header }",
        )],
    ),
    mutant(
        "found header not written back",
        &[(After(Victim::Header), NeverFlushed)],
        &[edit(LOG, "found.cover(headers);", "drop(headers);")],
    ),
    // The new header is written over the one before the found one: if that was not durable, neither
    // is left.
    mutant(
        "found log not fenced",
        &[(After(Victim::Header), FlushedNotFenced)],
        &[edit(LOG, "found.flush().drain()?", "found.flush().undrained()")],
    ),
    mutant(
        "found entries not written back",
        &[(After(Victim::Entries), NeverFlushed)],
        &[edit(LOG, "found.cover(entries.clone());", "")],
    ),
];
