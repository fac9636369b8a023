//! Victims: programs that kill themselves between a store and its flush.

use super::Edit;

/// The superblock is finished by its magic; nobody flushes that.
pub(super) const SUPERBLOCK: &[Edit] = &[Edit {
    file: "paste/src/pool.rs",
    old: "        let made = region.publish(0, magic, &parts)?;\n",
    new: "        if geometry.size > 0 {
            let mut half = region.batch();
            half.store(0, magic);
            std::process::abort();
        }
        let made = region.publish(0, magic, &parts)?;\n",
}];

/// The header of the second opening is stored; nobody flushes it.
pub(super) const HEADER: &[Edit] = &[Edit {
    file: "paste/src/log.rs",
    old: "        match batch.flush().drain() {\n",
    new: "        if header.generation == 2 {
            std::process::abort();
        }
        match batch.flush().drain() {\n",
}];

/// The entries of the second batch are stored; nobody flushes them.
pub(super) const ENTRIES: &[Edit] = &[Edit {
    file: "paste/src/log/append.rs",
    old: "        let published = region.publish(at, &bytes, &durable);\n",
    new: "        if !self.parts.is_empty() {
            let mut half = region.batch();
            half.store(at, &bytes);
            std::process::abort();
        }
        let published = region.publish(at, &bytes, &durable);\n",
}];
