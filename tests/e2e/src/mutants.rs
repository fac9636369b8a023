//! Mutants: one mistake each in the library's log and pool, and how it should be found out.
//!
//! A mistake is a text edit of the sources. All of them are woven into one copy (`workshop`), and
//! a number says which one a program makes; number 0 makes none. So one build is enough, and the
//! way into each mistake is a load and a branch. Nothing is flushed, fenced or locked by that.
//!
//! Mistakes in what recovery makes of an image are here only where they go with one in what was
//! stored ([`Life::Own`]): else the judge uses the library as it is.

mod correct;
mod helpers;
pub(crate) mod lives;
mod log;
mod pmem;
mod pool;
#[cfg(test)]
mod sites;
mod victims;
mod weave;

use vm::crash::Class;

pub(crate) use correct::CORRECT;
pub(crate) use helpers::{HELPERS, SWITCH, SWITCH_FILE};
pub(crate) use weave::weave;

/// A text in one file of the project, and what is done instead of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit {
    /// The file, from the root of the project.
    pub(crate) file: &'static str,
    /// What is there once: an expression, or whole statements that bind no name.
    pub(crate) old: &'static str,
    /// What takes its place.
    pub(crate) new: &'static str,
}

/// A program that differs from the library as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    /// In what.
    pub(crate) name: &'static str,
    /// The difference.
    pub(crate) edits: &'static [Edit],
}

/// A program that differs and is as good as the library as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Correct {
    /// The difference.
    pub(crate) variant: Variant,
    /// In which lives it must raise no alarm.
    pub(crate) lives: &'static [Life],
}

/// A program with a mistake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutant {
    /// The mistake.
    pub(crate) variant: Variant,
    /// What brings it to light, and the class of the first failure there.
    pub(crate) found: &'static [(Life, Class)],
}

/// What happens to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It plays all steps.
    Whole,
    /// It stores what a NIC writes into the pool.
    Wired,
    /// It plays all steps, and what power losses leave is recovered by its own library, not by the
    /// one as it is: it writes another format.
    Own,
    /// It goes on after a power loss that left the end of a batch without its beginning.
    Torn,
    /// It goes on after another program was killed; power was not lost.
    After(Victim),
}

/// A program that is killed at the worst moment: between a store and its flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// While it makes the pool.
    Superblock,
    /// While it opens the log.
    Header,
    /// While it appends.
    Entries,
}

impl Victim {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Superblock, Self::Header, Self::Entries];

    /// The program.
    pub(crate) fn variant(self) -> Variant {
        match self {
            Self::Superblock => victims::SUPERBLOCK,
            Self::Header => victims::HEADER,
            Self::Entries => victims::ENTRIES,
        }
    }
}

/// Each class with the names of two figures: how often a mutant should give it, and how often one
/// did.
pub(crate) const CLASSES: [(Class, &str, &str); 7] = [
    (Class::Torn, "mutants_torn", "mutants_killed_torn"),
    (
        Class::NontemporalNotFenced,
        "mutants_nontemporal_not_fenced",
        "mutants_killed_nontemporal_not_fenced",
    ),
    (Class::FlushedNotFenced, "mutants_flushed_not_fenced", "mutants_killed_flushed_not_fenced"),
    (
        Class::DeviceWriteNeverFlushed,
        "mutants_device_write_never_flushed",
        "mutants_killed_device_write_never_flushed",
    ),
    (
        Class::PublishedBeforeDurable,
        "mutants_published_before_durable",
        "mutants_killed_published_before_durable",
    ),
    (Class::NeverFlushed, "mutants_never_flushed", "mutants_killed_never_flushed"),
    (
        Class::NotAMatterOfFlushes,
        "mutants_not_a_matter_of_flushes",
        "mutants_killed_not_a_matter_of_flushes",
    ),
];

/// All mutants, from the instruction to the protocol.
pub(crate) fn mutants() -> impl Iterator<Item = &'static Mutant> {
    [pmem::MUTANTS, log::MUTANTS, pool::MUTANTS].into_iter().flatten()
}

/// All programs that differ from the library as it is, each with its number.
pub(crate) fn variants() -> impl Iterator<Item = (usize, Variant)> {
    let victims = Victim::ALL.into_iter().map(Victim::variant);
    let mutants = mutants().map(|mutant| mutant.variant);
    let correct = CORRECT.iter().map(|correct| correct.variant);
    (1..).zip(victims.chain(correct).chain(mutants))
}

impl Variant {
    /// The number that makes the program be this one.
    pub(crate) fn number(&self) -> usize {
        let found = variants().find(|(_, other)| other.name == self.name);
        found.map_or(0, |(number, _)| number)
    }
}

const fn edit(file: &'static str, old: &'static str, new: &'static str) -> Edit {
    Edit { file, old, new }
}

const fn mutant(
    name: &'static str,
    found: &'static [(Life, Class)],
    edits: &'static [Edit],
) -> Mutant {
    Mutant { variant: Variant { name, edits }, found }
}

const REGION: &str = "paste/src/pmem/region.rs";
const LINE: &str = "paste/src/pmem/line.rs";
const CPU: &str = "paste/src/pmem/cpu.rs";
const APPEND: &str = "paste/src/log/append.rs";
const ENTRY: &str = "paste/src/log/entry.rs";
const HEADER: &str = "paste/src/log/header.rs";
const LOG: &str = "paste/src/log.rs";
const POOL: &str = "paste/src/pool.rs";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_program_has_a_name_and_a_number_of_its_own() {
        let names: BTreeSet<_> = variants().map(|(_, variant)| variant.name).collect();
        assert_eq!(names.len(), variants().count());
        for (number, variant) in variants() {
            assert_eq!(variant.number(), number);
        }
        assert!(mutants().count() >= 16);
    }

    #[test]
    fn every_class_is_given_by_a_mutant() {
        let found = mutants().flat_map(|mutant| mutant.found);
        let classes: BTreeSet<Class> = found.map(|(_, class)| *class).collect();
        assert_eq!(classes.len(), CLASSES.len(), "{classes:?}");
        assert!(classes.iter().all(|class| CLASSES.iter().any(|(other, ..)| other == class)));
    }
}
