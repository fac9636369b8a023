//! Table: all mutants.

use vm::crash::Class;

use super::{Edit, Life, Mutant, Victim};

const REGION: &str = "paste/src/pmem/region.rs";
const LINE: &str = "paste/src/pmem/line.rs";
const CPU: &str = "paste/src/pmem/cpu.rs";
const APPEND: &str = "paste/src/log/append.rs";
const HEADER: &str = "paste/src/log/header.rs";
const LOG: &str = "paste/src/log.rs";
const POOL: &str = "paste/src/pool.rs";

/// A way past the types: proof without a fence.
const UNDRAINED: Edit = Edit {
    file: REGION,
    old: "    /// Waits until they are durable: one fence for the batch.\n",
    new: "    pub(crate) fn undrained(self) -> Durable<'a> {
        Durable { region: self.region }
    }

    /// Waits until they are durable: one fence for the batch.\n",
};

const DRAIN_PAYLOAD: &str = "data.flush().drain().map_err(";
const PUBLISH_ENTRIES: &str = "let published = region.publish(at, &bytes, &durable);\n";
const ENTRIES_DRAINED: &str = "        let stored = published.map_err(";
const DRAIN_HEADER: &str = "        match batch.flush().drain() {\n";
const ERASE: &str =
    "        batch.store(0, &[0; MAGIC.len()]);\n        let erased = batch.flush().drain()?;\n";
const PUBLISH_PARTS: &str = "        let parts = region.publish(MAGIC.len(), rest, &erased)?;\n";
const PUBLISH_POOL: &str = "        let made = region.publish(0, magic, &parts)?;\n";
const COVER: &str = "    range.start / LINE..range.end.div_ceil(LINE)\n";
const FLUSH_LINES: &str =
    "        lines.for_each(|line| WriteBack::flush(*self, mapping, line));\n";

const fn edit(file: &'static str, old: &'static str, new: &'static str) -> Edit {
    Edit { file, old, new }
}

const fn whole(name: &'static str, class: Class, edits: &'static [Edit]) -> Mutant {
    Mutant { name, edits, class, life: Life::Whole }
}

const fn after(name: &'static str, victim: Victim, edits: &'static [Edit]) -> Mutant {
    Mutant { name, edits, class: Class::NeverFlushed, life: Life::After(victim) }
}

