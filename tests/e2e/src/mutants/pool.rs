//! Pool: mistakes in how a pool is made, and found.

use vm::crash::Class::{NeverFlushed, NotAMatterOfFlushes, PublishedBeforeDurable, Torn};

use super::Life::{After, Whole};
use super::{Mutant, POOL, Victim, edit, mutant};

const ERASE: &str = "batch.store(0, &[0; MAGIC.len()]);";
const PUBLISH_PARTS: &str = "region.publish(MAGIC.len(), rest, &erased)?";
pub(super) const PUBLISH_POOL: &str = "region.publish(0, magic, &parts)?";

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "pool made over another in place",
        &[(Whole, NotAMatterOfFlushes)],
        &[edit(POOL, ERASE, "batch.cover(0..MAGIC.len());")],
    ),
    // The erased magic lies on a line that is written again, and that is what is lost.
    mutant(
        "pool erased without a fence",
        &[(Whole, PublishedBeforeDurable)],
        &[edit(POOL, "batch.flush().drain()?", "batch.flush().undrained()")],
    ),
    mutant(
        "superblock and first header never flushed",
        &[(Whole, NeverFlushed)],
        &[edit(
            POOL,
            PUBLISH_PARTS,
            "let mut first = region.batch();
            first.store(MAGIC.len(), rest);
            drop(first);
            erased",
        )],
    ),
    mutant(
        "magic before the rest",
        &[(Whole, NotAMatterOfFlushes)],
        &[
            edit(POOL, PUBLISH_PARTS, "region.publish(0, magic, &erased)?"),
            edit(POOL, PUBLISH_POOL, "region.publish(MAGIC.len(), rest, &parts)?"),
        ],
    ),
    mutant(
        "superblock written in place",
        &[(Whole, NotAMatterOfFlushes)],
        &[edit(POOL, PUBLISH_PARTS, "region.publish(0, pages.as_flattened(), &erased)?")],
    ),
    mutant(
        "magic and format in one store",
        &[(Whole, Torn)],
        &[
            edit(POOL, PUBLISH_PARTS, "region.publish(16, &rest[8..], &erased)?"),
            edit(
                POOL,
                PUBLISH_POOL,
                "{ let _ = &parts; region.publish_pair(0, &pages.as_flattened()[..16])? }",
            ),
        ],
    ),
    mutant(
        "magic never flushed",
        &[(Whole, PublishedBeforeDurable)],
        &[edit(
            POOL,
            PUBLISH_POOL,
            "let mut last = region.batch();
            last.store(0, magic);
            drop(last);
            parts",
        )],
    ),
    mutant(
        "found superblock not written back",
        &[(After(Victim::Superblock), NeverFlushed)],
        &[edit(POOL, "found.cover(0..SUPERBLOCK);", "")],
    ),
];
