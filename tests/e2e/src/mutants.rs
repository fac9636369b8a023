//! Mutants: one mistake each in the library's log and pool, and how it should be found out.
//!
//! A mutant is a text edit, applied to a copy of the sources (`workshop`), so that the machine
//! code is what a careless programmer's would be. Mistakes in what recovery makes of an image
//! are not here: the judge uses the library as it is.

mod table;
mod victims;

use vm::crash::Class;

pub(crate) use table::MUTANTS;

/// A text in one file of the project, and what stands there instead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edit {
    /// The file, from the root of the project.
    pub(crate) file: &'static str,
    /// What is there once.
    pub(crate) old: &'static str,
    /// What takes its place.
    pub(crate) new: &'static str,
}

/// A program with a mistake.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mutant {
    /// What is wrong with it.
    pub(crate) name: &'static str,
    /// The mistake.
    pub(crate) edits: &'static [Edit],
    /// The class of the failures that it should cause.
    pub(crate) class: Class,
    /// What brings it to light.
    pub(crate) life: Life,
}

/// What happens to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It plays all steps.
    Whole,
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

impl Edit {
    /// The file's text after the edit.
    ///
    /// # Errors
    /// The old text is not there, or more than once.
    pub(crate) fn apply(&self, text: &str) -> Result<String, String> {
        match text.matches(self.old).count() {
            1 => Ok(text.replace(self.old, self.new)),
            found => Err(format!("{}: {found} times, not once: {}", self.file, self.old.trim())),
        }
    }
}

impl Victim {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Superblock, Self::Header, Self::Entries];

    /// What makes a program kill itself there.
    pub(crate) fn edits(self) -> &'static [Edit] {
        match self {
            Self::Superblock => victims::SUPERBLOCK,
            Self::Header => victims::HEADER,
            Self::Entries => victims::ENTRIES,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;

    use super::*;

    fn edited(edits: &[Edit]) -> Result<(), String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut texts = BTreeMap::new();
        for edit in edits {
            let read = || std::fs::read_to_string(root.join(edit.file)).unwrap();
            let text = texts.entry(edit.file).or_insert_with(read);
            *text = edit.apply(text)?;
        }
        Ok(())
    }

    #[test]
    fn every_edit_still_finds_its_place() {
        for mutant in MUTANTS {
            edited(mutant.edits).unwrap_or_else(|why| panic!("{}: {why}", mutant.name));
        }
        for victim in Victim::ALL {
            edited(victim.edits()).unwrap_or_else(|why| panic!("{victim:?}: {why}"));
        }
    }

    #[test]
    fn an_edit_without_one_place_names_it() {
        let edit = Edit { file: "a.rs", old: "flush(); ", new: "" };
        assert_eq!(edit.apply("flush(); drain();").unwrap(), "drain();");
        for text in ["drain();", "flush(); flush(); "] {
            assert!(edit.apply(text).unwrap_err().ends_with("not once: flush();"));
        }
    }

    #[test]
    fn mutants_have_names_of_their_own() {
        let names: BTreeSet<_> = MUTANTS.iter().map(|mutant| mutant.name).collect();
        assert_eq!(names.len(), MUTANTS.len());
        assert!(MUTANTS.len() >= 16);
    }
}