/// All of them, from the instruction to the protocol.
pub(crate) const MUTANTS: &[Mutant] = &[
    whole(
        "no flush",
        Class::NeverFlushed,
        &[edit(REGION, FLUSH_LINES, "        let _ = (mapping, lines);\n")],
    ),
    whole(
        "no fence",
        Class::FlushedNotFenced,
        &[edit(REGION, "        cpu::fence();\n        Ok(())", "        Ok(())")],
    ),
    whole(
        "every second line flushed",
        Class::NeverFlushed,
        &[edit(
            REGION,
            FLUSH_LINES,
            "        lines.step_by(2).for_each(|line| WriteBack::flush(*self, mapping, line));\n",
        )],
    ),
    whole(
        "the line before flushed",
        Class::NeverFlushed,
        &[edit(
            CPU,
            "mapping.address(line * LINE);",
            "mapping.address(line.saturating_sub(1) * LINE);",
        )],
    ),
    whole(
        "last line of a range not flushed",
        Class::NeverFlushed,
        &[edit(LINE, COVER, "    range.start / LINE..range.end / LINE\n")],
    ),
    whole(
        "first line of a range not flushed",
        Class::NeverFlushed,
        &[edit(LINE, COVER, "    range.start.div_ceil(LINE)..range.end.div_ceil(LINE)\n")],
    ),
    whole(
        "lines counted from an unaligned start",
        Class::NeverFlushed,
        &[edit(
            LINE,
            COVER,
            "    range.start / LINE..range.start / LINE + range.len().div_ceil(LINE)\n",
        )],
    ),
    whole(
        "flushed before the store",
        Class::NeverFlushed,
        &[edit(
            REGION,
            "        batch.store(at, bytes);
        batch.flush().drain()\n",
            "        batch.cover(at..at + bytes.len());
        let durable = batch.flush().drain()?;
        let mut late = self.batch();
        late.store(at, bytes);
        Ok(durable)\n",
        )],
    ),
    // The payload is what a NIC writes; here this program's stores stand for it.
    whole(
        "payload never flushed",
        Class::NeverFlushed,
        &[edit(
            APPEND,
            "            data.cover(self.pool.bytes_of(packet.index().get(), packet.range()));\n",
            "            data.cover(self.pool.bytes_of(packet.index().get(), 0..0));\n",
        )],
    ),
    whole(
        "payload not fenced before its entry",
        Class::FlushedNotFenced,
        &[UNDRAINED, edit(APPEND, DRAIN_PAYLOAD, "Ok(data.flush().undrained()).map_err(")],
    ),
    whole(
        "payload flushed after its entry",
        Class::PublishedBeforeDurable,
        &[
            edit(APPEND, DRAIN_PAYLOAD, "region.batch().flush().drain().map_err("),
            edit(
                APPEND,
                ENTRIES_DRAINED,
                "        let published = published.and_then(|_| data.flush().drain());
        let stored = published.map_err(",
            ),
        ],
    ),
    whole(
        "entries never flushed",
        Class::NeverFlushed,
        &[edit(
            APPEND,
            PUBLISH_ENTRIES,
            "let mut entries = region.batch();
        entries.store(at, &bytes);
        drop(entries);
        let published = Ok::<_, Error>(durable);\n",
        )],
    ),
    whole(
        "entries not fenced before the acknowledgement",
        Class::FlushedNotFenced,
        &[
            UNDRAINED,
            edit(
                APPEND,
                PUBLISH_ENTRIES,
                "let mut entries = region.batch();
        entries.store(at, &bytes);
        let published = Ok::<_, Error>(entries.flush().undrained());\n",
            ),
        ],
    ),
    whole(
        "header never flushed",
        Class::NeverFlushed,
        &[edit(
            LOG,
            DRAIN_HEADER,
            "        drop(batch);
        match self.pool.region().batch().flush().drain() {\n",
        )],
    ),
    // Not here: a header that is flushed and not fenced. A locked instruction (a buffer is given
    // back, a port opened) comes before anybody relies on it, and completes the flush (M9).
    whole(
        "header written in place",
        Class::NotAMatterOfFlushes,
        &[edit(
            HEADER,
            "        Self { generation: self.generation + 1, epoch, ..self }\n",
            "        Self { generation: self.generation + 2, epoch, ..self }\n",
        )],
    ),
    whole(
        "reset without a new start",
        Class::NotAMatterOfFlushes,
        &[edit(
            HEADER,
            "        Self { base: next, start: header.epoch, ..header }\n",
            "        Self { base: next, ..header }\n",
        )],
    ),
    whole(
        "pool made over another in place",
        Class::NotAMatterOfFlushes,
        &[edit(
            POOL,
            ERASE,
            "        batch.cover(0..MAGIC.len());\n        let erased = batch.flush().drain()?;\n",
        )],
    ),
    // The erased magic lies on a line that is written again, and that is what is lost.
    whole(
        "pool erased without a fence",
        Class::PublishedBeforeDurable,
        &[
            UNDRAINED,
            edit(
                POOL,
                ERASE,
                "        batch.store(0, &[0; MAGIC.len()]);
        let erased = batch.flush().undrained();\n",
            ),
        ],
    ),
    whole(
        "superblock and first header never flushed",
        Class::NeverFlushed,
        &[edit(
            POOL,
            PUBLISH_PARTS,
            "        let mut first = region.batch();
        first.store(MAGIC.len(), rest);
        drop(first);
        let parts = erased;\n",
        )],
    ),
    whole(
        "magic before the rest",
        Class::NotAMatterOfFlushes,
        &[
            edit(POOL, PUBLISH_PARTS, "        let parts = region.publish(0, magic, &erased)?;\n"),
            edit(
                POOL,
                PUBLISH_POOL,
                "        let made = region.publish(MAGIC.len(), rest, &parts)?;\n",
            ),
        ],
    ),
    whole(
        "superblock in one go",
        Class::NotAMatterOfFlushes,
        &[edit(
            POOL,
            PUBLISH_PARTS,
            "        let parts = region.publish(0, pages.as_flattened(), &erased)?;\n",
        )],
    ),
    whole(
        "magic never flushed",
        Class::PublishedBeforeDurable,
        &[edit(
            POOL,
            PUBLISH_POOL,
            "        let mut last = region.batch();
        last.store(0, magic);
        drop(last);
        let made = parts;\n",
        )],
    ),
    whole(
        "acknowledged before the append",
        Class::NotAMatterOfFlushes,
        &[edit(
            "tests/e2e/guest/src/power_loss.rs",
            "        program.play(step).with_context(|| format!(\"step {number}\"))?;
        marker::checkpoint(number);\n",
            "        marker::checkpoint(number);
        program.play(step).with_context(|| format!(\"step {number}\"))?;\n",
        )],
    ),
    // The port without a kernel asks this process who holds a buffer; a kernel cannot.
    whole(
        "the log's buffers not reserved",
        Class::NotAMatterOfFlushes,
        &[
            edit(
                "paste/src/port.rs",
                "spec.reserve.clone().unwrap_or_else(|| buffers.held());",
                "spec.reserve.clone().unwrap_or_else(BufSet::empty);",
            ),
            edit(
                "paste/src/map/area.rs",
                "if index >= self.count || !self.leased.set(index) {",
                "if index >= self.count || (!self.leased.set(index) && index >= self.count) {",
            ),
        ],
    ),
    Mutant {
        name: "no new epoch",
        edits: &[edit(
            LOG,
            "log.write_header(log.header.next_epoch(), ",
            "log.write_header(Header { generation: log.header.generation + 1, ..log.header }, ",
        )],
        class: Class::NotAMatterOfFlushes,
        life: Life::Torn,
    },
    after(
        "found superblock not written back",
        Victim::Superblock,
        &[edit(POOL, "        found.cover(0..SUPERBLOCK);\n", "        found.cover(0..0);\n")],
    ),
    after(
        "found header not written back",
        Victim::Header,
        &[edit(LOG, "        found.cover(headers);\n", "        drop(headers);\n")],
    ),
    after(
        "found entries not written back",
        Victim::Entries,
        &[edit(LOG, "        found.cover(entries.clone());\n", "        found.cover(0..0);\n")],
    ),
];
