//! Victims: programs that kill themselves between a store and its flush.

use super::{APPEND, LOG, POOL, Variant, edit};

/// The superblock is finished by its magic; nobody flushes that.
pub(super) const SUPERBLOCK: Variant = Variant {
    name: "killed while it makes the pool",
    edits: &[edit(
        POOL,
        super::pool::PUBLISH_POOL,
        "let mut half = region.batch(); half.store(0, magic); std::process::abort()",
    )],
};

/// The header of the second opening is stored; nobody flushes it.
pub(super) const HEADER: Variant = Variant {
    name: "killed while it opens the log",
    edits: &[edit(
        LOG,
        super::log::DRAIN_HEADER,
        "if header.generation == 2 { std::process::abort(); } batch.flush().drain()",
    )],
};

/// The entries of the second batch are stored; nobody flushes them.
pub(super) const ENTRIES: Variant = Variant {
    name: "killed while it appends",
    edits: &[edit(
        APPEND,
        super::log::PUBLISH_ENTRIES,
        "if !self.parts.is_empty() {
            let mut half = region.batch();
            half.store(at, &bytes);
            std::process::abort();
        }
        region.publish(at, &bytes, &durable)",
    )],
};
